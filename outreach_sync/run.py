"""One run: what all of its steps share, what it did, and what is around it: lock, store, record, how it ended."""

from __future__ import annotations

import gc
import json
import sqlite3
import uuid
from collections import defaultdict
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import instants
from outreach_sync.cycle import run_cycle
from outreach_sync.errors import OutreachSyncError, StateError
from outreach_sync.identity import look_at, remember
from outreach_sync.insight.explain import failure_document
from outreach_sync.instants import Back, Instant, to_iso
from outreach_sync.log import Log, masked
from outreach_sync.monitoring import QUOTA, START, Watch
from outreach_sync.outreach.client import Outreach
from outreach_sync.records import DateTime, Stream, WriteValue, plain
from outreach_sync.rules.watermark import Reading
from outreach_sync.store import Store, run_lock
from outreach_sync.store.backup import back_up_daily
from outreach_sync.store.outbox import RESOLVE, TASK, Entry, is_due, next_attempt
from outreach_sync.store.progress import Written
from outreach_sync.store.schema import state_error
from outreach_sync.workbooks.client import Workbooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.http import RetryNote, StopSignal
    from outreach_sync.rules.person import RoleValue

_REFUSED = 1
gc.freeze()  # what modules made is there to the end: to look through it once more then took a tenth of a second


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


@dataclass(slots=True)
class StreamSummary:
    """What was read of one stream. `without_stamp`: rows whose stamp is null; `skips`: events that tell of a skip."""

    read: int = 0
    changed: int = 0
    skipped: int = 0
    skips: int = 0
    requests: int = 0
    without_stamp: int = 0
    watermark: Instant | None = None

    def as_json(self, stream: Stream) -> dict[str, Any]:
        """Return the stream's part of the document."""
        own = {Stream.TASKS: ("changed", "skipped"), Stream.EVENTS: ("skips",)}.get(stream, ("changed",))
        counts = {name: getattr(self, name) for name in ("read", *own, "requests")}
        return {**counts, "watermark": None if self.watermark is None else to_iso(self.watermark)}


@dataclass(slots=True)
class PeopleSummary:
    """What became of people. `queued` is what waits at the end of the run, the others are this run's."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    recreated: int = 0
    skipped: int = 0
    rejected: int = 0
    queued: int = 0


@dataclass(slots=True)
class TaskSummary:
    """What became of skipped tasks."""

    created: int = 0
    rejected: int = 0
    queued: int = 0


@dataclass(slots=True)
class RunSummary:
    """Everything a run did, and how it ended; what is printed, kept and told of it are views of this."""

    run_id: str
    started_at: Instant
    dry_run: bool
    streams: dict[Stream, StreamSummary] = field(default_factory=lambda: defaultdict(StreamSummary))
    people: PeopleSummary = field(default_factory=PeopleSummary)
    tasks: TaskSummary = field(default_factory=TaskSummary)
    outreach_requests: int = 0
    workbooks_requests: int = 0
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    refused: list[Mapping[str, Any]] = field(default_factory=list)
    names: Mapping[int, str] = field(default_factory=dict)  # of prospects; these three are filled by a dry run only
    guard_would_stop: bool = False
    warnings: list[str] = field(default_factory=list)  # sentences that do not end a run
    finished_at: Instant | None = None
    error: OutreachSyncError | None = None
    failing: int = 0  # how many entries `failures list` lists at its end, or would list after a dry run

    def count(self, entry: Entry) -> None:
        """Count an entry that was written, or would be: `update` as updated, and so on."""
        counters, name = (self.tasks if entry.record == TASK else self.people), f"{entry.action}d"
        setattr(counters, name, getattr(counters, name) + 1)

    def would_write(self, entry: Entry, before: Mapping[str, WriteValue], fields: Mapping[str, WriteValue]) -> None:
        """List and count what a dry run would write: `before` and `fields` by the names of the fields in Workbooks."""
        self.count(entry)
        action = "update" if entry.action == "update" else "create"
        ids = {"prospect_id": entry.prospect_id, "task_id": entry.task_id, "workbooks_id": entry.person_id}
        told = {name: [plain(before.get(name)), plain(value)] for name, value in fields.items()}
        self.changes.append({"record": entry.record, "action": action, **ids, "fields": told})

    @property
    def exit_status(self) -> int:
        """What its error says, else 1 as long as anything is refused or parked."""
        return self.error.exit_status if self.error is not None else _REFUSED if self.failing else 0

    @property
    def outcome(self) -> str:
        """How it went, in a word: `partial` where something was read or written but not everything done."""
        people, tasks = self.people, self.tasks
        done = people.created + people.updated + people.recreated + tasks.created
        done += sum(stream.read for stream in self.streams.values())
        return "ok" if self.exit_status == 0 else "partial" if self.exit_status == _REFUSED or done else "failed"

    @property
    def document(self) -> dict[str, Any]:
        """The document that `run --json` prints."""
        document: dict[str, Any] = {
            "run_id": self.run_id,
            "outcome": self.outcome,
            "dry_run": self.dry_run,
            "started_at": to_iso(self.started_at),
            "finished_at": None if self.finished_at is None else to_iso(self.finished_at),
            "streams": {stream.value: one.as_json(stream) for stream, one in self.streams.items()},
            "people": asdict(self.people),
            "tasks": asdict(self.tasks),
            "requests": {"outreach": self.outreach_requests, "workbooks": self.workbooks_requests},
        }
        if self.warnings:
            document["warnings"] = self.warnings
        if self.dry_run:
            document |= {"changes": self.changes, "guard_would_stop": self.guard_would_stop, "refused": self.refused}
        if self.error is not None:
            document["error"] = masked(str(self.error))
        return document


@dataclass(slots=True)
class Pilot:
    """Which people a run may write: all, those of some prospects, or the first so many. The rest stays to be done."""

    limit: int | None = None
    prospects: frozenset[int] | None = None
    expected: int = 0  # how many people of this round are to be written, or were
    taken: dict[int, int] = field(default_factory=dict)  # the entries that were sent, each with its lead prospect
    wrote: set[int] = field(default_factory=set)  # the People that were written, where there is a limit, or listed

    def begin(self, store: Store, chosen: frozenset[int]) -> None:
        """Have the chosen prospects decided, with all that are the same Person (inside a transaction)."""
        store.cache.know(chosen)
        pools = store.people.prospects_of(set(store.people.of_prospects(chosen).values()))
        self.prospects = chosen.union(*pools.values())
        store.undecided.mark_again(self.prospects)

    def take(self, entries: list[Entry]) -> list[Entry]:
        """Return which of the entries may be sent: not more than the limit, one that was sent before included."""
        if self.limit is None:
            return entries
        for entry in entries:
            if len(self.taken) < self.limit:
                self.taken[entry.id] = entry.prospect_id or 0
        return [entry for entry in entries if entry.id in self.taken]

    def covers(self, prospect_id: int | None, person_id: int | None) -> bool:
        """Say whether the tasks of somebody may be sent: those of people that this run may write, or wrote."""
        if self.prospects is not None and prospect_id not in self.prospects:
            return False
        return self.limit is None or person_id in self.wrote


@dataclass(slots=True)
class Run:
    """One run: its store (a scratch copy for a dry run), both services, the config, and what it has done so far."""

    id: str
    store: Store
    source: Outreach
    target: Workbooks
    summary: RunSummary
    stop: StopSignal
    log: Log
    config: Config
    reading: Reading
    streams: tuple[Stream, ...]
    pilot: Pilot = field(default_factory=Pilot)
    look_again_seconds: float = 2.0  # how long after a first look what may have been created is looked for once more
    clock: Callable[[], Instant] = field(default=instants.now)  # this machine's, never for bounds
    source_is_down: bool = False  # Outreach could not be read, and nothing but the streams is asked for
    source_failure: OutreachSyncError | None = None
    on_progress: Callable[[str, int], None] = field(default=lambda _what, _count: None)

    def refuse(self, entry: Entry, reason: str, *, in_doubt: bool = False) -> None:
        """Keep an entry for later, or park it after `sync.max_attempts`; `in_doubt`: it may have arrived."""
        attempts, reason = entry.attempts + 1, masked(reason)
        parked = attempts >= self.config.sync.max_attempts
        again = None if parked else next_attempt(self.clock(), attempts)
        self.store.outbox.refused(entry, reason, next_attempt_at=again, in_doubt=in_doubt)
        self.log.warning(
            "record_refused", record=entry.record, prospect=entry.prospect_id, task=entry.task_id,
            workbooks_id=entry.person_id, reason=reason, attempts=attempts, parked=parked,
        )  # fmt: skip
        count = self.summary.people if entry.task_id is None else self.summary.tasks
        count.rejected += 1

    def refuse_decision(self, prospect_id: int, person_id: int | None, reason: str, *, action: str = RESOLVE) -> None:
        """Refuse a Person for which nothing can be decided; within its pause, it keeps its attempts."""
        outbox = self.store.outbox
        outbox.queue_person(prospect_id, person_id, action, {}, run_id=self.id, reason=reason)
        for entry in outbox.of_person([prospect_id]):
            if entry.state == "queued" and is_due(entry.next_attempt_at, self.clock()):
                self.refuse(entry, reason)

    def named(self, roles: Mapping[str, RoleValue]) -> dict[str, WriteValue]:
        """Return what is said by role by the names of the configured fields."""
        names, said, at = self.config.workbooks.fields, dict[str, WriteValue](roles), roles.get("state_updated_at")
        if isinstance(at, int):
            said["state_updated_at"] = DateTime(Instant(at))
        return {getattr(names, role): value for role, value in said.items()}

    def wrote(self, entry: Entry, workbooks_id: int, fields: Mapping[str, WriteValue]) -> None:
        """Keep what Workbooks accepted, by the names of its fields, for the history (inside a transaction)."""
        now, before = self.clock(), self.named(entry.before)
        action = "update" if entry.action == "update" else "create"
        self.store.history.wrote(
            Written(
                now, self.id, entry.record, action, entry.prospect_id, entry.task_id, workbooks_id, name,
                plain(before.get(name)), plain(new), entry.because,
            )
            for name, new in fields.items()
        )  # fmt: skip


def perform(
    config: Config,
    options: Options,
    stop: StopSignal,
    log: Log,
    *,
    work: Callable[[Run], None] | None = None,
    on_progress: Callable[[str, int], None] = lambda _what, _count: None,
) -> RunSummary:
    """Do one run (`work`, else a cycle) under the lock and record it; a dry run works on a copy and leaves nothing."""
    path = config.state.path
    opened = Store.open_scratch if options.dry_run else Store.open
    lock = nullcontext() if options.dry_run else run_lock(path, options.command)
    with lock, opened(path) as store, ExitStack() as in_the_end:
        summary, sync = RunSummary(uuid.uuid4().hex[:12], instants.now(), options.dry_run), config.sync
        is_watched = not options.dry_run and any(value for _, value in config.monitoring)
        watch = Watch(config, log, summary.run_id) if is_watched else None
        log = watch.log if watch is not None else log

        def on_retry(note: RetryNote) -> None:
            log.warning("retrying", **note._asdict())

        source, target = Outreach(config, stop, on_retry=on_retry), Workbooks(config, stop, on_retry=on_retry)
        reading = Reading(sync.start, sync.overlap_ms, sync.late_sweep_ms, options.full, options.since)
        streams = tuple(Stream(one) for one in sync.streams if not options.streams or one in options.streams)
        run = Run(summary.run_id, store, source, target, summary, stop, log, config, reading, streams)
        run.pilot, run.on_progress = Pilot(options.limit, frozenset(options.prospects) or None), on_progress
        log.info("run_started", run=run.id, command=options.command, dry_run=options.dry_run)
        if watch is not None:
            in_the_end.callback(watch.close)
            watch.ping(START)
        for step in (partial(_carry_out, run, options, work), partial(_count, run), partial(_record, run)):
            try:
                step()
            except (OutreachSyncError, sqlite3.Error) as problem:  # of a full disk, say, at whichever step
                log.debug("run_failed", exc_info=True)
                failure = state_error(store.path, problem) if isinstance(problem, sqlite3.Error) else problem
                summary.error = summary.error or failure
        unsaid = ("changes", "started_at", "finished_at")
        known_by = {name: value for name, value in summary.document.items() if name not in unsaid}
        log.info("run_finished", exit_status=summary.exit_status, **known_by)
        if watch is not None:
            watch.end(summary, store)
        return summary


def _carry_out(run: Run, options: Options, work: Callable[[Run], None] | None) -> None:
    """Record the run, so that one that is killed is seen, copy the store, prove whose it is, and do the work."""
    if not options.dry_run:
        with run.store.transaction():
            run.store.history.begin(run.id, options.command, run.summary.started_at)
        try:
            if copy := back_up_daily(run.store, instants.now()):
                run.log.info("backed_up", copy=str(copy))
        except StateError as error:
            run.log.warning("no_backup", why=str(error))
    look = look_at(run.config, run.store, run.source, run.target)
    if not look.known:
        with run.store.transaction():
            remember(run.store, look)
    if work is None:
        run_cycle(run, allow_bulk=options.allow_bulk)
        for one, cached in run.store.cache.prospects(options.prospects).items():
            is_refused = run.store.outbox.find(stream=Stream.PROSPECTS.value, key=one)
            if not (cached.known or cached.person_id or is_refused):
                run.summary.warnings.append(f"Outreach shows no prospect {one}, which --prospect names.")
    else:
        work(run)


def _count(run: Run) -> None:
    """Fill in the requests, and what is still queued or refused."""
    store, summary = run.store, run.summary
    summary.outreach_requests, summary.workbooks_requests = run.source.requests, run.target.transport.requests
    summary.failing = sum(store.outbox.counts(refused=True).values())
    summary.tasks.queued, summary.people.queued = 0, store.undecided.count(unqueued=True)
    for (record, _), count in store.outbox.counts().items():
        queue = summary.tasks if record == TASK else summary.people
        queue.queued += count


def _record(run: Run) -> None:
    """Sum the run up, keep it unless it is dry, and drop what is older than `state.keep_runs` by Outreach's clock."""
    store, heard, summary, now = run.store, run.source.transport.server_now(), run.summary, instants.now()
    summary.finished_at = now
    if summary.dry_run:
        summary.refused = [failure_document(entry) for entry in store.outbox.failures()]
        concerned = {change["prospect_id"] for change in summary.changes if change["prospect_id"] is not None}
        named = ((one, row.prospect) for one, row in store.cache.prospects(concerned).items())
        summary.names = {one: f"{who.first_name or ''} {who.last_name or ''}".strip() for one, who in named}
        return
    with store.transaction():
        ended, keep_ms = (summary.exit_status, summary.outcome, summary.document), run.config.state.keep_runs_ms
        store.history.finish(run.id, now, *ended, heard_at=heard, keep_ms=keep_ms)
        quota = run.source.quota
        if quota.remaining is not None:
            kept = {"limit": quota.limit, "remaining": quota.remaining, "resets_at": quota.resets_at}
            store.facts.put(QUOTA, json.dumps(kept))
