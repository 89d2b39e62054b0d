"""A pilot writes a few people and leaves the rest to be done; every accepted write is kept for the history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outreach_sync.records import Rejected, Unknown
from outreach_sync.run import Pilot

TICKED = {"sync.people.only_where": {"f_pilot": True}}


def said(bench: Any) -> dict[int, Any]:
    return {one: bench.field(one, "f_state") for one in sorted(bench.target.people)}


def history(bench: Any, *columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT {', '.join(columns)} FROM write ORDER BY number"  # noqa: S608
    return bench.state.connection.execute(query).fetchall()


def test_a_limited_run_writes_the_first_people_and_the_next_run_the_others(bench: Any) -> None:
    for one in range(1, 4):
        bench.linked(one, 1000 + one, "active")
    for one in range(4, 7):
        bench.keep(bench.prospect(one), states=bench.states(one, "active"), tasks=[bench.skipped(70 + one, one)])
    tally = bench.decide(pilot=Pilot(limit=4))
    assert (tally.people.updated, tally.people.created, tally.people.rejected) == (3, 1, 0)
    assert tally.tasks.created == 1
    tally = bench.decide()
    assert (tally.people.updated, tally.people.created, tally.tasks.created) == (0, 2, 2)


def test_a_pilot_of_ten_needs_no_lifted_guard_and_looks_nobody_else_up(bench: Any) -> None:
    for one in range(1, 41):
        bench.keep(bench.prospect(one, email=f"p{one}@example.com"), states=bench.states(one, "active"))
    config = {"sync.guard": {"create": 5}}
    assert bench.decide(pilot=Pilot(limit=3), config=config).people.created == 3
    asked = {value for what, values in bench.target.looked_up if what == "email" for value in values}
    assert len(asked) < 20


def test_a_run_for_some_prospects_writes_the_people_they_are_and_nobody_else(bench: Any) -> None:
    for one in range(1, 4):
        bench.linked(one, 1000 + one, "active")
        bench.keep(tasks=[bench.skipped(70 + one, one)])
    with bench.state.transaction():
        bench.state.people.link([3], 1002)
    tally = bench.decide(pilot=Pilot(prospects=frozenset({3})))
    assert said(bench) == {1001: None, 1002: "Running", 1003: None}
    assert (tally.tasks.created, tally.people.rejected) == (2, 0)
    bench.decide()
    assert said(bench) == {1001: "Running", 1002: "Running", 1003: None}


def test_a_dry_pilot_lists_what_the_pilot_would_write(bench: Any) -> None:
    for one in range(1, 4):
        bench.linked(one, 1000 + one, "active")
    tally = bench.decide(dry_run=True, pilot=Pilot(limit=2))
    assert [change["workbooks_id"] for change in tally.changes] == [1001, 1002]


def test_only_people_with_the_values_that_are_named_are_touched_and_nobody_is_created(bench: Any) -> None:
    for one, ticked in ((1, True), (2, False), (3, None)):
        bench.target.add(1000 + one, email=f"p{one}@example.com", f_pilot=ticked)
        bench.keep(
            bench.prospect(one, email=f"p{one}@example.com", opted_out=one == 2), states=bench.states(one, "active"),
            tasks=[bench.skipped(70 + one, one)],
        )  # fmt: skip
    bench.keep(bench.prospect(4), states=bench.states(4, "active"))
    tally = bench.decide(config=TICKED)
    assert (tally.people.updated, tally.people.created, tally.people.skipped) == (1, 0, 3)
    assert (said(bench), tally.tasks.created) == ({1001: "Running", 1002: None, 1003: None}, 1)
    assert bench.state.outbox.failures() == []


def test_a_person_that_gets_the_value_is_touched_when_there_is_next_something_to_write(bench: Any) -> None:
    bench.target.add(1001, email="ada@example.com", f_pilot=False)
    bench.keep(
        bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"), tasks=[bench.skipped(7, 1)]
    )
    bench.decide(config=TICKED)
    bench.target.change(1001, f_pilot=True)
    with bench.state.transaction():
        bench.state.undecided.mark_again([1])
    tally = bench.decide(config=TICKED)
    assert (said(bench), tally.tasks.created) == ({1001: "Running"}, 1)


def test_every_accepted_field_is_kept_with_what_was_there_before_and_why(bench: Any) -> None:
    bench.linked(1, 1001, "active", opted_out=True)
    bench.decide()
    rows = history(bench, "record", "action", "prospect_id", "workbooks_id", "field", "old", "new", "because")
    why = "opt-out: prospect 1 has optedOut"
    assert {row[4]: (json.loads(row[5]), json.loads(row[6])) for row in rows} == {
        "f_state": (None, "Opted Out"),
        "f_at": (None, "2026-09-20T14:13:20Z"),
        "f_no_email": (None, True),
    }
    assert {(*row[:4], row[7]) for row in rows} == {("person", "update", 1, 1001, why)}


def test_the_history_of_a_created_person_and_task_names_nobody(bench: Any) -> None:
    bench.keep(
        bench.prospect(1, email="ada@example.com", last_name="Example"), states=bench.states(1, "active"),
        tasks=[bench.skipped(7, 1, note="call Ada")],
    )  # fmt: skip
    bench.decide()
    rows = history(bench, "record", "action", "task_id", "field", "new")
    assert {(row[0], row[1], row[2]) for row in rows} == {("person", "create", None), ("task", "create", 7)}
    assert not [row for row in rows if "Ada" in row[4] or "example.com" in row[4]]


def test_a_write_whose_answer_was_lost_is_in_the_history_once(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.answers = [lambda writes: bench.target.obey(writes) and [Unknown("time-out")]]
    bench.decide()
    assert sorted(row[0] for row in history(bench, "field")) == ["f_at", "f_state"]


@pytest.mark.parametrize("action", ["update", "create"])
def test_what_was_refused_is_not_in_the_history(bench: Any, action: str) -> None:
    if action == "update":
        bench.linked(1, 1001, "active")
    else:
        bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    bench.target.answers = [lambda writes: [Rejected(("no",))] * len(writes)]
    bench.decide()
    assert history(bench, "field") == []
