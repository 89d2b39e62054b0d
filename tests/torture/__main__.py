"""`make torture`: faults, kills, random lives and properties at length. Exit status 1 if one failed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.torture.kills import MATRICES
from tests.torture.parts import SLICES, fault, kills, lives, properties
from tests.torture.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.torture.parts import Done

_LIVES_AT_ONCE = 100


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
    sys.exit(main())
