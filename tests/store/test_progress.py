from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Sequence, Stream
from outreach_sync.rules.person import OPTED_OUT, Held
from outreach_sync.rules.watermark import Progress, Walk, Watched
from outreach_sync.store.progress import LINKED_PEOPLE, UNSEEN, SentTask, SkippedBySequence, Survey
from tests.harness import DAY
from tests.store.conftest import prospect_of, state_of, task_of

if TYPE_CHECKING:
    from outreach_sync.store import Store

TASKS = Stream.TASKS
WALK = Walk(1, moves_watermark=True, counts_as_sweep=False, next_url="https://next", began_at=2, as_is=True)
NOON, TODAY = parse_iso("2026-09-02T12:00:00Z"), parse_iso("2026-09-02T00:00:00Z")


def test_a_walk_is_progress_apart_from_the_marks_which_stay_until_they_are_set(state: Store) -> None:
    progress = state.progress
    with state.transaction():
        progress.keep_walk(TASKS, WALK)
        assert (progress.of(TASKS), progress.watermarks()) == (Progress(None, None, WALK), {})
        progress.keep_walk(TASKS, None, watermark=5, swept=6)
        assert progress.of(TASKS) == Progress(5, 6, None)
        progress.keep_walk(TASKS, WALK)
        assert progress.of(TASKS) == Progress(5, 6, WALK)
        progress.reset(Stream.PROSPECTS)  # says nothing of another
        assert progress.watermarks() == {TASKS: 5}
        progress.reset(TASKS)
    assert progress.of(TASKS) == Progress(None, None, None)


# -- runs


def test_the_history_is_kept_newest_first_and_a_killed_run_has_no_end(state: Store) -> None:
    with state.transaction():
        state.history.begin("a", "run", 1)
        state.history.begin("b", "reconcile", 2)
        state.history.finish("a", 3, 0, "ok", {"people": {"created": 1}})
    newest, oldest = state.history.runs(5)
    assert (newest.id, newest.finished_at, newest.summary) == ("b", None, {})
    assert (oldest.exit_status, oldest.outcome, oldest.summary) == (0, "ok", {"people": {"created": 1}})
    assert [one.id for one in state.history.runs(since=2, order="ASC")] == ["b"]


@pytest.mark.parametrize(
    ("days", "today", "kept"),
    [
        ({"a": -100, "b": -91, "c": -89, "d": 0}, 0, "cd"),
        *(({"a": -95, "b": -10, "x": wrong, "c": 0}, 0, "bxc") for wrong in (-20_000, 3_650)),
        ({"x": 3_650, "a": -95, "b": -10}, 0, "b"),
        ({"a": 0}, 3_090, "a"),
    ],
    ids=["old", "one in 1970", "one in 2036", "an old one in 2036", "the clock contradicts all"],
)
def test_old_runs_are_dropped_with_what_they_wrote_by_their_order(
    state: Store, days: dict[str, int], today: int, kept: str
) -> None:
    with state.transaction():
        for name, day in days.items():
            state.history.begin(name, "run", NOON + day * DAY)
            state.connection.execute(
                "INSERT INTO write (at, run_id, record, action, field) VALUES (0, ?, 'person', 'update', 'f')", (name,)
            )
        state.history.finish("", NOON, 0, "ok", {}, heard_at=NOON + today * DAY, keep_ms=90 * DAY)
    assert [one.id for one in state.history.runs(order="ASC")] == list(kept)
    assert [one.id for one in state.history.runs(1, command="run")] == [kept[-1]]
    assert [row[0] for row in state.connection.execute("SELECT run_id FROM write ORDER BY number")] == list(kept)


# -- what people said and did


def read_people(state: Store, **labels: str | None) -> None:
    for name, label in labels.items():
        state.people.read(int(name[1:]), 1, Held(label), rule="email", now=NOON)


def test_a_day_is_noted_once_however_often_a_run_ends_and_dropped_when_it_is_old(state: Store) -> None:
    history = state.history
    with state.transaction():
        for number, at in enumerate((NOON, NOON + 1, NOON + DAY)):
            read_people(state, **{f"p{number}": "Finished"})
            history.finish("", at, 0, "ok", {}, heard_at=at)
        assert history.labels_since(TODAY) == [(TODAY, "Finished", 1), (TODAY + DAY, "Finished", 3)]
        history.finish("", NOON, 0, "ok", {}, heard_at=NOON + DAY, keep_ms=NOON + DAY - TODAY - 1)
    assert [day for day, _, _ in history.labels_since(0)] == [TODAY + DAY]


def test_an_empty_field_counts_as_an_empty_label_and_a_person_left_deleted_does_not_count(state: Store) -> None:
    with state.transaction():
        read_people(state, p1=None, p2="Opted Out", p3="Opted Out", p4="Finished")
        state.people.doubt([4], deleted=True, hidden=False)
    assert state.history.labels_now() == [("Opted Out", 2), ("", 1)]


def test_an_opt_out_counts_once_on_the_day_of_its_first_sign(state: Store) -> None:
    later, told = NOON + 3 * DAY, {"opted_out": True, "email_opted_out": True, "emails_opted_at": NOON}
    with state.transaction():
        state.cache.keep_prospects(
            [
                prospect_of(NOON, id=1, opted_out_at=later, **told),
                prospect_of(NOON, id=2, email_opted_out=True),
                *(prospect_of(NOON, id=one) for one in (3, 4)),
            ]
        )
        state.cache.keep_states(
            [
                state_of(1, OPTED_OUT, later, id=1),
                state_of(3, OPTED_OUT, later, id=2, state_changed_at=None),
                state_of(4, "active", later, id=3),
            ]
        )
    assert state.history.opt_outs_since(TODAY) == {TODAY: 2, TODAY + 3 * DAY: 1}
    assert state.history.opt_outs_since(TODAY + DAY) == {TODAY + 3 * DAY: 1}


def test_skipped_tasks_are_counted_by_sequence_also_without_a_name_or_a_sequence(state: Store) -> None:
    old = NOON - 9 * DAY
    with state.transaction():
        state.cache.keep_sequences([Sequence(7, "Trial follow-up")], shown=False)
        tasks = ((1, 7, NOON), (2, 7, old), (3, 8, old), (4, None, NOON))
        state.cache.keep_tasks([task_of(at, id=one, sequence_id=sequence) for one, sequence, at in tasks])
        state.cache.task_was_sent(2, 900, NOON)
    assert state.history.skipped_by_sequence(TODAY) == [
        SkippedBySequence(7, "Trial follow-up", recent=1, kept=2, sent=1),
        SkippedBySequence(None, None, recent=1, kept=1, sent=0),
        SkippedBySequence(8, None, recent=0, kept=1, sent=0),
    ]


# -- what `reconcile` finds


def test_what_the_walk_did_not_see_is_told_in_order_and_findings_do_not_outlive_the_process(state: Store) -> None:
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.keep_states([state_of(one, id=one) for one in (1, 2, 3, 4)])
        survey.saw([2, 99])
        survey.note("states_missing", [(3,)])
        read_people(state, p1003=None, p1001=None, p1002=None)
    again = Survey(state.connection)
    assert (again.following(UNSEEN, 0, 2), again.following(UNSEEN, 3, 2)) == ([1, 3], [4])
    assert (again.following(LINKED_PEOPLE, 0, 2), again.following(LINKED_PEOPLE, 1002, 2)) == ([1001, 1002], [1003])
    assert again.counts()["states_missing"] == 0
    with state.transaction():
        again.begin()
    assert again.following(UNSEEN, 0, 9) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "task", "taken"),
    [
        ({}, {}, True),
        ({"state": "paused"}, {}, True),
        ({"sequence_step_id": 210}, {}, False),
        ({"sequence_step_id": None}, {}, False),
        ({"replied_at": NOON}, {}, False),
        *(({"state": word}, {}, False) for word in ("finished", "opted_out", "bounced", "failed")),
        ({}, {"attributes": {"state": "complete", "sequenceStep": 210}}, False),
        ({}, {"skipped": True}, False),
        ({}, {"prospect_id": None}, False),
    ],
)
def test_a_task_is_overtaken_where_it_and_its_state_are_open_and_the_state_is_at_another_step(
    state: Store, values: dict[str, Any], task: dict[str, Any], *, taken: bool
) -> None:
    still_open = {"sequence_state_id": 7, "skipped": False, "attributes": {"state": "incomplete", "sequenceStep": 210}}
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.keep_states([state_of(1, sequence_step_id=211)._replace(**values)])
        state.cache.keep_tasks([task_of(**{**still_open, **task})])
        assert survey.overtaken_tasks(0, 9) == ({5: 1} if taken else {})
        survey.note("states_missing", [(7,)])
    assert survey.overtaken_tasks(0, 9) == {}  # it went with its state


def test_a_prospect_that_is_gone_takes_its_states_along_but_not_an_opt_out_and_is_noted_once(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1, id=1), state_of(1, OPTED_OUT, id=2)])
        for first in (True, False):
            survey = Survey(state.connection)
            survey.note("prospects_gone", [(1,)])
            assert (survey.counts()["prospects_gone"], survey.missing_among([1, 2])) == (first, {1} if first else set())
            survey.keep()
            assert (state.cache.prospects([1])[1].gone, state.cache.pooled([1])[0][1].trashed) == (True, True)


def test_a_task_that_is_refused_already_because_it_is_not_to_be_seen_is_no_finding_again(state: Store) -> None:
    with state.transaction():
        state.outbox.task_not_seen(7, 1, "not to be seen", run_id="r")
        survey = Survey(state.connection)
        survey.note("tasks_hidden", [(7, 1, 9000), (8, 1, 9001)])
    assert survey.tasks("tasks_hidden") == [(8, 1, 9001)]


def test_what_was_found_is_put_into_effect_together(state: Store) -> None:
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.keep_states([state_of(one, id=one) for one in (1, 2)])
        state.cache.keep_tasks([task_of()])
        state.cache.task_was_sent(5, 9000, NOON)
        read_people(state, p1002=None)
        state.people.link([2], 1002)
        assert survey.sent_tasks(0, 9) == [SentTask(5, 1, 9000, NOON)]
        survey.note("states_missing", [(1,)])
        survey.note("people_gone", [(1002, None, None, Watched.LOSSES)])
        survey.note("tasks_gone", [(5, 1, 9000)])
        assert survey.people_to_change() == {Watched.UPDATES: 0, Watched.LOSSES: 1}
        survey.keep()
    assert state.cache.pooled([1, 2])[1].keys() == {2}
    assert state.undecided.ready(0, 9) == [1, 2]
    assert state.people.by_id([1002])[1002].lock_version is None
    assert survey.sent_tasks(0, 9) == []
    assert survey.tasks("tasks_gone", "tasks_vanished") == [(5, 1, 9000)]
