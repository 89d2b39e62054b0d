from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from outreach_sync.state import State


def test_the_history_is_kept_newest_first_and_a_killed_run_has_no_end(state: State) -> None:
    with state.transaction():
        state.runs.begin("a", "run", Instant(1))
        state.runs.begin("b", "reconcile", Instant(2))
        state.runs.finish("a", Instant(3), 0, "ok", {"people": {"created": 1}})
    newest, oldest = state.runs.latest(5)
    assert (newest.id, newest.finished_at, newest.summary) == ("b", None, {})
    assert (oldest.exit_status, oldest.outcome, oldest.summary) == (0, "ok", {"people": {"created": 1}})
    assert [one.id for one in state.runs.since(Instant(2))] == ["b"]


def test_old_runs_are_dropped(state: State) -> None:
    with state.transaction():
        state.runs.begin("a", "run", Instant(1))
        state.runs.begin("b", "run", Instant(2))
        state.runs.forget_before(Instant(2))
    assert [one.id for one in state.runs.latest(5)] == ["b"]
