from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import Instant
from outreach_sync.records import Stream
from outreach_sync.rules.watermark import Progress, Walk

if TYPE_CHECKING:
    from outreach_sync.store import Store

TASKS = Stream.TASKS
WALK = Walk(Instant(1), moves_watermark=True, counts_as_sweep=False, next_url="https://next", began_at=Instant(2))


def test_a_walk_is_progress_apart_from_the_watermark(state: Store) -> None:
    with state.transaction():
        state.progress.keep_walk(TASKS, WALK)
    assert state.progress.of(TASKS) == Progress(None, None, WALK)
    assert state.progress.watermarks() == {}


def test_a_complete_walk_leaves_its_marks_and_no_walk(state: Store) -> None:
    with state.transaction():
        state.progress.keep_walk(TASKS, WALK)
        state.progress.keep_walk(TASKS, None, watermark=Instant(5), swept=Instant(6))
    assert state.progress.of(TASKS) == Progress(Instant(5), Instant(6), None)


def test_marks_that_a_walk_does_not_set_stay(state: Store) -> None:
    with state.transaction():
        state.progress.keep_walk(TASKS, None, watermark=Instant(5), swept=Instant(6))
        state.progress.keep_walk(TASKS, None)
    assert state.progress.of(TASKS) == Progress(Instant(5), Instant(6), None)


def test_one_stream_says_nothing_of_another(state: Store) -> None:
    with state.transaction():
        state.progress.keep_walk(TASKS, None, watermark=Instant(5))
        state.progress.reset(Stream.PROSPECTS)
    assert state.progress.watermarks() == {TASKS: 5}
    with state.transaction():
        state.progress.reset(TASKS)
    assert state.progress.of(TASKS) == Progress(None, None, None)
