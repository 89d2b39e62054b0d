"""Many tenants on one machine: each with an account, a config and a state of its own, all started by one scheduler."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.accounts import Size, fill
from tests.benchmarks.figures import Row, figure, say
from tests.benchmarks.program import Program, take_at_once
from tests.benchmarks.stage import Stage

_TENANTS = 40
_CYCLES_EACH = 3
_EVERY_SECONDS = 600.0


def tenants() -> list[Row]:
    """Measure how many tenants' cycles this machine does in ten minutes, as many at once as it has cores."""
    stage = Stage(latency_ms=50)
    fill(stage.sandbox, Size(500), in_step=True)
    with tempfile.TemporaryDirectory() as name, stage.serving():
        programs = [_tenant(Path(name) / str(number), stage) for number in range(_TENANTS)]
        _run_all(programs[:1])
        _share_tokens(programs)
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


def _tenant(directory: Path, stage: Stage) -> Program:
    directory.mkdir()
    return Program(directory, stage.sandbox.config(directory / "state.db"))


def _share_tokens(programs: list[Program]) -> None:
    """Give all the first one's tokens: one service gives out one token a minute, and real tenants have their own."""
    first = programs[0].state.with_name(programs[0].state.name + ".tokens")
    for program in programs[1:]:
        path = program.state.with_name(program.state.name + ".tokens")
        path.touch(mode=0o600)
        path.write_bytes(first.read_bytes())


def _run_all(programs: list[Program]) -> None:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for status in pool.map(lambda program: take_at_once(*program.command("run", "--json")), programs):
            if status not in {0, 1}:
                raise RuntimeError(f"a tenant's cycle ended with {status}")
