"""`make torture`: faults, kills and properties at length, and one summary. Exit status 1 if anything was lost."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.torture.kills import MATRICES, kill_at_each, summary
from tests.torture.machine import Torture
from tests.torture.scenarios import SCENARIOS, Outcome, Scenario, happens
from tests.torture.world import CROWDED, USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OCCASIONS: tuple[dict[str, int], ...] = (
    {}, {"times": 1}, {"times": 2, "after": 1}, {"times": 1, "after": 3}, {"times": 3, "after": 2}
)  # fmt: skip


def main() -> int:
    """Do all parts; return how many failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--examples", type=int, default=3000, help="lives of the state machine (3000)")
    parser.add_argument("--every", type=int, default=1, help="kill at every so-manieth moment (1: all)")
    parser.add_argument("--only", choices=("faults", "kills", "lives", "properties"), help="one part only")
    asked = parser.parse_args()
    parts: dict[str, Callable[[], bool]] = {
        "faults": fault_table,
        "kills": lambda: kill_table(asked.every),
        "lives": lambda: lives(asked.examples),
        "properties": properties,
    }
    failed = 0
    for name, part in parts.items():
        if asked.only in {None, name}:
            started = time.monotonic()
            failed += not part()
            _say(f"({name}: {time.monotonic() - started:.0f} s)\n")
    _say("Nothing lost, nothing twice." if not failed else f"{failed} of the parts failed.")
    return int(failed > 0)


def fault_table() -> bool:
    """Let every fault happen on every occasion; print a line for each fault; return whether all was well."""
    _say(f"{'fault':<64} {'runs':>4} {'exit statuses':<16} {'lost':>4} {'doubled':>7}")
    outcomes = [(scenario, list(_outcomes(scenario))) for scenario in SCENARIOS]
    return not any(outcome.violations for _, some in outcomes for outcome in some)


def _outcomes(scenario: Scenario) -> Iterator[Outcome]:
    occasions = _OCCASIONS if scenario.service != "local" else _OCCASIONS[:1]
    some = [
        happens(scenario, at_first=first, lanes=lanes, **occasion)
        for lanes in ((USUAL, CROWDED) if scenario.service == "workbooks" else (USUAL,))
        for occasion in occasions
        for first in (False, True)
    ]
    statuses = ", ".join(str(status) for status in sorted({status for one in some for status in one.during}))
    lost, doubled = sum(one.lost for one in some), sum(one.doubled for one in some)
    _say(f"{scenario.name:<64} {len(some):>4} {statuses:<16} {lost:>4} {doubled:>7}")
    for one in some:
        for violation in one.violations:
            _say(f"    {violation}")
    yield from some


def kill_table(every: int) -> bool:
    """Kill at every moment; print what came of it; return whether everything converged."""
    broken = 0
    for one in MATRICES:
        matrix = kill_at_each(*one, every=every)
        broken += len(matrix.broken)
        _say(summary([matrix]))
    return not broken


def lives(examples: int) -> bool:
    """Live through so many random lives; return whether all ended well."""
    machine = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    try:
        run_state_machine_as_test(Torture, settings=machine)
    except AssertionError as error:
        _say(f"a life ended badly: {error}")
        return False
    _say(f"{examples} random lives, all ended well")
    return True


def properties() -> bool:
    """Try every property on thousands of random examples, and whatever `make test` leaves out; say whether all held."""
    marks = "hypothesis or torture"
    command = [sys.executable, "-m", "pytest", "-q", "-m", marks, "--ignore=tests/torture", "tests"]
    return subprocess.run(command, env={**os.environ, "HYPOTHESIS_PROFILE": "torture"}, check=False).returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
