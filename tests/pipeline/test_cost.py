"""What a cycle costs grows with what it does, never with what is stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cycle import run_cycle

if TYPE_CHECKING:
    import sqlite3

    from tests.conftest import World


LENIENT = {"guard": {"count": 10**6, "create": 10**6}}


def many(world: World, first: int, count: int, *, linked: bool) -> None:
    """Add so many prospects with a state and a skipped task each, a third of them sharing an address."""
    for one in range(first, first + count):
        email = f"p{one - one % 3}@example.com"
        if linked and one % 3 == 0:
            world.workbooks.add_person(name="P", email=email)
        world.skipped_task(world.prospect(email=email))


@pytest.mark.parametrize("linked", [True, False])
def test_a_cycle_of_four_times_as_many_people_costs_four_times_as_much(world: World, *, linked: bool) -> None:
    steps = [0]

    def step() -> None:
        steps[0] += 1

    def counted(run: Any) -> None:
        run.store.connection.set_progress_handler(step, 100)
        run_cycle(run)
        run.store.connection.set_progress_handler(None, 0)

    cost = {}
    world.run()
    for first, count in ((0, 99), (99, 396)):
        many(world, first, count, linked=linked)
        steps[0] = 0
        assert world.do(counted, sync=LENIENT).exit_status == 0
        cost[count] = steps[0] / count
    assert cost[396] <= 1.3 * cost[99]


GROWING = ("prospect", "sequence_state", "task", "person", "outbox", "event", "write", "run", "address")
SCAN = re.compile(
    rf"SCAN (?:temp\.)?({'|'.join(GROWING)}|[a-z])\b(?! USING (?:COVERING )?INDEX| VIRTUAL)"
    r"|SEARCH outbox .*\(record=\?(?: AND stream=\?)?\)"  # all that waits
)
ALLOWED = (
    "SELECT record, state, count(*) FROM outbox",  # once a cycle, over the narrow index
    "SELECT coalesce(sequence_state, '') FROM person",  # once a day
    "INSERT INTO label_count",
    "INSERT INTO changed SELECT *, 0 FROM (SELECT DISTINCT prospect_id FROM outbox",  # these two once a cycle
    "SELECT count(*) FROM changed WHERE prospect_id NOT IN",
)


def statements_of_cycles(world: World) -> list[tuple[str, list[str]]]:
    """Let three cycles create, change and skip; return every statement once, with how SQLite answers it."""
    plans: dict[str, list[str]] = {}

    def watched(run: Any) -> None:
        said: list[str] = []
        connection: sqlite3.Connection = run.store.connection
        connection.set_trace_callback(said.append)
        run_cycle(run, allow_bulk=True)
        connection.set_trace_callback(None)
        for statement in said:
            shape = re.sub(r"'[^']*'|\b\d+\b", "?", statement)
            if shape not in plans and statement.split(" ", 1)[0] in {"SELECT", "UPDATE", "DELETE", "INSERT", "WITH"}:
                rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}")
                plans[shape] = [f"{row[3]}" for row in rows] if "temp." not in statement else []
                plans[shape].insert(0, statement)

    prospects = [world.prospect(email=f"p{number}@example.com") for number in range(40)]
    tasks = [world.skipped_task(one, state="incomplete") for one in prospects[:10]]
    world.do(watched)
    for one in prospects[:20]:
        world.outreach.update("sequenceState", world.states_of(one)[0], state="finished")
    for task in tasks:
        world.outreach.skip_task(task)
    world.outreach.opt_out(prospects[30])
    world.outreach.delete("sequenceState", world.states_of(prospects[31])[0])
    world.do(watched)
    world.do(watched)
    return [(plan[0], plan[1:]) for plan in plans.values()]


def test_no_statement_of_a_cycle_scans_a_table_that_grows(world: World) -> None:
    plans = statements_of_cycles(world)
    assert len(plans) > 60
    scans = [
        (statement[:300], step)
        for statement, steps in plans
        for step in steps
        if SCAN.search(step) and not statement.startswith(ALLOWED)
    ]
    assert scans == []
