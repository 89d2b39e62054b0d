from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import Instant
from outreach_sync.records import SequenceState, SourceTask
from outreach_sync.rules.person import OPTED_OUT, Held
from outreach_sync.rules.watermark import Watched
from outreach_sync.store.cache import CachedTask
from outreach_sync.store.progress import UNSEEN, SentTask, Survey

if TYPE_CHECKING:
    from outreach_sync.store import Store

NOW = Instant(1000)


def know(state: Store, *ids: int) -> None:
    with state.transaction():
        state.cache.keep_states(SequenceState(one, one, 1, "active", NOW, NOW, sequence_step_id=211) for one in ids)


def keep_task(state: Store, *, skipped: bool = False, word: str = "incomplete", **values: Any) -> None:
    whole: dict[str, Any] = dict.fromkeys(SourceTask._fields) | {"untold": frozenset()}
    whole |= {"id": 7, "prospect_id": 1, "sequence_state_id": 1, "task_type": "t", "action": "a", "updated_at": NOW}
    whole["attributes"] = {"state": word, "sequenceStep": 210}
    with state.transaction():
        state.cache.keep_tasks([CachedTask(SourceTask(**{**whole, **values}), skipped)])


def test_what_the_walk_did_not_see_is_told_in_order_and_findings_do_not_outlive_the_process(state: Store) -> None:
    know(state, 1, 2, 3, 4)
    survey = Survey(state.connection)
    with state.transaction():
        survey.saw([2, 99])
        survey.note("states_missing", [(3,)])
    again = Survey(state.connection)
    assert (again.following(UNSEEN, 0, 2), again.following(UNSEEN, 3, 2)) == ([1, 3], [4])
    assert again.counts()["states_missing"] == 0
    with state.transaction():
        again.begin()
    assert again.following(UNSEEN, 0, 9) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({}, True),
        ({"state": "paused"}, True),
        ({"sequence_step_id": 210}, False),
        ({"sequence_step_id": None}, False),
        ({"replied_at": NOW}, False),
        *(({"state": word}, False) for word in ("finished", "opted_out", "bounced", "failed")),
    ],
)
def test_a_task_is_overtaken_where_its_state_is_open_and_at_another_step(
    state: Store, values: dict[str, Any], taken: bool
) -> None:
    with state.transaction():
        state.cache.keep_states([SequenceState(1, 1, 1, "active", NOW, NOW, sequence_step_id=211)._replace(**values)])
    keep_task(state)
    assert Survey(state.connection).overtaken_tasks(0, 9) == ({7: 1} if taken else {})


@pytest.mark.parametrize("values", [{"word": "complete"}, {"skipped": True}, {"prospect_id": None}])
def test_a_task_that_is_done_skipped_or_of_nobody_is_not_overtaken(state: Store, values: dict[str, Any]) -> None:
    know(state, 1)
    keep_task(state, **values)
    assert Survey(state.connection).overtaken_tasks(0, 9) == {}


def test_a_task_whose_sequence_state_is_gone_went_with_it(state: Store) -> None:
    know(state, 1)
    keep_task(state)
    survey = Survey(state.connection)
    with state.transaction():
        survey.note("states_missing", [(1,)])
    assert survey.overtaken_tasks(0, 9) == {}


def test_a_prospect_that_is_gone_takes_its_states_along_but_not_an_opt_out(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states(
            [SequenceState(one, 1, 1, word, NOW, NOW) for one, word in ((1, "active"), (2, OPTED_OUT))]
        )
        survey = Survey(state.connection)
        survey.note("prospects_gone", [(1,)])
        assert survey.missing_among([1, 2]) == {1}
        assert survey.counts()["prospects_gone"] == 1
        survey.keep()
    assert state.cache.prospects([1])[1].gone
    assert state.cache.pooled_prospects([1])[1].trashed
    with state.transaction():
        survey = Survey(state.connection)
        survey.note("prospects_gone", [(1,)])
    assert survey.counts()["prospects_gone"] == 0


def test_what_was_found_is_put_into_effect_together(state: Store) -> None:
    know(state, 1, 2)
    keep_task(state, skipped=True)
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.task_was_sent(7, 9000, NOW)
        state.people.read(1002, 3, Held(), rule="email", now=NOW)
        state.people.link([2], 1002)
        assert survey.sent_tasks(0, 9) == [SentTask(7, 1, 9000, NOW)]
        survey.note("states_missing", [(1,)])
        survey.note("people_gone", [(1002, None, None, Watched.LOSSES)])
        survey.note("tasks_gone", [(7, 1, 9000)])
        assert survey.people_to_change() == {Watched.UPDATES: 0, Watched.LOSSES: 1}
        survey.keep()
    assert state.cache.pooled_states([1, 2]).keys() == {2}
    assert state.undecided.ready(0, 9) == [1, 2]
    assert state.people.by_id([1002])[1002].lock_version is None
    assert survey.sent_tasks(0, 9) == []
    assert survey.tasks("tasks_gone", "tasks_vanished") == [(7, 1, 9000)]
