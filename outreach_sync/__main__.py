"""`python -m outreach_sync`: the command."""

from __future__ import annotations

from outreach_sync.cli import main

if __name__ == "__main__":
    main()
