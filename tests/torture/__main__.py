"""`make torture`: faults, kills, random lives and properties at length. Exit status 1 if one failed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.torture.kills import MATRICES, kill_at_each, summary
from tests.torture.machine import Torture
from tests.torture.scenarios import SCENARIOS, happens
from tests.torture.world import CROWDED, USUAL

if TYPE_CHECKING:
    from collections.abc import Callable

_LIVES_AT_ONCE = 100
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
    statuses = ", ".join(map(str, sorted({status for one in some for status in one.during})))
    wrong = [f"    {violation}" for one in some for violation in one.violations]
    line = f"{scenario.name:<64} {len(some):>2} runs, exit {statuses:<12} {len(wrong)} things lost or doubled"
    line += "" if any(one.struck for one in some) else ", and it never struck"
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


def main() -> int:
    """Do all parts, a process for each core; return 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--examples", type=int, default=3000, help="lives of the state machine (3000)")
    parser.add_argument("--every", type=int, default=1, help="kill at every so-manieth moment (1: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once (one for each core)")
    parser.add_argument("--only", choices=("faults", "kills", "lives", "properties"), help="one part only")
    asked = parser.parse_args()
    parts: dict[str, list[tuple[Callable[..., Done], *tuple[int, ...]]]] = {
        "faults": [(fault, number) for number in range(len(SCENARIOS))],
        "kills": [(kills, matrix, part, asked.every) for matrix in range(len(MATRICES)) for part in range(SLICES)],
        "lives": [(lives, min(_LIVES_AT_ONCE, asked.examples - n)) for n in range(0, asked.examples, _LIVES_AT_ONCE)],
        "properties": [(properties,)],
    }
    failed = []
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        for name, jobs in parts.items():
            if asked.only in {None, name}:
                started = time.monotonic()
                done = []
                for one in as_completed([pool.submit(*job) for job in jobs]):
                    done.append(one.result())
                    _say(done[-1].lines)
                bad = sum(not one.well for one in done)
                failed += [name] * bool(bad)
                _say(f"{name}: {len(done) - bad} of {len(done)} well, {time.monotonic() - started:.0f} s\n")
    _say(f"Failed: {', '.join(failed)}." if failed else "Nothing lost, nothing twice.")
    return int(bool(failed))


def _say(lines: str) -> None:
    sys.stdout.write(lines + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    from tests.torture import __main__ as this  # other processes find its functions by the name of the module

    sys.exit(this.main())
