"""A pilot writes a few people and leaves the rest to be done; every accepted write is kept for the history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.harness import RUNNING, STATE, counts

if TYPE_CHECKING:
    from tests.conftest import World

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


def said(world: World) -> list[Any]:
    return [one[STATE] for one in world.people()]


def history(world: World, *columns: str) -> list[tuple[Any, ...]]:
    return world.sql(f"SELECT {', '.join(columns)} FROM write ORDER BY number")  # noqa: S608


def test_a_limited_run_writes_the_first_people_and_the_next_run_the_others(world: World) -> None:
    known(world, None, None, None)
    for number in range(3, 6):
        somebody(world, number)
    assert counts(world.run(limit=4)) == {"updated": 3, "created": 1, "tasks": 4}
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
    assert said(world) == [RUNNING, "Finished", RUNNING]
    world.run()
    assert said(world) == ["Finished"] * 3


def test_a_pilot_ends_where_somebody_else_will_be_the_same_person_and_was_never_read(world: World) -> None:
    world.prospect(email="ada@example.com", states=("opted_out",))
    twin, other = world.prospect(email="ada@example.com"), world.prospect(email="bo@example.com")
    assert counts(world.run(prospects=(twin,), sync={"start": "90d"})) == {"created": 1}
    assert said(world) == ["Opted Out"]
    assert counts(world.run(prospects=(other,), sync={"start": "90d"})) == {"created": 1}


def test_a_dry_pilot_lists_what_the_pilot_would_write(world: World) -> None:
    (person,) = known(world, None)
    for number in (1, 2):
        somebody(world, number)
    wanted = [("person", "update", 1, person), ("person", "create", 2, None)]
    wanted += [("task", "create", 1, None), ("task", "create", 2, None)]
    changes = world.run(dry_run=True, limit=2).document["changes"]
    assert [
        tuple(one[name] for name in ("record", "action", "prospect_id", "workbooks_id")) for one in changes
    ] == wanted
    assert counts(world.run(limit=2)) == {"updated": 1, "created": 1, "tasks": 2}


def test_a_dry_run_for_some_prospects_lists_their_tasks_alone(world: World) -> None:
    first, _ = somebody(world, 0), somebody(world, 0)  # of the same address
    changes = world.run(dry_run=True, prospects=(first,)).document["changes"]
    assert [(one["record"], one["prospect_id"]) for one in changes] == [("person", first), ("task", first)]
    assert counts(world.run(prospects=(first,))) == {"created": 1, "tasks": 1}


def test_only_people_with_the_values_that_are_named_are_touched_and_nobody_is_created(world: World) -> None:
    known(world, "Pilot", "CTO", None)
    world.outreach.update("prospect", 2, optedOut=True)
    somebody(world, 9)
    assert counts(world.run(sync=TICKED)) == {"updated": 1, "skipped": 3, "tasks": 1}
    assert (said(world), world.failures()) == ([RUNNING, None, None], [])


def test_a_person_that_gets_the_value_is_touched_when_there_is_next_something_to_write(world: World) -> None:
    (person,) = known(world, "CTO")
    world.run(sync=TICKED)
    world.edit_person(person, person_job_title="Pilot")
    world.move(1, "finished")
    assert counts(world.run(sync=TICKED)) == {"updated": 1, "tasks": 1}
    assert said(world) == ["Finished"]


def test_every_accepted_field_is_kept_with_what_was_there_before_and_why(world: World) -> None:
    person = world.workbooks.add_person(name="Ada", email="ada@example.com")
    world.prospect(email="ada@example.com", optedOut=True, optedOutAt="2026-09-20T14:13:20Z")
    world.run()
    rows = history(world, "record", "action", "prospect_id", "workbooks_id", "field", "old", "new", "because")
    assert {row[4]: (json.loads(row[5]), json.loads(row[6])) for row in rows} == {
        STATE: (None, "Opted Out"),
        "cf_person_state_updated_at": (None, "2026-09-20T14:13:20Z"),
        "no_email_soliciting": (False, True),
    }
    assert {(*row[:4], row[7]) for row in rows} == {("person", "update", 1, person, "opt-out: prospect 1 has optedOut")}


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
