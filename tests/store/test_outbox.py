from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.records import Refused, Stream
from outreach_sync.rules.person import Held
from outreach_sync.store.outbox import next_attempt
from outreach_sync.store.people import EVERYBODY, Candidates
from tests.harness import DAY
from tests.store.conftest import prospect_of, state_of

if TYPE_CHECKING:
    from outreach_sync.store import Store
    from outreach_sync.store.outbox import Entry

NOW = 1000


def read(state: Store, *people: int, held: Held = Held(), rule: str = "email", now: int = NOW) -> None:  # noqa: B008
    for person in people:
        state.people.read(person, 3, held, rule=rule, now=now)


# -- people


def test_what_a_person_holds_is_as_it_was_read_and_then_written_and_how_and_when_it_was_found_stays(
    state: Store,
) -> None:
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


def test_a_person_that_is_gone_frees_all_its_prospects_and_one_left_deleted_is_not_known(state: Store) -> None:
    def known() -> tuple[int, int]:
        return state.people.known(), state.people.known(or_lost=True)

    with state.transaction():
        state.cache.keep_states([state_of(one, id=one) for one in (1, 2, 3)])
        read(state, 1001, 1002)
        state.people.link([2, 1], 1001)
        assert (state.people.prospects_of([1001]), known()) == ({1001: [1, 2]}, (2, 2))
        state.people.unlink(1001, [1, 2])
        assert (state.people.prospects_of([1001]), state.people.of_prospects([1, 2, 3]), known()) == ({}, {}, (1, 3))
        state.people.doubt([1002], deleted=True, hidden=False)
        assert known() == (0, 2)


def test_doubt_may_be_about_some_or_about_all(state: Store) -> None:
    with state.transaction():
        read(state, 1001, 1002)
        state.people.doubt([1001])
        assert [state.people.by_id([one])[one].lock_version for one in (1001, 1002)] == [None, 3]
        state.people.doubt(None)
    assert state.people.by_id([1002])[1002].lock_version is None


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


def test_those_who_share_an_address_now_are_one_person_whatever_its_case_which_was_sent_if_any_was(
    state: Store,
) -> None:
    know(state, p1=(A,), p2=("x@example.com", "A@example.com"), p3=(B,), p4=(B,))
    assert pools(state, 1, 2, 3, 4) == [([1, 2], False), ([3, 4], False)]
    know(state, p3=(A,))
    assert pools(state, 1, 2, 3, 4, buried=(3,)) == [([1, 2, 3], True), ([4], False)]


def test_those_who_share_an_address_through_a_third_are_one_person(state: Store) -> None:
    know(state, p1=(A,), p2=(A, B), p3=(B,))
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


def test_the_same_work_again_keeps_its_attempts_its_pause_and_its_parking_and_newer_work_is_due_at_once(
    state: Store,
) -> None:
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


def test_what_waits_for_a_person_is_no_failure_and_becomes_due_with_them(state: Store) -> None:
    with state.transaction():
        state.outbox.queue_task(7, 1, held=False, run_id="r")
        state.outbox.queue_task(7, 1, held=True, run_id="s")  # as often as it is seen
        (entry,) = state.outbox.find(record="task", key=7)
        state.outbox.mark([entry.id], state="waiting", reason=None)
        assert state.outbox.failures() == state.outbox.due("task", "create", NOW, after=0, limit=9) == []
        state.people.link([1], 1001)
    assert len(state.outbox.due("task", "create", NOW, after=0, limit=9)) == 1


def test_a_task_that_was_not_seen_and_is_to_be_created_after_all_is_no_failure_any_more(state: Store) -> None:
    with state.transaction():
        state.outbox.task_not_seen(7, 1, "not to be seen", run_id="r")
        assert [(one.state, one.attempts) for one in state.outbox.failures()] == [("parked", 1)]
        state.outbox.queue_task(7, 1, held=False, run_id="s")
    (entry,) = state.outbox.find(record="task", key=7)
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
