"""The oracle is only worth what it sees: each thing that must not happen is made to happen, and it must say so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.sandbox.workbooks.store import CommittedWrite
from tests.harness import PERSON, TASK
from tests.torture import oracle
from tests.torture.world import ALL_FIELDS, World, populate

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def synced() -> Iterator[World]:
    world = World()
    populate(world)
    world.load()
    yield world
    world.close()


def _says(world: World, text: str) -> bool:
    return any(text in one for one in oracle.violations(world))


def test_the_oracle_sees_nothing_wrong_where_nothing_is(synced: World) -> None:
    assert not oracle.violations(synced)
    assert not oracle.not_idle(synced)


@pytest.mark.parametrize(
    ("person", "role", "value", "says"),
    [
        (1, "sequence_state", "Failed", "says 'Failed'"),
        (1, "state_updated_at", parse_iso("2026-09-01T10:00:00Z"), "State Updated at"),
        (4, "no_email", False, "No Email is not set"),
    ],
)
def test_the_oracle_sees_a_wrong_field(synced: World, person: int, role: str, *, value: Any, says: str) -> None:
    synced.workbooks.update(PERSON, oracle.links(synced)[person], **{ALL_FIELDS[role]: value})
    assert _says(synced, says)


@pytest.mark.parametrize(
    ("changed", "unchanged", "says"),
    [
        ({ALL_FIELDS["no_email"]: (True, False)}, (), "was cleared"),
        ({"person_job_title": (None, "Chief")}, (), "touches ['person_job_title']"),
        ({}, (ALL_FIELDS["sequence_state"],), "was sent what it held"),
    ],
)
def test_the_oracle_sees_a_write_of_what_must_not_be_written(
    synced: World, changed: Any, unchanged: Any, says: str
) -> None:
    person, at = oracle.links(synced)[1], synced.sandbox.now()
    synced.workbooks.writes.append(CommittedWrite(PERSON, person, "PUT", changed, unchanged, at))
    assert _says(synced, says)


def test_the_oracle_sees_a_person_created_twice(synced: World) -> None:
    created = next(row for row in synced.workbooks.all(PERSON) if row["created_through_reference"])
    synced.workbooks.add_person(name="Twin", created_through_reference=created["created_through_reference"])
    synced.note()
    assert _says(synced, "exists 2 times")


def test_the_oracle_sees_a_task_created_twice_or_never(synced: World) -> None:
    task = synced.workbooks.all(TASK)[0]
    reference = task["created_through_reference"]
    synced.workbooks.purge(TASK, task["id"])
    assert _says(synced, "was never sent")
    for _ in range(2):
        synced.workbooks.add_task(name="Twin", created_through_reference=reference)
    assert _says(synced, f"{reference} exists 2 times")


@pytest.mark.parametrize(
    ("link", "says"), [(None, "prospect 1 has no Person"), ("stranger", "which no rule ever found")]
)
def test_the_oracle_sees_a_link_that_is_missing_or_that_no_rule_allows(synced: World, link: Any, says: str) -> None:
    stranger = synced.workbooks.add_person(name="Stranger", email="stranger@example.net")
    with closing(sqlite3.connect(synced.state_path)) as state, state:
        state.execute("UPDATE prospect SET person_id = ? WHERE id = 1", (link and stranger,))
    assert _says(synced, says)


def test_the_oracle_sees_a_failure_without_a_reason(synced: World) -> None:
    with closing(sqlite3.connect(synced.state_path)) as state, state:
        state.execute("UPDATE outbox SET reason = 'because' WHERE reason IS NOT NULL")
    assert _says(synced, "a failure for no reason")


def test_the_oracle_sees_a_cycle_that_is_not_idle(synced: World) -> None:
    synced.outreach.update("sequenceState", 1, state="failed", stateChangedAt=synced.now())
    synced.note()
    assert any("wrote" in one for one in oracle.not_idle(synced))
