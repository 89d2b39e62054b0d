"""Pull: walk a stream from its bound to its end, and store each page with its consequences in one transaction.

What a page holds, the work that follows from it and how far the walk is get into the state together or not at all; a
process that dies between two pages loses nothing and goes on with the next page. The watermark moves when the walk is
complete (`rules.watermark` says how far). Every walk is made here, that of `reconcile` through all sequence states too,
and so is what is read by id: refused records that are due, and records that an event says something of.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import instants
from outreach_sync.errors import InterruptedByError, OutreachSyncError
from outreach_sync.http import check
from outreach_sync.outreach.client import CursorRefusedError, PagingLoopError
from outreach_sync.records import Stream
from outreach_sync.rules import watermark
from outreach_sync.rules.skipped import is_sequence_task, skipping_condition
from outreach_sync.store.cache import JudgedTask, Trust
from outreach_sync.store.erasure import forget_namesakes, forgotten_ids
from outreach_sync.store.outbox import next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.instants import Instant
    from outreach_sync.records import Event, Page, SourceTask
    from outreach_sync.rules.watermark import Progress, Walk
    from outreach_sync.run import Run, StreamSummary
    from outreach_sync.store import Store
    from outreach_sync.store.cache import CachedProspect, CachedTask

ALL_STATES_READ = "all_states_read"
"""Fact: a walk without a lower bound was completed, so that absence from the cache proves that there is nothing."""
MERGED, REMOVED = "prospect_merged", frozenset({"prospect_destroyed", "prospect_merged"})
STATE_REMOVED = "sequence_state_destroyed"
SHOWN_BY = {
    "opt_out": ("opted_out", True),
    "opt_out_revert": ("opted_out", False),
    "emails_opt_out": ("email_opted_out", True),
    "emails_opt_out_revert": ("email_opted_out", False),
}
"""What a prospect says that has been read since such an event; then it need not be read again."""

_RESTARTS = 2
_TOGETHER = 1_000
"""Records read by id between two commits: ten requests."""


class Course(NamedTuple):
    """What a walk is made for.

    Attributes:
        stream: what is read.
        name: under which its progress is kept; None: it is not kept.
        begin: returns a new walk.
        resumable: returns the walk to go on with, given how far it is; None: begin anew.
        first_url: returns its first page.
        instead: given the walk and the `Date` of its first answer, returns a walk to make in its place.
        page_kept: what else is done with a page, in its transaction.
        completed: what is done at its end, in the transaction of the last page.
    """

    stream: Stream
    name: str | None
    begin: Callable[[Progress], Walk]
    resumable: Callable[[Progress], Walk | None]
    first_url: Callable[[Walk], str]
    instead: Callable[[Walk, Instant | None], Walk | None]
    page_kept: Callable[[Page], None]
    completed: Callable[[Walk], None]


def pull(run: Run, stream: Stream) -> None:
    """Read what changed in one stream and store it.

    Where a walk is open and the run was told from where to read, that is read beside it and the walk stays open.

    Raises:
        ServiceError: Outreach was unavailable or out of quota; what was read is kept and the next run goes on.
        UntrustedAnswerError: the walk cannot be trusted (it loops); it starts again next time.
        InterruptedByError: asked to stop; likewise.
    """
    summary = run.summary.streams[stream]
    before = run.source.requests
    beside = run.reading.is_told and run.store.progress.of(stream).walk is not None
    course = Course(
        stream,
        None if beside else stream.value,
        begin=partial(_begin, run, stream),
        resumable=partial(_resumable, run),
        first_url=lambda walk: run.source.first_url(stream, walk.since),
        instead=partial(_sweep_instead, run, stream),
        page_kept=lambda _page: None,
        completed=(lambda _walk: None) if beside else partial(_complete, run, stream),
    )
    try:
        follow(run, course, summary)
    finally:
        summary.requests += run.source.requests - before
        summary.watermark = run.store.progress.of(stream).watermark
    run.log.info("stream_read", stream=stream.value, **summary.as_json(stream))
    if summary.without_stamp:
        run.log.warning("rows_without_updated_at", stream=stream.value, rows=summary.without_stamp)


def follow(run: Run, course: Course, summary: StreamSummary) -> None:
    """Go on with the walk there is, or begin one; begin again where the service refuses the page token.

    Raises as `pull`.
    """
    progress = run.store.progress
    for restart in range(_RESTARTS + 1):
        before = progress.of(course.name) if course.name else watermark.Progress(None, None, None)
        walk = course.resumable(before) or course.begin(before)
        try:
            _read_pages(run, course, walk, summary)
        except PagingLoopError:
            _keep(run, course, walk._replace(next_url=None))  # what is stored leads into the circle
            raise
        except CursorRefusedError as refusal:
            run.log.warning("walk_restarted", stream=course.stream.value, why=str(refusal))
            _keep(run, course, walk._replace(next_url=None))
            if restart == _RESTARTS:
                raise
        except OutreachSyncError:
            if course.name and progress.of(course.name).walk is None:
                _keep(run, course, walk)  # nothing came; that it was tried is known all the same
            raise
        else:
            return


def _resumable(run: Run, progress: Progress) -> Walk | None:
    """Return the walk to go on with; a run that was told where to read from goes on with none."""
    walk, reading = progress.walk, run.reading
    if walk is None or reading.is_told or (reading.full and not watermark.reads_all(walk, reading)):
        return None
    return walk._replace(as_is=walk.as_is or reading.full)


def _begin(run: Run, stream: Stream, _progress: Progress) -> Walk:
    progress, heard = run.store.progress.of(stream), run.source.heard_time()
    bound = watermark.first_bound(progress, run.reading, heard)
    if bound is None:
        heard = run.source.server_time()
        bound = watermark.first_bound(progress, run.reading, heard)
    if bound is None:
        raise AssertionError("the server's clock is known and still there is no bound")
    return _walk_from(run, bound, began_at=None)


def _walk_from(run: Run, bound: Walk, *, began_at: Instant | None) -> Walk:
    return bound._replace(began_at=began_at, local_at=run.clock(), as_is=run.reading.full)


def _read_pages(run: Run, course: Course, walk: Walk, summary: StreamSummary) -> None:
    """Store each page, the work that follows from it and how far the walk is, in one transaction.

    With the last page the walk is complete, so that a cycle in which nothing happened costs one commit for a stream.
    """
    url = walk.next_url or course.first_url(walk)
    for page in run.source.pages(course.stream, url):
        if walk.began_at is None:
            walk = walk._replace(began_at=page.server_time, local_at=run.clock())
            instead = course.instead(walk, page.server_time)
            if instead is not None:
                _keep(run, course, instead)
                _read_pages(run, course, instead, summary)
                return
        stamps = [row.updated_at for row in page.rows]
        newest = max((stamp for stamp in (*stamps, walk.newest) if stamp is not None), default=None)
        walk = walk._replace(newest=newest, next_url=page.next_url or walk.next_url)
        with run.store.transaction():
            concerned, changed = keep_page(run, page, summary, as_is=walk.as_is)
            run.store.undecided.mark_changed(concerned, held=True)
            course.page_kept(page)
            if page.next_url is None:
                course.completed(walk)
            elif course.name is not None:
                run.store.progress.keep_walk(course.name, walk)
        summary.read += page.received
        summary.changed += changed
        summary.without_stamp += page.without_stamp
        run.on_progress(course.stream.value, page.received)
        if page.next_url is not None and run.stop.is_set():
            raise InterruptedByError(run.stop.signal_number)


def _sweep_instead(run: Run, stream: Stream, walk: Walk, server_now: Instant | None) -> Walk | None:
    """Where the first answer shows that a late sweep is due, read that instead: it covers this walk's bound."""
    reading = run.reading
    if walk.counts_as_sweep or not walk.moves_watermark or server_now is None or reading.is_told:
        return None
    progress = run.store.progress.of(stream)
    if not watermark.sweep_is_due(progress, reading, server_now):
        return None
    return _walk_from(run, watermark.sweep_bound(progress, reading), began_at=server_now)


def _complete(run: Run, stream: Stream, walk: Walk) -> None:
    """Move the watermark as far as the walk proves, never back (inside a transaction)."""
    before = run.store.progress.of(stream)
    moved = before.watermark
    if walk.moves_watermark:
        marks = (before.watermark, watermark.trusted_time(walk))
        moved = max((mark for mark in marks if mark is not None), default=None)
    run.store.progress.keep_walk(stream, None, watermark=moved, swept=walk.began_at if walk.counts_as_sweep else None)
    if stream is Stream.SEQUENCE_STATES and walk.since is None:
        run.store.facts.put(ALL_STATES_READ, run.id)
    if stream is Stream.EVENTS and walk.since is not None:
        run.store.events.forget_before(instants.Instant(walk.since - 2 * run.reading.late_sweep))
    run.log.debug(
        "walk_complete", stream=stream.value, since=walk.since and instants.to_iso(walk.since), watermark=moved
    )


def _keep(run: Run, course: Course, walk: Walk) -> None:
    if course.name is not None:
        with run.store.transaction():
            run.store.progress.keep_walk(course.name, walk)


# -- what a page holds


def keep_page(
    run: Run, page: Page, summary: StreamSummary | None = None, *, as_is: bool = True
) -> tuple[set[int], int]:
    """Store the records of a page, and refuse those that make no sense (inside a transaction).

    Args:
        run: the run.
        page: an answer of any request: of a walk, of a history, of records asked for by id.
        summary: where skipped tasks are counted.
        as_is: take every row as it is; a walk that reads what changed leaves newer versions in place.

    Returns:
        The prospects whose Person has to be decided again, and how many rows of the stream changed.
    """
    cache = run.store.cache
    trust = Trust(page.server_time or run.source.heard_time(), as_is)
    namesakes = forget_namesakes(run.store.connection, (*page.prospects, *page.included))
    forgotten = forgotten_ids(run.store.connection, "prospect") | namesakes
    renamed = cache.keep_sequences(page.sequences)
    listing = cache.in_sequences(renamed) if run.config.workbooks.fields.sequences is not None else set()
    included, _ = cache.keep_prospects((one for one in page.included if one.id not in forgotten), trust)
    prospects, changed_prospects = cache.keep_prospects(
        (one for one in page.prospects if one.id not in forgotten), trust
    )
    states, changed_states = cache.keep_states(
        (one for one in page.states if one.prospect_id not in forgotten),
        trust,
        written={one.id for one in page.included},
    )
    with_task, changed_tasks = _keep_tasks(run, page.tasks, trust, summary)
    changed_events = _keep_events(run, [one for one in page.events if one.prospect_id not in forgotten], summary)
    _keep_refusals(run, page)
    changed = changed_prospects + changed_states + changed_tasks + changed_events
    return included | prospects | states | with_task | listing, changed


def _keep_tasks(
    run: Run, tasks: Sequence[SourceTask], trust: Trust, summary: StreamSummary | None
) -> tuple[set[int], int]:
    """Store sequence tasks and queue what was skipped; return the prospects that need a Person for it."""
    forgotten = forgotten_ids(run.store.connection, "prospect")
    told = run.store.events.skips_of([task.id for task in tasks], run.config.sync.tasks.skip_events) if tasks else {}
    judged = [
        JudgedTask(
            task, task.id in told or skipping_condition(task.attributes, run.config.sync.tasks.skipped_when) is not None
        )
        for task in tasks
        if is_sequence_task(task) and task.prospect_id not in forgotten
    ]
    concerned = set[int]()
    changed = run.store.cache.keep_tasks(judged, trust)
    for task, skipped in changed:
        if not skipped:
            run.store.outbox.drop_task(task.id)
        elif task.prospect_id is not None:
            concerned |= queue_skipped(run, task.id, task.prospect_id, held=True)
    if summary is not None:
        summary.skipped += sum(one.skipped for one in changed)
    return concerned, len(changed)


def queue_skipped(run: Run, task_id: int, prospect_id: int, *, held: bool) -> set[int]:
    """Queue the Workbooks Task of a skipped task unless it was made already; return whose Person it needs."""
    cached = run.store.cache.task(task_id)
    if cached is not None and cached.workbooks_id is not None:
        return set()
    run.store.outbox.queue_task(task_id, prospect_id, held=held, run_id=run.id)
    return {prospect_id}


def _keep_events(run: Run, events: Sequence[Event], summary: StreamSummary | None) -> int:
    """Store events and note the records that are to be read again because of them; return how many are new.

    What the cache shows already, since the other streams were read before, is not read again.
    """
    cache, kept = run.store.cache, run.store.events
    fresh = kept.keep(events)
    skips = [event for event in fresh if event.name in run.config.sync.tasks.skip_events]
    tasks = {event.task_id for event in skips if event.task_id is not None}
    kept.add_concerns(Stream.TASKS, tasks - cache.skipped_among(tasks), removed=False)
    others = [event for event in fresh if event not in skips and event.prospect_id is not None]
    known = cache.prospects({event.prospect_id or 0 for event in others})
    states = cache.pooled_states(known)
    for event in others:
        prospect_id = event.prospect_id or 0
        of_prospect = states.get(prospect_id, [])
        if event.name == STATE_REMOVED:
            told = [one for one in of_prospect if one.sequence_id == event.sequence_id] or of_prospect
            kept.add_concerns(Stream.SEQUENCE_STATES, {one.id for one in told}, removed=True)
        elif not _is_shown(event, known.get(prospect_id)):
            kept.add_concerns(Stream.PROSPECTS, [prospect_id], removed=event.name in REMOVED)
        if event.name == MERGED:
            kept.add_concerns(Stream.SEQUENCE_STATES, {one.id for one in of_prospect}, removed=False)
    if summary is not None:
        summary.skips += len(skips)
    return len(fresh)


def _is_shown(event: Event, cached: CachedProspect | None) -> bool:
    """Say whether what an event tells of a prospect is known already, or is about nobody who is known."""
    if event.name in REMOVED:
        return cached is None or cached.gone
    attribute, value = SHOWN_BY.get(event.name, ("", None))
    return cached is not None and cached.known and getattr(cached.prospect, attribute, None) is value is not None


def _keep_refusals(run: Run, page: Page) -> None:
    """Refuse what makes no sense, and end the refusals of what makes sense now."""
    outbox, forgotten = run.store.outbox, forgotten_ids(run.store.connection, "prospect")
    refused_ids = {refused.id for refused in page.refused}
    for stream, rows in (
        (Stream.SEQUENCE_STATES, page.states),
        (Stream.TASKS, page.tasks),
        (Stream.PROSPECTS, page.prospects),
        (Stream.EVENTS, page.events),
    ):
        if rows:
            outbox.source_made_sense(stream, [row.id for row in rows if row.id not in refused_ids])
    for refused in page.refused:
        if (refused.id if refused.stream is Stream.PROSPECTS else refused.prospect_id) in forgotten:
            continue
        is_new = outbox.refuse_source(
            refused.stream,
            refused.id,
            refused.prospect_id,
            refused.reason,
            next_attempt_at=next_attempt(run.clock(), 1) if run.config.sync.max_attempts > 1 else None,
            run_id=run.id,
        )
        if is_new:
            run.log.warning("source_record_refused", stream=refused.stream.value, id=refused.id, reason=refused.reason)
            count = run.summary.tasks if refused.stream is Stream.TASKS else run.summary.people
            count.rejected += 1


# -- what is read by id


def reread_refused(run: Run, stream: Stream) -> None:
    """Ask again for the refused records of a stream that are due; those that are gone are refused no more.

    A record that was put right without its stamp moving would otherwise stay refused for ever.

    Raises:
        ServiceError: Outreach was unavailable or out of quota; what was not read stays refused.
    """
    due = run.store.outbox.due_sources(stream, run.clock())
    if not due:
        return
    still_refused: dict[int, str] = {}
    for page in run.source.by_id(stream, list(due)):
        keep_read(run, page)
        still_refused.update((one.id, one.reason) for one in page.refused if one.stream is stream and one.id in due)
    with run.store.transaction():
        run.store.outbox.drop(entry.id for source_id, entry in due.items() if source_id not in still_refused)
        for source_id, reason in still_refused.items():
            run.refuse(due[source_id], reason)


def keep_read(run: Run, page: Page) -> None:
    """Store what was asked for; as in a walk, nothing is decided from it until every walk is complete."""
    with run.store.transaction():
        concerned, _ = keep_page(run, page)
        run.store.undecided.mark_changed(concerned, held=True)


def read_concerned(run: Run) -> None:
    """Read again by id what events say something of, and believe what is there now, or that it is not.

    Raises:
        ServiceError: Outreach was unavailable or out of quota; the rest is read by the next run.
        InterruptedByError: asked to stop; likewise.
    """
    summary = run.summary.streams[Stream.EVENTS]
    before = run.source.requests
    try:
        for stream in (Stream.PROSPECTS, Stream.SEQUENCE_STATES, Stream.TASKS):
            while some := run.store.events.concerns(stream, _TOGETHER):
                check(run.stop)
                _read_some(run, stream, some, summary)
    finally:
        summary.requests += run.source.requests - before


def _read_some(run: Run, stream: Stream, some: dict[int, bool], summary: StreamSummary) -> None:
    removed = {one for one, said in some.items() if said}
    absent = absent_among(run, stream, some, certain=removed)
    if stream is Stream.PROSPECTS and removed.difference(absent):
        for page in run.source.states_of(sorted(removed.difference(absent))):
            keep_read(run, page)  # it took in another one, and that one's states
    with run.store.transaction():
        if stream is Stream.PROSPECTS:
            concerned = run.store.cache.prospects_are_gone(absent)
            concerned |= run.store.cache.gone_prospects_opted_out(_opt_outs_told_of(run, absent))
        elif stream is Stream.SEQUENCE_STATES:
            concerned = run.store.cache.remove_states(absent)
        else:
            concerned = _skipped_and_gone(run, absent, summary)
        run.store.undecided.mark_changed(concerned, held=True)
        run.store.events.concerns_read(stream, some)


def _opt_outs_told_of(run: Run, prospect_ids: Collection[int]) -> list[Event]:
    """Return, for each prospect and kind of opt-out, the event that told of it last, unless that took it back."""
    told = run.store.events.of_prospects(prospect_ids, list(SHOWN_BY))
    last = {(event.prospect_id, SHOWN_BY[event.name][0]): event for event in told}
    return [event for event in last.values() if SHOWN_BY[event.name][1]]


def absent_among(run: Run, stream: Stream, ids: Iterable[int], *, certain: Iterable[int] = ()) -> list[int]:
    """Read records by id, store them, and return which are not there.

    An answer may be cut short: what is absent from one that holds others is asked for again, unless something else says
    that it is gone (`certain`).

    Raises:
        ServiceError: Outreach could not be asked to the end.
    """
    absent, sure = list(ids), set(certain)
    gone: list[int] = []
    while absent:
        found = set[int]()
        for page in run.source.by_id(stream, absent):
            found.update(row.id for row in page.rows)
            found.update(one.id for one in page.refused if one.id is not None)
            keep_read(run, page)
        missing = [one for one in absent if one not in found]
        if not found:
            return [*gone, *missing]
        gone += [one for one in missing if one in sure]
        absent = [one for one in missing if one not in sure]
    return gone


def _skipped_and_gone(run: Run, task_ids: Sequence[int], summary: StreamSummary) -> set[int]:
    """Queue tasks that an event says were skipped and that are gone; return the prospects that need a Person for it."""
    concerned = set[int]()
    told = run.store.events.skips_of(task_ids, run.config.sync.tasks.skip_events)
    forgotten = forgotten_ids(run.store.connection, "prospect")
    for task_id, event in told.items():
        known = run.store.cache.task(task_id)
        prospect_id = (known.task.prospect_id if known else None) or event.prospect_id
        if prospect_id in forgotten:
            continue
        made = run.store.cache.gone_task_was_skipped(event)
        summary.skipped += known is None or not known.skipped
        if made.prospect_id is not None:
            concerned |= queue_skipped(run, task_id, made.prospect_id, held=True)
    return concerned


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
