from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Prospect, Sequence, SequenceState, SourceTask, Stream
from outreach_sync.rules.person import OPTED_OUT, Held
from outreach_sync.rules.watermark import Progress, Walk, Watched
from outreach_sync.store.cache import CachedTask
from outreach_sync.store.progress import (
    DAY_MS,
    LINKED_PEOPLE,
    UNSEEN,
    SentTask,
    SkippedBySequence,
    Survey,
)

if TYPE_CHECKING:
    from outreach_sync.store import Store

TASKS = Stream.TASKS
WALK = Walk(Instant(1), moves_watermark=True, counts_as_sweep=False, next_url="https://next", began_at=Instant(2))


def test_a_walk_is_progress_apart_from_the_marks_which_stay_until_they_are_set(state: Store) -> None:
    progress, five, six = state.progress, Instant(5), Instant(6)
    with state.transaction():
        progress.keep_walk(TASKS, WALK)
        assert (progress.of(TASKS), progress.watermarks()) == (Progress(None, None, WALK), {})
        progress.keep_walk(TASKS, None, watermark=five, swept=six)
        assert progress.of(TASKS) == Progress(five, six, None)
        progress.keep_walk(TASKS, WALK)
        assert progress.of(TASKS) == Progress(five, six, WALK)
        progress.reset(Stream.PROSPECTS)  # says nothing of another
        assert progress.watermarks() == {TASKS: 5}
        progress.reset(TASKS)
    assert progress.of(TASKS) == Progress(None, None, None)


# -- runs


def test_the_history_is_kept_newest_first_and_a_killed_run_has_no_end(state: Store) -> None:
    with state.transaction():
        state.history.begin("a", "run", Instant(1))
        state.history.begin("b", "reconcile", Instant(2))
        state.history.finish("a", Instant(3), 0, "ok", {"people": {"created": 1}})
    newest, oldest = state.history.runs(5)
    assert (newest.id, newest.finished_at, newest.summary) == ("b", None, {})
    assert (oldest.exit_status, oldest.outcome, oldest.summary) == (0, "ok", {"people": {"created": 1}})
    assert [one.id for one in state.history.runs(since=Instant(2), order="ASC")] == ["b"]


DAY, NOW = DAY_MS, Instant(20_000 * DAY_MS)


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
    now = Instant(NOW + today * DAY)
    with state.transaction():
        for name, day in days.items():
            state.history.begin(name, "run", Instant(NOW + day * DAY))
            state.connection.execute(
                "INSERT INTO write (at, run_id, record, action, field) VALUES (0, ?, 'person', 'update', 'f')", (name,)
            )
        state.history.turn_day(Instant(now - 90 * DAY), now)
    assert [one.id for one in state.history.runs(order="ASC")] == list(kept)
    assert [one.id for one in state.history.runs(1, command="run")] == [kept[-1]]
    assert [row[0] for row in state.connection.execute("SELECT run_id FROM write ORDER BY number")] == list(kept)


# -- what people said and did

NOON = parse_iso("2026-09-02T12:00:00Z")
TODAY = parse_iso("2026-09-02T00:00:00Z")


def read_person(state: Store, person_id: int, label: str | None) -> None:
    with state.transaction():
        state.people.read(person_id, 1, Held(label, None, None, None, None), rule="email", now=NOON)


def opted(prospect_id: int, **opted: Instant | bool | None) -> Prospect:
    plain = Prospect(prospect_id, "Ada", "Example", (), None, False, None, False, None, None, NOON)
    return plain._replace(**opted)  # type: ignore[arg-type]


def skipped_task(task_id: int, sequence_id: int | None, updated_at: Instant) -> CachedTask:
    task = SourceTask(task_id, 1, sequence_id, None, None, "sequence_step_email", "email", None, None, updated_at, {})
    return CachedTask(task, skipped=True)


def test_a_day_is_noted_once_however_often_a_run_ends_and_dropped_when_it_is_old(state: Store) -> None:
    history = state.history
    read_person(state, 1, "Finished")
    for at in (NOON, Instant(NOON + 1), Instant(NOON + DAY_MS)):
        with state.transaction():
            history.turn_day(Instant(0), at)
        read_person(state, at % 1000 + 2, "Finished")
    assert history.labels_since(TODAY) == [(TODAY, "Finished", 1), (TODAY + DAY_MS, "Finished", 3)]
    with state.transaction():
        history.turn_day(Instant(TODAY + 1), Instant(NOON + DAY_MS))
    assert [day for day, _, _ in history.labels_since(Instant(0))] == [TODAY + DAY_MS]


def test_an_empty_field_counts_as_an_empty_label_and_a_person_left_deleted_does_not_count(state: Store) -> None:
    for person_id, label in ((1, None), (2, "Opted Out"), (3, "Opted Out"), (4, "Finished")):
        read_person(state, person_id, label)
    with state.transaction():
        state.people.doubt([4], deleted=True, hidden=False)
    assert state.history.labels_now() == [("Opted Out", 2), ("", 1)]


def test_an_opt_out_counts_once_on_the_day_of_its_first_sign(state: Store) -> None:
    later = Instant(NOON + 3 * DAY_MS)
    with state.transaction():
        state.cache.keep_prospects(
            [
                opted(1, opted_out=True, opted_out_at=later, email_opted_out=True, emails_opted_at=NOON),
                opted(2, email_opted_out=True),
                opted(3),
                opted(4),
            ]
        )
        state.cache.keep_states(
            [
                SequenceState(1, 1, 1, "opted_out", later, later),
                SequenceState(2, 3, 1, "opted_out", None, later),
                SequenceState(3, 4, 1, "active", later, later),
            ]
        )
    history = state.history
    assert history.opt_outs_since(TODAY) == {TODAY: 2, Instant(later // DAY_MS * DAY_MS): 1}
    assert history.opt_outs_since(Instant(TODAY + DAY_MS)) == {Instant(later // DAY_MS * DAY_MS): 1}


def test_skipped_tasks_are_counted_by_sequence_also_without_a_name_or_a_sequence(state: Store) -> None:
    old = Instant(NOON - 9 * DAY_MS)
    with state.transaction():
        state.cache.keep_sequences([Sequence(7, "Trial follow-up")], shown=False)
        state.cache.keep_tasks(
            [skipped_task(1, 7, NOON), skipped_task(2, 7, old), skipped_task(3, 8, old), skipped_task(4, None, NOON)]
        )
        state.cache.task_was_sent(2, 900, NOON)
    assert state.history.skipped_by_sequence(TODAY) == [
        SkippedBySequence(7, "Trial follow-up", recent=1, kept=2, sent=1),
        SkippedBySequence(None, None, recent=1, kept=1, sent=0),
        SkippedBySequence(8, None, recent=0, kept=1, sent=0),
    ]


# -- what `reconcile` finds


def know_states(state: Store, *ids: int) -> None:
    with state.transaction():
        state.cache.keep_states(SequenceState(one, one, 1, "active", NOON, NOON, sequence_step_id=211) for one in ids)


def keep_task(state: Store, *, skipped: bool = False, word: str = "incomplete", **values: Any) -> None:
    whole: dict[str, Any] = dict.fromkeys(SourceTask._fields) | {"untold": frozenset()}
    whole |= {"id": 7, "prospect_id": 1, "sequence_state_id": 1, "task_type": "t", "action": "a", "updated_at": NOON}
    whole["attributes"] = {"state": word, "sequenceStep": 210}
    with state.transaction():
        state.cache.keep_tasks([CachedTask(SourceTask(**{**whole, **values}), skipped)])


def test_what_the_walk_did_not_see_is_told_in_order_and_findings_do_not_outlive_the_process(state: Store) -> None:
    know_states(state, 1, 2, 3, 4)
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
    with state.transaction():
        for person in (1003, 1001, 1002):
            state.people.read(person, 1, Held(), rule="email", now=NOON)
    assert (again.following(LINKED_PEOPLE, 0, 2), again.following(LINKED_PEOPLE, 1002, 2)) == ([1001, 1002], [1003])


@pytest.mark.parametrize(
    ("values", "task", "taken"),
    [
        ({}, {}, True),
        ({"state": "paused"}, {}, True),
        ({"sequence_step_id": 210}, {}, False),
        ({"sequence_step_id": None}, {}, False),
        ({"replied_at": NOON}, {}, False),
        *(({"state": word}, {}, False) for word in ("finished", "opted_out", "bounced", "failed")),
        ({}, {"word": "complete"}, False),
        ({}, {"skipped": True}, False),
        ({}, {"prospect_id": None}, False),
    ],
)
def test_a_task_is_overtaken_where_it_and_its_state_are_open_and_the_state_is_at_another_step(
    state: Store, values: dict[str, Any], task: dict[str, Any], taken: bool
) -> None:
    with state.transaction():
        state.cache.keep_states([SequenceState(1, 1, 1, "active", NOON, NOON, sequence_step_id=211)._replace(**values)])
    keep_task(state, **task)
    survey = Survey(state.connection)
    assert survey.overtaken_tasks(0, 9) == ({7: 1} if taken else {})
    with state.transaction():
        survey.note("states_missing", [(1,)])
    assert survey.overtaken_tasks(0, 9) == {}  # it went with its state


def test_a_prospect_that_is_gone_takes_its_states_along_but_not_an_opt_out(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states(
            [SequenceState(one, 1, 1, word, NOON, NOON) for one, word in ((1, "active"), (2, OPTED_OUT))]
        )
        survey = Survey(state.connection)
        survey.note("prospects_gone", [(1,)])
        assert survey.missing_among([1, 2]) == {1}
        assert survey.counts()["prospects_gone"] == 1
        survey.keep()
    assert state.cache.prospects([1])[1].gone
    assert state.cache.pooled([1])[0][1].trashed
    with state.transaction():
        survey = Survey(state.connection)
        survey.note("prospects_gone", [(1,)])
    assert survey.counts()["prospects_gone"] == 0


def test_a_task_that_is_refused_already_because_it_is_not_to_be_seen_is_no_finding_again(state: Store) -> None:
    with state.transaction():
        state.outbox.task_not_seen(7, 1, "not to be seen", run_id="r")
        survey = Survey(state.connection)
        survey.note("tasks_hidden", [(7, 1, 9000), (8, 1, 9001)])
    assert survey.tasks("tasks_hidden") == [(8, 1, 9001)]


def test_what_was_found_is_put_into_effect_together(state: Store) -> None:
    know_states(state, 1, 2)
    keep_task(state, skipped=True)
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.task_was_sent(7, 9000, NOON)
        state.people.read(1002, 3, Held(), rule="email", now=NOON)
        state.people.link([2], 1002)
        assert survey.sent_tasks(0, 9) == [SentTask(7, 1, 9000, NOON)]
        survey.note("states_missing", [(1,)])
        survey.note("people_gone", [(1002, None, None, Watched.LOSSES)])
        survey.note("tasks_gone", [(7, 1, 9000)])
        assert survey.people_to_change() == {Watched.UPDATES: 0, Watched.LOSSES: 1}
        survey.keep()
    assert state.cache.pooled([1, 2])[1].keys() == {2}
    assert state.undecided.ready(0, 9) == [1, 2]
    assert state.people.by_id([1002])[1002].lock_version is None
    assert survey.sent_tasks(0, 9) == []
    assert survey.tasks("tasks_gone", "tasks_vanished") == [(7, 1, 9000)]
