"""Pull: walk a stream from its bound to its end, and store each page with its consequences in one transaction.

What a page holds, the work that follows from it and how far the walk is get into the state together or not at all; a
process that dies between two pages loses nothing and goes on with the next page. The watermark moves when the walk is
complete (`rules.watermark` says how far).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync import instants
from outreach_sync.errors import InterruptedByError, OutreachSyncError
from outreach_sync.ledger import next_attempt
from outreach_sync.outreach.client import CursorRefusedError
from outreach_sync.outreach.walk import PagingLoopError
from outreach_sync.pipeline.tally import StreamTally
from outreach_sync.records import Stream
from outreach_sync.rules import watermark
from outreach_sync.rules.skipped import is_sequence_task, skipping_condition
from outreach_sync.rules.watermark import Walk
from outreach_sync.state.cache import JudgedTask

if TYPE_CHECKING:
    from outreach_sync.instants import Instant
    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Page, SourceTask
    from outreach_sync.rules.watermark import Bound, Progress

ALL_STATES_READ = "all_states_read"
"""Fact: a walk without a lower bound was completed, so that absence from the cache proves that there is nothing."""

_RESTARTS = 2


def pull(run: Run, stream: Stream) -> None:
    """Read what changed in one stream and store it.

    Raises:
        ServiceError: Outreach was unavailable or out of quota; what was read is kept and the next run goes on.
        UntrustedAnswerError: the walk cannot be trusted (it loops); it starts again next time.
        InterruptedByError: asked to stop; likewise.
    """
    tally = run.tally.streams.setdefault(stream, StreamTally())
    before = run.source.requests
    try:
        _walk(run, stream, tally)
    finally:
        tally.requests += run.source.requests - before
        tally.watermark = run.state.progress.of(stream).watermark
    run.log.info("stream_read", stream=stream.value, **tally.as_json(stream))
    if tally.without_stamp:
        run.log.warning("rows_without_updated_at", stream=stream.value, rows=tally.without_stamp)


def _walk(run: Run, stream: Stream, tally: StreamTally) -> None:
    """Go on with the walk there is, or begin one; begin again where the service refuses the page token."""
    for restart in range(_RESTARTS + 1):
        progress = run.state.progress.of(stream)
        walk = _resumable(run, progress) or _begin(run, progress)
        try:
            _read_pages(run, stream, walk, tally)
        except PagingLoopError:
            _keep(run, stream, walk._replace(next_url=None))  # what is stored leads into the circle
            raise
        except CursorRefusedError as refusal:
            run.log.warning("walk_restarted", stream=stream.value, why=str(refusal))
            _keep(run, stream, walk._replace(next_url=None))
            if restart == _RESTARTS:
                raise
        except OutreachSyncError:
            if run.state.progress.of(stream).walk is None:  # nothing came; that it was tried is known all the same
                _keep(run, stream, walk)
            raise
        else:
            return


def _resumable(run: Run, progress: Progress) -> Walk | None:
    """Return the walk to go on with; a run that was told where to read from goes on with none but such a one.

    A page token of another host than the one that is configured now is worth nothing: that walk starts again.
    """
    walk, reading = progress.walk, run.reading
    if walk is None or reading.is_told or (reading.full and not watermark.reads_all(walk, reading)):
        return None
    return walk if walk.next_url is None or run.source.trusts(walk.next_url) else walk._replace(next_url=None)


def _begin(run: Run, progress: Progress) -> Walk:
    heard = run.source.heard_time()
    bound = watermark.first_bound(progress, run.reading, heard)
    if bound is None:
        heard = run.source.server_time()
        bound = watermark.first_bound(progress, run.reading, heard)
    if bound is None:
        raise AssertionError("the server's clock is known and still there is no bound")
    return _walk_from(bound, began_at=None, local_at=run.clock())


def _walk_from(bound: Bound, *, began_at: Instant | None, local_at: Instant) -> Walk:
    return Walk(bound.since, bound.moves_watermark, bound.counts_as_sweep, None, began_at, local_at)


def _read_pages(run: Run, stream: Stream, walk: Walk, tally: StreamTally) -> None:
    url = walk.next_url or run.source.first_url(stream, walk.since)
    for page in run.source.pages(stream, url):
        if walk.began_at is None:
            walk = walk._replace(began_at=page.server_time, local_at=run.clock())
            sweep = _sweep_instead(run, stream, walk, page.server_time)
            if sweep is not None:
                _read_pages(run, stream, sweep, tally)
                return
        walk = _store(run, stream, walk, page, tally)
        run.on_progress(stream.value, page.received)
        if page.next_url is not None and run.stop.is_set():
            raise InterruptedByError(run.stop.signal_number)


def _sweep_instead(run: Run, stream: Stream, walk: Walk, server_now: Instant | None) -> Walk | None:
    """Where the first answer shows that a late sweep is due, read that instead: it covers this walk's bound."""
    reading = run.reading
    if walk.counts_as_sweep or not walk.moves_watermark or server_now is None or reading.is_told:
        return None
    progress = run.state.progress.of(stream)
    if not watermark.sweep_is_due(progress, reading, server_now):
        return None
    sweep = _walk_from(watermark.sweep_bound(progress, reading), began_at=server_now, local_at=run.clock())
    _keep(run, stream, sweep)
    return sweep


def _store(run: Run, stream: Stream, walk: Walk, page: Page, tally: StreamTally) -> Walk:
    """Store a page, the work that follows from it and how far the walk is, in one transaction.

    With the last page the walk is complete, so that a cycle in which nothing happened costs one commit for a stream.
    """
    stamps = [row.updated_at for row in page.rows]
    newest = max((stamp for stamp in (*stamps, walk.newest) if stamp is not None), default=None)
    walk = walk._replace(newest=newest, next_url=page.next_url or walk.next_url)
    with run.state.transaction():
        concerned, changed = keep_page(run, page, tally)
        run.state.undecided.mark_changed(concerned, held=True)
        _keep_refusals(run, stream, page)
        if page.next_url is None:
            _complete(run, stream, walk)
        else:
            run.state.progress.keep_walk(stream, walk)
    tally.read += page.received
    tally.changed += changed
    tally.without_stamp += page.without_stamp
    return walk


def keep_page(run: Run, page: Page, tally: StreamTally | None = None) -> tuple[set[int], int]:
    """Store the records of a page (inside a transaction).

    Returns:
        The prospects whose Person has to be decided again, and how many rows of the stream changed.
    """
    cache = run.state.cache
    forgotten = run.state.forgotten.prospects()
    cache.keep_sequences(page.sequences)
    included, _ = cache.keep_prospects(one for one in page.included if one.id not in forgotten)
    prospects, changed_prospects = cache.keep_prospects(one for one in page.prospects if one.id not in forgotten)
    states, changed_states = cache.keep_states(
        (one for one in page.states if one.prospect_id not in forgotten), written={one.id for one in page.included}
    )
    with_task, changed_tasks = _keep_tasks(run, page.tasks, forgotten, tally)
    return included | prospects | states | with_task, changed_prospects + changed_states + changed_tasks


def _keep_tasks(
    run: Run, tasks: tuple[SourceTask, ...], forgotten: frozenset[int], tally: StreamTally | None
) -> tuple[set[int], int]:
    """Store sequence tasks and queue what was skipped; return the prospects that need a Person for it."""
    judged = [
        JudgedTask(task, skipping_condition(task.attributes, run.config.sync.tasks.skipped_when) is not None)
        for task in tasks
        if is_sequence_task(task) and task.prospect_id not in forgotten
    ]
    concerned = set[int]()
    changed = run.state.cache.keep_tasks(judged)
    for task, skipped in changed:
        if not skipped:
            run.state.outbox.drop_task(task.id)
        elif task.prospect_id is not None:
            concerned |= queue_skipped(run, task.id, task.prospect_id, held=True)
    if tally is not None:
        tally.skipped += sum(one.skipped for one in changed)
    return concerned, len(changed)


def queue_skipped(run: Run, task_id: int, prospect_id: int, *, held: bool) -> set[int]:
    """Queue the Workbooks Task of a skipped task unless it was made already; return whose Person it needs."""
    cached = run.state.cache.task(task_id)
    if cached is not None and cached.workbooks_id is not None:
        return set()
    run.state.outbox.queue_task(task_id, prospect_id, held=held, run_id=run.id)
    return {prospect_id}


def _keep_refusals(run: Run, stream: Stream, page: Page) -> None:
    if run.state.outbox.has_source_refusals():
        refused_ids = {refused.id for refused in page.refused}
        made_sense = [row.id for row in page.rows if row.id not in refused_ids]
        run.state.outbox.source_made_sense(stream, made_sense)
    forgotten = run.state.forgotten.prospects()
    for refused in page.refused:
        if (refused.id if refused.stream is Stream.PROSPECTS else refused.prospect_id) in forgotten:
            continue
        is_new = run.state.outbox.refuse_source(
            refused.stream,
            refused.id,
            refused.prospect_id,
            refused.reason,
            next_attempt_at=next_attempt(run.clock(), 1) if run.config.sync.max_attempts > 1 else None,
            run_id=run.id,
        )
        if is_new:
            run.log.warning("source_record_refused", stream=stream.value, id=refused.id, reason=refused.reason)
            count = run.tally.tasks if refused.stream is Stream.TASKS else run.tally.people
            count.rejected += 1


def _complete(run: Run, stream: Stream, walk: Walk) -> None:
    """Move the watermark as far as the walk proves, never back (inside a transaction)."""
    before = run.state.progress.of(stream)
    moved = before.watermark
    if walk.moves_watermark:
        marks = (before.watermark, watermark.trusted_time(walk))
        moved = max((mark for mark in marks if mark is not None), default=None)
    run.state.progress.complete(stream, moved, walk.began_at if walk.counts_as_sweep else None)
    if stream is Stream.SEQUENCE_STATES and walk.since is None:
        run.state.facts.put(ALL_STATES_READ, run.id)
    run.log.debug(
        "walk_complete", stream=stream.value, since=walk.since and instants.to_iso(walk.since), watermark=moved
    )


def _keep(run: Run, stream: Stream, walk: Walk) -> None:
    with run.state.transaction():
        run.state.progress.keep_walk(stream, walk)
