from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from outreach_sync.store import Store


def test_the_history_is_kept_newest_first_and_a_killed_run_has_no_end(state: Store) -> None:
    with state.transaction():
        state.history.begin("a", "run", Instant(1))
        state.history.begin("b", "reconcile", Instant(2))
        state.history.finish("a", Instant(3), 0, "ok", {"people": {"created": 1}})
    newest, oldest = state.history.runs(5)
    assert (newest.id, newest.finished_at, newest.summary) == ("b", None, {})
    assert (oldest.exit_status, oldest.outcome, oldest.summary) == (0, "ok", {"people": {"created": 1}})
    assert [one.id for one in state.history.runs(since=Instant(2), order="ASC")] == ["b"]


DAY = 86_400_000
NOW = Instant(20_000 * DAY)


def test_old_runs_are_dropped_with_what_they_wrote(state: Store) -> None:
    with state.transaction():
        for name, age in (("a", 100), ("b", 91), ("c", 89), ("d", 0)):
            state.history.begin(name, "run", Instant(NOW - age * DAY))
            state.connection.execute(
                "INSERT INTO write (at, run_id, record, action, field) VALUES (0, ?, 'person', 'update', 'f')", (name,)
            )
        state.history.turn_day(Instant(NOW - 90 * DAY), NOW)
    assert [one.id for one in state.history.runs(5)] == ["d", "c"]
    assert [row[0] for row in state.connection.execute("SELECT run_id FROM write")] == ["c", "d"]


@pytest.mark.parametrize("wrong", [-NOW, 3_650 * DAY], ids=["1970", "2036"])
def test_a_run_in_the_wrong_year_is_one_run_in_its_place(state: Store, wrong: int) -> None:
    with state.transaction():
        for name, at in (("old", NOW - 95 * DAY), ("a", NOW - 10 * DAY), ("wrong", NOW + wrong), ("b", NOW)):
            state.history.begin(name, "run", Instant(at))
        state.history.turn_day(Instant(NOW - 90 * DAY), NOW)
    assert [one.id for one in state.history.runs(9)] == ["b", "wrong", "a"]
    assert [one.id for one in state.history.runs(1, command="run")] == ["b"]
    assert [one.id for one in state.history.runs(1, order="ASC")] == ["a"]


def test_an_old_run_in_the_wrong_year_keeps_nothing_from_being_dropped(state: Store) -> None:
    with state.transaction():
        for name, at in (("wrong", NOW + 3_650 * DAY), ("old", NOW - 95 * DAY), ("a", NOW - 10 * DAY)):
            state.history.begin(name, "run", Instant(at))
        state.history.turn_day(Instant(NOW - 90 * DAY), NOW)
    assert [one.id for one in state.history.runs(9)] == ["a"]


def test_where_the_clock_contradicts_every_run_none_is_dropped(state: Store) -> None:
    with state.transaction():
        state.history.begin("a", "run", NOW)
        state.history.turn_day(Instant(NOW + 3_000 * DAY), Instant(NOW + 3_090 * DAY))
    assert [one.id for one in state.history.runs(9)] == ["a"]
