"""Nobody is created twice, no opt-out is lost or late, and no mass change passes unseen."""

from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import FIRST_LOAD_DONE, deliver
from outreach_sync.errors import GuardStoppedError, UnavailableError
from outreach_sync.insight.explain import recreate_hidden
from outreach_sync.instants import Instant
from outreach_sync.records import Stream
from outreach_sync.rules.person import Held

LEAVE = {"sync.when_deleted": "leave"}


def decide(bench: Any, *, complete: bool = True, allow_bulk: bool = True, **options: Any) -> Any:
    run = bench.run(**options)
    deliver(run, complete=complete, allow_bulk=allow_bulk)
    return run.summary


def forget_that_all_states_were_read(bench: Any) -> None:
    with bench.state.transaction():
        bench.state.connection.execute("DELETE FROM fact WHERE name = 'all_states_read'")


def hide(bench: Any, *person_ids: int) -> dict[int, Any]:
    hidden = {one: bench.target.people.pop(one) for one in person_ids}
    with bench.state.transaction():
        bench.state.people.doubt(person_ids)
    return hidden


def outreach_is_down(*_: Any) -> Any:
    raise UnavailableError("Outreach does not answer.")


# -- deleted and hidden


def test_a_person_that_does_not_come_back_is_refused_and_never_created_again_by_itself(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.keep(tasks=[bench.skipped(7, 1)])
    hidden = hide(bench, 1001)
    tally = decide(bench)
    assert (tally.people.rejected, tally.people.recreated, tally.tasks.created) == (1, 0, 0)
    (entry,) = bench.state.outbox.failures()
    assert (entry.person_id, "does not come back" in entry.reason) == (1001, True)
    bench.now = Instant(bench.now + 86_400_000)
    assert decide(bench).people.rejected == 1, "nor later"
    bench.target.people.update(hidden)
    bench.now = Instant(bench.now + 86_400_000)
    tally = decide(bench)
    assert (tally.people.updated, tally.tasks.created, bench.state.outbox.failures()) == (1, 1, [])


def test_somebody_who_knows_better_has_it_created_again_with_its_no_email(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    with bench.state.transaction():
        bench.state.people.read(1001, 1, Held(no_email=True), rule="email", now=bench.now)
    hide(bench, 1001)
    decide(bench)
    with bench.state.transaction():
        recreate_hidden(bench.state, bench.state.outbox.failures())
    assert decide(bench).people.recreated == 1
    assert (bench.field(5000, "f_no_email"), bench.state.outbox.failures()) == (True, [])


def test_a_hidden_person_that_another_rule_finds_is_followed(bench: Any) -> None:
    bench.linked(1, 1001, "active", email="ada@example.com")
    bench.target.add(1002, email="ada@example.com")
    hide(bench, 1001)
    decide(bench)
    assert (bench.field(1002, "f_state"), bench.state.people.of_prospects([1])) == ("Running", {1: 1002})


def test_no_email_ticked_by_hand_survives_deletion_and_creation(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.change(1001, deleted=True, f_no_email=True)
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    assert decide(bench).people.recreated == 1
    assert (bench.field(5001, "f_state"), bench.field(5001, "f_no_email")) == ("Running", True)


def test_no_email_ticked_by_hand_goes_along_to_the_winner_of_a_merge_once(bench: Any) -> None:
    bench.linked(1, 1001, "active", email="ada@example.com")
    bench.target.change(1001, deleted=True, f_no_email=True)
    bench.target.add(1002, email="ada@example.com", f_no_email=False)
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    decide(bench)
    assert (bench.field(1002, "f_state"), bench.field(1002, "f_no_email")) == ("Running", True)
    bench.target.change(1002, f_no_email=False)
    with bench.state.transaction():
        bench.state.people.doubt([1002])
        bench.state.undecided.mark_again([1])
    decide(bench)
    assert bench.field(1002, "f_no_email") is False, "what somebody cleared since stays so"


def test_what_a_deleted_person_last_said_of_no_email_holds_not_what_it_said_before(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    with bench.state.transaction():
        bench.state.people.read(1001, 1, Held(no_email=True), rule="email", now=bench.now)
    bench.target.change(1001, deleted=True, f_no_email=False)
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    decide(bench)
    assert not bench.field(5001, "f_no_email")


def test_a_deleted_person_of_ours_is_known_by_its_reference_though_the_state_was_lost(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1", f_no_email=True)
    bench.target.change(1001, deleted=True)
    bench.keep(bench.prospect(1), states=bench.states(1, "active"), tasks=[bench.skipped(7, 1)])
    for _ in range(2):
        tally = decide(bench, config=LEAVE)
        assert (tally.people.created, tally.tasks.created, len(bench.target.people)) == (0, 0, 1)
    with bench.state.transaction():
        bench.state.people.doubt([1001])
        bench.state.connection.execute("UPDATE person SET deleted = 0")
        bench.state.undecided.mark_again([1])
    tally = decide(bench)
    assert (tally.people.recreated, tally.tasks.created) == (1, 1)
    assert bench.field(5001, "f_no_email") is True


def test_with_a_lost_state_the_one_created_again_has_the_no_email_of_the_deleted_one(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1", f_no_email=True)
    bench.target.change(1001, deleted=True)
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    assert decide(bench).people.recreated == 1
    assert bench.field(5001, "f_no_email") is True


# -- history that was never read, or makes no sense


def test_old_states_of_somebody_linked_are_read_before_they_are_first_written(bench: Any) -> None:
    forget_that_all_states_were_read(bench)
    bench.linked(1, 1001)
    bench.source.states = bench.states(1, "opted_out")
    decide(bench)
    assert (bench.source.history_asked, bench.field(1001, "f_state")) == ([1], "Opted Out")
    with bench.state.transaction():
        bench.state.undecided.mark_again([1])
    decide(bench)
    assert bench.source.history_asked == [1], "once is enough"


def test_the_history_of_everybody_who_is_the_same_person_is_read(bench: Any) -> None:
    forget_that_all_states_were_read(bench)
    bench.source.states = bench.states(1, "opted_out")
    bench.linked(1, 1001, email="ada@example.com")
    bench.keep(bench.prospect(2, email="ada@example.com"), states=bench.states(2, "active"))
    with bench.state.transaction():
        bench.state.undecided.decided([1])
        bench.state.people.read(1001, 1, Held(), rule="email", now=bench.now)
    bench.target.people[1001] = bench.target.people[1001]._replace(email="ada@example.com")
    decide(bench)
    assert sorted(bench.source.history_asked) == [1, 2]
    assert bench.field(1001, "f_state") == "Opted Out"


def test_two_to_be_created_together_have_both_histories_read(bench: Any) -> None:
    forget_that_all_states_were_read(bench)
    bench.source.states = [*bench.states(1, "opted_out"), *bench.states(2, "active")]
    for one in (1, 2):
        bench.keep(bench.prospect(one, email="ada@example.com"))
    with bench.state.transaction():
        bench.state.undecided.decided([1])
    assert decide(bench).people.created == 1
    assert (sorted(bench.source.history_asked), bench.field(5000, "f_state")) == ([1, 2], "Opted Out")


def refuse_state(bench: Any, state_id: int, prospect_id: int) -> None:
    with bench.state.transaction():
        bench.state.outbox.refuse_source(
            Stream.SEQUENCE_STATES, state_id, prospect_id, "broken", next_attempt_at=None, run_id="run0"
        )


def test_a_state_that_makes_no_sense_keeps_anything_but_an_opt_out_from_being_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.linked(2, 1002, "active", opted_out=True)
    refuse_state(bench, 77, 1)
    refuse_state(bench, 78, 2)
    tally = decide(bench, config={"workbooks.fields.outreach_id": "f_id"})
    assert (bench.field(1001, "f_state"), bench.field(1002, "f_state")) == (None, "Opted Out")
    assert (bench.field(1002, "f_no_email"), bench.field(1002, "f_id"), tally.people.rejected) == (True, None, 2)
    with bench.state.transaction():
        bench.state.outbox.source_made_sense(Stream.SEQUENCE_STATES, [77, 78])
        bench.state.undecided.mark_changed([1, 2], held=False)
    decide(bench, config={"workbooks.fields.outreach_id": "f_id"})
    assert (bench.field(1001, "f_state"), bench.field(1002, "f_id")) == ("Running", "2")
    assert bench.state.outbox.failures() == []


# -- a known opt-out never waits


@pytest.mark.parametrize("linked", [True, False])
def test_an_opt_out_does_not_wait_for_a_history_that_outreach_does_not_answer(bench: Any, *, linked: bool) -> None:
    forget_that_all_states_were_read(bench)
    bench.source.states_of = outreach_is_down
    if linked:
        bench.linked(1, 1001, "active", opted_out=True)
    else:
        bench.target.add(1001, email="ada@example.com")
        bench.keep(bench.prospect(1, email="ada@example.com", opted_out=True), states=bench.states(1, "active"))
    bench.linked(2, 1002, "active")
    decide(bench)
    assert (bench.field(1001, "f_no_email"), bench.field(1001, "f_state")) == (True, "Opted Out")
    assert (bench.field(1002, "f_state"), bench.state.undecided.count()) == (None, 2)
    del bench.source.states_of
    with bench.state.transaction():
        bench.state.undecided.release()  # as the next cycle does whose walks are complete
    decide(bench)
    assert (bench.field(1002, "f_state"), bench.state.undecided.count()) == ("Running", 0)


def loaded(bench: Any) -> None:
    with bench.state.transaction():
        bench.state.facts.put(FIRST_LOAD_DONE, "run0")


def test_an_opt_out_passes_a_guard_that_stops_and_the_rest_waits(bench: Any) -> None:
    loaded(bench)
    for one in range(1, 6):
        bench.linked(one, 1000 + one, "active", opted_out=one == 5)
    with pytest.raises(GuardStoppedError, match="4 of 5"):
        decide(bench, allow_bulk=False)
    assert [bench.field(1000 + one, "f_state") for one in range(1, 6)] == [None] * 4 + ["Opted Out"]
    with pytest.raises(GuardStoppedError, match="4 of 5"):
        decide(bench, allow_bulk=False)
    assert decide(bench).people.updated == 4


# -- the guard


def test_the_guard_stops_too_many_creations_even_in_a_first_load(bench: Any) -> None:
    few = {"sync.guard": {"create": 2}}
    for one in range(1, 5):
        bench.keep(bench.prospect(one, opted_out=one == 4), states=bench.states(one, "active"))
    for _ in range(2):
        with pytest.raises(GuardStoppedError, match="create 4 people"):
            decide(bench, allow_bulk=False, config=few)
        assert bench.target.people == {}
    assert decide(bench, config=few).people.created == 4
    decide(bench, allow_bulk=False, config=few)


def test_the_guard_stops_a_small_account_from_becoming_not_active(bench: Any) -> None:
    for one in range(1, 5):
        bench.linked(one, 1000 + one, "active")
    decide(bench)
    with bench.state.transaction():
        bench.state.connection.execute("DELETE FROM sequence_state")
        bench.state.undecided.mark_again(range(1, 5))
    with pytest.raises(GuardStoppedError, match="4 of 4 linked people would become Not Active"):
        decide(bench, allow_bulk=False)
    assert {bench.field(1000 + one, "f_state") for one in range(1, 5)} == {"Running"}
    assert decide(bench).people.updated == 4


@pytest.mark.parametrize("kind", ["hidden", "deleted"])
def test_the_guard_stops_when_many_are_not_to_be_seen_or_to_be_created_again(bench: Any, kind: str) -> None:
    for one in range(1, 5):
        bench.linked(one, 1000 + one, "active")
    decide(bench)
    if kind == "hidden":
        hide(bench, *range(1001, 1005))
    for one in range(1001, 1005):
        if kind == "deleted":
            bench.target.change(one, deleted=True)
    with bench.state.transaction():
        bench.state.people.doubt(range(1001, 1005))
        bench.state.undecided.mark_again(range(1, 5))
    for _ in range(2):
        with pytest.raises(GuardStoppedError, match="4 of"):
            decide(bench, allow_bulk=False)
        assert not [one for one in bench.target.people if one >= 5000]
    tally = decide(bench)
    assert tally.people.recreated == (4 if kind == "deleted" else 0)
    decide(bench, allow_bulk=False)


def test_no_clock_of_this_machine_decides_what_the_guard_counts(bench: Any) -> None:
    bench.now = Instant(bench.now + 86_400_000)
    for one in range(1, 5):
        bench.linked(one, 1000 + one, "active")
    decide(bench)
    loaded(bench)
    bench.now = Instant(bench.now - 86_400_000)
    bench.keep(
        states=[
            state._replace(state="paused", updated_at=bench.now + 1)
            for one in range(1, 5)
            for state in bench.states(one, "active")
        ]
    )
    with pytest.raises(GuardStoppedError):
        decide(bench, allow_bulk=False)


# -- text that Workbooks keeps otherwise, and what somebody gave up


def test_text_that_workbooks_keeps_otherwise_is_not_written_again(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    decide(bench)
    bench.target.people[1001] = bench.target.people[1001]._replace(
        fields={**bench.target.people[1001].fields, "f_state": "R?nning"}
    )
    for edited in (False, True):
        if edited:  # somebody writes another field, which raises the lock version
            bench.target.change(1001, other="x")
        with bench.state.transaction():
            bench.state.undecided.mark_again([1])
            if edited:
                bench.state.people.doubt([1001])
        run = bench.run()
        _read_again(run)
        deliver(run, complete=True, allow_bulk=False)
    assert len(bench.target.person_batches) == 1
    bench.target.change(1001, f_state="Paused")
    _read_again(bench.run())
    with bench.state.transaction():
        bench.state.undecided.mark_again([1])
    decide(bench)
    assert bench.field(1001, "f_state") == "Running"


def _read_again(run: Any) -> None:
    """Read what a Person holds as `reconcile` does, which reads everybody."""
    from outreach_sync.match import keep_read  # noqa: PLC0415

    with run.store.transaction():
        known = run.store.people.by_id([1001])[1001]
        keep_read(run, run.target.people[1001], known, known.rule)


def test_a_discarded_refusal_stays_discarded_until_a_record_changes(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    decide(bench)
    (entry,) = bench.state.outbox.failures()
    with bench.state.transaction():
        bench.state.outbox.discard([entry.id])
        bench.state.undecided.mark_all_changed()
    assert (decide(bench, full=True).people.rejected, bench.state.outbox.failures()) == (0, [])
    bench.keep(states=[one._replace(state="napping", updated_at=bench.now) for one in bench.states(1, "hibernating")])
    assert decide(bench).people.rejected == 1
