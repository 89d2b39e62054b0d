from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.store import Store

if TYPE_CHECKING:
    from outreach_sync.store.outbox import Entry


@pytest.fixture
def refused(world: Any) -> int:
    """A sequence state whose time makes no sense; it was read once."""
    prospect = world.prospect(email="ada@example.com")
    state_id: int = world.states_of(prospect)[0]
    world.outreach.get("sequenceState", state_id).values["stateChangedAt"] = "soon"
    assert world.run().exit_status == 1
    return state_id


def _listed(world: Any) -> list[Entry]:
    with Store.open(world.state_path) as state:
        return state.outbox.failures()


def _retry(world: Any) -> None:
    with Store.open(world.state_path) as state, state.transaction():
        state.outbox.retry([entry.id for entry in state.outbox.failures()])


def _beyond_the_overlap(world: Any) -> None:
    """Let the walks of the next runs begin after the record, as they do minutes later."""
    with Store.open(world.state_path) as state, state.transaction():
        state.connection.execute("UPDATE progress SET watermark = watermark + 3600000")


def test_a_record_put_right_without_a_new_stamp_is_read_after_retry(world: Any, refused: int) -> None:
    _beyond_the_overlap(world)
    stamp = world.outreach.get("sequenceState", refused).values["updatedAt"]
    world.outreach.update("sequenceState", refused, stateChangedAt="2026-09-01T10:00:00.000Z", updatedAt=stamp)
    assert world.run().exit_status == 1  # its pause is not over
    _retry(world)
    ended = world.run()
    assert (ended.exit_status, _listed(world)) == (0, [])
    assert [one["cf_person_sequence_state"] for one in world.workbooks.all("Private::Crm::Person")] == [
        "Active – Running"  # noqa: RUF001 - the en dash is Workbooks' own
    ]


def test_a_record_that_still_makes_no_sense_keeps_its_id_and_is_parked_in_the_end(world: Any, refused: int) -> None:
    _beyond_the_overlap(world)
    entry = _listed(world)[0].id
    _retry(world)
    world.run(sync={"max_attempts": 2})
    first = _listed(world)[0]
    assert (first.id, first.state, first.attempts) == (entry, "queued", 1)
    with Store.open(world.state_path) as state, state.transaction():
        state.connection.execute("UPDATE outbox SET next_attempt_at = NULL")
    world.run(sync={"max_attempts": 2})
    assert [(one.id, one.state) for one in _listed(world)] == [(entry, "parked")]


def test_a_record_that_is_gone_from_outreach_is_refused_no_more(world: Any, refused: int) -> None:
    world.outreach.delete("sequenceState", refused)
    _retry(world)
    assert (world.run().exit_status, _listed(world)) == (0, [])


def test_nothing_is_asked_for_while_nothing_is_due(world: Any, refused: int) -> None:
    _beyond_the_overlap(world)
    assert world.run().document["requests"]["outreach"] == 4
