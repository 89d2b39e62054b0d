"""`status`: whether anybody is needed, and how things stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import plain_or, print_json, print_table, say
from outreach_sync.insight.cost import LARGE_PLAN, SMALL_PLAN
from outreach_sync.insight.status import status_document
from outreach_sync.instants import Instant, ago, now, parse_iso, to_datetime
from outreach_sync.store import Store
from outreach_sync.store.lock import holder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEEDED = 1
_DAY_MS = 86_400_000
_DONE = ("created", "updated", "recreated", "rejected")


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 where something needs somebody, or a run is overdue.")
@as_json
@invocation
def status(context: Invocation, check: bool, as_json: bool) -> int:  # noqa: FBT001 - click's form
    """Show whether anybody is needed, the last and next run, watermarks, what waits, quota and yearly cost.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; with --check 1 where
    something needs somebody; 2 config or state.
    """
    config = context.config(require_secrets=False)
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        document = status_document(state, config, now(), holder(config.state.path))
    if as_json:
        print_json(document)
    else:
        _print(document, now())
    return _NEEDED if check and not document["ok"] else 0


def _print(document: Mapping[str, Any], at: Instant) -> None:
    _print_verdict(document, at)
    if document["runs"]:
        say()
        print_table(
            [_run_cells(run, at) for run in document["runs"]],
            ("last runs", "began", "outcome", "exit", "people", "tasks"),
        )
    if document["state"] is not None:
        say()
        marks = document["watermarks"].items()
        print_table(
            [(stream.replace("_", " "), mark or "none yet", _age(mark, at)) for stream, mark in marks],
            ("read from Outreach", "up to", "age"),
        )
    say()
    for line in _facts(document):
        say(line)


def _print_verdict(document: Mapping[str, Any], at: Instant) -> None:
    """Print the first line: OK, or what needs somebody; then the rest of that."""
    dot = plain_or(" · ", ", ")
    facts = dot.join(_timing(document, at))
    if document["ok"]:
        say(f"OK{dot}{facts}", style="green")
        return
    for need in document["needs"]:
        say(f"{plain_or('✗', '!')} {need}", style="yellow")
    say(facts)


def _timing(document: Mapping[str, Any], at: Instant) -> Iterator[str]:
    running, last = document["running"], document["last_run"]
    if running is not None:
        since = f" since {_age(running['since'], at)}" if running["since"] else ""
        yield f"{running['command']} goes on{since} (process {running['pid']})"
    if last is not None:
        yield f"last {last['command']} {_age(last['started_at'], at)} ago"
    if document["next_run"] is not None:
        moment = parse_iso(document["next_run"])
        later = moment - at
        day = "%H:%M" if later < _DAY_MS else "%Y-%m-%d %H:%M"
        yield "next now" if later <= 0 else f"next {to_datetime(moment):{day}} UTC"


def _age(moment: str | None, at: Instant) -> str:
    return "" if moment is None else ago(at - parse_iso(moment))


def _run_cells(run: Mapping[str, Any], at: Instant) -> tuple[str, ...]:
    people, tasks = run.get("people") or {}, run.get("tasks") or {}
    outcome = run["outcome"] or ("going on, or killed" if run["finished_at"] is None else "")
    ended = "" if run["exit_status"] is None else str(run["exit_status"])
    return (
        run["command"],
        f"{_age(run['started_at'], at)} ago",
        outcome,
        ended,
        ", ".join(f"{people[name]:,} {name}" for name in _DONE if people.get(name)) or "-",
        ", ".join(f"{tasks[name]:,} {name}" for name in ("created", "rejected") if tasks.get(name)) or "-",
    )


def _facts(document: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{document['people']:,} linked people; {document['queued']:,} queued, {document['parked']:,} parked, "
        f"{document['waiting_for_person']:,} tasks wait for a Person, {document['undecided']:,} people to be decided."
    )
    quota, yearly, tokens = document["quota"], document["yearly"], document["tokens"]
    if quota is not None:
        until = f", until {quota['resets_at']}" if quota["resets_at"] else ""
        limit = f" of {quota['limit']:,}" if quota["limit"] else ""
        yield f"Outreach's hourly quota: {quota['remaining']:,}{limit} left when last told{until}."
    basis = "measured" if yearly["measured"] else "estimated"
    yield (
        f"Requests to Outreach a year by this schedule: about {yearly['requests']:,} ({basis}: {yearly['cycles']:,} "
        f"cycles of {yearly['per_cycle']:g}, {yearly['reconciles']:,} reconciles of {yearly['per_reconcile']:g}); "
        f"plans allow {SMALL_PLAN:,} to {LARGE_PLAN:,}."
    )
    if tokens is None:
        yield "Tokens: none stored yet."
    elif tokens["issued_at"]:
        yield f"Tokens: last renewed {tokens['issued_at']}, {tokens['age_days']:g} days ago."
