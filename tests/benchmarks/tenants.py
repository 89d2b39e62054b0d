"""Many tenants on one machine: each with an account, a config and a state of its own, all started by one scheduler."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.figures import Row, figure, say
from tests.benchmarks.program import Program
from tests.benchmarks.stage import Size, Stage, fill

_TENANTS = 40
_CYCLES_EACH = 3
_EVERY_SECONDS = 600.0


def tenants() -> list[Row]:
    """Measure how many tenants' cycles this machine does in ten minutes, as many at once as it has cores."""
    stage = Stage(latency_ms=50)
    fill(stage.sandbox, Size(500), in_step=True)
    with tempfile.TemporaryDirectory() as name, stage.serving():
        programs = []
        for number in range(_TENANTS):
            directory = Path(name) / str(number)
            directory.mkdir()
            programs.append(Program(directory, stage.sandbox.config(directory / "state.db")))
        _run_all(programs[:1])
        first = programs[0].state.with_name("state.db.tokens")
        for program in programs[1:]:  # one service gives out one token a minute, and real tenants have their own
            path = program.state.with_name(first.name)
            path.touch(mode=0o600)
            path.write_bytes(first.read_bytes())
        _run_all(programs)
        begun = time.perf_counter()
        for _ in range(_CYCLES_EACH):
            _run_all(programs)
        each = (time.perf_counter() - begun) / (_CYCLES_EACH * _TENANTS)
    fit = _EVERY_SECONDS / each
    say(f"a tenant's cycle takes {each * 1000:.0f} ms of this machine: {fit:,.0f} tenants in ten minutes")
    note = f"{_TENANTS} tenants, {os.cpu_count()} cycles at once, 50 ms latency, services on the same cores"
    return [
        Row("tenants that a cycle every ten minutes leaves room for", figure([fit]), 500, note, at_least=True, unit="")
    ]


def _run_all(programs: list[Program]) -> None:
    def cycle(program: Program) -> int:
        return subprocess.run(program.command("run", "--json"), check=False, capture_output=True).returncode

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for status in pool.map(cycle, programs):
            if status not in {0, 1}:
                raise RuntimeError(f"a tenant's cycle ended with {status}")
