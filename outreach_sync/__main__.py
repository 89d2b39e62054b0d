"""`python -m outreach_sync`: the command."""

from __future__ import annotations

import sys

from outreach_sync.cli import run_command


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
