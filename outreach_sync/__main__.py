"""`python -m outreach_sync`: the command."""

from __future__ import annotations

import gc
import sys

gc.set_threshold(50_000)
# Python looks for cycles after so many new containers. Imports and pages make thousands, none of which ever is in one;
# by default a tenth of a start is spent looking.

from outreach_sync.cli import run_command  # noqa: E402 - importing is what is to be quick


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
