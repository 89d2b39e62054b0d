"""Nobody is created twice, no opt-out is lost or late, no mass change passes unseen, and a pilot stays one."""

from typing import Any

import pytest

from outreach_sync.insight.explain import recreate_hidden
from tests.conftest import World
from tests.harness import DAY, NO_EMAIL, PERSON, RUNNING, STATE, counts

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


def all_to(world: World, prospects: list[int], word: str) -> None:
    for prospect in prospects:
        world.move(prospect, word)


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


@pytest.mark.parametrize("ticked", [True, False])
def test_the_no_email_that_a_person_last_had_survives_deletion_and_creation(world: World, *, ticked: bool) -> None:
    world.workbooks.add_person(name="Ada", email=ADA, **{NO_EMAIL: not ticked})
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: ticked})
    world.move(prospect, "finished")
    assert counts(world.run()) == {"recreated": 1}
    assert (world.person()[STATE], bool(world.person()[NO_EMAIL])) == ("Finished", ticked)


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
    world.repair()
    assert world.person()[NO_EMAIL] is False, "what somebody cleared since stays so"


def test_nobody_is_created_again_for_a_no_email_alone(world: World) -> None:
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: True})
    world.move(prospect, "hibernating")
    assert (counts(world.repair()), world.people()) == ({"rejected": 1}, [])
    world.move(prospect, "finished")
    world.run()
    assert said(world) == ("Finished", True)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_deleted_person_of_ours_is_known_by_its_reference_after_a_lost_state(world: World, *, leaves: bool) -> None:
    prospect, person = ada(world)
    edited(world, person, **{NO_EMAIL: True})
    world.lose_the_state()
    world.skipped_task(prospect)
    for _ in range(2 * leaves):
        assert counts(world.run(sync={"when_deleted": "leave"})) in ({}, {"skipped": 1})
        assert (world.people(), world.tasks()) == ([], [])
    assert counts(world.repair() if leaves else world.run()) == {"recreated": 1, "tasks": 1}
    assert said(world) == (RUNNING, True)


# -- history that was never read, or makes no sense


DATED: dict[str, Any] = {"start": "90d", "patience": "1s"}


def old_opt_out(world: World, prospect: int) -> None:
    """Add a state that no walk reads, and forget that once everything was read."""
    world.outreach.add_state(prospect, 1, "opted_out", updatedAt="2019-01-01T00:00:00Z")
    world.sql("DELETE FROM fact WHERE name = 'all_states_read'")


def asked(world: World) -> list[str]:
    """Return of which prospects all states were read, since the last time."""
    queries = [dict(one.query) for one in world.sandbox.outreach.journal.entries()]
    world.sandbox.outreach.journal.clear()
    return sorted(",".join(one.get("filter[prospect][id]", "") for one in queries).replace(",", " ").split())


def test_the_history_of_everybody_who_is_the_same_person_is_read(world: World) -> None:
    first, _ = ada(world)
    old_opt_out(world, first)
    second = world.prospect(email=ADA)
    world.run(sync=DATED)
    assert (asked(world), said(world)) == ([str(first), str(second)], ("Opted Out", True))
    world.move(first, "paused")
    world.run(sync=DATED)
    assert asked(world) == [], "once is enough"


def test_two_to_be_created_together_have_both_histories_read(world: World) -> None:
    first = world.prospect(email=ADA, states=())
    assert counts(world.run()) == {"skipped": 1}
    old_opt_out(world, first)
    second = world.prospect(email=ADA)
    assert counts(world.run(sync=DATED)) == {"created": 1}
    assert (asked(world), said(world)) == ([str(first), str(second)], ("Opted Out", True))


def test_a_state_that_makes_no_sense_keeps_anything_but_an_opt_out_from_being_written(world: World) -> None:
    broken = []
    for number in range(2):
        world.workbooks.add_person(name="P", email=f"p{number}@example.com")
        both = {"states": ("active", "active"), "optedOut": number == 1}
        broken.append(world.states_of(world.prospect(email=f"p{number}@example.com", **both))[1])
    world.settings["workbooks"]["fields"] = {"outreach_id": "cf_person_outreach_id"}
    for one in broken:
        world.outreach.get("sequenceState", one).values["stateChangedAt"] = "soon"
    assert counts(world.run()) == {"updated": 1, "rejected": 4}, "two records, and two people for their sake"
    first, second = world.people()
    assert (first[STATE], second[STATE], second[NO_EMAIL]) == (None, "Opted Out", True)
    assert not second["cf_person_outreach_id"]
    for one in broken:
        world.outreach.update("sequenceState", one, stateChangedAt=None)
    assert world.run().exit_status == 0
    first, second = world.people()
    assert (first[STATE], second["cf_person_outreach_id"]) == (RUNNING, "2")


# -- a known opt-out never waits


@pytest.mark.parametrize("linked", [True, False])
def test_an_opt_out_does_not_wait_for_a_history_that_outreach_does_not_answer(world: World, *, linked: bool) -> None:
    if linked:
        prospect, _ = ada(world)
        world.sql("DELETE FROM fact WHERE name = 'all_states_read'")
        world.outreach.update("prospect", prospect, optedOut=True)
    else:
        world.workbooks.add_person(name="Ada", email=ADA)
        world.prospect(email=ADA, optedOut=True)
    world.workbooks.add_person(name="Bo", email="bo@example.com")
    world.prospect(email="bo@example.com")
    world.sandbox.outreach.faults.on("server_error_500", after=1, kind="list sequenceStates")
    assert world.run(sync=DATED).exit_status == 4
    assert [(one[STATE], bool(one[NO_EMAIL])) for one in world.people()] == [("Opted Out", True), (None, False)]
    world.sandbox.outreach.faults.clear()
    assert (world.run(sync=DATED).exit_status, world.people()[1][STATE]) == (0, RUNNING)


# -- the guard


def test_an_opt_out_passes_a_guard_that_stops_and_the_rest_waits(world: World) -> None:
    *others, last = world.known(5)
    all_to(world, others, "finished")
    world.move(last, "opted_out")
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
    all_to(world, world.known(5), "finished")
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


@pytest.mark.parametrize(("kind", "lifted", "then"), [("hidden", {}, 1), ("deleted", {"recreated": 4}, 0)])
def test_the_guard_stops_when_many_are_not_to_be_seen_or_to_be_created_again(
    world: World, kind: str, lifted: dict[str, int], then: int
) -> None:
    all_to(world, world.known(4), "finished")
    for person in world.people():
        _ = world.workbooks.hide(person["id"]) if kind == "hidden" else world.workbooks.delete(PERSON, person["id"])
    before = world.writes()
    for _ in range(2):
        ended = world.run(sync={"guard": {"lost_share": 0.5, "lost_count": 3}})
        assert (ended.exit_status, ": 4 of 4 linked" in str(ended.error), world.writes()) == (6, True, before)
    assert counts(world.run(allow_bulk=True)) == lifted
    assert world.run().exit_status == then


def test_no_clock_of_this_machine_decides_what_the_guard_counts(world: World) -> None:
    world.sandbox.clock.advance(-DAY)  # ours is a day ahead, and then it is not
    prospects = world.known(4)
    world.sandbox.clock.advance(DAY)
    all_to(world, prospects, "paused")
    assert world.run().exit_status == 6


def test_what_a_guard_has_let_pass_once_is_not_counted_again(world: World) -> None:
    all_to(world, world.known(5), "finished")
    world.sandbox.workbooks.faults.on("refuse_value", field=STATE, value="Finished")
    assert counts(world.run(allow_bulk=True)) == {"rejected": 5}
    assert world.repair().exit_status == 1
    world.sandbox.workbooks.faults.clear()
    world.time.pass_time(DAY)
    assert world.run().people.updated == 5


# -- text that Workbooks keeps otherwise, and what somebody gave up


def test_text_that_workbooks_keeps_otherwise_is_not_written_again(world: World) -> None:
    field = "cf_person_sequences"
    world.settings["workbooks"]["fields"] = {"sequences": field}
    world.sandbox.workbooks.faults.on("emoji_lost")
    world.outreach.add_sequence("Welcome \U0001f389")
    _, person = ada(world)
    kept, writes = world.person()[field], world.writes()
    assert kept.startswith("Welcome ?")
    assert (world.repair().exit_status, world.writes()) == (0, writes)
    world.edit_person(person, person_job_title="CTO")  # which raises the lock version
    assert (world.repair().exit_status, world.writes()) == (0, writes)
    world.edit_person(person, **{field: "Something else"})
    world.repair()
    assert world.person()[field] == kept


def test_a_discarded_refusal_stays_discarded_until_a_record_changes(world: World) -> None:
    prospect = world.prospect(email=ADA, states=("hibernating",))
    assert counts(world.run()) == {"rejected": 1}
    with world.state() as state, state.transaction():
        state.outbox.discard([one.id for one in state.outbox.failures()])
    for ended in (world.run(full=True), world.repair(), world.run()):
        assert ("rejected" in counts(ended), world.failures()) == (False, [])
    world.move(prospect, "napping")
    assert counts(world.run()) == {"rejected": 1}


# -- a pilot, and the history of what was written

TICKED = {"people": {"only_where": {"person_job_title": "Pilot"}}}


def somebody(world: World, number: int, **attributes: Any) -> int:
    """Add a prospect with a skipped task; return the id."""
    prospect = world.prospect(email=f"p{number}@example.com", **attributes)
    world.skipped_task(prospect)
    return prospect


def known(world: World, *titles: str | None) -> list[int]:
    """Add as many prospects who are known by e-mail, each with a skipped task; return the ids of their People."""
    people = []
    for number, title in enumerate(titles):
        people.append(world.workbooks.add_person(name="P", email=f"p{number}@example.com", person_job_title=title))
        somebody(world, number)
    return people


def labels(world: World) -> list[Any]:
    return [one[STATE] for one in world.people()]


def history(world: World, *columns: str) -> list[tuple[Any, ...]]:
    return world.sql(f"SELECT {', '.join(columns)} FROM write ORDER BY number")  # noqa: S608


def test_a_dry_pilot_lists_what_the_pilot_then_writes_and_the_next_run_writes_the_others(world: World) -> None:
    (person,) = known(world, None)
    for number in (1, 2, 3):
        somebody(world, number)
    changes = world.run(dry_run=True, limit=2).document["changes"]
    assert [(one["record"], one["action"], one["prospect_id"], one["workbooks_id"]) for one in changes] == [
        ("person", "update", 1, person),
        ("person", "create", 2, None),
        ("task", "create", 1, None),
        ("task", "create", 2, None),
    ]
    assert counts(world.run(limit=2)) == {"updated": 1, "created": 1, "tasks": 2}
    assert counts(world.run()) == {"created": 2, "tasks": 2}


def test_a_pilot_of_ten_needs_no_lifted_guard_and_looks_nobody_else_up(world: World) -> None:
    for number in range(40):
        world.prospect(email=f"p{number}@example.com")
    assert counts(world.run(limit=3, sync={"guard": {"create": 5}})) == {"created": 3}
    asked = str(world.sandbox.workbooks.journal.entries())
    assert sum(f"p{number}@example.com" in asked for number in range(40)) < 20


def test_a_run_for_some_prospects_writes_the_people_they_are_and_nobody_else(world: World) -> None:
    prospects = world.known(3)
    twin = world.prospect(email="p1@example.com", states=())
    world.run()
    for prospect in prospects:
        world.move(prospect, "finished")
    for prospect in (*prospects, twin):
        world.skipped_task(prospect)
    assert counts(world.run(prospects=(twin,))) == {"updated": 1, "tasks": 2}
    assert labels(world) == [RUNNING, "Finished", RUNNING]
    world.run()
    assert labels(world) == ["Finished"] * 3


def test_a_pilot_says_whom_outreach_does_not_show_and_of_nobody_else(world: World) -> None:
    linked, alone = world.known(1)[0], world.prospect(email="alone@example.com")
    for dry_run in (True, False):
        ended = world.run(prospects=(linked, alone, 999), dry_run=dry_run)
        assert ended.document["warnings"] == ["Outreach shows no prospect 999, which --prospect names."]
        assert ended.exit_status == 0
    assert "warnings" not in world.run().document
    senseless = world.prospect(firstName={"x": 1})
    assert "warnings" not in world.run(prospects=(senseless,)).document, "it is shown, and refused"


def test_a_pilot_ends_where_somebody_else_will_be_the_same_person_and_was_never_read(world: World) -> None:
    world.prospect(email="ada@example.com", states=("opted_out",))
    twin, other = world.prospect(email="ada@example.com"), world.prospect(email="bo@example.com")
    assert counts(world.run(prospects=(twin,), sync={"start": "90d"})) == {"created": 1}
    assert labels(world) == ["Opted Out"]
    assert counts(world.run(prospects=(other,), sync={"start": "90d"})) == {"created": 1}


def test_a_dry_run_for_some_prospects_lists_their_tasks_alone(world: World) -> None:
    first, _ = somebody(world, 0), somebody(world, 0)  # of the same address
    changes = world.run(dry_run=True, prospects=(first,)).document["changes"]
    assert [(one["record"], one["prospect_id"]) for one in changes] == [("person", first), ("task", first)]
    assert counts(world.run(prospects=(first,))) == {"created": 1, "tasks": 1}


def test_only_people_with_the_values_that_are_named_are_touched_and_nobody_is_created(world: World) -> None:
    people = known(world, "Pilot", "CTO", None)
    world.outreach.update("prospect", 2, optedOut=True)
    somebody(world, 9)
    assert counts(world.run(sync=TICKED)) == {"updated": 1, "skipped": 3, "tasks": 1}
    assert (labels(world), world.failures()) == ([RUNNING, None, None], [])
    world.edit_person(people[2], person_job_title="Pilot")  # and from then on, when there is something to write
    world.move(3, "finished")
    assert counts(world.run(sync=TICKED))["updated"] == 1
    assert labels(world) == [RUNNING, None, "Finished"]
    assert len(world.tasks()) == 2
    world.sandbox.workbooks.faults.on("column_missing", field="no_phone_soliciting")
    world.run(full=True, sync={"people": {"only_where": {"no_phone_soliciting": False}}})
    assert labels(world)[1] is None, "a box that is not shown is not an empty one"


def test_the_history_of_a_created_person_and_task_names_nobody(world: World) -> None:
    world.skipped_task(world.prospect(email="ada@example.com"), note="call Ada")
    world.run()
    rows = history(world, "record", "action", "task_id", "field", "new")
    assert {row[:3] for row in rows} == {("person", "create", None), ("task", "create", 1)}
    assert not [row for row in rows if "Ada" in row[4] or "example.com" in row[4]]


def test_a_write_whose_answer_was_lost_is_in_the_history_once(world: World) -> None:
    world.known(1)
    world.sandbox.workbooks.faults.on("answer_lost_after_commit", times=1, kind="write")
    world.move(1, "finished")
    world.run()
    assert [row[0] for row in history(world, "new") if "Finished" in row[0]] == ['"Finished"']


def test_an_old_state_that_makes_no_sense_is_refused_as_on_any_page(world: World) -> None:
    world.workbooks.add_person(name="Ada", email=ADA)
    old = world.outreach.add_state(world.prospect(email=ADA), 1, "opted_out", updatedAt="2019-01-01T00:00:00Z")
    world.outreach.get("sequenceState", old).values.update(state="finished", stateChangedAt="soon")
    ended = world.run(sync={"start": "90d"})
    assert (ended.exit_status, world.person()[STATE]) == (1, None)
    assert any("'soon'" in str(one.reason) for one in world.failures())


@pytest.mark.parametrize("how", ["optedOut", "emailOptedOut", "state"])
def test_every_kind_of_opt_out_passes_a_walk_that_was_not_completed(world: World, how: str) -> None:
    world.settings["outreach"]["page_size"] = 2
    for number in range(4):
        world.workbooks.add_person(name="P", email=f"p{number}@example.com")
        out = {"states": ("opted_out",)} if how == "state" else {how: True}
        world.prospect(email=f"p{number}@example.com", **(out if number == 0 else {}))
    world.sandbox.outreach.faults.on("server_error_500", after=1, kind="list sequenceStates")
    assert world.run(sync={"patience": "1s"}).exit_status == 4
    shown = [(one[STATE], bool(one[NO_EMAIL])) for one in world.people()]
    assert shown == [("Opted Out", True), *[(None, False)] * 3]


@pytest.mark.parametrize(("fault", "ids"), [("id_list_cut", 1), ("id_list_cut", 50), ("id_list_refused", 30)])
def test_an_old_opt_out_is_found_however_few_ids_a_list_may_hold(world: World, fault: str, ids: int) -> None:
    for number in range(60):
        world.workbooks.add_person(name="P", email=f"p{number}@example.com")
        prospect = world.prospect(email=f"p{number}@example.com", states=())
        world.outreach.add_state(prospect, 1, "opted_out", updatedAt="2019-01-01T00:00:00Z")
    world.sandbox.outreach.faults.on(fault, ids=ids)
    assert world.run(sync={"start": "90d"}).exit_status == 0
    assert labels(world) == ["Opted Out"] * 60
