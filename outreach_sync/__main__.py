"""`python -m outreach_sync`: the command."""

from __future__ import annotations

import sys

from outreach_sync.cli import run_command as main

if __name__ == "__main__":
    sys.exit(main())
