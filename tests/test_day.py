"""A day with every kind of skip, removal and opt-out, under each reading of what a skip leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import World

STATE, NO_EMAIL = "cf_person_sequence_state", "no_email_soliciting"
RUNNING = "Active \u2013 Running"
DEFAULTS: dict[str, Any] = {"guard": {}}
HYPOTHESES = {
    "complete, not completed": "skip_is_not_completed",
    "like done": "skip_is_like_done",
    "another word": "skip_is_another_word",
    "destroyed": "skip_destroys_task",
    "a state of its own": None,
}


class Wanted(NamedTuple):
    """What one person must say at the end of the day."""

    state: str
    no_email: bool = False
    tasks: int = 0


class Day:
    """One person for each thing that can happen, and what they must say in the evening."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.outreach: Any = world.outreach
        self.wanted: dict[str, Wanted] = {}
        self.later: list[Callable[[], object]] = []

    def person(self, name: str, wanted: Wanted) -> tuple[int, int]:
        """Add a prospect, their Person and an active sequence state; return the ids in Outreach."""
        prospect = self.world.prospect(email=f"{name}@example.com")
        self.wanted[name] = wanted
        return prospect, self.world.states_of(prospect)[0]

    def open_task(self, prospect: int, state: int) -> int:
        """Add an open task of a step of their sequence state."""
        step = self.outreach.add_step(1)
        return self.world.skipped_task(
            prospect, state="incomplete", completed=False, sequenceState=state, sequenceStep=step
        )

    def happens(self) -> None:
        for event in self.later:
            event()


def a_day(world: World) -> Day:
    day, outreach = Day(world), world.outreach
    ada, ada_state = day.person("skipped-by-hand", Wanted(RUNNING, tasks=1))
    task = day.open_task(ada, ada_state)
    day.later.append(lambda: outreach.skip_task(task))
    ben, ben_state = day.person("skipped-by-itself", Wanted(RUNNING, tasks=1))
    auto = day.open_task(ben, ben_state)
    day.later.append(lambda: outreach.skip_task(auto, by="system"))
    cal, cal_state = day.person("done", Wanted(RUNNING))
    done = day.open_task(cal, cal_state)
    stamp = "2026-09-01T10:00:00.000Z"
    day.later.append(lambda: outreach.update("task", done, state="complete", completed=True, completedAt=stamp))
    dee, dee_state = day.person("answered", Wanted("Finished"))
    day.open_task(dee, dee_state)
    day.later.append(lambda: outreach.end_state(dee_state))
    _, eve_state = day.person("removed-from-sequence", Wanted("Not Active"))
    day.later.append(lambda: outreach.delete("sequenceState", eve_state))
    fay, _ = day.person("opted-out", Wanted("Opted Out", no_email=True))
    day.later.append(lambda: outreach.opt_out(fay))
    gus, _ = day.person("opted-out-in-silence", Wanted("Opted Out", no_email=True))
    day.later.append(lambda: _in_silence(world, lambda: outreach.opt_out(gus)))
    hal, _ = day.person("destroyed", Wanted("Not Active"))
    day.later.append(lambda: outreach.delete("prospect", hal))
    return day


def _in_silence(world: World, event: Callable[[], object]) -> None:
    world.sandbox.outreach.faults.on("opt_out_keeps_updated_at")
    event()
    world.sandbox.outreach.faults.off("opt_out_keeps_updated_at")


@pytest.mark.parametrize("leaves", HYPOTHESES, ids=str)
def test_the_day_ends_right_whatever_a_skip_leaves(world: World, leaves: str) -> None:
    day = a_day(world)
    assert world.run(sync=DEFAULTS).exit_status == 0
    if HYPOTHESES[leaves] is not None:
        world.sandbox.outreach.faults.on(HYPOTHESES[leaves])
    world.sandbox.clock.advance(60_000)
    day.happens()
    world.sandbox.clock.advance(60_000)
    for _ in range(2):
        assert world.run(sync=DEFAULTS).exit_status == 0
        world.sandbox.clock.advance(60_000)
    found = {name: _said(world, name) for name in day.wanted}
    print(f"\n{leaves}:", *(f"  {name:<24} {said}" for name, said in found.items()), sep="\n")  # noqa: T201
    assert found == day.wanted


def _said(world: World, name: str) -> Wanted:
    (person,) = [one for one in world.people() if one["main_location[email]"] == f"{name}@example.com"]
    tasks = sum(task["primary_contact_id"] == person["id"] for task in world.tasks())
    return Wanted(person[STATE], bool(person[NO_EMAIL]), tasks)
