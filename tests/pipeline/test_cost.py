"""What a cycle costs grows with what it does, never with what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cycle import run_cycle

if TYPE_CHECKING:
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
