"""The manual pages, made by click-man: `python -m tests.docs.man` writes them again, and a test compares them."""

from __future__ import annotations

import warnings
from pathlib import Path

import click
from click_man.core import write_man_pages

from outreach_sync import __version__
from outreach_sync.cli import COMMANDS, cli

PAGES = Path(__file__).parents[2] / "docs" / "man"


def write_pages(directory: Path) -> None:
    """Write a page for the program and one for each command; the lazy commands are loaded first."""
    context = click.Context(cli, info_name="outreach-sync")
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    loaded = {name: command for name, command in commands.items() if command is not None}
    program = click.Group("outreach-sync", loaded, params=cli.params, help=cli.help)
    for name, command in loaded.items():
        command.short_help = COMMANDS[name][-1]
    directory.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # click-man uses a name that click moves
        write_man_pages("outreach-sync", program, version=__version__, target_dir=directory, date="outreach-sync")


if __name__ == "__main__":
    for old in PAGES.glob("*.1"):
        old.unlink()
    write_pages(PAGES)
