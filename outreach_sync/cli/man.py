"""`man`: the manual page, made from the commands themselves, so that it cannot say anything else than `--help`."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click

from outreach_sync import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM = "outreach-sync"
_SUMMARY = "keep Workbooks CRM true to what happens in Outreach"

_STATUSES = {
    "0": "Done.",
    "1": "Done, but some records were refused or are parked; `failures list` lists them.",
    "2": "The command line or the config is wrong, or the state database cannot be used.",
    "3": "Not authenticated or not allowed.",
    "4": "A service was unavailable or out of quota, or its answer cannot be trusted. What was read is kept, and the "
    "next run goes on.",
    "5": "Another run holds the lock.",
    "6": "The guard stopped a mass change; `run --allow-bulk` makes it.",
    "70": "A bug in the program.",
    "128+n": "Ended by signal n after the batch in flight, within 30 s (`schedule`: 0).",
}
_FILES = {
    "config/outreach-sync.yaml, ~/.config/outreach-sync/config.yaml, /etc/outreach-sync/config.yaml": "The config, "
    "unless --config or $OUTREACH_SYNC_CONFIG names it. `init` writes one with every key.",
    "~/.local/state/outreach-sync/state.db, /var/lib/outreach-sync/state.db": "The local database, unless state.path "
    "in the config names another place; the tokens are kept beside it.",
}
_ENVIRONMENT = {
    "OUTREACH_SYNC_CONFIG": "Where the config is.",
    "NOTIFY_SOCKET, WATCHDOG_USEC": "Set by systemd; `schedule` reports to it.",
    "HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE": "As usual.",
}


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page: `outreach-sync man | man -l -` shows it."""
    click.echo(manual_page(context.find_root().command), nl=False)


def manual_page(program: click.Command) -> str:
    """Return the page in man(7)'s format."""
    return "\n".join(_page(program)) + "\n"


def _page(program: click.Command) -> Iterator[str]:
    with click.Context(program, info_name=_PROGRAM, **program.context_settings) as root:
        yield f'.TH OUTREACH-SYNC 1 "" "{_PROGRAM} {__version__}" "User Commands"'
        yield ".SH NAME"
        yield f"{_PROGRAM} \\- {_SUMMARY}"
        yield ".SH SYNOPSIS"
        yield f".B {_PROGRAM}"
        yield _escaped(" ".join(program.collect_usage_pieces(root)))
        yield ".SH DESCRIPTION"
        yield from _text(program)
        yield ".SH OPTIONS"
        yield from _options(program, root)
        yield ".SH COMMANDS"
        yield from _commands(program, root)
    for title, entries in (("EXIT STATUS", _STATUSES), ("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        yield f".SH {title}"
        for term, meaning in entries.items():
            yield from _entry(term, meaning)


def _commands(group: click.Command, parent: click.Context) -> Iterator[str]:
    """Describe each command; of a group, what is in it."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        with click.Context(command, info_name=name, parent=parent, **command.context_settings) as context:
            if isinstance(command, click.Group):
                yield from _commands(command, context)
            else:
                yield from _command(command, context)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path.removeprefix(_PROGRAM + " ")
    yield f".SS {_escaped(' '.join((path, *command.collect_usage_pieces(context))))}"
    yield from _text(command)
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from _entry(*record)


def _entry(term: str, meaning: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_escaped(term)}"
    yield _escaped(meaning)


def _text(command: click.Command) -> Iterator[str]:
    """Write the help in paragraphs."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))):
        if number:
            yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _escaped(text: str) -> str:
    """Keep roff from reading commands into text; hyphens of options stay hyphens when copied."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
