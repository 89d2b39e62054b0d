"""`status`: how things stand, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json
from outreach_sync.insight.status import status_document
from outreach_sync.instants import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@click.command()
@as_json
@invocation
def status(context: Invocation, as_json: bool) -> None:  # noqa: FBT001 - click's form
    """Show watermarks, the last runs, what is queued and parked, what is overdue, quota and yearly cost.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; 2 config or state.
    """
    from outreach_sync.state import State  # noqa: PLC0415 - not for --help

    settings = context.quick()
    state = State.open_to_read(settings.state_path)
    document = status_document(state, settings, now())
    if state is not None:
        state.close()
    if as_json:
        print_json(document)
        return
    for line in _lines(document, str(settings.state_path)):
        click.echo(context.scrubber.text(line))


def _lines(document: Mapping[str, Any], state_path: str) -> Iterator[str]:
    if document["state"] is None:
        yield f"There is no state yet ({state_path}): no run was made. `outreach-sync check`, then `run --dry-run`."
    else:
        yield from _what_was_done(document)
    yield from _what_it_costs(document)


def _what_was_done(document: Mapping[str, Any]) -> Iterator[str]:
    yield "Watermarks"
    for stream, mark in document["watermarks"].items():
        yield f"  {stream:<17}{mark or 'none yet'}"
    yield ""
    yield from _columns(("last runs", "started", "outcome", "exit", "people"), map(_run_cells, document["runs"]))
    yield ""
    yield (
        f"Queued {document['queued']}, parked {document['parked']}, tasks waiting for a Person "
        f"{document['waiting_for_person']}, undecided {document['undecided']}; {document['people']} linked people."
    )
    if document["refused"]:
        yield f"  {document['refused']} of them refused: `outreach-sync failures list` says why."
    for one in document["overdue"]:
        yield f"Overdue: {one['command']}, which the schedule wanted at {one['due_at']}. Does the scheduler run?"


def _run_cells(run: Mapping[str, Any]) -> tuple[str, ...]:
    people = run.get("people") or {}
    done = ", ".join(f"{people[name]} {name}" for name in ("created", "updated", "rejected") if people.get(name))
    outcome = run["outcome"] or ("running or killed" if run["finished_at"] is None else "")
    ended = "" if run["exit_status"] is None else str(run["exit_status"])
    return run["command"], run["started_at"], outcome, ended, done or "-"


def _columns(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Align cells; a table library would take longer to import than everything else here."""
    table = [headers, *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(headers))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _what_it_costs(document: Mapping[str, Any]) -> Iterator[str]:
    quota, yearly, tokens = document["quota"], document["yearly"], document["tokens"]
    if quota is not None:
        until = f", until {quota['resets_at']}" if quota["resets_at"] else ""
        limit = f" of {quota['limit']:,}" if quota["limit"] else ""
        yield f"Outreach's hourly quota: {quota['remaining']:,}{limit} left when last told{until}."
    basis = "measured" if yearly["measured"] else "estimated"
    yield (
        f"Outreach requests a year by this schedule: about {yearly['requests']:,} ({basis}: "
        f"{yearly['cycles']:,} cycles of {yearly['per_cycle']:g}, {yearly['reconciles']} reconciles of "
        f"{yearly['per_reconcile']:g}); plans allow 250,000 to 1,000,000."
    )
    if tokens is None:
        yield "Tokens: none stored yet."
    elif tokens["issued_at"]:
        yield f"Tokens: last renewed {tokens['issued_at']}, {tokens['age_days']:g} days ago."
    if tokens and tokens["warning"]:
        yield f"Warning: {tokens['warning']}."
