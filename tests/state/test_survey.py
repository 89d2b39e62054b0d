from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import Instant
from outreach_sync.records import SequenceState, SourceTask
from outreach_sync.rules.differences import Held
from outreach_sync.state.cache import JudgedTask
from outreach_sync.state.survey import OpenTask, SentTask, Survey

if TYPE_CHECKING:
    from outreach_sync.state import State

NOW, LATER = Instant(1000), Instant(2000)


def know(state: State, *ids: int, word: str = "active", at: Instant = LATER) -> None:
    with state.transaction():
        state.cache.keep_states(SequenceState(one, one, 1, word, at, at) for one in ids)


def keep_task(state: State, *, skipped: bool = False, word: str = "incomplete", **values: Any) -> None:
    whole: dict[str, Any] = dict.fromkeys(SourceTask._fields)
    whole |= {"id": 7, "prospect_id": 1, "sequence_state_id": 1, "task_type": "t", "action": "a", "updated_at": NOW}
    whole["attributes"] = {"state": word}
    with state.transaction():
        state.cache.keep_tasks([JudgedTask(SourceTask(**{**whole, **values}), skipped)])


def test_a_walk_outlives_the_process_and_the_findings_do_not(state: State) -> None:
    survey = Survey(state.connection)
    with state.transaction():
        survey.begin(NOW)
        survey.saw([1, 2], "https://next")
        survey.note_missing([3])
    again = Survey(state.connection)
    assert again.progress() == (NOW, "https://next", False)
    assert again.counts()["states_missing"] == 0


def test_what_the_walk_did_not_see_is_told_in_order(state: State) -> None:
    know(state, 1, 2, 3, 4)
    survey = Survey(state.connection)
    with state.transaction():
        survey.begin(NOW)
        survey.saw([2, 99], None)
    assert survey.unseen(0, 2) == [1, 3]
    assert survey.unseen(3, 2) == [4]
    assert survey.progress() == (NOW, None, True)


def test_a_new_walk_has_seen_nothing(state: State) -> None:
    know(state, 1)
    survey = Survey(state.connection)
    with state.transaction():
        survey.begin(NOW)
        survey.saw([1], None)
        survey.begin(LATER)
    assert survey.unseen(0, 9) == [1]


@pytest.mark.parametrize(
    ("word", "at", "taken"),
    [("active", LATER, True), ("finished", LATER, True), ("active", NOW, False), ("opted_out", LATER, False)],
)
def test_a_task_is_overtaken_where_its_sequence_went_on(state: State, word: str, at: Instant, taken: bool) -> None:
    know(state, 1, word=word, at=at)
    keep_task(state)
    assert Survey(state.connection).overtaken_tasks(0, 9) == ([OpenTask(7, 1)] if taken else [])


@pytest.mark.parametrize("values", [{"word": "complete"}, {"skipped": True}, {"prospect_id": None}])
def test_a_task_that_is_done_skipped_or_of_nobody_is_not_overtaken(state: State, values: dict[str, Any]) -> None:
    know(state, 1)
    keep_task(state, **values)
    assert Survey(state.connection).overtaken_tasks(0, 9) == []


def test_a_task_whose_sequence_state_is_gone_went_with_it(state: State) -> None:
    know(state, 1)
    keep_task(state)
    survey = Survey(state.connection)
    with state.transaction():
        survey.note_missing([1])
    assert survey.overtaken_tasks(0, 9) == []


def test_what_was_found_is_put_into_effect_together(state: State) -> None:
    know(state, 1, 2)
    keep_task(state, skipped=True)
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.task_was_sent(7, 9000, NOW)
        state.people.read(1002, 3, Held(), rule="email", now=NOW)
        state.people.link([2], 1002)
        assert survey.sent_tasks(0, 9) == [SentTask(7, 1, 9000, NOW)]
        survey.note_missing([1])
        survey.note_disagreement(1002, gone=True, counts=True)
        survey.note_tasks([(7, 1)], vanished=False)
        assert survey.people_to_change() == 1
        survey.keep()
    assert state.cache.pooled_states([1, 2]).keys() == {2}
    assert state.undecided.ready(0, 9) == [1, 2]
    assert state.people.by_id([1002])[1002].lock_version is None
    assert survey.sent_tasks(0, 9) == []
    assert list(survey.tasks_to_send()) == [(7, 1)]
