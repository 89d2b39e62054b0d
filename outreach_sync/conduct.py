"""Conduct: one run as a whole, around the cycle: lock, state, record, and how it ended."""

from __future__ import annotations

import json
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import assembly, instants
from outreach_sync.cycle import run_cycle
from outreach_sync.errors import InterruptedByError, OutreachSyncError, StateError
from outreach_sync.instants import Instant
from outreach_sync.log import masked
from outreach_sync.monitoring import Watch
from outreach_sync.outreach.walk import Outreach
from outreach_sync.pipeline.run import Pilot, Run
from outreach_sync.pipeline.tally import Tally
from outreach_sync.records import Stream
from outreach_sync.state import State
from outreach_sync.state.backup import back_up_daily
from outreach_sync.state.lock import run_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.config.values import Back
    from outreach_sync.http import RetryNote, StopSignal
    from outreach_sync.log import Log

QUOTA = "outreach_quota"
_REFUSED = 1


class Options(NamedTuple):
    """What a run was asked for on the command line."""

    command: str = "run"
    dry_run: bool = False
    full: bool = False
    since: Instant | Back | None = None
    streams: tuple[str, ...] = ()
    allow_bulk: bool = False
    prospects: tuple[int, ...] = ()
    limit: int | None = None


class Ended(NamedTuple):
    """How a run ended: its document (`run --json`), its exit status, and the error that ended it, if one did.

    `refused`: what `failures list` lists now (after a dry run, what it would list). `names`: of a dry run, the names of
    the prospects that would change, by id.
    """

    document: Mapping[str, Any]
    exit_status: int
    error: OutreachSyncError | None
    refused: int = 0
    names: Mapping[int, str] = {}


def conduct(
    config: Config,
    options: Options,
    stop: StopSignal,
    log: Log,
    *,
    work: Callable[[Run], None] | None = None,
    on_progress: Callable[[str, int], None] = lambda _what, _count: None,
) -> Ended:
    """Do one run under the lock and record it; a dry run works on a copy, takes no lock and leaves nothing behind.

    Args:
        config: the config.
        options: what was asked for.
        stop: the request to stop.
        log: where it says what it does.
        work: what to do instead of a cycle.
        on_progress: told what was done, and how many.

    Raises:
        LockHeldError: another run goes on.
        StateError: the state cannot be opened.
        ConfigError: a credential is missing.
    """
    path = config.state.path
    opened = State.open_scratch if options.dry_run else State.open
    lock = nullcontext() if options.dry_run else run_lock(path, options.command)
    work = work or (lambda run: run_cycle(run, allow_bulk=options.allow_bulk))
    with lock, opened(path) as state, Watch(config, log) as watch:
        log = watch.log
        tally = Tally(uuid.uuid4().hex[:12], instants.now(), options.dry_run)
        run = _run(config, state, tally, stop, log, options=options)
        run.on_progress = on_progress
        log.info("run_started", run=tally.run_id, command=options.command, dry_run=options.dry_run)
        if not options.dry_run:
            watch.begin(tally.run_id)
            work = _noted_down(options.command, work)
        ended = _ended(run, _attempt(run, work, log))
        if not options.dry_run:
            ended = _recorded(config, run, ended, log)
        log.info("run_finished", exit_status=ended.exit_status, **_canonical(ended.document))
        watch.end(ended, state)
        return ended


def _noted_down(command: str, work: Callable[[Run], None]) -> Callable[[Run], None]:
    """Have a run recorded before it does anything: one that is killed is seen."""

    def begin_and_work(run: Run) -> None:
        with run.state.transaction():
            run.state.runs.begin(run.id, command, run.tally.started_at)
        _back_up(run.state, run.log)
        work(run)

    return begin_and_work


def _back_up(state: State, log: Log) -> None:
    """Make today's copy of the state, unless it is there; a run goes on without."""
    try:
        copy = back_up_daily(state, instants.now())
    except StateError as error:
        log.warning("no_backup", why=str(error))
        return
    if copy is not None:
        log.info("backed_up", copy=str(copy))


def _run(config: Config, state: State, tally: Tally, stop: StopSignal, log: Log, *, options: Options) -> Run:
    def on_retry(note: RetryNote) -> None:
        log.warning("retrying", what=note.what, why=note.why, attempt=note.attempt, pause_seconds=note.pause_seconds)

    return Run(
        id=tally.run_id,
        state=state,
        source=Outreach(config, stop, on_retry=on_retry),
        target=assembly.workbooks_from(config, stop, on_retry=on_retry),
        config=config,
        reading=assembly.reading_from(config, full=options.full, since=options.since),
        streams=tuple(Stream(one) for one in config.sync.streams if not options.streams or one in options.streams),
        pilot=Pilot(options.limit, frozenset(options.prospects) or None),
        tally=tally,
        stop=stop,
        log=log,
    )


def _attempt(run: Run, work: Callable[[Run], None], log: Log) -> OutreachSyncError | None:
    try:
        work(run)
    except OutreachSyncError as error:
        log.debug("run_failed", exc_info=True)
        return error
    return None


def _ended(run: Run, error: OutreachSyncError | None) -> Ended:
    status = exit_status(run.state, error)
    document = run.tally.as_json(outcome(run.tally, status), instants.now())
    if run.tally.dry_run:
        document["refused"] = _refused(run.state)
    if error is not None:
        document["error"] = masked(str(error))
    return Ended(document, status, error, run.state.outbox.count_failures(), _names(run))


def _names(run: Run) -> dict[int, str]:
    """Return the names of those whom a dry run would change: its copy of the state is gone when somebody reads it."""
    ids = {change["prospect_id"] for change in run.tally.changes if change["prospect_id"] is not None}
    cached = run.state.cache.prospects(ids)
    return {
        one: f"{row.prospect.first_name or ''} {row.prospect.last_name or ''}".strip() for one, row in cached.items()
    }


def _refused(state: State) -> list[dict[str, Any]]:
    """List what would be on the list of refusals after a dry run, which keeps none."""
    from outreach_sync.insight.failures import failure_document  # noqa: PLC0415 - only for dry runs

    return [failure_document(entry) for entry in state.outbox.failures()]


def exit_status(state: State, error: OutreachSyncError | None) -> int:
    """Return what a run ends with: what its error says, else 1 as long as anything is refused or parked."""
    if isinstance(error, InterruptedByError):
        return 128 + error.signal_number
    if error is not None:
        return error.exit_status
    return _REFUSED if state.outbox.any_failure() else 0


def outcome(tally: Tally, status: int) -> str:
    """Say in a word how it went: partial where something was read or written but not everything done."""
    if status == 0:
        return "ok"
    people, tasks = tally.people, tally.tasks
    done = people.created + people.updated + people.recreated + tasks.created
    done += sum(stream.read for stream in tally.streams.values())
    return "partial" if status == _REFUSED or done else "failed"


def _recorded(config: Config, run: Run, ended: Ended, log: Log) -> Ended:
    """Record the run; a state that cannot be written (a full disk) ends it as it would have in its midst."""
    error = _attempt(run, lambda one: _record(config, one, ended), log)
    return ended if error is None or ended.error is not None else _ended(run, error)


def _record(config: Config, run: Run, ended: Ended) -> None:
    """Keep what the run did, and drop what is older than `state.keep_runs` by Outreach's clock, where it was heard."""
    state, heard = run.state, run.source.heard_time()
    with state.transaction():
        state.runs.finish(
            run.id, instants.now(), ended.exit_status, str(ended.document["outcome"]), ended.document, heard_at=heard
        )
        if heard is not None:
            oldest = Instant(heard - config.state.keep_runs_ms)
            if state.runs.forget_before(oldest, heard):
                state.history.note_day(heard)
                state.history.forget_before(oldest)
        quota = _quota(run.source)
        if quota is not None:
            state.facts.put(QUOTA, quota)


def _quota(source: Outreach) -> str | None:
    quota = source.quota
    if quota.remaining is None:
        return None
    return json.dumps({"limit": quota.limit, "remaining": quota.remaining, "resets_at": quota.resets_at})


def _canonical(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one line a run is known by: everything but the list of changes."""
    return {name: value for name, value in document.items() if name not in ("changes", "started_at", "finished_at")}
