"""All sequence states and all linked prospects: store what was never seen, and find what no longer exists.

Outreach leaves no trace of what was deleted (its API has no tombstones), so the ids of a complete walk are compared
with the cache. There is no snapshot behind a walk: a row that moved, or came late, may be missing from it. Only what
is absent when asked for by its id is gone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from outreach_sync.http import check
from outreach_sync.instants import parse_duration
from outreach_sync.pipeline.pull import Course, absent_among, follow, keep_read
from outreach_sync.pipeline.tally import StreamTally
from outreach_sync.records import Stream
from outreach_sync.rules.watermark import Walk
from outreach_sync.state.progress import SURVEY

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Page
    from outreach_sync.rules.watermark import Progress
    from outreach_sync.state.survey import Survey

_STALE_MS = parse_duration("24h")
_TOGETHER = 1_000
_SAMPLE = 300


def walk_all_states(run: Run, survey: Survey) -> None:
    """Go through all sequence states, or on from where an earlier walk stopped.

    Raises:
        ServiceError: it could not be completed; it goes on the next time, or begins anew where the answers went in
            circles.
        InterruptedByError: asked to stop; it goes on the next time.
    """
    done = run.state.progress.of(SURVEY)
    if done.walk is None and done.watermark is not None and _is_fresh(run, done.watermark):
        return  # it was completed, and what followed was not
    tally = run.tally.streams.setdefault(Stream.SEQUENCE_STATES, StreamTally())
    before = run.source.requests
    course = Course(
        Stream.SEQUENCE_STATES,
        SURVEY,
        begin=partial(_begin, run, survey),
        resumable=partial(_resumable, run),
        first_url=lambda _walk: run.source.all_states_url(),
        instead=lambda _walk, _now: None,
        page_kept=lambda page: survey.saw(_ids(page)),
        completed=lambda walk: run.state.progress.complete(SURVEY, walk.began_at, None),
    )
    try:
        follow(run, course, tally)
    finally:
        tally.requests += run.source.requests - before


def end_walk(run: Run, survey: Survey) -> None:
    """Have the next reconcile begin anew (inside a transaction)."""
    run.state.progress.reset(SURVEY)
    survey.begin()


def _begin(run: Run, survey: Survey, _progress: Progress) -> Walk:
    with run.state.transaction():
        end_walk(run, survey)
    return Walk(None, moves_watermark=False, counts_as_sweep=False, local_at=run.clock(), as_is=True)


def _resumable(run: Run, progress: Progress) -> Walk | None:
    """Return the walk to go on with; one that began long ago proves too little about what it saw first."""
    walk = progress.walk
    if walk is None or walk.next_url is None or not run.source.trusts(walk.next_url):
        return None
    return walk if walk.began_at is not None and _is_fresh(run, walk.began_at) else None


def _is_fresh(run: Run, began_at: int) -> bool:
    """Say whether a walk began within a day, by the service's clock."""
    now = run.source.heard_time()
    return now is not None and 0 <= now - began_at < _STALE_MS


def name_sequences(run: Run, survey: Survey) -> None:
    """Learn the names of sequences that only the walk has shown: its pages include nothing.

    Raises:
        ServiceError: Outreach could not be asked to the end.
    """
    unnamed = survey.with_unnamed_sequence() if run.config.workbooks.fields.sequences else []
    for page in run.source.by_id(Stream.SEQUENCE_STATES, unnamed) if unnamed else ():
        keep_read(run, page)


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
        absent = absent_among(run, Stream.SEQUENCE_STATES, unseen)
        with run.state.transaction():
            survey.note_missing(absent)


def read_prospects(run: Run, survey: Survey) -> None:
    """Ask by id for every linked prospect: who was changed without a stamp, trashed or deleted is found.

    Raises:
        ServiceError: Outreach could not be asked to the end; nothing is proven.
        InterruptedByError: asked to stop.
    """
    after = 0
    while linked := survey.linked_prospects(after, _TOGETHER):
        check(run.stop)
        after = linked[-1]
        absent = absent_among(run, Stream.PROSPECTS, linked)
        with run.state.transaction():
            survey.note_gone(absent)
        run.on_progress(Stream.PROSPECTS.value, len(linked))


def a_sample_is_absent(run: Run, survey: Survey) -> bool:
    """Ask by id for some of the states that the walk did not show; say whether none of them exists.

    Raises:
        ServiceError: Outreach could not be asked.
    """
    unseen = survey.unseen(0, _SAMPLE)
    return bool(unseen) and len(absent_among(run, Stream.SEQUENCE_STATES, unseen)) == len(unseen)


def _ids(page: Page) -> list[int]:
    """Return the ids of a page's states; one that makes no sense exists all the same."""
    return [*(state.id for state in page.states), *(one.id for one in page.refused if one.id is not None)]
