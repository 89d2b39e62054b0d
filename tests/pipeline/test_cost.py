"""What a cycle costs grows with what it does, never with what is stored."""

import re
from typing import Any

import pytest

from outreach_sync.cycle import run_cycle
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
    def counted(run: Any) -> None:
        run.store.connection.set_progress_handler(lambda: steps.append(1), 100)
        run_cycle(run)
        run.store.connection.set_progress_handler(None, 0)

    steps, cost = list[int](), []
    world.run()
    for first, count in ((0, 99), (99, 396)):
        many(world, first, count, linked=linked)
        steps.clear()
        assert world.do(counted, sync=LENIENT).exit_status == 0
        cost.append(len(steps) / count)
    assert cost[1] <= 1.3 * cost[0]


GROWING = ("prospect", "sequence_state", "task", "person", "outbox", "event", "write", "run", "address")
SCAN = re.compile(
    rf"SCAN (?:temp\.)?({'|'.join(GROWING)}|[a-z])\b(?! USING (?:COVERING )?INDEX| VIRTUAL)"
    r"|SEARCH outbox .*\(record=\?(?: AND stream=\?)?\)"  # all that waits
)
ALLOWED = (
    "SELECT coalesce(sequence_state, '') FROM person",  # once a day
    "INSERT INTO label_count",
    "INSERT INTO changed SELECT *, 0 FROM (SELECT DISTINCT prospect_id FROM outbox",  # these two once a cycle
    "SELECT count(*) FROM changed WHERE prospect_id NOT IN",
)


def test_no_statement_of_a_cycle_scans_a_table_that_grows(world: World) -> None:
    """Let three cycles create, change and skip, and see how SQLite answers each statement."""
    plans: dict[str, tuple[str, list[str]]] = {}

    def watched(run: Any) -> None:
        said: list[str] = []
        connection = run.store.connection
        connection.set_trace_callback(said.append)
        run_cycle(run, allow_bulk=True)
        connection.set_trace_callback(None)
        for statement in said:
            shape = re.sub(r"'[^']*'|\b\d+\b", "?", statement)
            if shape not in plans and statement.split(" ", 1)[0] in {"SELECT", "UPDATE", "DELETE", "INSERT", "WITH"}:
                rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}")
                plans[shape] = (statement, [row[3] for row in rows] if "temp." not in statement else [])

    world.known(3)  # a state that was small once
    prospects = [world.prospect(email=f"p{number}@example.com") for number in range(40)]
    tasks = [world.skipped_task(one, state="incomplete") for one in prospects[:10]]
    world.do(watched)
    for one in prospects[:20]:
        world.move(one, "finished")
    for task in tasks:
        world.outreach.skip_task(task)
    world.outreach.opt_out(prospects[30])
    world.outreach.delete("sequenceState", world.states_of(prospects[31])[0])
    world.outreach.delete("prospect", prospects[32])
    world.do(watched)
    world.do(watched)
    assert len(plans) > 60
    watched_for = [(said, step) for said, steps in plans.values() if not said.startswith(ALLOWED) for step in steps]
    assert [(said[:300], step) for said, step in watched_for if SCAN.search(step)] == []
