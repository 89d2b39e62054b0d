"""`status`, `history`, `report`: what the store says of runs, writes and people."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import as_csv, linked, plain_or, print_csv, print_json, print_table, say, shown_value
from outreach_sync.cli.run import Moment
from outreach_sync.insight.explain import Links, written_document
from outreach_sync.insight.status import LARGE_PLAN, SMALL_PLAN, status_document
from outreach_sync.instants import Instant, ago, now, parse_iso, to_datetime
from outreach_sync.report import render, write_page
from outreach_sync.report.figures import gather
from outreach_sync.store import Store, holder
from outreach_sync.store.progress import Written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.config.values import Back


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
        _print_status(document, now())
    return _NEEDED if check and not document["ok"] else 0


def _print_status(document: Mapping[str, Any], at: Instant) -> None:
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
        _print_history(documents, Links.of(config))
        if len(documents) == _SHOWN:
            say(f"The last {_SHOWN} fields; --json and --csv have all.")


def _print_history(documents: Sequence[dict[str, Any]], links: Links) -> None:
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


_TO_STDOUT = "-"


@click.command()
@click.option("--out", required=True, metavar="FILE.html", help="Where to write the page; - is stdout.")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many days back, today included."
)
@invocation
def report(context: Invocation, out: str, days: int) -> None:
    """Write a self-contained page: verdict, refusals, last changes, states, skipped tasks, opt-outs, runs and outages.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; 2 config, state, or a file
    that cannot be written.
    """
    config = context.config(require_secrets=False)
    running = holder(config.state.path)
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        figures = gather(state, config, now(), days=days, scrubber=context.scrubber, holder=running)
    page = render(figures)
    if out == _TO_STDOUT:
        click.echo(page, nl=False)
        return
    write_page(page, Path(out))
    runs = f"{figures.run_count:,} run{'' if figures.run_count == 1 else 's'}"
    click.echo(context.scrubber.text(f"Wrote {out}: {runs} in the last {days} day{'' if days == 1 else 's'}."))
