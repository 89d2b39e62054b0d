"""People, the queue, how far each walk is, what was done, and what `reconcile` finds."""

from typing import Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Refused, Sequence, Stream
from outreach_sync.rules.person import OPTED_OUT, Held
from outreach_sync.rules.watermark import Progress, Walk, Watched
from outreach_sync.store import Store
from outreach_sync.store.outbox import Entry, next_attempt
from outreach_sync.store.people import EVERYBODY, Candidates
from outreach_sync.store.progress import LINKED_PEOPLE, UNSEEN, SentTask, SkippedBySequence, Survey
from tests.harness import DAY
from tests.store.conftest import prospect_of, state_of, task_of

NOW = 1000
TASKS = Stream.TASKS
WALK = Walk(1, moves_watermark=True, counts_as_sweep=False, next_url="https://next", began_at=2, as_is=True)
NOON, TODAY = parse_iso("2026-09-02T12:00:00Z"), parse_iso("2026-09-02T00:00:00Z")


def read(state: Store, *people: int, held: Held = Held(), rule: str = "email", now: int = NOW) -> None:  # noqa: B008
    for person in people:
        state.people.read(person, 3, held, rule=rule, now=now)


def test_what_a_person_holds_is_as_it_was_read_and_written_and_how_and_when_it_was_found_stays(state: Store) -> None:
    held = Held("Running", NOW, no_email=True, outreach_id="1", sequences="one\ntwo")
    with state.transaction():
        read(state, 1001, held=held)
        person = state.people.by_id([1001])[1001]
        assert (person.held, person.lock_version, person.rule, person.written_at) == (held, 3, "email", None)
        state.people.accepted(1001, 4, {"sequence_state": "Paused"}, 2000)
        person = state.people.by_id([1001])[1001]
        now_held = held._replace(sequence_state="Paused")
        assert (person.held, person.lock_version, person.written_at) == (now_held, 4, 2000)
        state.people.doubt([1001], deleted=True, hidden=True)
        read(state, 1001, rule="reference", now=3000)
    person = state.people.by_id([1001])[1001]
    assert (person.rule, person.linked_at, person.deleted, person.hidden) == ("email", NOW, False, False)
    assert (person.lock_version, person.held) == (3, Held())


def test_a_person_that_is_gone_frees_its_prospects_one_left_deleted_is_not_known_one_in_doubt_is(state: Store) -> None:
    def known() -> tuple[int, int]:
        return state.people.known(), state.people.known(or_lost=True)

    def lock_versions() -> list[int | None]:
        return [one.lock_version for one in state.people.by_id([1002, 1003]).values()]

    with state.transaction():
        state.cache.keep_states([state_of(one, id=one) for one in (1, 2, 3)])
        read(state, 1001, 1002)
        state.people.link([2, 1], 1001)
        assert (state.people.prospects_of([1001]), known()) == ({1001: [1, 2]}, (2, 2))
        state.people.unlink(1001, [1, 2])
        assert (state.people.prospects_of([1001]), state.people.of_prospects([1, 2, 3]), known()) == ({}, {}, (1, 3))
        read(state, 1003)
        state.people.doubt([1002], deleted=True, hidden=False)
        assert (known(), lock_versions()) == ((1, 3), [None, 3])
        state.people.doubt(None)
        assert lock_versions() == [None, None]


# -- who is one person


def know(state: Store, **addresses: tuple[str, ...]) -> None:
    with state.transaction():
        state.cache.keep_prospects(prospect_of(None, id=int(one[1:]), emails=some) for one, some in addresses.items())


def pools(state: Store, *wanted: int, buried: tuple[int, ...] = (), linked: int | None = None) -> object:
    candidates = Candidates(state.connection)
    candidates.add(wanted, buried=buried)
    with state.transaction():
        if linked is not None:
            state.people.link([linked], 1001)
        candidates.list_addresses()
    return list(candidates.pools())


A, B = "a@example.com", "b@example.com"


def test_those_who_share_an_address_even_through_a_third_are_one_person_which_was_sent_if_any_was(state: Store) -> None:
    know(state, p1=(A,), p2=("x@example.com", "A@example.com"), p3=(B,), p4=(B,))
    assert pools(state, 1, 2, 3, 4) == [([1, 2], False), ([3, 4], False)]
    know(state, p3=(A,))
    assert pools(state, 1, 2, 3, 4, buried=(3,)) == [([1, 2, 3], True), ([4], False)]
    know(state, p2=(A, B), p3=(B,), p4=())
    assert pools(state, 3, 1) == [([1, 2, 3], False)]


@pytest.mark.parametrize("linked", [1, 2])
def test_one_who_got_a_person_since_nobody_was_found_still_belongs_to_the_others(state: Store, linked: int) -> None:
    know(state, p1=(A,), p2=(A,))
    assert pools(state, 1, 2, linked=linked) == [([1, 2], False)]


# -- the outbox


def queue(state: Store, lead: int = 1, label: str = "Running", **values: object) -> Entry:
    state.outbox.queue_person(lead, 1000 + lead, "update", {"sequence_state": label}, run_id="r", **values)  # type: ignore[arg-type]
    (entry,) = state.outbox.of_person([lead])
    return entry


def test_the_same_work_again_keeps_its_attempts_pause_and_parking_and_newer_work_is_due_at_once(state: Store) -> None:
    with state.transaction():
        entry = queue(state)
        state.outbox.refused(entry, "no", next_attempt_at=5000)
        assert (queue(state).attempts, queue(state).next_attempt_at) == (1, 5000)
        newer = queue(state, label="Finished")
        assert (newer.id, newer.attempts, newer.next_attempt_at) == (entry.id, 0, None)
        assert newer.fields == {"sequence_state": "Finished"}
        state.outbox.refused(newer, "no", next_attempt_at=None)
        assert queue(state, label="Finished").state == "parked"


def test_only_what_is_due_and_not_held_is_sent_in_order(state: Store) -> None:
    def due(now: int, after: int = 0, limit: int = 9) -> list[int]:
        return [one.id for one in state.outbox.due("person", "update", now, after=after, limit=limit)]

    with state.transaction():
        read(state, 1001, 1002, 1003, 1004)
        first, second, third = (queue(state, lead) for lead in (3, 1, 2))
        state.outbox.refused(second, "no", next_attempt_at=NOW + 1)
        state.people.doubt([1004])
        queue(state, 4)
    assert due(NOW) == [first.id, third.id]
    assert due(NOW - 3 * DAY) == [first.id, second.id, third.id], "a pause that a wrong clock began is over"
    assert due(NOW + 1, after=first.id, limit=1) == [second.id]


def test_pauses_double_from_five_minutes_on_and_last_a_day_at_most() -> None:
    pauses = [next_attempt(NOW, attempts) - NOW for attempts in (1, 2, 3, 30)]
    assert pauses == pytest.approx([300_000, 600_000, 1_200_000, DAY], rel=0.101)


def test_what_was_being_sent_is_in_doubt_after_a_crash_and_its_person_is_read(state: Store) -> None:
    with state.transaction():
        read(state, 1001)
        state.outbox.mark([queue(state).id], state="sending")
        assert state.outbox.recover() == 1
    (entry,) = state.outbox.of_person([1])
    assert (entry.state, entry.in_doubt) == ("queued", True)
    assert state.people.by_id([1001])[1001].lock_version is None


def test_a_task_that_waits_for_its_person_is_no_failure_nor_is_one_to_be_created_after_all(state: Store) -> None:
    with state.transaction():
        for run_id in ("r", "s"):  # as often as it is seen
            state.outbox.queue_task(7, 1, held=False, run_id=run_id)
        (entry,) = state.outbox.find(record="task", key=7)
        state.outbox.mark([entry.id], state="waiting", reason=None)
        assert state.outbox.failures() == state.outbox.due("task", "create", NOW, after=0, limit=9) == []
        state.people.link([1], 1001)
        assert len(state.outbox.due("task", "create", NOW, after=0, limit=9)) == 1, "due with its Person"
        state.outbox.task_not_seen(8, 1, "not to be seen", run_id="r")
        assert [(one.state, one.attempts) for one in state.outbox.failures()] == [("parked", 1)]
        state.outbox.queue_task(8, 1, held=False, run_id="s")
    (entry,) = state.outbox.find(record="task", key=8)
    assert (entry.action, entry.state, entry.attempts, entry.reason) == ("create", "queued", 0, None)


def test_a_record_that_made_no_sense_is_dropped_when_one_of_its_stream_and_id_is_read_whole(state: Store) -> None:
    left = list(Stream)
    with state.transaction():
        for each in Stream:
            state.outbox.refuse_source(Refused(each, 5, 1, each), next_attempt_at=NOW, run_id="r")
        for each in Stream:
            state.outbox.drop([4, 5], each)
            left.remove(each)
            assert [one.reason for one in state.outbox.failures()] == left


def test_the_guard_counts_updates_losses_and_creations_until_they_were_let_pass(state: Store) -> None:
    with state.transaction():
        queue(state, 1)
        state.outbox.queue_person(2, 1002, "update", {"no_email": True, "sequence_state": "Opted Out"}, run_id="r")
        state.outbox.queue_person(3, None, "create", {}, run_id="r", pool=[3])
        state.outbox.queue_person(4, None, "recreate", {}, run_id="r", pool=[4])
        state.outbox.queue_person(5, 1005, "hidden", {}, run_id="r", reason="not to be seen")
        queue(state, 6, "Not Active", before={"sequence_state": "Running"})
        queue(state, 7, "Not Active")
        assert state.outbox.guarded("Not Active") == (3, 3, 1)
        state.outbox.admit()
        assert state.outbox.guarded("Not Active") == (0, 0, 0)
        queue(state, 1, label="Finished")
        assert state.outbox.guarded("Not Active") == (1, 0, 0)


def test_what_was_discarded_stays_so_until_a_record_of_theirs_changes_in_outreach(state: Store) -> None:
    with state.transaction():
        state.outbox.refused(queue(state), "no", next_attempt_at=None)
        state.outbox.discard([queue(state).id])
        state.undecided.mark_again(EVERYBODY)
        assert (queue(state).state, state.outbox.failures(), state.outbox.counts(refused=True)) == ("discarded", [], {})
        for changed, then in ((2, "discarded"), (1, "queued")):
            state.undecided.hold([changed], changed=True)
            assert queue(state).state == then
        assert queue(state).attempts == 0
        state.outbox.discard([queue(state).id])
        assert queue(state, label="Finished").state == "queued"
        # a creation is taken up again with any of its prospects
        state.outbox.queue_person(3, None, "create", {}, run_id="r", pool=[3, 4], reason="no")
        state.outbox.discard(one.id for one in state.outbox.of_person([3]))
        state.undecided.hold([4], changed=True)
        assert [one.state for one in state.outbox.of_person([3])] == ["queued"]


def test_what_an_incomplete_walk_showed_is_not_ready_before_it_is_released(state: Store) -> None:
    with state.transaction():
        state.undecided.mark_again([1])
        state.undecided.hold([1, 2], changed=True)
        state.undecided.mark_again([2, 3])
        assert state.undecided.ready(0, 9) == [3]
        state.undecided.release()
        assert state.undecided.ready(1, 9) == [2, 3]
    assert state.undecided.count() == 3


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


# -- runs, and what people said and did by day


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


def test_a_day_is_noted_once_however_often_a_run_ends_and_dropped_when_it_is_old(state: Store) -> None:
    history = state.history
    with state.transaction():
        for number, at in enumerate((NOON, NOON + 1, NOON + DAY)):
            read(state, number, held=Held("Finished"))
            history.finish("", at, 0, "ok", {}, heard_at=at)
        assert history.labels_since(TODAY) == [(TODAY, "Finished", 1), (TODAY + DAY, "Finished", 3)]
        history.finish("", NOON, 0, "ok", {}, heard_at=NOON + DAY, keep_ms=NOON + DAY - TODAY - 1)
    assert [day for day, _, _ in history.labels_since(0)] == [TODAY + DAY]


def test_an_empty_field_counts_as_an_empty_label_and_a_person_left_deleted_does_not_count(state: Store) -> None:
    with state.transaction():
        read(state, 1)
        read(state, 2, 3, held=Held("Opted Out"))
        read(state, 4, held=Held("Finished"))
        state.people.doubt([4], deleted=True, hidden=False)
    assert state.history.labels_now() == [("Opted Out", 2), ("", 1)]


def test_an_opt_out_counts_once_on_the_day_of_its_first_sign(state: Store) -> None:
    later, told = NOON + 3 * DAY, {"opted_out": True, "email_opted_out": True, "emails_opted_at": NOON}
    prospects = {1: {"opted_out_at": later, **told}, 2: {"email_opted_out": True}, 3: {}, 4: {}}
    states = [state_of(1, OPTED_OUT, later, id=1), state_of(3, OPTED_OUT, later, id=2, state_changed_at=None)]
    with state.transaction():
        state.cache.keep_prospects(prospect_of(NOON, id=one, **values) for one, values in prospects.items())
        state.cache.keep_states([*states, state_of(4, "active", later, id=3)])
    assert state.history.opt_outs_since(TODAY) == {TODAY: 2, TODAY + 3 * DAY: 1}
    assert state.history.opt_outs_since(TODAY + DAY) == {TODAY + 3 * DAY: 1}


def test_skipped_tasks_are_counted_by_sequence_also_without_a_name_or_a_sequence(state: Store) -> None:
    old = NOON - 9 * DAY
    with state.transaction():
        state.cache.keep_sequences([Sequence(7, "Trial follow-up")], [], shown=False)
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
        read(state, 1003, 1001, 1002)
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
        *((one, {}, False) for one in ({"sequence_step_id": 210}, {"sequence_step_id": None}, {"replied_at": NOON})),
        *(({"state": word}, {}, False) for word in ("finished", "opted_out", "bounced", "failed")),
        ({}, {"attributes": {"state": "complete", "sequenceStep": 210}}, False),
        *(({}, one, False) for one in ({"skipped": True}, {"prospect_id": None})),
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
        state.outbox.task_not_seen(7, 1, "not to be seen", run_id="r")
        for first in (True, False):
            survey = Survey(state.connection)
            survey.note("prospects_gone", [(1,)])
            assert (survey.counts()["prospects_gone"], survey.missing_among([1, 2])) == (first, {1} if first else set())
            survey.keep()
            assert (state.cache.prospects([1])[1].gone, state.cache.pooled([1])[0][1].trashed) == (True, True)
        survey.note("tasks_hidden", [(7, 1, 9000), (8, 1, 9001)])
    assert survey.tasks("tasks_hidden") == [(8, 1, 9001)], "nor is a task noted that is refused already"


def test_what_was_found_is_put_into_effect_together(state: Store) -> None:
    survey = Survey(state.connection)
    with state.transaction():
        state.cache.keep_states([state_of(one, id=one) for one in (1, 2)])
        state.cache.keep_tasks([task_of()])
        state.cache.task_was_sent(5, 9000, NOON)
        read(state, 1002)
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
