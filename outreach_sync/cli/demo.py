"""`demo`: both services simulated, some cycles, and what came of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from outreach_sync.cli.signals import stop_on_signals


@click.command()
def demo() -> int:
    """Run cycles against both simulated services and show what every Person and Task said before and after, and why.

    Needs no account and no config, leaves nothing behind. Exit status: 0 everything came as it must; 1 not.
    """
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - not for --help

    from rich.console import Console  # noqa: PLC0415

    from outreach_sync.demo import tell  # noqa: PLC0415

    console = Console(file=sys.stdout, highlight=False)
    with stop_on_signals() as stop, TemporaryDirectory(prefix="outreach-sync-demo-") as directory:
        return 0 if tell(console, Path(directory), stop) else 1
