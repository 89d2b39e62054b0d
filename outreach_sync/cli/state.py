"""`state`, `forget`: the local database, and erasing a person from it."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outreach_sync import instants
from outreach_sync.cli.context import FullHelp, invocation, stop_on_signals
from outreach_sync.cli.output import safe
from outreach_sync.errors import StateError, UsageError
from outreach_sync.identity import OUTREACH, WORKBOOKS, look_at, refuse_another_account, remember
from outreach_sync.outreach.auth import TokenFile, is_of_another_app
from outreach_sync.outreach.client import Outreach
from outreach_sync.store import Store, is_there, run_lock
from outreach_sync.store.backup import (
    back_up,
    back_up_elsewhere,
    forget as erase,
    look_up,
    problems_of,
    restore as put_back,
)
from outreach_sync.store.erasure import let_go, scrub_free_pages
from outreach_sync.workbooks.client import Workbooks

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation
    from outreach_sync.config.model import Config
    from outreach_sync.store.backup import Erased, Known

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
        if _puts_tokens_aside(config, yes=yes):
            yes = True  # this was asked
        look = look_at(config, opened, Outreach(config, stop), Workbooks(config, stop))
        for name, why in look.wrong.items():
            click.echo(context.scrubber.text(f"The state belongs to another {name}: {why}."))
        if look.wrong:
            click.echo(_what_goes(opened, outreach=OUTREACH in look.wrong))
            if not yes:
                _ask_to_rebind()
        with opened.transaction():
            if look.wrong:
                let_go(opened.connection, outreach=OUTREACH in look.wrong, workbooks=WORKBOOKS in look.wrong)
            remember(opened, look)
        if look.wrong:
            scrub_free_pages(opened.connection)
    if not look.wrong:
        click.echo("The state belongs to this Outreach and this Workbooks: nothing had to be done.")
        return
    click.echo("The state belongs to this Outreach and this Workbooks now. See what a run would do: `run --dry-run`.")


def _puts_tokens_aside(config: Config, *, yes: bool) -> bool:
    """Make way for the tokens of the config's app where those of another one lie beside the state."""
    file = TokenFile.beside(config.state.path)
    if not is_of_another_app(config, file.read()):
        return False
    aside = file.path.with_name(f"{file.path.name}.replaced")
    click.echo(f"The tokens in {file.path} belong to another app than the config's: they are kept as {aside}.")
    if not yes:
        _ask_to_rebind()
    try:
        file.path.replace(aside)
    except OSError as failure:
        raise StateError(
            f"{file.path} cannot be put aside ({failure.strerror}).", advice="Run this as its owner."
        ) from None
    return True


def _what_goes(opened: Store, *, outreach: bool) -> str:
    people, waiting = opened.people.known(), sum(opened.outbox.counts().values())
    read = ", and everything that was read from Outreach" if outreach else ""
    return (
        f"This forgets the links to {people:,} people, their Tasks, the history of writes, {waiting:,} waiting entries"
        f"{read}. `state backup` first keeps a way back."
    )


def _ask_to_rebind() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody sits at a terminal to confirm this.", advice="Add --yes.")
    if not click.confirm("Move the state?", err=True):
        raise UsageError("nothing was changed.")


def _existing(context: Invocation) -> Path:
    path = context.state_path
    if not is_there(path):
        raise StateError(f"there is no state at {path} yet.", advice="The first run makes it.")
    return path


_ID = click.IntRange(1, 2**63 - 1)


@click.command()
@click.option("--prospect", "prospect_id", type=_ID, help="The prospect's id in Outreach.")
@click.option("--person", "person_id", type=_ID, help="The Person's id in Workbooks.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody sits at a terminal.")
@click.option("--dry-run", is_flag=True, help="Show whom it would be, and change nothing.")
@click.option("--unknown", is_flag=True, help="Note the id even if nobody here has it.")
@invocation
def forget(
    context: Invocation, prospect_id: int | None, person_id: int | None, *, yes: bool, dry_run: bool, unknown: bool
) -> None:
    """Erase a person's data from the local database, its queue and its backups.

    Only ids and a keyed hash of each address are kept, so that they are never created again. Nothing is changed in
    Outreach or Workbooks.
    """
    if (prospect_id is None) == (person_id is None):
        raise click.UsageError("Give either --prospect ID or --person ID.")
    path = context.state_path
    opened = Store.open_scratch if dry_run else Store.open
    with nullcontext() if dry_run else run_lock(path, "forget"), opened(path) as state:
        with stop_on_signals() as stop:
            refuse_another_account(context.config(require_secrets=False), state, stop)
        someone = look_up(state, prospect_id=prospect_id, person_id=person_id)
        if not (someone.known or unknown):
            raise UsageError(
                f"{_ids(someone)} is not known here, so there is nothing to erase.",
                advice="Check the id, or add --unknown to have it noted all the same.",
            )
        _show(someone)
        if dry_run:
            click.echo("Nothing was changed (--dry-run).")
            return
        if not yes:
            _ask_to_forget()
        _tell(erase(state, someone))


def _ids(someone: Known) -> str:
    ids = [f"prospect {one}" for one in sorted(someone.whom.prospects)]
    return ", ".join([*ids, *(f"Person {one}" for one in sorted(someone.whom.people))])


def _show(someone: Known) -> None:
    held = someone.held
    who = ", ".join([*held.names, *held.addresses])
    click.echo(safe(f"{_ids(someone)}{f': {who}' if who else ''}"))
    click.echo(
        f"Stored here: {held.states} sequence states, {held.tasks} tasks, {held.queued} entries of the queue,"
        f" {held.writes} lines of history."
    )


def _ask_to_forget() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked whether to erase them.", advice="Add --yes if you are sure.")
    click.confirm("Erase them? This cannot be undone.", abort=True)


def _tell(erased: Erased) -> None:
    known = "erased" if erased.known.known else "was not known here; noted all the same"
    click.echo(f"{_ids(erased.known)}: {known}. They will not be stored or created again.")
    if erased.copies:
        click.echo(f"Backups rewritten without them: {len(erased.copies)}.")
    for copy in erased.removed:
        click.echo(f"Removed, since it could not be rewritten: {copy}")
    for copy in erased.unreachable:
        click.echo(f"A backup was made at {copy} and is not there now: if it was moved, delete it.")
    click.echo(
        "Logs went to stderr and are kept by whatever collects them: they name people by these ids, but a reason why"
        " Workbooks refused something is in its own words. Outreach and Workbooks were left as they are."
    )
