"""`state`: copies of the state file, the way back, whether it is whole, and the move to another account."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outreach_sync import instants
from outreach_sync.cli.context import FullHelp, invocation
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.errors import StateError, UsageError
from outreach_sync.identity import OUTREACH, WORKBOOKS, look_at, remember
from outreach_sync.outreach.client import Outreach
from outreach_sync.store import Store
from outreach_sync.store.backup import back_up, back_up_elsewhere, problems_of, restore as put_back
from outreach_sync.store.lock import run_lock
from outreach_sync.store.rebind import let_go, scrub
from outreach_sync.store.store import is_there
from outreach_sync.workbooks.records import Workbooks

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=FullHelp)
def state() -> None:
    """Back up, restore, verify or rebind the state."""


@state.command()
@click.argument("path", type=_FILE, required=False)
@invocation
def backup(context: Invocation, path: Path | None) -> None:
    """Copy the state to PATH, or beside it. A run may go on meanwhile. One copy a day is made by itself."""
    source = _existing(context)
    stamp = instants.to_datetime(instants.now()).strftime("%Y-%m-%dT%H%M%S")
    target = path or source.with_name(f"{source.name}.backup-{stamp}")
    with Store.open(source) as opened:
        (back_up_elsewhere if path else back_up)(opened, target)
    click.echo(f"Copied to {target}.")


@state.command()
@click.argument("path", type=_FILE)
@invocation
def restore(context: Invocation, path: Path) -> None:
    """Put the copy at PATH in the place of the state, which is kept beside it."""
    target = context.state_path
    with run_lock(target, "state restore"):
        replaced = put_back(target, path, now=instants.now())
    click.echo(f"Restored {path}.")
    if replaced is not None:
        click.echo(f"What was there is now {replaced}.")
    click.echo("The next run reads everything again that happened since, and every Person before it is written.")


@state.command()
@invocation
def verify(context: Invocation) -> None:
    """Check that the state is whole, without changing it. Exit status 2: it is damaged."""
    path = _existing(context)
    problems = problems_of(path)
    if problems:
        raise StateError(
            f"the state {path} is damaged: {'; '.join(problems)}.", advice="Restore a backup with `state restore`."
        )
    click.echo(f"{path} is whole.")


@state.command()
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody sits at a terminal.")
@invocation
def rebind(context: Invocation, *, yes: bool) -> None:
    """Move the state to the Outreach and the Workbooks of the config, where it belongs to others.

    Nothing is kept that belongs to the account left behind: links, Tasks, the history of writes; where Outreach moves,
    everything that was read as well. Both services are asked first, and nothing changes in either. The next run reads
    again from sync.start, and the guard counts whom it creates. Exit status: 0; 2 nobody confirmed it; 4 a service is
    down.
    """
    config = context.config()
    path = _existing(context)
    with stop_on_signals() as stop, run_lock(path, "state rebind"), Store.open(path) as opened:
        look = look_at(config, opened, Outreach(config, stop), Workbooks(config, stop))
        for name, why in look.wrong.items():
            click.echo(context.scrubber.text(f"The state belongs to another {name}: {why}."))
        if look.wrong:
            click.echo(_what_goes(opened, outreach=OUTREACH in look.wrong))
            if not yes:
                _ask()
        with opened.transaction():
            if look.wrong:
                let_go(opened, outreach=OUTREACH in look.wrong, workbooks=WORKBOOKS in look.wrong)
            remember(opened, look)
        if look.wrong:
            scrub(opened)
    if not look.wrong:
        click.echo("The state belongs to this Outreach and this Workbooks: nothing had to be done.")
        return
    click.echo("The state belongs to this Outreach and this Workbooks now. See what a run would do: `run --dry-run`.")


def _what_goes(opened: Store, *, outreach: bool) -> str:
    people, waiting = opened.people.known(), sum(opened.outbox.counts().values())
    read = ", and everything that was read from Outreach" if outreach else ""
    return (
        f"This forgets the links to {people:,} people, their Tasks, the history of writes, {waiting:,} waiting entries"
        f"{read}. `state backup` first keeps a way back."
    )


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody sits at a terminal to confirm this.", advice="Add --yes.")
    if not click.confirm("Move the state?", err=True):
        raise UsageError("nothing was changed.")


def _existing(context: Invocation) -> Path:
    path = context.state_path
    if not is_there(path):
        raise StateError(f"there is no state at {path} yet.", advice="The first run makes it.")
    return path
