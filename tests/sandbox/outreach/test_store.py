from __future__ import annotations

import pytest

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.faults import FaultBoard
from outreach_sync.sandbox.outreach.store import OutreachStore
from outreach_sync.sandbox.outreach.trouble import FAULTS
from outreach_sync.sandbox.server import SandboxClock

NOON = instants.parse_iso("2026-09-01T12:00:00.789Z")


@pytest.fixture
def store() -> OutreachStore:
    return OutreachStore(SandboxClock(NOON), FaultBoard(FAULTS))


def test_an_update_moves_the_stamp_unless_told(store: OutreachStore) -> None:
    task = store.add_task(updatedAt="2026-01-01T00:00:00Z")
    store.update("task", task, updatedAt=Instant(0), note="old")
    assert store.get("task", task).values["updatedAt"] == "1970-01-01T00:00:00.000Z"
    store.update("task", task, hidden=True)
    assert store.get("task", task).values["updatedAt"] == "1970-01-01T00:00:00.000Z"
    store.update("task", task, note="new")
    assert store.get("task", task).values["updatedAt"].startswith("2026-09-01T12:00:0")


def test_what_the_api_does_not_have_cannot_be_added(store: OutreachStore) -> None:
    with pytest.raises(ValueError, match="has no 'nonsense'"):
        store.add_task(nonsense=1)
    with pytest.raises(ValueError, match="no resource type"):
        store.add("account", {})
    with pytest.raises(ValueError, match="already"):
        store.add("task", {"id": store.add_task()})
    with pytest.raises(ValueError, match="takes an instant"):
        store.add_task(dueAt=[])
