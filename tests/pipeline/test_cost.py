"""What a cycle costs grows with what it does, never with what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.deliver import deliver

if TYPE_CHECKING:
    from collections.abc import Callable

"""Statements that may go through a queue, or count everybody: each is made once a cycle at most."""


def many(bench: Any, first: int, count: int, *, linked: bool) -> None:
    """Keep so many prospects with a state and a skipped task each, a third of them sharing an address."""
    ids = range(first, first + count)
    for one in ids if linked else ():
        bench.linked(one, 100_000 + one, "active")
    bench.keep(
        *(bench.prospect(one, email=f"p{one - one % 3}@example.com") for one in ids),
        states=[state for one in ids for state in bench.states(one, "paused", at=bench.now)],
        tasks=[bench.skipped(900_000 + one, one) for one in ids],
    )


def cycle(bench: Any) -> None:
    config = {"sync.guard": {"count": 10**6, "create": 10**6}, "workbooks.batch_size": 100}
    deliver(bench.run(config=config), complete=True, allow_bulk=False)


@pytest.mark.parametrize("linked", [True, False])
def test_a_cycle_of_four_times_as_many_people_costs_four_times_as_much(
    make_bench: Callable[[], Any], *, linked: bool
) -> None:
    cost = {}
    for count in (100, 400):
        bench = make_bench()
        many(bench, 1, count, linked=linked)
        steps = [0]

        def step(steps: list[int] = steps) -> None:
            steps[0] += 1

        bench.state.connection.set_progress_handler(step, 100)
        cycle(bench)
        bench.state.connection.set_progress_handler(None, 0)
        cost[count] = steps[0] / count
        bench.state.close()
    assert cost[400] <= 1.3 * cost[100]
