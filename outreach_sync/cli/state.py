"""What is kept here: `status`, `history`, `report`, `state`, `forget`."""

from __future__ import annotations

import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli import Commands, ui
from outreach_sync.cli.run import moment
from outreach_sync.errors import StateError, UsageError
from outreach_sync.files import beside
from outreach_sync.identity import OUTREACH, WORKBOOKS, look_at, remember
from outreach_sync.insight.explain import Links, written_document
from outreach_sync.insight.status import LARGE_PLAN, SMALL_PLAN, status_document
from outreach_sync.instants import Back, Instant, ago, now, parse_iso, to_datetime
from outreach_sync.log import scrubbed
from outreach_sync.outreach.auth import TOKENS, TokenFile, app_of
from outreach_sync.outreach.client import Outreach
from outreach_sync.report import Report, render, write_page
from outreach_sync.store import Store, backup as copies, holder, is_there, run_lock
from outreach_sync.store.erasure import let_go, look_up, scrub_free_pages
from outreach_sync.store.progress import DAY_MS, Written
from outreach_sync.workbooks.client import Workbooks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.store.backup import Erased
    from outreach_sync.store.erasure import Known

_DONE = ("created", "updated", "recreated", "rejected")


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 where something needs somebody, or a run is overdue.")
@ui.as_json
@ui.invocation
def status(context: ui.Invocation, /, *, check: bool) -> int:
    """Show whether anybody is needed, the last and next run, watermarks, what waits, quota and yearly cost.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; with --check 1 where
    something needs somebody; 2 config or state.
    """
    with context.reading() as (config, store):
        document = status_document(store, config, now(), holder(config.state.path))
    context.answer(document, _status(document, now()))
    return int(check and not document["ok"])


def _status(document: Mapping[str, Any], at: Instant) -> Iterator[ui.Line]:
    def age(moment: str | None) -> str:
        return "" if moment is None else ago(at - parse_iso(moment))

    dot = ui.plain_or(" · ", ", ")
    for need in document["needs"]:
        yield ui.line(f"{ui.plain_or('✗', '!')} {need}", style="yellow")
    timing, running, last = [], document["running"], document["last_run"]
    if running is not None:
        since = f" since {age(running['since'])}" if running["since"] else ""
        timing.append(f"{running['command']} goes on{since} (process {running['pid']})")
    if last is not None:
        timing.append(f"last {last['command']} {age(last['started_at'])} ago")
    if document["next_run"] is not None:
        due = parse_iso(document["next_run"])
        day = "%H:%M" if due - at < DAY_MS else "%Y-%m-%d %H:%M"
        timing.append("next now" if due <= at else f"next {to_datetime(due):{day}} UTC")
    facts = dot.join(timing)
    yield ui.line(f"OK{dot}{facts}", style="green") if document["ok"] else facts
    if document["runs"]:
        yield ""
        columns = ("last runs", "began", "outcome", "exit", "people", "tasks")
        yield ui.table([_run_cells(run, age(run["started_at"])) for run in document["runs"]], columns)
    if document["state"] is not None:
        yield ""
        marks = document["watermarks"].items()
        rows = [(stream.replace("_", " "), mark or "none yet", age(mark)) for stream, mark in marks]
        yield ui.table(rows, ("read from Outreach", "up to", "age"))
    yield ""
    yield from _facts(document)


def _run_cells(run: Mapping[str, Any], age: str) -> tuple[object, ...]:
    counts = []
    for part in ("people", "tasks"):
        found = ((name, (run.get(part) or {}).get(name)) for name in _DONE)
        counts.append(", ".join(f"{count:,} {name}" for name, count in found if count) or "-")
    outcome = run["outcome"] or ("going on, or killed" if run["finished_at"] is None else "")
    return (run["command"], f"{age} ago", outcome, run["exit_status"], *counts)


def _facts(document: Mapping[str, Any]) -> Iterator[str]:
    linked, undecided = (ui.counted(document[name], "person", "people") for name in ("people", "undecided"))
    waiting = document["queued"] + document["parked"] + document["waiting_for_person"] - document["refused"]
    refused = f"{waiting:,} waiting, {document['refused']:,} refused ({document['parked']:,} parked)"
    yield f"{linked} linked; {refused}; {undecided} to be decided."
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


_SHOWN = 200


@click.command()
@click.option("--person", "person_id", type=ui.ID, help="Only a Person of Workbooks, by id.")
@click.option("--prospect", "prospect_id", type=ui.ID, help="Only a prospect of Outreach and its tasks, by id.")
@click.option("--task", "task_id", type=ui.ID, help="Only a task of Outreach, by id.")
@click.option("--run", "run_id", help="Only what one run wrote, by its id.")
@click.option(
    "--since", type=moment, metavar="TIME", help="Only from this time on: 2026-09-01, or a duration such as 7d."
)
@ui.as_json
@ui.as_csv
@ui.invocation
def history(
    context: ui.Invocation, /, *, person_id: int | None, since: Instant | Back | None, as_csv: bool, **of: Any
) -> None:
    """Show every field that Workbooks accepted, newest first: when, by which run, old and new value, and why.

    Reads the local state only; no names or addresses are in it. Kept for as long as state.keep_runs. Exit status: 0;
    2 config or state.
    """
    if person_id is not None:
        of |= {"workbooks_id": person_id, "record": "person"}
    if context.as_json and as_csv:
        raise click.UsageError("--csv and --json exclude each other.")
    at = Instant(now() - since.ms) if isinstance(since, Back) else since
    with context.reading() as (config, store):
        written = store.history.writes(since=at, limit=-1 if context.as_json or as_csv else _SHOWN, **of)
    documents = [written_document(one) for one in written]
    if as_csv:
        ui.print_csv(Written._fields, documents)
    else:
        context.answer(documents, _history(documents, Links.of(config)))


def _history(documents: Sequence[dict[str, Any]], links: Links) -> Iterator[ui.Line]:
    for (at, record, workbooks_id), group in groupby(documents, itemgetter("at", "record", "workbooks_id")):
        fields = list(group)
        one = fields[0]
        prospect = ui.linked(f"prospect {one['prospect_id']}", links.prospect(one["prospect_id"]))
        url = (links.person if record == "person" else links.task)(workbooks_id)
        task = "" if one["task_id"] is None else f", task {one['task_id']}"
        verb = "created" if one["action"] == "create" else "updated"
        name = ui.linked(f"{record.capitalize()} {workbooks_id}", url)
        why = f"{task}) by run {one['run_id']}: {one['because'] or 'unknown'}"
        yield f"{at}  ", name, f" {verb} (", prospect, why
        width = max(len(field["field"]) for field in fields)
        for field in fields:
            old, new = ui.shown_value(field["old"]), ui.shown_value(field["new"])
            yield f"    {field['field']:<{width}}  {old} → {new}"
    if not documents:
        yield "Nothing was written."
    if len(documents) == _SHOWN:
        yield f"The last {_SHOWN} fields; --json and --csv have all."


@click.command()
@click.option("--out", required=True, metavar="FILE.html", help="Where to write the page; - is stdout.")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many days back, today included."
)
@ui.invocation
def report(context: ui.Invocation, out: str, days: int) -> None:
    """Write a self-contained page: verdict, refusals, last changes, states, skipped tasks, opt-outs, runs and outages.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; 2 config, state, or a file
    that cannot be written.
    """
    with context.reading() as (config, store):
        figures = Report(store, config, now(), days=days, holder=holder(config.state.path))
        page = render(figures)
    if out == "-":
        click.echo(page, nl=False)
        return
    write_page(page, Path(out))
    runs = ui.counted(len(figures.runs), "run")
    click.echo(scrubbed(f"Wrote {out}: {runs} in the last {ui.counted(days, 'day')}."))


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Commands)
def state() -> None:
    """Back up, restore, verify or rebind the state."""


def _existing(config: Config) -> Path:
    path = config.state.path
    if not is_there(path):
        raise StateError(f"there is no state at {path} yet.", advice="The first run makes it.")
    return path


@state.command()
@click.argument("path", type=_FILE, required=False)
@ui.invocation
def backup(context: ui.Invocation, path: Path | None) -> None:
    """Copy the state to PATH, or beside it. A run may go on meanwhile. One copy a day is made by itself."""
    source = _existing(context.config(require_secrets=False))
    target = path or source.with_name(f"{source.name}.backup-{to_datetime(now()):%Y-%m-%dT%H%M%S.%f}")
    with Store.open(source) as store:
        (copies.back_up_elsewhere if path else copies.back_up)(store, target)
    click.echo(f"Copied to {target}.")


@state.command()
@click.argument("path", type=_FILE)
@ui.invocation
def restore(context: ui.Invocation, path: Path) -> None:
    """Put the copy at PATH in the place of the state, which is kept beside it."""
    target = context.config(require_secrets=False).state.path
    with run_lock(target, "state restore"):
        replaced = copies.restore(target, path, now=now())
    click.echo(f"Restored {path}.")
    if replaced is not None:
        click.echo(f"What was there is now {replaced}.")
        if not copies.is_whole(replaced):
            click.echo("It is damaged: whoever was forgotten since the copy was made has to be forgotten again.")
    click.echo("The next run reads everything again that happened since, and every Person before it is written.")


@state.command()
@ui.invocation
def verify(context: ui.Invocation) -> None:
    """Check that the state is whole, without changing it. Exit status 2: it is damaged."""
    path = _existing(context.config(require_secrets=False))
    if problems := copies.problems_of(path):
        advice = "Restore a backup with `state restore`."
        raise StateError(f"the state {path} is damaged: {'; '.join(problems)}.", advice=advice)
    click.echo(f"{path} is whole.")


@state.command()
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody sits at a terminal.")
@ui.invocation
def rebind(context: ui.Invocation, *, yes: bool) -> None:
    """Move the state to the Outreach and the Workbooks of the config, where it belongs to others.

    Nothing is kept that belongs to the account left behind: links, Tasks, the history of writes; where Outreach moves,
    everything that was read as well. Both services are asked first, and nothing changes in either. The next run reads
    again from sync.start, and the guard counts whom it creates. Exit status: 0; 2 nobody confirmed it; 4 a service is
    down.
    """
    config = context.config()
    path = _existing(config)
    with ui.stop_on_signals() as stop, run_lock(path, "state rebind"), Store.open(path) as store:
        asked = _puts_tokens_aside(config, yes=yes) or yes
        look = look_at(config, store, Outreach(config, stop), Workbooks(config, stop), refuse=False)
        outreach, workbooks = OUTREACH in look.wrong, WORKBOOKS in look.wrong
        for name, why in look.wrong.items():
            click.echo(scrubbed(f"The state belongs to another {name}: {why}."))
        if look.wrong:
            people, waiting = store.people.known(), sum(store.outbox.counts().values())
            read = ", and everything that was read from Outreach" if outreach else ""
            lost = f"{people:,} people, their Tasks, the history of writes, {waiting:,} waiting entries{read}"
            click.echo(f"This forgets the links to {lost}. `state backup` first keeps a way back.")
            _confirm("Move the state?", yes=asked)
        with store.transaction():
            if look.wrong:
                let_go(store.connection, outreach=outreach, workbooks=workbooks)
            remember(store, look)
        if look.wrong:
            scrub_free_pages(store.connection)
    done = " now. See what a run would do: `run --dry-run`." if look.wrong else ": nothing had to be done."
    click.echo(f"The state belongs to this Outreach and this Workbooks{done}")


def _confirm(question: str, *, yes: bool) -> None:
    if not (yes or sys.stdin.isatty()):
        raise UsageError("nobody sits at a terminal to confirm this.", advice="Add --yes.")
    if not (yes or click.confirm(question, err=True)):
        raise UsageError("nothing was changed.")


def _puts_tokens_aside(config: Config, *, yes: bool) -> bool:
    file = TokenFile(beside(config.state.path, TOKENS))
    stored = file.read()
    if stored is None or stored.app in {"", app_of(config).name}:
        return False
    aside = file.path.with_name(f"{file.path.name}.replaced")
    click.echo(f"The tokens in {file.path} belong to another app than the config's: they will be kept as {aside}.")
    _confirm("Move the state?", yes=yes)
    try:
        file.path.replace(aside)
    except OSError as failure:
        said = f"{file.path} cannot be put aside ({failure.strerror})."
        raise StateError(said, advice="Run this as its owner.") from None
    return True


@click.command()
@click.option("--prospect", "prospect_id", type=ui.ID, help="The prospect's id in Outreach.")
@click.option("--person", "person_id", type=ui.ID, help="The Person's id in Workbooks.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody sits at a terminal.")
@click.option("--dry-run", is_flag=True, help="Show whom it would be, and change nothing.")
@click.option("--unknown", is_flag=True, help="Note the id even if nobody here has it.")
@ui.invocation
def forget(
    context: ui.Invocation, prospect_id: int | None, person_id: int | None, *, yes: bool, dry_run: bool, unknown: bool
) -> None:
    """Erase a person's data from the local database, its queue and its backups.

    Only ids and a keyed hash of each address are kept, so that they are never created again. Nothing is changed in
    Outreach or Workbooks.
    """
    if (prospect_id is None) == (person_id is None):
        raise click.UsageError("Give either --prospect ID or --person ID.")
    with ui.changing(context.config(require_secrets=False), "forget", in_vain=dry_run) as store:
        someone = look_up(store.connection, prospect_id=prospect_id, person_id=person_id)
        if not (someone.known or unknown):
            advice = "Check the id, or add --unknown to have it noted all the same."
            raise UsageError(
                f"{_ids(someone)} is not known here, or was erased before: there is nothing to erase.", advice=advice
            )
        who = ", ".join([*someone.names, *someone.addresses])
        kept = f"{ui.counted(someone.states, 'sequence state')}, {ui.counted(someone.tasks, 'task')}"
        queued = ui.counted(someone.queued, "entry of the queue", "entries of the queue")
        stored = f"Stored here: {kept}, {queued}, {ui.counted(someone.writes, 'line')} of history."
        ui.show([f"{_ids(someone)}{f': {who}' if who else ''}", stored])
        if dry_run:
            click.echo("Nothing was changed (--dry-run).")
            return
        _confirm("Erase them? This cannot be undone.", yes=yes)
        erased = copies.forget(store, someone)
    ui.show(_what_became(erased))


def _ids(someone: Known) -> str:
    ids = [f"prospect {one}" for one in sorted(someone.whom.prospects)]
    return ", ".join([*ids, *(f"Person {one}" for one in sorted(someone.whom.people))])


def _what_became(erased: Erased) -> Iterator[str]:
    known = "erased" if erased.known.known else "was not known here; noted all the same"
    yield f"{_ids(erased.known)}: {known}. They will not be stored or created again."
    if erased.copies:
        yield f"Backups rewritten without them: {len(erased.copies)}."
    yield from (f"Removed, since it could not be rewritten: {copy}" for copy in erased.removed)
    for copy in erased.unreachable:
        yield f"A backup was made at {copy} and is not there now: if it was moved, delete it."
    logs = "Logs went to stderr and are kept by whatever collects them: they name people by these ids"
    reasons = "a reason why Workbooks refused something is in its own words"
    yield f"{logs}, but {reasons}. Outreach and Workbooks were left as they are."
