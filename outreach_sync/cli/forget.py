"""`forget`: a request for erasure."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import invocation
from outreach_sync.cli.output import safe
from outreach_sync.errors import UsageError
from outreach_sync.forget import forget as erase, look_up
from outreach_sync.store import Store
from outreach_sync.store.lock import run_lock

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation
    from outreach_sync.forget import Erased, Known

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
            _ask()
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


def _ask() -> None:
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
