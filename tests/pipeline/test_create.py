from __future__ import annotations

from typing import Any

from outreach_sync.deliver import deliver
from outreach_sync.records import Unknown


def decide(bench: Any, **options: Any) -> Any:
    run = bench.run(**options)
    deliver(run, complete=True, allow_bulk=False)
    return run.summary


def test_an_opt_out_or_a_skipped_task_is_reason_enough(bench: Any) -> None:
    bench.keep(bench.prospect(1, opted_out=True), bench.prospect(2), tasks=[bench.skipped(7, 2)])
    assert decide(bench).people.created == 2


def test_a_deleted_prospect_is_not_created(bench: Any) -> None:
    bench.keep(bench.prospect(1, trashed_at=bench.now), states=bench.states(1, "active"))
    assert decide(bench).people.skipped == 1
    assert bench.target.person_batches == []


def test_a_prospect_that_cannot_be_read_is_refused_instead_of_created_empty(bench: Any) -> None:
    bench.keep(states=bench.states(1, "active"))
    assert decide(bench).people.rejected == 1
    assert "cannot be read" in bench.state.outbox.failures()[0].reason


def test_the_one_who_comes_later_joins_the_person_that_was_created_before(bench: Any) -> None:
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    decide(bench)
    bench.keep(bench.prospect(2, email="ada@example.com"), states=bench.states(2, "active"))
    assert decide(bench).people.created == 0
    assert bench.state.people.prospects_of([5000]) == {5000: [1, 2]}


def test_a_creation_without_an_answer_is_looked_for_twice_before_it_is_sent_again(bench: Any) -> None:
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))

    def lost(writes: Any) -> Any:
        bench.target.obey(writes)
        return [Unknown("time-out") for _ in writes]

    bench.target.answers = [lost]
    decide(bench)
    assert len(bench.target.people) == 1
    assert bench.count("outbox") == 0
    assert bench.state.people.of_prospects([1]) == {1: 5000}


def test_a_creation_that_never_arrived_is_sent_again(bench: Any) -> None:
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    bench.target.answers = [lambda writes: [Unknown("time-out") for _ in writes]]
    decide(bench)
    assert len(bench.target.person_batches) == 2
    assert len([what for what, _ in bench.target.looked_up if what == "reference"]) == 3
    assert len(bench.target.people) == 1


def test_an_attribute_that_was_named_since_the_prospect_was_read_is_read_before_the_creation(bench: Any) -> None:
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    bench.source.prospects = [bench.prospect(1, extra={"title": "Engineer"})]
    decide(bench, config={"sync.people.create_fields": {"person_job_title": "title"}})
    (write,) = bench.target.person_batches[0]
    assert write.fields["person_job_title"] == "Engineer"
    assert bench.source.prospects_asked == [1]


def test_somebody_whose_attributes_are_known_is_not_read_again(bench: Any) -> None:
    bench.keep(bench.prospect(1, extra={"title": None}), states=bench.states(1, "active"))
    decide(bench, config={"sync.people.create_fields": {"person_job_title": "title"}})
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
    decide(bench)
    references = [row.reference for row in bench.target.people.values()]
    assert sorted(references) == ["outreach-prospect-1", "outreach-prospect-2"]
    assert bench.state.people.of_prospects([1]) == {1: 1001}


def test_somebody_who_may_be_one_of_several_is_not_taken_into_a_new_person(bench: Any) -> None:
    share(bench, 1, 2)
    for person_id in (1001, 1002):
        bench.target.add(person_id, reference="outreach-prospect-1")
    decide(bench)
    assert bench.state.people.of_prospects([1, 2]) == {2: 5002}
    assert [entry.prospect_id for entry in bench.state.outbox.failures()] == [1]
