"""Nobody is created twice, no opt-out is lost or late, and no mass change passes unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.insight.explain import recreate_hidden
from outreach_sync.reconcile import reconcile
from tests.harness import DAY, NO_EMAIL, PERSON, RUNNING, STATE, counts

if TYPE_CHECKING:
    from tests.conftest import World

ADA = "ada@example.com"


def ada(world: World, *words: str) -> tuple[int, int]:
    """Create somebody; return the ids of prospect and Person."""
    prospect = world.prospect(email=ADA, states=words or ("active",))
    world.run()
    return prospect, world.person()["id"]


def edited(world: World, person: int, **fields: Any) -> None:
    """Let a user edit a Person, then delete it."""
    world.edit_person(person, **fields)
    world.workbooks.delete(PERSON, person)


def said(world: World) -> tuple[Any, Any]:
    return world.person()[STATE], world.person()[NO_EMAIL]


# -- deleted and hidden


def test_a_person_that_does_not_come_back_is_refused_and_never_created_again_by_itself(world: World) -> None:
    prospect, person = ada(world)
    world.workbooks.hide(person)
    world.move(prospect, "finished")
    world.skipped_task(prospect)
    assert counts(world.run()) == {"rejected": 1}
    (entry,) = world.failures()
    assert (entry.person_id, "does not come back" in entry.reason) == (person, True)
    world.time.pass_time(DAY)
    assert counts(world.run()) == {"rejected": 1}, "nor later"
    world.workbooks.reveal(person)
    world.time.pass_time(DAY)
    assert (counts(world.run()), world.failures()) == ({"updated": 1, "tasks": 1}, [])


def test_somebody_who_knows_better_has_it_created_again_with_its_no_email(world: World) -> None:
    world.workbooks.add_person(name="Ada", email=ADA, **{NO_EMAIL: True})
    prospect, person = ada(world)
    world.workbooks.purge(PERSON, person)
    world.move(prospect, "finished")
    world.run()
    with world.state() as state:
        recreate_hidden(state, state.outbox.failures())
    assert counts(world.run()) == {"recreated": 1}
    assert (said(world), world.failures()) == (("Finished", True), [])


def test_a_hidden_person_that_another_rule_finds_is_followed(world: World) -> None:
    prospect, person = ada(world)
    other = world.workbooks.add_person(name="Ada", email=ADA)
    world.workbooks.hide(person)
    world.move(prospect, "finished")
    assert counts(world.run()) == {"updated": 1}
    assert world.workbooks.get(PERSON, other)[STATE] == "Finished"


def test_no_email_ticked_by_hand_survives_deletion_and_creation(world: World) -> None:
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: True})
    world.move(prospect, "finished")
    assert counts(world.run()) == {"recreated": 1}
    assert said(world) == ("Finished", True)


@pytest.mark.parametrize("there", [False, True], ids=["which had none", "which had it already"])
def test_no_email_ticked_by_hand_goes_along_to_the_winner_of_a_merge_once(world: World, *, there: bool) -> None:
    prospect, person = ada(world)
    world.edit_person(person, **{NO_EMAIL: True})
    winner = world.workbooks.add_person(name="Ada E.", email=ADA)
    world.workbooks.merge_people(winner, person)
    world.edit_person(winner, **{NO_EMAIL: there})
    world.move(prospect, "finished")
    world.run()
    assert (world.person()["id"], said(world)) == (winner, ("Finished", True))
    world.edit_person(winner, **{NO_EMAIL: False})
    world.move(prospect, "paused")
    world.run()
    assert world.person()[NO_EMAIL] is False, "what somebody cleared since stays so"


def test_nobody_is_created_again_for_a_no_email_alone(world: World) -> None:
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: True})
    world.move(prospect, "hibernating")
    assert counts(world.do(reconcile)) == {"rejected": 1}
    assert world.people() == []
    world.move(prospect, "finished")
    world.run()
    assert said(world) == ("Finished", True)


def test_what_a_deleted_person_last_said_of_no_email_holds_not_what_it_said_before(world: World) -> None:
    world.workbooks.add_person(name="Ada", email=ADA, **{NO_EMAIL: True})
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: False})
    world.move(prospect, "finished")
    assert counts(world.run()) == {"recreated": 1}
    assert not world.person()[NO_EMAIL]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_deleted_person_of_ours_is_known_by_its_reference_though_the_state_was_lost(
    world: World, *, leaves: bool
) -> None:
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: True})
    world.lose_the_state()
    world.skipped_task(prospect)
    for _ in range(2 * leaves):
        assert counts(world.run(sync={"when_deleted": "leave"})) in ({}, {"skipped": 1})
        assert (world.people(), world.tasks()) == ([], [])
    assert counts(world.do(reconcile) if leaves else world.run()) == {"recreated": 1, "tasks": 1}
    assert said(world) == (RUNNING, True)


# -- history that was never read, or makes no sense


def old_opt_out(world: World, prospect: int) -> None:
    """Add a state that no walk reads, and forget that once everything was read."""
    world.outreach.add_state(prospect, 1, "opted_out", updatedAt="2019-01-01T00:00:00Z")
    world.sql("DELETE FROM fact WHERE name = 'all_states_read'")


def asked(world: World) -> list[str]:
    """Return of which prospects all states were read, since the last time."""
    queries = [dict(one.query) for one in world.sandbox.outreach.journal.entries()]
    world.sandbox.outreach.journal.clear()
    return sorted(one["filter[prospect][id]"] for one in queries if "filter[prospect][id]" in one)


def test_the_history_of_everybody_who_is_the_same_person_is_read(world: World) -> None:
    first, _ = ada(world)
    old_opt_out(world, first)
    second = world.prospect(email=ADA)
    world.run(sync={"start": "90d"})
    assert ",".join(asked(world)).split(",") == [str(first), str(second)]
    assert said(world) == ("Opted Out", True)
    world.move(first, "paused")
    world.run(sync={"start": "90d"})
    assert asked(world) == [], "once is enough"


def test_two_to_be_created_together_have_both_histories_read(world: World) -> None:
    first = world.prospect(email=ADA, states=())
    assert counts(world.run()) == {"skipped": 1}
    old_opt_out(world, first)
    second = world.prospect(email=ADA)
    assert counts(world.run(sync={"start": "90d"})) == {"created": 1}
    assert (sorted(",".join(asked(world)).split(",")), said(world)) == ([str(first), str(second)], ("Opted Out", True))


def test_a_state_that_makes_no_sense_keeps_anything_but_an_opt_out_from_being_written(world: World) -> None:
    world.settings["workbooks"]["fields"] = {"outreach_id": "cf_person_outreach_id"}
    people = [world.workbooks.add_person(name="P", email=f"p{number}@example.com") for number in range(2)]
    prospects = [
        world.prospect(email=f"p{number}@example.com", states=("active", "active"), optedOut=number == 1)
        for number in range(2)
    ]
    broken = [world.states_of(one)[1] for one in prospects]
    for one in broken:
        world.outreach.get("sequenceState", one).values["stateChangedAt"] = "soon"
    assert counts(world.run()) == {"updated": 1, "rejected": 4}, "two records, and two people for their sake"
    first, second = (world.workbooks.get(PERSON, one) for one in people)
    assert (first[STATE], second[STATE], second[NO_EMAIL]) == (None, "Opted Out", True)
    assert not second["cf_person_outreach_id"]
    for one in broken:
        world.outreach.update("sequenceState", one, stateChangedAt=None)
    assert world.run().exit_status == 0
    first, second = (world.workbooks.get(PERSON, one) for one in people)
    assert (first[STATE], second["cf_person_outreach_id"]) == (RUNNING, str(prospects[1]))


# -- a known opt-out never waits


@pytest.mark.parametrize("linked", [True, False])
def test_an_opt_out_does_not_wait_for_a_history_that_outreach_does_not_answer(world: World, *, linked: bool) -> None:
    dated = {"start": "90d", "patience": "1s"}
    if linked:
        prospect, _ = ada(world)
        world.sql("DELETE FROM fact WHERE name = 'all_states_read'")
        world.outreach.update("prospect", prospect, optedOut=True)
    else:
        world.workbooks.add_person(name="Ada", email=ADA)
        world.prospect(email=ADA, optedOut=True)
    other = world.workbooks.add_person(name="Bo", email="bo@example.com")
    world.prospect(email="bo@example.com")
    world.sandbox.outreach.faults.on("server_error_500", after=1, kind="list sequenceStates")
    assert world.run(sync=dated).exit_status == 4
    found = {one["main_location[email]"]: (one[STATE], one[NO_EMAIL]) for one in world.people()}
    assert (found[ADA], found["bo@example.com"][0]) == (("Opted Out", True), None)
    world.sandbox.outreach.faults.clear()
    assert world.run(sync=dated).exit_status == 0
    assert world.workbooks.get(PERSON, other)[STATE] == RUNNING


# -- the guard


def test_an_opt_out_passes_a_guard_that_stops_and_the_rest_waits(world: World) -> None:
    prospects = world.known(5)
    for prospect in prospects:
        world.move(prospect, "finished" if prospect != prospects[-1] else "opted_out")
    for _ in range(2):
        ended = world.run()
        assert (ended.exit_status, "4 of 5" in str(ended.error)) == (6, True)
        assert [one[STATE] for one in world.people()] == [RUNNING] * 4 + ["Opted Out"]
    assert counts(world.run(allow_bulk=True)) == {"updated": 4}


def test_the_guard_stops_too_many_creations_even_in_a_first_load(world: World) -> None:
    few = {"guard": {"create": 2}}
    for number in range(4):
        world.prospect(email=f"p{number}@example.com", optedOut=number == 3)
    for _ in range(2):
        ended = world.run(sync=few)
        assert (ended.exit_status, "create 4 people" in str(ended.error), world.people()) == (6, True, [])
    assert counts(world.run(sync=few, allow_bulk=True)) == {"created": 4}
    assert world.run(sync=few).exit_status == 0


def test_the_guard_is_not_there_for_updates_before_the_first_load_is_done(world: World) -> None:
    for number in range(5):
        world.workbooks.add_person(name="P", email=f"p{number}@example.com")
        world.prospect(email=f"p{number}@example.com")
    assert counts(world.run(limit=1)) == {"updated": 1}, "a pilot is no first load"
    assert counts(world.run()) == {"updated": 4}


def test_the_guard_is_there_after_a_first_load_without_events_that_may_not_be_read(world: World) -> None:
    world.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    for prospect in world.known(5):
        world.move(prospect, "finished")
    assert world.run().exit_status == 6


def test_the_guard_stops_a_small_account_from_becoming_not_active(world: World) -> None:
    prospects = world.known(4)
    world.outreach.keep_events = False
    for prospect in prospects:
        world.outreach.update("sequenceState", world.states_of(prospect)[0], prospect=None)
    small = {"guard": {"lost_share": 0.5, "lost_count": 2}}
    ended = world.run(sync=small)
    assert (ended.exit_status, "4 of 4 linked people would become Not Active" in str(ended.error)) == (6, True)
    assert {one[STATE] for one in world.people()} == {RUNNING}
    assert counts(world.run(sync=small, allow_bulk=True)) == {"updated": 4}


@pytest.mark.parametrize("kind", ["hidden", "deleted"])
def test_the_guard_stops_when_many_are_not_to_be_seen_or_to_be_created_again(world: World, kind: str) -> None:
    prospects, people = world.known(4), [one["id"] for one in world.people()]
    for prospect, person in zip(prospects, people, strict=True):
        world.move(prospect, "finished")
        _ = world.workbooks.hide(person) if kind == "hidden" else world.workbooks.delete(PERSON, person)
    for _ in range(2):
        ended = world.run()
        assert (ended.exit_status, "4 of" in str(ended.error)) == (6, True)
        assert not {one["id"] for one in world.people()} - set(people)
    lifted = counts(world.run(allow_bulk=True))
    assert lifted == ({"recreated": 4} if kind == "deleted" else {"rejected": 4})
    assert world.run().exit_status == (0 if kind == "deleted" else 1)


def test_no_clock_of_this_machine_decides_what_the_guard_counts(world: World) -> None:
    world.sandbox.clock.advance(-DAY)  # ours is a day ahead, and then it is not
    prospects = world.known(4)
    world.sandbox.clock.advance(DAY)
    for prospect in prospects:
        world.move(prospect, "paused")
    assert world.run().exit_status == 6


def test_what_a_guard_has_let_pass_once_is_not_counted_again(world: World) -> None:
    prospects = world.known(5)
    for prospect in prospects:
        world.move(prospect, "finished")
    world.sandbox.workbooks.faults.on("refuse_value", field=STATE, value="Finished")
    assert counts(world.run(allow_bulk=True)) == {"rejected": 5}
    world.sandbox.workbooks.faults.clear()
    world.time.pass_time(DAY)
    assert counts(world.run())["updated"] == 5


# -- text that Workbooks keeps otherwise, and what somebody gave up


def test_text_that_workbooks_keeps_otherwise_is_not_written_again(world: World) -> None:
    field = "cf_person_sequences"
    world.settings["workbooks"]["fields"] = {"sequences": field}
    world.sandbox.workbooks.faults.on("emoji_lost")
    world.outreach.add_sequence("Welcome \U0001f389")
    _, person = ada(world)
    kept, writes = world.person()[field], world.writes()
    assert kept.startswith("Welcome ?")
    for edited_since in (False, True):
        if edited_since:  # which raises the lock version
            world.edit_person(person, person_job_title="CTO")
        assert world.do(reconcile).exit_status == 0
        assert world.writes() == writes
    world.edit_person(person, **{field: "Something else"})
    world.do(reconcile)
    assert world.person()[field] == kept


def test_a_discarded_refusal_stays_discarded_until_a_record_changes(world: World) -> None:
    prospect = world.prospect(email=ADA, states=("hibernating",))
    assert counts(world.run()) == {"rejected": 1}
    with world.state() as state, state.transaction():
        state.outbox.discard([one.id for one in state.outbox.failures()])
    for ended in (world.run(full=True), world.do(reconcile), world.run()):
        assert ("rejected" in counts(ended), world.failures()) == (False, [])
    world.move(prospect, "napping")
    assert counts(world.run()) == {"rejected": 1}
