"""The kill matrix: a real process, killed at every moment at which it changes something that outlives it.

A run is rehearsed once to list its moments. Then, for each of them, a process that has everything imported is forked,
does the same run against the same data, and sends itself SIGKILL there. What it leaves behind must converge.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outreach_sync.sandbox.workbooks.schema import TASK
from tests.harness import PERSON
from tests.torture.reaper import Reaper, kill_the_process
from tests.torture.scenarios import go_on
from tests.torture.world import ALL_FIELDS, CROWDED, USUAL, World, populate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass
class Matrix:
    """What the kills came to: moments listed, killed there, and for each that did not converge what was wrong."""

    scenario: str
    moments: list[str]
    killed: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict)


def first_load(world: World) -> None:
    """Everything is new: links, creations, tasks, an ambiguous prospect."""
    populate(world)


def later_cycle(world: World) -> None:
    """Updates, an opt-out, a creation, a recreation, a merge, tasks, one stale and one refused object."""
    populate(world)
    world.load()
    go_on(world, 1)
    people = world.workbooks.all(PERSON)
    gone = next(row["id"] for row in people if row["created_through_reference"] == "outreach-prospect-9")
    world.workbooks.delete(PERSON, gone)
    world.outreach.add_state(9, 1, "finished", stateChangedAt=world.now())
    world.edit_person(people[0]["id"], person_job_title="Chief")
    world.workbooks.delete(TASK, world.workbooks.all(TASK)[0]["id"])
    world.note()
    faults = world.sandbox.workbooks.faults
    faults.on("stale_some", times=1)
    faults.on("refuse_value", field=ALL_FIELDS["sequence_state"], value="Opted Out")


def after_a_lost_answer(world: World) -> None:
    """The run before lost the answers of its writes, so that everything is in doubt; and a token is rotated."""
    populate(world)
    faults = world.sandbox.workbooks.faults
    faults.on("answer_lost_after_commit", times=3)
    faults.on("unavailable_503", after=8)
    world.run()
    faults.clear()
    world.sandbox.outreach.faults.on("token_expired_mid_walk", times=1)
    world.sandbox.outreach.faults.on("refresh_rotates_hard")


SITUATIONS: dict[str, Callable[[World], None]] = {
    situation.__name__: situation for situation in (first_load, later_cycle, after_a_lost_answer)
}

MATRICES = (
    *((name, "run", USUAL) for name in SITUATIONS),
    ("later_cycle", "reconcile", USUAL),
    *((name, "run", CROWDED) for name in SITUATIONS),
)
"""Situation, command, and how much is under way at once."""


def rehearse(prepare: Callable[[World], None], command: str, lanes: tuple[int, int]) -> list[str]:
    """Do the run unharmed and list its moments."""
    with closing(World()) as world:
        world.send_in(lanes)
        prepare(world)
        reaper = Reaper(0)
        with reaper.watching():
            world.run(command)
        return reaper.moments


def kill_at_each(
    name: str, command: str, lanes: tuple[int, int], *, every: int = 1, part: tuple[int, int] = (0, 1)
) -> Matrix:
    """Kill a run at every moment, and look what is left.

    With `every`, at each so-manieth and around each request only; with `part` (k, n), only at the k-th of every n.
    """
    prepare = SITUATIONS[name]
    matrix = Matrix(f"{name}, {command}, {lanes[1]} requests at once", rehearse(prepare, command, lanes))
    for moment, what in enumerate(matrix.moments, 1):
        wanted = moment % every == 0 or what.endswith(("Workbooks", "token request", "token file"))
        if wanted and moment % part[1] == part[0]:
            _kill_at(matrix, prepare, moment, command, lanes)
    return matrix


def _kill_at(
    matrix: Matrix, prepare: Callable[[World], None], moment: int, command: str, lanes: tuple[int, int]
) -> None:
    with closing(World()) as world:
        world.send_in(lanes)
        prepare(world)
        matrix.killed += _died(world, moment, command)
        world.note()
        found = world.left_wrong()
        if found:
            matrix.broken[f"{moment}: {matrix.moments[moment - 1]}"] = found


def _died(world: World, moment: int, command: str) -> bool:
    """Do the run in a child that kills itself at the moment; say whether it died there."""
    world.config()  # everything is imported here, so that the child has nothing left to prepare
    child = os.fork()
    if child == 0:
        try:
            with Reaper(moment, strike=kill_the_process).watching():
                world.run(command)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def summary(matrices: Iterable[Matrix]) -> str:
    """Write the table: moments listed, killed there, converged."""
    lines = []
    for matrix in matrices:
        kinds = Counter(" ".join(moment.split()[:2]) for moment in matrix.moments)
        lines.append(
            f"{matrix.scenario}: {len(matrix.moments)} moments ({len(kinds)} kinds), killed at {matrix.killed},"
            f" {len(matrix.broken)} did not converge"
        )
        lines += [f"  {moment}: {found}" for moment, found in matrix.broken.items()]
    return "\n".join(lines)
