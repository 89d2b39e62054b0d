"""`history`: every accepted write."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import as_csv, linked, print_csv, print_json, say, shown_value
from outreach_sync.cli.run import Moment
from outreach_sync.insight.explain import Links, written_document
from outreach_sync.instants import Instant, now
from outreach_sync.store import Store
from outreach_sync.store.history import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.config.values import Back

_ID = click.IntRange(1, 2**63 - 1)
_SHOWN = 200


@click.command()
@click.option("--person", "person_id", type=_ID, help="Only a Person of Workbooks, by id.")
@click.option("--prospect", "prospect_id", type=_ID, help="Only a prospect of Outreach and its tasks, by id.")
@click.option("--task", "task_id", type=_ID, help="Only a task of Outreach, by id.")
@click.option("--run", "run_id", help="Only what one run wrote, by its id.")
@click.option("--since", type=Moment(), help="Only from this time on: 2026-09-01, or a duration such as 7d.")
@as_json
@as_csv
@invocation
def history(  # noqa: PLR0917 - click passes one argument for each option
    context: Invocation,
    person_id: int | None,
    prospect_id: int | None,
    task_id: int | None,
    run_id: str | None,
    since: Instant | Back | None,
    as_json: bool,  # noqa: FBT001 - click's form
    as_csv: bool,  # noqa: FBT001
) -> None:
    """Show every field that Workbooks accepted, newest first: when, by which run, old and new value, and why.

    Reads the local state only; no names or addresses are in it. Kept for as long as state.keep_runs. Exit status: 0;
    2 config or state.
    """
    of: dict[str, Any] = {"prospect_id": prospect_id, "task_id": task_id, "run_id": run_id}
    if person_id is not None:
        of |= {"workbooks_id": person_id, "record": "person"}
    at = None if since is None else since if isinstance(since, int) else Instant(now() - since.ms)
    if as_json and as_csv:
        raise click.UsageError("--csv and --json exclude each other.")
    config = context.config(require_secrets=False)
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        written = state.history.writes(since=at, limit=-1 if as_json or as_csv else _SHOWN, **of)
    documents = [written_document(one) for one in written]
    if as_json:
        print_json(documents)
    elif as_csv:
        print_csv(Written._fields, documents)
    elif not documents:
        say("Nothing was written.")
    else:
        _print(documents, Links.of(config))
        if len(documents) == _SHOWN:
            say(f"The last {_SHOWN} fields; --json and --csv have all.")


def _print(documents: Sequence[dict[str, Any]], links: Links) -> None:
    """Print each write with its fields below it."""
    for (at, record, workbooks_id), group in groupby(documents, itemgetter("at", "record", "workbooks_id")):
        fields = list(group)
        one = fields[0]
        prospect = linked(f"prospect {one['prospect_id']}", links.prospect(one["prospect_id"]))
        url = (links.person if record == "person" else links.task)(workbooks_id)
        task = "" if one["task_id"] is None else f", task {one['task_id']}"
        verb = "created" if one["action"] == "create" else "updated"
        name = linked(f"{record.capitalize()} {workbooks_id}", url)
        say(f"{at}  ", name, f" {verb} (", prospect, f"{task}) by run {one['run_id']}: {one['because'] or 'unknown'}")
        width = max(len(field["field"]) for field in fields)
        for field in fields:
            say(f"    {field['field']:<{width}}  {shown_value(field['old'])} → {shown_value(field['new'])}")
