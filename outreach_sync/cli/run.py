"""`run`, `reconcile`, `schedule`: cycles, by hand and on a schedule."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from outreach_sync.cli.context import (
    ID,
    Invocation,
    as_csv,
    as_json,
    invocation,
    linked,
    plain_or,
    print_csv,
    print_json,
    print_table,
    safe,
    say,
    say_error,
    shown_value,
    stop_on_signals,
)  # fmt: skip
from outreach_sync.errors import GuardStoppedError, InterruptedByError, StateError
from outreach_sync.insight.explain import Links
from outreach_sync.insight.status import last_begun, overdue_runs
from outreach_sync.instants import Back, Instant, OutOfReachError, now, parse_since
from outreach_sync.reconcile import reconcile as repair
from outreach_sync.records import Stream
from outreach_sync.rules.person import ROLES
from outreach_sync.run import Options, perform
from outreach_sync.schedule import RECONCILE, Scheduler, ServiceManager
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.run import Run, RunSummary


_STREAMS = [stream.value for stream in Stream]
_DOING = {
    **{stream.value: f"{stream.value.replace('_', ' ')} read" for stream in Stream},
    "planned": "people decided",
    "written": "records written",
}
_DONE = (
    ("people", "updated", "updated", "to update"),
    ("people", "created", "created", "to create"),
    ("people", "recreated", "created again", "to create again"),
    ("tasks", "created", "tasks cancelled", "tasks to cancel"),
    ("people", "skipped", "without a Person, left out", "without a Person, left out"),
)
"""What the line says: part and count of the summary, what was done, and what a dry run would do."""


class Moment(click.ParamType[Instant | Back]):
    """A time: ISO 8601 (UTC unless it has a zone), or a duration back from what Outreach's clock reads."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Instant | Back:
        """Parse it."""
        try:
            return parse_since(value)
        except OutOfReachError as error:
            said = f"{error}; --full reads from sync.start"
        except ValueError:
            said = "is not a time: write 2026-09-01, 2026-09-01T10:00:00Z, or a duration such as 7d"
        raise click.BadParameter(f"'{value}' {said}", ctx, param)


quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but how it ended.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Show the log as it goes on.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Read, show every change, and write nothing but a rotated token.")
@click.option("--full", is_flag=True, help="Ignore the watermarks: read again from sync.start.")
@click.option("--since", type=Moment(), help="Read from this time instead of the watermarks.")
@click.option("--stream", "streams", multiple=True, type=click.Choice(_STREAMS), help="Only this stream; repeatable.")
@click.option("--prospect", "prospects", multiple=True, type=ID, help="Write only this person; repeatable.")
@click.option("--limit", type=click.IntRange(1), help="Write only so many people: a pilot. The rest stays to be done.")
@click.option("--allow-bulk", is_flag=True, help="Lift the guard against mass changes, this once.")
@as_json
@as_csv
@quiet
@verbose
@invocation
def run(
    context: Invocation,
    /,
    *,
    since: Instant | Back | None,
    streams: tuple[str, ...],
    prospects: tuple[int, ...],
    limit: int | None,
    **shown: bool,
) -> int:
    """Run one cycle: read what changed in Outreach since the watermark, write what differs to Workbooks.

    Exit status: 0 done; 1 some records were refused; 2 config; 3 not authenticated or not allowed; 4 a service was
    unavailable (what was read is kept); 5 another run holds the lock; 6 the guard stopped a mass change.
    """
    if shown["full"] and since is not None:
        raise click.UsageError("--full and --since exclude each other: --full reads from sync.start.")
    config = context.config()
    unread = [stream for stream in streams if stream not in config.sync.streams]
    if unread:
        raise click.UsageError(f"--stream {unread[0]}: sync.streams in the config leaves this stream out.")
    dry_run, full, allow_bulk = (shown[name] for name in ("dry_run", "full", "allow_bulk"))
    options = Options("run", dry_run, full, since, streams, allow_bulk, prospects, limit)
    return _carry_out(context, config, options, None, shown)


@click.command()
@click.option("--dry-run", is_flag=True, help="Compare, show every repair, and write nothing but a rotated token.")
@click.option("--allow-bulk", is_flag=True, help="Lift the guard against mass changes, this once.")
@as_json
@as_csv
@quiet
@verbose
@invocation
def reconcile(context: Invocation, /, **shown: bool) -> int:
    """Compare everything, and repair the difference.

    Finds sequence states that no longer exist in Outreach, people and tasks that were edited, deleted or merged in
    Workbooks, and people who had no match so far. An interrupted walk through Outreach goes on the next time. Exit
    status as for `run`; 6: it would change too much, and nothing of what it found was kept.
    """
    allow_bulk = shown["allow_bulk"]
    options = Options("reconcile", shown["dry_run"], allow_bulk=allow_bulk)
    return _carry_out(context, context.config(), options, lambda one: repair(one, allow_bulk=allow_bulk), shown)


def _carry_out(
    context: Invocation,
    config: Config,
    options: Options,
    work: Callable[[Run], None] | None,
    shown: Mapping[str, bool],
) -> int:
    """Do it and show how it ended; return the exit status.

    Raises:
        UsageError: the flags of what is printed make no sense together.
    """
    if shown["as_csv"] and (shown["as_json"] or not options.dry_run):
        raise click.UsageError("--csv lists the changes of a --dry-run, and --json prints them in another form.")
    began, quiet = time.monotonic(), shown["quiet"]
    with stop_on_signals() as stop, _progress(quiet=quiet) as on_progress:
        log = context.start_log(config, _level(context, config, shown))
        ended = perform(config, options, stop, log, work=work, on_progress=on_progress)
    if shown["as_json"]:
        print_json(ended.document)
    elif shown["as_csv"]:
        print_csv(_CSV, _csv_rows(ended))
    else:
        if options.dry_run and not quiet:
            _print_review(ended, config)
        for warning in ended.warnings:
            say(f"! {warning}", style="yellow")
        failed = ended.error is not None
        mark = plain_or("✗", "FAILED:") if failed else plain_or("✓", "OK:")
        parts = plain_or(" · ", ", ").join((*_parts(ended), f"{time.monotonic() - began:.1f} s"))
        say(f"{mark} ", parts, style={0: "green", 1: "yellow"}.get(ended.exit_status, "red"))
    return ended.exit_status if ended.error is None else say_error(ended.error)


def _level(context: Invocation, config: Config, shown: Mapping[str, bool]) -> str | None:
    """Say what is logged: on a terminal, where the last line sums it up, only what is wrong; None: as configured."""
    if shown["quiet"]:
        return "error"
    if shown["verbose"]:
        return None if config.logging.level == "debug" else "info"
    readable = (context.log_format or config.logging.format) != "json" and sys.stderr.isatty()
    return "warning" if readable else None


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """Show what was done so far on a terminal, above the line that says how it ended; elsewhere the log says it."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:>9,}"), TextColumn("{task.description}"))
    hidden = quiet or not sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=hidden) as bars:
        rows: dict[str, Any] = {}

        def advance(what: str, count: int) -> None:
            if what not in rows:
                rows[what] = bars.add_task(_DOING.get(what, what), total=None)
            bars.advance(rows[what], count)

        yield advance


def _parts(ended: RunSummary) -> Iterator[str]:
    """Say how it ended, piece by piece."""
    if ended.dry_run:
        yield "dry run, nothing was written"
    match ended.error:
        case None:
            pass
        case GuardStoppedError():
            yield "stopped by the guard"
        case InterruptedByError():
            yield "stopped"
        case _:
            yield "not complete"
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
        yield f"{ended.failing:,} {needs} you {plain_or('→', '->')} outreach-sync failures list"


@click.command()
@invocation
def schedule(context: Invocation) -> int:
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

    with stop_on_signals(forced_status=0) as stop, hangups() as asked:
        scheduler = Scheduler(config, begin, stop=stop, log=log, manager=ServiceManager())
        scheduler.serve(asked, read_config, reconcile_first=_reconcile_is_overdue(config))
    return 0


@contextmanager
def hangups() -> Iterator[deque[int]]:
    """Collect the SIGHUPs of the block: each asks to read the config again."""
    asked: deque[int] = deque()
    before = signal.signal(signal.SIGHUP, lambda number, _frame: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGHUP, before)


def _reconcile_is_overdue(config: Config) -> bool:
    """Say whether a reconcile fell due while no scheduler ran."""
    try:
        store = Store.open_to_read(config.state.path)
    except StateError:
        return False  # the first run says what is wrong with it, or brings it up to date
    if store is None:
        return False
    with store:
        return RECONCILE in overdue_runs(config, last_begun(store, now()), now())


# -- the review of a dry run

_CSV = ("record", "action", "prospect_id", "task_id", "workbooks_id", "name", "field", "old", "new")
_NEW = "(new Person)"
_SHOWN_REFUSALS = 25
_INDENT = "    "


def _csv_rows(ended: RunSummary) -> Iterator[Mapping[str, Any]]:
    for one in ended.changes:
        for field, (old, new) in one["fields"].items():
            yield {**one, "name": ended.names.get(one["prospect_id"], ""), "field": field, "old": old, "new": new}


def _print_review(ended: RunSummary, config: Config) -> None:
    """Print what a dry run found; the fields go by the titles that people see in Workbooks."""
    links = Links.of(config)
    people = [one for one in ended.changes if one["record"] == "person"]
    tasks = [one for one in ended.changes if one["record"] == "task"]
    if ended.guard_would_stop:
        say("The guard would stop this before its first write; `--allow-bulk` would let it go on.", style="bold red")
    _print_matrix(people, tasks, config)
    columns = config.workbooks.fields.model_dump()
    titles = {columns[role.name]: role.title for role in ROLES if columns[role.name]}

    def name(one: Mapping[str, Any]) -> str:
        return ended.names.get(one["prospect_id"], "")

    for one in sorted(people, key=lambda one: (name(one).casefold(), one["prospect_id"] or 0)):
        person = one["workbooks_id"]
        there = f"  {_NEW}" if person is None else linked(f"  Person {person}", links.person(person))
        again = " (created again)" if person is not None and one["action"] == "create" else ""
        say(*_whose(one, name(one), links), there, again)
        _print_fields(one["fields"], titles)
    for one in tasks:
        new = {field: values[1] for field, values in one["fields"].items()}
        due = f", due {new['due_date']}" if new.get("due_date") else ""
        task = f"  task {one['task_id']}: {new.get('activity_status')} Task '{new.get('name')}'{due}"
        say(*_whose(one, name(one), links), task)
    _print_refused(ended.refused)


def _print_matrix(people: Sequence[Mapping[str, Any]], tasks: Sequence[Any], config: Config) -> None:
    """Print how many go from which Sequence State to which, and what else is counted."""
    state, no_email = config.workbooks.fields.sequence_state, config.workbooks.fields.no_email
    moves: Counter[tuple[str, str]] = Counter()
    for one in people:
        old, new = one["fields"].get(state, ("", ""))
        before = _NEW if one["workbooks_id"] is None else shown_value(old)
        moves[(before, shown_value(new)) if state in one["fields"] else ("(other fields only)", "")] += 1
    if moves:
        ordered = sorted(moves.most_common(), key=lambda move: move[0] == ("(other fields only)", ""))
        print_table(
            [(*move, f"{count:,}") for move, count in ordered], ("Sequence State from", "to", "people"), right=(2,)
        )
    opt_outs = sum(one["fields"].get(no_email, [None, False])[1] is True for one in people)
    created = sum(one["action"] == "create" for one in people)
    say(
        f"{len(people):,} people would change: {opt_outs:,} new opt-outs (No Email {plain_or('→', '->')} true), "
        f"{created:,} new People. {len(tasks):,} Tasks would be made as {config.sync.tasks.status}."
    )
    say()


def _whose(one: Mapping[str, Any], name: str, links: Links) -> tuple[Text | str, ...]:
    prospect = linked(f"prospect {one['prospect_id']}", links.prospect(one["prospect_id"]))
    return Text(safe(name or "(no name)"), style="bold"), "  ", prospect


def _print_fields(fields: Mapping[str, Sequence[Any]], titles: Mapping[str, str]) -> None:
    width = max(len(titles.get(field, field)) for field in fields)
    for field in sorted(fields, key=lambda field: field not in titles):
        old, new = map(shown_value, fields[field])
        say(f"{_INDENT}{titles.get(field, field):<{width}}  {old} {plain_or('→', '->')} {new}")


def _print_refused(refused: Sequence[Mapping[str, Any]]) -> None:
    """Show what would be refused: a dry run keeps no list."""
    if refused:
        say()
        say(f"Would be refused ({len(refused):,}); a dry run keeps no list, `failures list` has it after a run:")
    for one in refused[:_SHOWN_REFUSALS]:
        source = f"prospect {one['prospect_id']}" if one["task_id"] is None else f"task {one['task_id']}"
        say(f"{_INDENT}{source}: {one['reason']}")
    if len(refused) > _SHOWN_REFUSALS:
        say(f"{_INDENT}and {len(refused) - _SHOWN_REFUSALS:,} more; --json has all.")
    say()
