from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.evolution import STEPS, evolve

if TYPE_CHECKING:
    from collections.abc import Iterator

PERSON = "Private::Crm::Person"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    both = Sandbox()
    both.load_example()
    yield both
    both.stop()


def test_every_change_of_the_first_step_is_newer_than_the_data(sandbox: Sandbox) -> None:
    store = sandbox.outreach.store
    before = max(record.values["updatedAt"] for record in store.all("sequenceState"))
    evolve(sandbox, 1)
    changed = [record for record in store.all("sequenceState") if record.values["updatedAt"] > before]
    assert len(changed) == 3
    assert store.get("prospect", 8).values["optedOut"] is True
    assert store.summary()["prospect"] == 61


def test_the_second_step_changes_both_sides(sandbox: Sandbox) -> None:
    people = len(sandbox.workbooks.store.all(PERSON))
    states = sandbox.outreach.store.summary()["sequenceState"]
    told = evolve(sandbox, 2)
    assert len(sandbox.workbooks.store.all(PERSON)) == people - 1
    assert sandbox.outreach.store.summary()["sequenceState"] == states  # one deleted, one new
    assert sandbox.outreach.store.get("sequence", 1).values["name"] == "Trial follow-up 2"
    assert len(told) == 6


@pytest.mark.parametrize("step", [0, STEPS + 1])
def test_there_are_no_other_steps(sandbox: Sandbox, step: int) -> None:
    with pytest.raises(ValueError, match="steps 1 to"):
        evolve(sandbox, step)
