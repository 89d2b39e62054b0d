from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import Instant
from outreach_sync.records import Stream
from outreach_sync.rules.watermark import Progress

if TYPE_CHECKING:
    from outreach_sync.store import Store

TASKS = Stream.TASKS


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
