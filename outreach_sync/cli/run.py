"""`run`, `reconcile`, `schedule`: cycles, by hand and on a schedule."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from outreach_sync.cli import ui
from outreach_sync.errors import GuardStoppedError, InterruptedByError, StateError
from outreach_sync.insight.explain import Links
from outreach_sync.insight.status import last_begun, overdue_runs
from outreach_sync.instants import Back, Instant, now, parse_since
from outreach_sync.reconcile import reconcile as repair
from outreach_sync.records import Stream
from outreach_sync.rules.person import ROLES
from outreach_sync.run import Options, perform
from outreach_sync.schedule import RECONCILE, Scheduler, ServiceManager
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.text import Text

    from outreach_sync.config.model import Config
    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.run import Run, RunSummary


_STREAMS = [stream.value for stream in Stream]
_DOING = {
    **{stream: f"{stream.replace('_', ' ')} read" for stream in _STREAMS},
    "planned": "people decided",
    "written": "records written",
}
_CUT_SHORT = {GuardStoppedError: "stopped by the guard", InterruptedByError: "stopped"}
_DONE = (  # What the line says: part and count of the summary, what was done, and what a dry run would do.
    ("people", "updated", "updated", "to update"),
    ("people", "created", "created", "to create"),
    ("people", "recreated", "created again", "to create again"),
    ("tasks", "created", "tasks cancelled", "tasks to cancel"),
    ("people", "skipped", "left alone", "left alone"),
)


def moment(text: str) -> Instant | Back:
    """Parse an option's time: ISO 8601 (UTC unless it has a zone), or a duration back by Outreach's clock."""
    try:
        return parse_since(text)
    except ValueError as error:
        said = f"'{text}' {error}: write 2026-09-01, 2026-09-01T10:00:00Z, or a duration such as 7d"
        raise click.BadParameter(said) from error


_allow_bulk = click.option("--allow-bulk", is_flag=True, help="Lift the guard against mass changes, this once.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but how it ended.")
_verbose = click.option("-v", "--verbose", is_flag=True, help="Show the log as it goes on.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Read, show every change, and write nothing but a rotated token.")
@click.option("--full", is_flag=True, help="Ignore the watermarks: read again from sync.start.")
@click.option("--since", type=moment, metavar="TIME", help="Read from this time instead of the watermarks.")
@click.option("--stream", "streams", multiple=True, type=click.Choice(_STREAMS), help="Only this stream; repeatable.")
@click.option("--prospect", "prospects", multiple=True, type=ui.ID, help="Write only this person; repeatable.")
@click.option("--limit", type=click.IntRange(1), help="Write only so many people: a pilot. The rest stays to be done.")
@_allow_bulk
@ui.as_json
@ui.as_csv
@_quiet
@_verbose
@ui.invocation
def run(context: ui.Invocation, /, *, as_csv: bool, quiet: bool, verbose: bool, **asked: Any) -> int:
    """Run one cycle: read what changed in Outreach since the watermark, write what differs to Workbooks.

    Exit status: 0 done; 1 some records were refused; 2 config; 3 not authenticated or not allowed; 4 a service was
    unavailable (what was read is kept); 5 another run holds the lock; 6 the guard stopped a mass change.
    """
    options = Options("run", **asked)
    if options.full and options.since is not None:
        raise click.UsageError("--full and --since exclude each other: --full reads from sync.start.")
    config = context.config()
    unread = [stream for stream in options.streams if stream not in config.sync.streams]
    if unread:
        raise click.UsageError(f"--stream {unread[0]}: sync.streams in the config leaves this stream out.")
    return _carry_out(context, config, options, None, as_csv=as_csv, quiet=quiet, verbose=verbose)


@click.command()
@click.option("--dry-run", is_flag=True, help="Compare, show every repair, and write nothing but a rotated token.")
@_allow_bulk
@ui.as_json
@ui.as_csv
@_quiet
@_verbose
@ui.invocation
def reconcile(context: ui.Invocation, /, *, dry_run: bool, allow_bulk: bool, **shown: bool) -> int:
    """Compare everything, and repair the difference.

    Finds sequence states that no longer exist in Outreach, people and tasks that were edited, deleted or merged in
    Workbooks, and people who had no match so far. An interrupted walk through Outreach goes on the next time. Exit
    status as for `run`; 6: it would change too much, and nothing of what it found was kept.
    """
    options = Options("reconcile", dry_run, allow_bulk=allow_bulk)
    return _carry_out(context, context.config(), options, lambda one: repair(one, allow_bulk=allow_bulk), **shown)


def _carry_out(
    context: ui.Invocation,
    config: Config,
    options: Options,
    work: Callable[[Run], None] | None,
    *,
    as_csv: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Do it and show how it ended; on a terminal, where the last line sums it up, only what is wrong is logged."""
    if as_csv and (context.as_json or not options.dry_run):
        raise click.UsageError("--csv lists the changes of a --dry-run, and --json prints them in another form.")
    level = "warning" if (context.log_format or config.logging.format) != "json" and sys.stderr.isatty() else None
    if verbose:
        level = None if config.logging.level == "debug" else "info"
    began = time.monotonic()
    texts = (TextColumn("{task.completed:>9,}"), TextColumn("{task.description}"))
    console = Console(stderr=True)
    hidden = quiet or not sys.stderr.isatty() or console.is_dumb_terminal
    bars = Progress(SpinnerColumn(), *texts, TimeElapsedColumn(), console=console, transient=True, disable=hidden)
    with ui.stop_on_signals() as stop, bars:
        log = context.start_log(config, "error" if quiet else level)
        ended = perform(config, options, stop, log, work=work, on_progress=partial(_advance, bars, {}))
    if as_csv:
        rows = (
            {**one, "name": ended.names.get(one["prospect_id"], ""), "field": field, "old": old, "new": new}
            for one in ended.changes
            for field, (old, new) in one["fields"].items()
        )
        ui.print_csv(_CSV, rows)
    elif context.as_json:
        ui.print_json(ended.document)
    else:
        if options.dry_run and not quiet:
            ui.show(_review(ended, config))
        ui.show(ui.line(f"! {warning}", style="yellow") for warning in ended.warnings)
        parts = ui.plain_or(" · ", ", ").join((*_parts(ended), f"{time.monotonic() - began:.1f} s"))
        mark = ui.plain_or("✓", "OK:") if ended.error is None else ui.plain_or("✗", "FAILED:")
        ui.show([ui.line(f"{mark} {parts}", style={0: "green", 1: "yellow"}.get(ended.exit_status, "red"))])
    if ended.error is not None:
        raise ended.error
    return ended.exit_status


def _advance(bars: Progress, rows: dict[str, TaskID], what: str, count: int) -> None:
    if what not in rows:
        rows[what] = bars.add_task(_DOING.get(what, what), total=None)
    bars.advance(rows[what], count)


def _parts(ended: RunSummary) -> Iterator[str]:
    if ended.dry_run:
        yield "dry run, nothing was written"
    if ended.error is not None:
        yield _CUT_SHORT.get(type(ended.error), "not complete")
    done = [
        f"{count:,} {words.replace('tasks', 'task') if count == 1 else words}"
        for part, key, did, would in _DONE
        if (count := getattr(getattr(ended, part), key)) and (words := would if ended.dry_run else did)
    ]
    yield from done or (["nothing to do"] if ended.error is None else [])
    waiting = ended.people.queued + ended.tasks.queued - ended.failing
    if waiting > 0 and not ended.dry_run:
        yield f"{waiting:,} waiting"
    if ended.failing and ended.dry_run:
        yield f"{ended.failing:,} would need you"
    elif ended.failing:
        needs = "needs" if ended.failing == 1 else "need"
        yield f"{ended.failing:,} {needs} you {ui.plain_or('→', '->')} outreach-sync failures list"


@click.command()
@ui.invocation
def schedule(context: ui.Invocation) -> int:
    """Run on a schedule until stopped.

    The first cycle starts at once; the rest follow `schedule` in the config, in UTC. SIGTERM and SIGINT finish the
    batch in flight and end with 0, within 30 s. SIGHUP reads the config again; if it is wrong, the old one stays in
    force. No error of a cycle ends it. Reports to systemd when systemd started it.
    """
    config = context.config()
    log = context.start_log(config)

    def read_config() -> Config:
        renewed = context.config()
        context.start_log(renewed)
        return renewed

    def begin(config: Config, command: str) -> OutreachSyncError | None:
        return perform(config, Options(command), stop, log, work=repair if command == RECONCILE else None).error

    hangups: deque[int] = deque()
    with ui.stop_on_signals(hangups) as stop:
        overdue: Mapping[str, Instant] = {}
        with suppress(StateError):  # the first run says what is wrong with it, or brings it up to date
            if (store := Store.open_to_read(config.state.path)) is not None:
                with store:
                    overdue = overdue_runs(config, last_begun(store, now()), now())
        scheduler = Scheduler(config, begin, stop=stop, log=log, manager=ServiceManager())
        scheduler.serve(hangups, read_config, reconcile_first=RECONCILE in overdue)
    return 0


_CSV = ("record", "action", "prospect_id", "task_id", "workbooks_id", "name", "field", "old", "new")
_NEW = "(new Person)"
_OTHER = ("(other fields only)", "")
_SHOWN_REFUSALS = 25
_INDENT = "    "


def _review(ended: RunSummary, config: Config) -> Iterator[ui.Line]:
    links, arrow = Links.of(config), ui.plain_or("→", "->")
    people = [one for one in ended.changes if one["record"] == "person"]
    tasks = [one for one in ended.changes if one["record"] == "task"]
    if ended.guard_would_stop:
        said = "The guard would stop this before its first write; `--allow-bulk` would let it go on."
        yield ui.line(said, style="bold red")
    yield from _in_numbers(people, tasks, config)
    columns = config.workbooks.fields.model_dump()
    titles = {columns[role.name]: role.title for role in ROLES if columns[role.name]}

    def whose(one: Mapping[str, Any]) -> tuple[Text | str, ...]:
        prospect = ui.linked(f"prospect {one['prospect_id']}", links.prospect(one["prospect_id"]))
        return ui.line(ended.names.get(one["prospect_id"]) or "(no name)", style="bold"), "  ", prospect

    people.sort(key=lambda one: (ended.names.get(one["prospect_id"], "").casefold(), one["prospect_id"] or 0))
    for one in people:
        person, fields = one["workbooks_id"], one["fields"]
        there = f"  {_NEW}" if person is None else ui.linked(f"  Person {person}", links.person(person))
        yield (*whose(one), there, " (created again)" if person is not None and one["action"] == "create" else "")
        width = max(len(titles.get(field, field)) for field in fields)
        for field in sorted(fields, key=lambda field: field not in titles):
            old, new = map(ui.shown_value, fields[field])
            yield f"{_INDENT}{titles.get(field, field):<{width}}  {old} {arrow} {new}"
    for one in tasks:
        made = {field: values[1] for field, values in one["fields"].items()}
        due = f", due {made['due_date']}" if made.get("due_date") else ""
        yield (*whose(one), f"  task {one['task_id']}: {made.get('activity_status')} Task '{made.get('name')}'{due}")
    if ended.refused:
        yield ""
        head = f"Refused, now or by an earlier run ({len(ended.refused):,})"
        yield f"{head}; a dry run keeps no list, `failures list` has it after a run:"
    for one in ended.refused[:_SHOWN_REFUSALS]:
        source = f"prospect {one['prospect_id']}" if one["task_id"] is None else f"task {one['task_id']}"
        yield f"{_INDENT}{source}: {one['reason']}"
    if len(ended.refused) > _SHOWN_REFUSALS:
        yield f"{_INDENT}and {len(ended.refused) - _SHOWN_REFUSALS:,} more; --json has all."
    yield ""


def _in_numbers(people: Sequence[Mapping[str, Any]], tasks: Sequence[Any], config: Config) -> Iterator[ui.Line]:
    state, no_email = config.workbooks.fields.sequence_state, config.workbooks.fields.no_email
    moves: Counter[tuple[str, str]] = Counter()
    for one in people:
        old, new = map(ui.shown_value, one["fields"].get(state, ("", "")))
        move = (_NEW if one["workbooks_id"] is None else old, new)
        moves[move if state in one["fields"] else _OTHER] += 1
    if moves:
        ordered = sorted(moves.most_common(), key=lambda move: move[0] == _OTHER)
        rows = [(*move, f"{count:,}") for move, count in ordered]
        yield ui.table(rows, ("Sequence State from", "to", "people"), right=(2,))
    opt_outs = sum(one["fields"].get(no_email, [None, False])[1] is True for one in people)
    created = sum(one["action"] == "create" for one in people)
    opted_out = f"{ui.counted(opt_outs, 'new opt-out')} (No Email {ui.plain_or('→', '->')} true)"
    made = f"{ui.counted(created, 'new Person', 'new People')}. {ui.counted(len(tasks), 'Task')} would be made"
    changed = ui.counted(len(people), "person", "people")
    yield f"{changed} would change: {opted_out}, {made} as {config.sync.tasks.status}."
    yield ""
