"""What is measured, each measure by itself: a function that returns rows of the table."""

import math
import os
import pickle
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from outreach_sync.store import Store
from tests.benchmarks.figures import Row, figure, in_turns, ratios, say
from tests.benchmarks.program import Program, Took, python
from tests.benchmarks.replay import Wire
from tests.benchmarks.stage import Size, Stage, change_states, fill
from tests.benchmarks.tap import VERSION, Tap

_LATENCY_MS = 50
_LANES = 2
_TENANTS = 40
_CYCLES_EACH = 3
_EVERY_SECONDS = 600.0


class Scene(NamedTuple):
    """An account, and the program in a directory of its own."""

    stage: Stage
    program: Program
    directory: Path


@contextmanager
def scene(
    size: Size, *, in_step: bool = False, in_workbooks: bool = True, **sections: dict[str, object]
) -> Iterator[Scene]:
    """Set up an account of this size."""
    stage = Stage()
    fill(stage.sandbox, size, in_step=in_step, in_workbooks=in_workbooks)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        yield Scene(stage, Program(directory, stage.sandbox.config(directory / "state.db"), **sections), directory)


def start() -> list[Row]:
    """Measure how soon the program answers when there is nothing to talk to."""
    with scene(Size(100)) as (_stage, program, _):
        click, version, help_ = in_turns(
            21, lambda: python("-c", "import click"), lambda: program.run("--version"), lambda: program.run("--help")
        )
    base = [one.wall for one in click]
    note = "wall against `python -c 'import click'`, in turns"
    return [
        Row("start: `--version`", ratios([one.wall for one in version], base), 1.5, note),
        Row("start: `--help`", ratios([one.wall for one in help_], base), 1.5, note),
    ]


def idle() -> list[Row]:
    """Measure a cycle that finds nothing new."""
    with scene(Size(1000)) as (stage, program, _), stage.serving() as recorded:
        program.run("run", "--json")
        program.run("run", "--json")
        recorded()
        cycles = [program.run("run", "--json") for _ in range(10)]
        asked = recorded()
    each = len(asked) / len(cycles)
    outside = sum(one.service == "workbooks" or one.path == "/oauth/token" for one in asked)
    return [
        Row("nothing new: requests to Outreach", figure([each]), 4, "a cycle", unit=""),
        Row("nothing new: requests to Workbooks, and for tokens", figure([outside]), 0, unit=""),
    ]


def requests_needed(people: int = 20_000, changed: int = 5_000) -> list[Row]:
    """Count the requests of a first load, and of a cycle in which so many states of linked people changed."""
    with scene(Size(people), sync={"start": "all"}) as (stage, program, _), stage.serving() as recorded:
        program.run("run", "--json")
        bodies = [one.body for one in recorded() if one.service == "workbooks"]
    with scene(Size(people), in_step=True, sync={"start": "all"}) as (stage, program, _):
        with stage.serving():
            program.run("run", "--json")
        kept = program.keep()
        change_states(stage.sandbox, range(2, changed * 2 + 2, 2))
        program.restore(kept)
        with stage.serving() as recorded:
            program.run("run", "--json", "--allow-bulk")
            steady = recorded()
    reads = sum(one.service == "outreach" and one.path != "/oauth/token" for one in steady)
    writes = sum(one.service == "workbooks" for one in steady)
    loading = f"first load of {people:,} people known by e-mail"
    by_reference = sum(b"_ff[]=created_through_reference" in body for body in bodies)
    by_email = sum(b"_ff[]=main_location" in body for body in bodies)
    written = sum(b"__method" in body for body in bodies)
    most = math.ceil(people / 100)
    note = f"{changed:,} changed states of as many of {people:,} people"
    return [
        Row("first load: look-ups by reference", figure([by_reference]), 1.1 * most, loading, unit=""),
        Row("first load: look-ups by e-mail", figure([by_email]), 1.1 * most, loading, unit=""),
        Row("first load: writes", figure([written]), most, loading, unit=""),
        Row("steady: reads", figure([reads]), math.ceil(changed / 1000) + 3, note, unit=""),
        Row("steady: requests to Workbooks", figure([writes]), math.ceil(changed / 100), note, unit=""),
    ]


def reading(people: int = 50_000, turns: int = 3) -> list[Row]:
    """Compare what a second of CPU reads and keeps with the published Singer tap."""
    streams = ("sequence_states", "prospects")
    size = Size(people)
    records = size.states + size.people
    with scene(size, in_workbooks=False, sync={"streams": list(streams), "start": "all"}) as (
        stage,
        program,
        directory,
    ):
        tap = Tap(directory, stage.sandbox.config(directory / "state.db")["outreach"], streams)

        def ours() -> float:
            program.forget(but=".config")
            Store.open(program.state).close()  # tables are made once in a lifetime
            with stage.serving():
                return records / python("-m", "tests.benchmarks.reading_only", str(program.config)).cpu

        def theirs() -> float:
            with stage.serving():
                return tap.records() / took.cpu if (took := tap.read()) else 0.0

        ours()
        mine, others = in_turns(turns, ours, theirs)
    say(f"records a second of CPU: {figure(mine)}, the tap {figure(others)}")
    note = f"{records:,} records read and kept, a second of CPU, start included; against tap-outreach {VERSION}"
    return [Row("reading", ratios(mine, others), 20, note, at_least=True)]


def whole_cycle(people: int = 50_000, turns: int = 3) -> list[Row]:
    """Compare a whole first load with the bare requests that it takes."""
    with scene(Size(people)) as (stage, program, directory):
        stage.sandbox.outreach.latency_ms = stage.sandbox.workbooks.latency_ms = _LATENCY_MS
        config = stage.sandbox.config(directory / "state.db")
        mine, wires = list[Took](), list[Took]()
        for _ in range(turns):
            program.forget()
            with stage.serving() as recorded:
                mine.append(program.run("run", "--json"))
                asked = recorded()
            wire = Wire(config["outreach"]["base_url"], config["workbooks"]["base_url"], asked, _LANES)
            with stage.serving():
                wires.append(_bare(directory, wire))
            say(f"whole cycle {mine[-1].wall:.1f} s, bare requests {wires[-1].wall:.1f} s")
    note = f"{2 * people:,} states of {people:,} people, {_LATENCY_MS} ms, {len(asked):,} requests, {_LANES} lanes"
    against = ratios([one.wall for one in mine], [one.wall for one in wires])
    return [Row("whole cycle against its bare requests", against, 1.05, note)]


def _bare(directory: Path, content: object) -> Took:
    path = directory / "bare.pickle"
    path.write_bytes(pickle.dumps(content))
    return python("-m", "tests.benchmarks.replay", str(path))


def memory(small: int = 10_000, large: int = 100_000) -> list[Row]:
    """Compare the peak memory of first loads, and what a sequence state takes in the database."""
    peaks = [_load(Size(people, 10))[0].peak for people in (small, large)]
    size = Size(small, 2)
    each = _load(size)[1] / size.states
    note = "a first load, everybody linked and written"
    against = f"{10 * large:,} states of {large:,} people against {10 * small:,} of {small:,}"
    return [
        Row("peak memory", ratios(peaks[1:], peaks[:1]), 1.1, f"{note}, {against}"),
        Row("peak memory at the larger", figure([peaks[1] / 1e6]), 100, note, unit="MB"),
        Row(
            "database, for each sequence state",
            figure([each]),
            250,
            "two states a prospect, prospects and people included",
            unit="bytes",
        ),
    ]


def _load(size: Size) -> tuple[Took, int]:
    with scene(size, sync={"start": "all"}) as (stage, program, _):
        with stage.serving():
            took = program.run("run", "--json")
        say(f"first load of {size.states:,} states: {took.wall:.0f} s, {took.cpu:.0f} s CPU, {took.peak / 1e6:.0f} MB")
        return took, program.state.stat().st_size


def flatness(changed: int = 1000, turns: int = 5) -> list[Row]:
    """Compare cycles with as many changes at three sizes of what is known."""
    walls: dict[int, list[float]] = {}
    for people in (2_500, 25_000, 250_000):
        with scene(Size(people, 4), in_step=True, sync={"start": "all"}) as (stage, program, _):
            with stage.serving():
                program.run("run", "--json")
                program.run("run", "--json")  # makes the copy of the day
            change_states(stage.sandbox, range(4, changed * 4 + 4, 4))
            kept = program.keep()
            for _ in range(turns):
                program.restore(kept)
                with stage.serving():
                    walls.setdefault(people, []).append(program.run("run", "--json", "--allow-bulk").cpu)
            say(f"{changed} changes among {4 * people:,} states: {figure(walls[people])} s of CPU")
    least = min(walls)
    return [
        Row(
            f"{changed:,} changes with {4 * people:,} states known against {4 * least:,}",
            ratios(walls[people], walls[least]),
            1.3,
            "CPU of the process; the state's copy of the day was made before",
        )
        for people in walls
        if people != least
    ]


def creating(*sizes: int) -> list[Row]:
    """Compare what it costs to create each of so many people, and to write each of so long a backlog."""
    created: dict[int, float] = {}
    queued: dict[int, float] = {}
    lenient = {"start": "all", "guard": {"create": 10**6}}
    for people in sizes or (1_000, 4_000, 10_000, 40_000):
        with scene(Size(people, 1), in_workbooks=False, sync=lenient) as (stage, program, _), stage.serving():
            took = program.run("run", "--json").cpu
            created[people] = (took - program.run("run", "--json").cpu) / people
        with scene(Size(people, 1), in_step=True, sync=lenient) as (stage, program, _):
            with stage.serving():
                program.run("run", "--json")
                idle = program.run("run", "--json").cpu
            change_states(stage.sandbox, range(1, people + 1))
            with stage.serving():
                queued[people] = (program.run("run", "--json", "--allow-bulk").cpu - idle) / people
        say(f"{people:,}: {created[people] * 1e3:.2f} ms a person created, {queued[people] * 1e3:.2f} ms an update")
    least, most = sorted(created)[1], max(created)  # the smallest is too small to tell its cost from the start
    note = f"CPU of the process, start left out; {most:,} against {least:,}"
    return [
        Row("creating: CPU a person", figure([created[most] * 1e3]), 1, f"{most:,} people", unit="ms"),
        Row("creating: growth", ratios([created[most]], [created[least]]), 1.3, note),
        Row("backlog: CPU an update", figure([queued[most] * 1e3]), 1, f"{most:,} updates", unit="ms"),
        Row("backlog: growth", ratios([queued[most]], [queued[least]]), 1.3, note),
    ]


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
