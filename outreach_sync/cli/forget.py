"""`forget`: a request for erasure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import invocation

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation
    from outreach_sync.erase import Erased

_ID = click.IntRange(1, 2**63 - 1)


@click.command()
@click.option("--prospect", "prospect_id", type=_ID, help="The prospect's id in Outreach.")
@click.option("--person", "person_id", type=_ID, help="The Person's id in Workbooks.")
@invocation
def forget(context: Invocation, prospect_id: int | None, person_id: int | None) -> None:
    """Remove every personal datum of somebody from the local database, its queue and its backups.

    Only ids are kept, so that they are never stored or created again. Nothing is changed in Outreach or Workbooks.
    """
    if (prospect_id is None) == (person_id is None):
        raise click.UsageError("Give either --prospect ID or --person ID.")
    from outreach_sync.erase import forget as erase  # noqa: PLC0415 - not for --help
    from outreach_sync.state import State  # noqa: PLC0415
    from outreach_sync.state.lock import run_lock  # noqa: PLC0415

    path = context.state_path
    with run_lock(path, "forget"), State.open(path) as state:
        erased = erase(state, prospect_id=prospect_id, person_id=person_id)
    _tell(erased)


def _tell(erased: Erased) -> None:
    ids = [f"prospect {one}" for one in sorted(erased.whom.prospects)]
    ids += [f"Person {one}" for one in sorted(erased.whom.people)]
    known = "erased" if erased.known else "was not known here; noted all the same"
    click.echo(f"{', '.join(ids)}: {known}. They will not be stored or created again.")
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
