"""All sequence states: store those never seen, and find those that no longer exist.

Outreach leaves no trace of what was deleted (its API has no tombstones), so the ids of a complete walk are compared
with the cache. There is no snapshot behind a walk: a row that moved, or came late, may be missing from it. Only what
is absent when asked for by its id is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.http import check
from outreach_sync.instants import parse_duration
from outreach_sync.outreach.client import CursorRefusedError
from outreach_sync.outreach.walk import PagingLoopError
from outreach_sync.pipeline.pull import keep_page
from outreach_sync.pipeline.tally import StreamTally
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Page
    from outreach_sync.state.survey import Survey, SurveyProgress

_STALE_MS = parse_duration("24h")
_RESTARTS = 2
_TOGETHER = 1_000
_SAMPLE = 300


def walk_all_states(run: Run, survey: Survey) -> None:
    """Go through all sequence states, or on from where an earlier walk stopped.

    Raises:
        ServiceError: it could not be completed; it goes on the next time, or begins anew where the answers went in
            circles.
        InterruptedByError: asked to stop; it goes on the next time.
    """
    tally = run.tally.streams.setdefault(Stream.SEQUENCE_STATES, StreamTally())
    before = run.source.requests
    try:
        for restart in range(_RESTARTS + 1):
            try:
                _walk(run, survey, _resumable(run, survey), tally)
            except CursorRefusedError:
                _drop(run, survey)
                if restart == _RESTARTS:
                    raise
            except PagingLoopError:
                _drop(run, survey)
                raise
            else:
                return
    finally:
        tally.requests += run.source.requests - before


def name_sequences(run: Run, survey: Survey) -> None:
    """Learn the names of sequences that only the walk has shown: its pages include nothing.

    Raises:
        ServiceError: Outreach could not be asked to the end.
    """
    unnamed = survey.with_unnamed_sequence() if run.config.workbooks.fields.sequences else []
    for page in run.source.by_id(Stream.SEQUENCE_STATES, unnamed) if unnamed else ():
        _store(run, page)


def confirm_missing(run: Run, survey: Survey) -> None:
    """Ask by id for every cached state that the walk did not show; what is absent then is missing.

    Raises:
        ServiceError: Outreach could not be asked to the end; nothing is proven.
        InterruptedByError: asked to stop.
    """
    after = 0
    while unseen := survey.unseen(after, _TOGETHER):
        check(run.stop)
        after = unseen[-1]
        absent = _absent(run, unseen)
        with run.state.transaction():
            survey.note_missing(absent)


def a_sample_is_absent(run: Run, survey: Survey) -> bool:
    """Ask by id for some of the states that the walk did not show; say whether none of them exists.

    Raises:
        ServiceError: Outreach could not be asked.
    """
    unseen = survey.unseen(0, _SAMPLE)
    return bool(unseen) and len(_absent(run, unseen)) == len(unseen)


def _absent(run: Run, state_ids: list[int]) -> list[int]:
    """Return which of these states do not exist: those for which a whole answer finds none, since one may be cut."""
    absent = state_ids
    while absent:
        found = set[int]()
        for page in run.source.by_id(Stream.SEQUENCE_STATES, absent):
            found |= set(_ids(page))
            _store(run, page)
        if not found:
            break
        absent = [one for one in absent if one not in found]
    return absent


def _resumable(run: Run, survey: Survey) -> SurveyProgress:
    """Return the walk to go on with; one that began long ago proves too little about what it saw first."""
    progress = survey.progress()
    now = run.clock()
    if progress is not None and 0 <= now - progress.began_at < _STALE_MS and _leads_on(run, progress):
        return progress
    with run.state.transaction():
        return survey.begin(now)


def _leads_on(run: Run, progress: SurveyProgress) -> bool:
    return progress.next_url is None or run.source.trusts(progress.next_url)


def _walk(run: Run, survey: Survey, progress: SurveyProgress, tally: StreamTally) -> None:
    if progress.complete:
        return
    url = progress.next_url or run.source.all_states_url()
    for page in run.source.pages(Stream.SEQUENCE_STATES, url):
        with run.state.transaction():
            concerned, changed = keep_page(run, page)
            run.state.undecided.mark_changed(concerned, held=True)
            survey.saw(_ids(page), page.next_url)
        tally.read += page.received
        tally.changed += changed
        run.on_progress(Stream.SEQUENCE_STATES.value, page.received)
        if page.next_url is not None:
            check(run.stop)


def _store(run: Run, page: Page) -> None:
    with run.state.transaction():
        concerned, _ = keep_page(run, page)
        run.state.undecided.mark_changed(concerned, held=False)


def _ids(page: Page) -> Iterator[int]:
    """Yield the ids of a page's states; one that makes no sense exists all the same."""
    yield from (state.id for state in page.states)
    yield from (refused.id for refused in page.refused if refused.id is not None)


def _drop(run: Run, survey: Survey) -> None:
    with run.state.transaction():
        survey.end()
