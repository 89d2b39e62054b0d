"""Pull: walk a stream from its bound to its end, and store each page with its consequences in one transaction.

What a page holds, the work that follows from it and how far the walk is get into the state together or not at all. The
watermark moves when the walk is complete (`rules.watermark` says how far). What is read by id is read here as well:
refused records that are due, and records that an event says something of.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from outreach_sync import instants
from outreach_sync.errors import OutreachSyncError, UsageError
from outreach_sync.http import check
from outreach_sync.outreach.client import CursorRefusedError, PagingLoopError
from outreach_sync.outreach.rows import MERGED, REMOVED, SHOWN_BY, STATE_REMOVED
from outreach_sync.records import Event, Page, Prospect, SourceTask, Stream
from outreach_sync.rules.skipped import is_sequence_task, skipping_condition
from outreach_sync.rules.watermark import CLOCKS_DIFFER, Walk, late_sweep, trusted_time, walk_to_make
from outreach_sync.store.cache import CachedTask, Trust
from outreach_sync.store.erasure import forget_namesakes, forgotten_ids
from outreach_sync.store.outbox import TASK, next_attempt
from outreach_sync.store.progress import SURVEY, Survey

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.run import Run, StreamSummary
    from outreach_sync.store import Store

ALL_STATES_READ = "all_states_read"
"""Fact: a walk without a lower bound was completed, so that absence from the cache proves that there is nothing."""
_RESTARTS = 2
_TOGETHER = 1_000  # records read by id between two commits: ten requests


def pull(run: Run, stream: Stream, survey: Survey | None = None) -> None:
    """Read what changed in one stream and store it; `survey`: go on with the walk of `reconcile`, and note its states.

    Where a walk is open and the run was told from where to read, that is read beside it and the walk stays open. Where
    the service refuses the page token, or the pages go in circles, how far the walk is counts no more. What was read
    before a ServiceError or an InterruptedByError is kept, and the next run goes on.
    """
    summary, progress, reading = run.summary.streams[stream], run.store.progress, run.reading
    requests_before, restarts_left = run.source.requests, _RESTARTS
    name: str | None = stream.value if survey is None else SURVEY
    known, walk = progress.of(name or ""), None
    if reading.since is not None and known.walk is not None:
        name = None  # nothing of it is kept
    try:
        following: Walk | None = walk_to_make(known, reading, run.source.transport.server_now(), run.source.server_time)
        while following is not None:
            walk = following
            try:
                following = _read_pages(run, stream, walk, name, survey)
            except (CursorRefusedError, PagingLoopError) as refusal:
                following = _begun_again(run, walk, name, survey)
                if isinstance(refusal, PagingLoopError):
                    raise
                run.log.warning("walk_restarted", stream=stream.value, why=str(refusal))
                restarts_left -= 1
                if restarts_left < 0:
                    raise
    except OutreachSyncError as ended:
        if name and walk is not None and progress.of(name).walk is None and not isinstance(ended, UsageError):
            with run.store.transaction():  # nothing came; that it was tried is known all the same
                progress.keep_walk(name, walk)
        raise
    finally:
        summary.requests += run.source.requests - requests_before
        summary.watermark = progress.of(stream).watermark
    run.log.info("stream_read", stream=stream.value, **summary.as_json(stream))
    if summary.without_stamp:
        run.log.warning("rows_without_updated_at", stream=stream.value, rows=summary.without_stamp)


def _begun_again(run: Run, walk: Walk, name: str | None, survey: Survey | None) -> Walk:
    """Forget how far a walk is, which may lead into a circle, and of a survey what it saw, which may be gone by now."""
    walk = walk._replace(next_url=None, began_at=None)
    with run.store.transaction():
        if survey is not None:
            survey.begin()
        if name is not None:
            run.store.progress.keep_walk(name, walk)
    return walk


def _read_pages(run: Run, stream: Stream, walk: Walk, name: str | None, survey: Survey | None) -> Walk | None:
    """Store each page, the work that follows from it and how far the walk is (under `name`), in one transaction.

    With the last page the walk is complete, so that a cycle in which nothing happened costs one commit for a stream.
    Where the first answer shows that a late sweep is due, that is returned, to be read instead: it covers this walk.
    """
    summary, reading, progress = run.summary.streams[stream], run.reading, run.store.progress
    first = run.source.first_url(stream, walk.since) if survey is None else run.source.all_states_url()
    for page in run.source.pages(stream, walk.next_url or first):
        now = page.server_time
        if walk.began_at is None:
            walk = walk._replace(began_at=now, local_at=run.clock())
            told = reading.start if reading.since is None else reading.since
            if now is not None and walk.since is not None and walk.since == told and walk.since > now + CLOCKS_DIFFER:
                said = f"the time to read from, {instants.to_iso(walk.since)}, is still to come by Outreach's clock."
                raise UsageError(said, advice="Correct --since, or sync.start in the config.")
            if walk.moves_watermark and not walk.counts_as_sweep and reading.since is None:
                sweep = late_sweep(progress.of(stream), reading, now)
                if sweep is not None:
                    return sweep._replace(began_at=now, local_at=run.clock())
        stamps = [walk.newest, *[row.updated_at for row in page.rows]]
        newest = max([stamp for stamp in stamps if stamp is not None], default=None)
        walk = walk._replace(newest=newest, next_url=page.next_url or walk.next_url)
        with run.store.transaction():
            concerned = keep_page(run, page, summary, as_is=walk.as_is)
            run.store.undecided.hold(concerned, changed=True)
            if survey is not None:  # a state that makes no sense exists all the same
                survey.saw(page.ids(stream))
            if page.next_url is None and name is not None:
                _complete(run, stream, walk, name)
            elif name is not None:
                progress.keep_walk(name, walk)
        summary.read += page.received
        summary.without_stamp += page.without_stamp
        run.on_progress(stream.value, page.received)
        if page.next_url is not None:
            check(run.stop)
    return None


def _complete(run: Run, stream: Stream, walk: Walk, name: str) -> None:
    """Move the watermark as far as the walk proves, never back (inside a transaction)."""
    progress = run.store.progress
    if name == SURVEY:
        progress.keep_walk(name, None, watermark=walk.began_at)
        return
    marks = (progress.of(stream).watermark, trusted_time(walk) if walk.moves_watermark else None)
    moved = max((mark for mark in marks if mark is not None), default=None)
    progress.keep_walk(stream, None, watermark=moved, swept=walk.began_at if walk.counts_as_sweep else None)
    if stream is Stream.SEQUENCE_STATES and walk.since is None:
        run.store.facts.put(ALL_STATES_READ, run.id)
    if stream is Stream.EVENTS and walk.since is not None:
        run.store.events.forget_before(instants.Instant(walk.since - 2 * run.reading.late_sweep))
    run.log.debug(
        "walk_complete", stream=stream.value, since=walk.since and instants.to_iso(walk.since), watermark=moved
    )


def keep_page(run: Run, page: Page, summary: StreamSummary | None = None, *, as_is: bool = True) -> set[int]:
    """Store the records of a page, and refuse those that make no sense (inside a transaction).

    The page may be of a walk, of a history or of records asked for by id. `summary` is where a walk counts rows that
    changed, skips and skipped tasks. `as_is` takes every row as it is; a walk that reads what changed leaves newer
    versions in place. Returns the prospects whose Person has to be decided again.
    """
    cache, outbox = run.store.cache, run.store.outbox
    refused = {(one.stream, one.id) for one in page.refused}
    every: tuple[Sequence[Any], ...] = (page.states, page.tasks, page.prospects, page.events)
    for stream, rows in zip(Stream, every, strict=True):
        if rows:
            outbox.drop([row.id for row in rows if (stream, row.id) not in refused], stream)
    trust = Trust(math.inf if page.server_time is None else page.server_time, as_is)
    if forgotten := forget_namesakes(run.store.connection, (*page.prospects, *page.included)):
        others: dict[str, Any] = {
            name: tuple(
                one
                for one in getattr(page, name)
                if (one.id if isinstance(one, Prospect) else one.prospect_id) not in forgotten
            )
            for name in ("states", "tasks", "prospects", "included", "events", "refused")
        }
        page = page._replace(**others)
    concerned = cache.keep_sequences(
        page.sequences, page.states, shown=run.config.workbooks.fields.sequences is not None
    )
    concerned |= cache.keep_prospects(page.included, trust)[0]
    prospects, changed_prospects = cache.keep_prospects(page.prospects, trust)
    states, changed_states = cache.keep_states(page.states, trust)
    with_task, tasks = _keep_tasks(run, page.tasks, trust) if page.tasks else (set[int](), [])
    skips = _keep_events(run, page.events) if page.events else 0
    if summary is not None:
        summary.changed += changed_prospects + changed_states + len(tasks)
        summary.skipped += sum(one.skipped for one in tasks)
        summary.skips += skips
    for one in page.refused:
        again = next_attempt(run.clock(), 1) if run.config.sync.max_attempts > 1 else None
        if outbox.refuse_source(one, next_attempt_at=again, run_id=run.id):
            run.log.warning("source_record_refused", stream=one.stream.value, id=one.id, reason=one.reason)
            count = run.summary.tasks if one.stream is Stream.TASKS else run.summary.people
            count.rejected += 1
    return concerned | prospects | states | with_task


def _keep_tasks(run: Run, tasks: Sequence[SourceTask], trust: Trust) -> tuple[set[int], list[CachedTask]]:
    """Store sequence tasks and queue what was skipped; return whose Person that needs, and the tasks that changed."""
    rule = run.config.sync.tasks
    told = run.store.events.skips_of([task.id for task in tasks], rule.skip_events)
    ours, conditions = [task for task in tasks if is_sequence_task(task)], rule.skipped_when
    skips = (task.id in told or skipping_condition(task.attributes, conditions) is not None for task in ours)
    changed = run.store.cache.keep_tasks(map(CachedTask, ours, skips), trust)
    concerned = set[int]()
    for task, skipped, *_ in changed:
        if skipped and task.prospect_id is not None:
            concerned |= _queue_skipped(run, task.id, task.prospect_id)
        else:
            run.store.outbox.drop([task.id], TASK)
    return concerned, changed


def _queue_skipped(run: Run, task_id: int, prospect_id: int) -> set[int]:
    """Queue the Workbooks Task of a skipped task unless it was made already; return whose Person it needs."""
    cached = run.store.cache.task(task_id)
    if cached is not None and cached.workbooks_id is not None:
        return set()
    run.store.outbox.queue_task(task_id, prospect_id, held=True, run_id=run.id)
    return {prospect_id}


def _keep_events(run: Run, events: Sequence[Event]) -> int:
    """Store events, note what is to be read again unless the cache shows it already; return how many new skips came."""
    cache, kept, skipping = run.store.cache, run.store.events, run.config.sync.tasks.skip_events
    fresh = kept.keep(events)
    skips = [event for event in fresh if event.name in skipping]
    tasks = {event.task_id for event in skips if event.task_id is not None}
    kept.add_concerns(Stream.TASKS, tasks - cache.skipped_among(tasks), removed=False)
    others = [(one.prospect_id, one) for one in fresh if one.name not in skipping and one.prospect_id is not None]
    known = cache.prospects({prospect_id for prospect_id, _ in others})
    _, states, _ = cache.pooled(known)
    for prospect_id, event in others:
        cached, of_prospect = known.get(prospect_id), states.get(prospect_id, [])
        if event.name == STATE_REMOVED:
            told = [one for one in of_prospect if one.sequence_id == event.sequence_id] or of_prospect
            is_meant = [one.sequence_id for one in told] == [event.sequence_id]
            kept.add_concerns(Stream.SEQUENCE_STATES, {one.id for one in told}, removed=is_meant)
            continue
        if event.name in REMOVED:
            is_shown = cached is None or cached.gone
        else:
            attribute, value = SHOWN_BY.get(event.name, ("", True))
            is_shown = cached is not None and cached.known and getattr(cached.prospect, attribute, None) is value
        if not is_shown:
            kept.add_concerns(Stream.PROSPECTS, [prospect_id], removed=event.name in REMOVED)
        if event.name == MERGED:
            kept.add_concerns(Stream.SEQUENCE_STATES, {one.id for one in of_prospect}, removed=False)
    return len(skips)


def keep_read(run: Run, page: Page) -> None:
    """Store what was asked for; as in a walk, nothing is decided from it until every walk is complete."""
    with run.store.transaction():
        run.store.undecided.hold(keep_page(run, page), changed=True)


def reread_refused(run: Run, stream: Stream) -> None:
    """Ask again for refused records that are due: one put right without a newer stamp would stay refused for ever.

    Raises ServiceError where Outreach was unavailable; what was not read stays refused.
    """
    now = run.clock()
    due = run.store.outbox.due_sources(stream, now)
    if not due:
        return
    gone = absent_among(run, stream, due)
    with run.store.transaction():
        run.store.outbox.drop(gone, stream)
        for entry in run.store.outbox.due_sources(stream, now).values():
            run.refuse(entry, entry.reason or "")


def read_concerned(run: Run) -> None:
    """Read again by id what events say something of, and believe what is there now.

    Raises ServiceError, InterruptedByError; the next run reads what is left.
    """
    before = run.source.requests
    try:
        for stream in (Stream.PROSPECTS, Stream.SEQUENCE_STATES, Stream.TASKS):
            while some := run.store.events.concerns(stream, _TOGETHER):
                check(run.stop)
                _read_some(run, stream, some)
    finally:
        run.summary.streams[Stream.EVENTS].requests += run.source.requests - before


def _read_some(run: Run, stream: Stream, some: dict[int, bool]) -> None:
    removed = {one for one, said in some.items() if said}
    absent, cache, events = absent_among(run, stream, some, certain=removed), run.store.cache, run.store.events
    if stream is Stream.PROSPECTS and (took_in := sorted(removed.difference(absent))):
        for page in run.source.states_of(took_in):  # another one, and that one's states
            keep_read(run, page)
    concerned = set[int]()
    with run.store.transaction():
        if stream is Stream.PROSPECTS:
            told = events.told("prospect_id", absent, list(SHOWN_BY))  # the last of each kind counts
            last = {(event.prospect_id, SHOWN_BY[event.name][0]): event for event in told}
            opt_outs = [event for event in last.values() if SHOWN_BY[event.name][1]]
            concerned = cache.prospects_are_gone(absent, opt_outs)
        elif stream is Stream.SEQUENCE_STATES:
            concerned = cache.remove_states(absent)
        else:  # skipped, as an event says, and gone
            forgotten = forgotten_ids(run.store.connection, "prospect")
            for task_id, event in events.skips_of(absent, run.config.sync.tasks.skip_events).items():
                known = cache.task(task_id)
                if ((known.task.prospect_id if known else None) or event.prospect_id) not in forgotten:
                    made = cache.gone_task_was_skipped(event)
                    concerned |= _queue_skipped(run, task_id, made.prospect_id) if made.prospect_id else set()
        run.store.undecided.hold(concerned, changed=True)
        events.concerns_read(stream, some)


def absent_among(run: Run, stream: Stream, ids: Collection[int], *, certain: Collection[int] = ()) -> list[int]:
    """Read records by id (see `Outreach.by_id`), store them, and return which are not there."""
    absent = set(ids)
    for page in run.source.by_id(stream, ids, certain=certain):
        keep_read(run, page)
        absent -= page.ids(stream)
    return sorted(absent)


def witness(store: Store, config: Config, cached: CachedTask) -> str:
    """Say what tells that a task was skipped: an event, a condition of the rule, its absence; or that nothing does."""
    tasks = config.sync.tasks
    event = store.events.skips_of([cached.task.id], tasks.skip_events).get(cached.task.id)
    if event is not None:
        at = event.event_at if event.event_at is not None else event.at
        return f"event {event.name} {event.id}" + ("" if at is None else f" of {instants.to_iso(at)}")
    position = skipping_condition(cached.task.attributes, tasks.skipped_when)
    if position is not None:
        condition = json.dumps(tasks.skipped_when[position])
        return f"condition {position + 1} of sync.tasks.skipped_when takes it: {condition}"
    if cached.skipped:
        return "its absence: it is gone although its sequence went on (sync.tasks.vanished_is_skipped)"
    return "no event of sync.tasks.skip_events names it, and no condition of sync.tasks.skipped_when takes it"
