"""The parts of `make torture`, as jobs that processes can do side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.torture.kills import MATRICES, kill_at_each, summary
from tests.torture.machine import Torture
from tests.torture.scenarios import SCENARIOS, happens
from tests.torture.world import CROWDED, USUAL

SLICES = 8
_OCCASIONS: tuple[dict[str, int], ...] = (
    {}, {"times": 1}, {"times": 2, "after": 1}, {"times": 1, "after": 3}, {"times": 3, "after": 2}
)  # fmt: skip


class Done(NamedTuple):
    """What one job came to: whether all was well, and what to print."""

    well: bool
    lines: str


def fault(number: int) -> Done:
    """Let one fault happen on every occasion."""
    scenario = SCENARIOS[number]
    occasions = _OCCASIONS if scenario.service != "local" else _OCCASIONS[:1]
    some = [
        happens(scenario, at_first=first, lanes=lanes, **occasion)
        for lanes in ((USUAL, CROWDED) if scenario.service == "workbooks" else (USUAL,))
        for occasion in occasions
        for first in (False, True)
    ]
    statuses = ", ".join(str(status) for status in sorted({status for one in some for status in one.during}))
    lost, doubled = sum(one.lost for one in some), sum(one.doubled for one in some)
    line = f"{scenario.name:<64} {len(some):>2} runs, exit {statuses:<12} lost {lost}, doubled {doubled}"
    wrong = [f"    {violation}" for one in some for violation in one.violations]
    return Done(not wrong, "\n".join((line, *wrong)))


def kills(matrix: int, part: int, every: int) -> Done:
    """Kill at every moment of a slice of a matrix."""
    result = kill_at_each(*MATRICES[matrix], every=every, part=(part, SLICES))
    return Done(not result.broken, summary([result]))


def lives(examples: int) -> Done:
    """Live through so many random lives."""
    machine = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    try:
        run_state_machine_as_test(Torture, settings=machine)
    except AssertionError as error:
        steps = getattr(error, "__notes__", [])
        return Done(well=False, lines="\n".join((f"a life ended badly: {error}", *steps)))
    return Done(well=True, lines=f"{examples} random lives, all ended well")


def properties() -> Done:
    """Try every property on thousands of random examples, and whatever `make test` leaves out."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis or torture", "--ignore=tests/torture", "tests"]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "torture"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return Done(ended.returncode == 0, ended.stdout if ended.returncode else ended.stdout.splitlines()[-1])
