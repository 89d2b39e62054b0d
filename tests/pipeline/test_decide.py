from __future__ import annotations

from typing import Any

from outreach_sync.instants import Instant
from outreach_sync.records import Unknown


def test_the_same_refusal_again_keeps_its_attempts_and_its_pause(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    bench.decide()
    first = bench.state.outbox.failures()[0]
    with bench.state.transaction():
        bench.state.undecided.mark_changed([1], held=False)
    bench.decide()
    again = bench.state.outbox.failures()[0]
    assert (again.attempts, again.next_attempt_at) == (first.attempts, first.next_attempt_at)


def test_a_refusal_is_parked_after_max_attempts(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    for _ in range(3):
        bench.decide()
        bench.now = Instant(bench.now + 2 * 86_400_000)
    assert bench.state.outbox.failures()[0].state == "parked"


def test_a_pause_that_a_wrong_clock_began_keeps_a_refusal_waiting_for_years(bench: Any) -> None:
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    for one in (1001, 1002):
        bench.target.add(one, email="ada@example.com")
    bench.now += 3650 * 86_400_000
    bench.decide()
    bench.now -= 3650 * 86_400_000
    bench.target.change(1002, deleted=True)
    bench.decide()
    assert bench.field(1001, "f_state") == "Running"


def test_a_prospect_that_cannot_be_read_is_refused_instead_of_created_empty(bench: Any) -> None:
    bench.keep(states=bench.states(1, "active"))
    assert bench.decide().people.rejected == 1
    assert "cannot be read" in bench.state.outbox.failures()[0].reason


def test_a_creation_that_never_arrived_is_sent_again(bench: Any) -> None:
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    bench.target.answers = [lambda writes: [Unknown("time-out") for _ in writes]]
    bench.decide()
    assert len(bench.target.person_batches) == 2
    assert len([what for what, _ in bench.target.looked_up if what == "reference"]) == 3
    assert len(bench.target.people) == 1


def test_an_attribute_that_was_named_since_the_prospect_was_read_is_read_before_the_creation(bench: Any) -> None:
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    bench.source.prospects = [bench.prospect(1, extra={"title": "Engineer"})]
    bench.decide(config={"sync.people.create_fields": {"person_job_title": "title"}})
    (write,) = bench.target.person_batches[0]
    assert write.fields["person_job_title"] == "Engineer"
    assert bench.source.prospects_asked == [1]


def test_somebody_whose_attributes_are_known_is_not_read_again(bench: Any) -> None:
    bench.keep(bench.prospect(1, extra={"title": None}), states=bench.states(1, "active"))
    bench.decide(config={"sync.people.create_fields": {"person_job_title": "title"}})
    assert bench.source.prospects_asked == []


def share(bench: Any, *prospect_ids: int) -> None:
    """Read people who share an address; only the last is to be decided, an opt-out."""
    *others, last = prospect_ids
    shared = {"emails": ("ada@example.com",)}
    bench.keep(
        *(bench.prospect(one, **shared) for one in others), bench.prospect(last, opted_out=True, **shared),
        states=[state for one in others for state in bench.states(one, "active")],
    )  # fmt: skip
    with bench.state.transaction():
        bench.state.undecided.decided(others)


def test_somebody_who_shares_an_address_is_not_created_again_where_their_person_is_there(bench: Any) -> None:
    """As after a lost state, while a walk is incomplete: nobody looked for the others yet."""
    share(bench, 1, 2, 3)
    bench.target.add(1001, reference="outreach-prospect-1")
    bench.decide()
    references = [row.reference for row in bench.target.people.values()]
    assert sorted(references) == ["outreach-prospect-1", "outreach-prospect-2"]
    assert bench.state.people.of_prospects([1]) == {1: 1001}


def test_somebody_who_may_be_one_of_several_is_not_taken_into_a_new_person(bench: Any) -> None:
    share(bench, 1, 2)
    for person_id in (1001, 1002):
        bench.target.add(person_id, reference="outreach-prospect-1")
    bench.decide()
    assert bench.state.people.of_prospects([1, 2]) == {2: 5002}
    assert [entry.prospect_id for entry in bench.state.outbox.failures()] == [1]
