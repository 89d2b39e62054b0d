from __future__ import annotations

import json

import pytest

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.faults import FaultBoard
from outreach_sync.sandbox.outreach.faults import FAULTS
from outreach_sync.sandbox.outreach.store import OutreachStore

NOON = instants.parse_iso("2026-09-01T12:00:00.789Z")


@pytest.fixture
def store() -> OutreachStore:
    return OutreachStore(SandboxClock(NOON), FaultBoard(FAULTS))


def test_stamps_have_the_resolution_of_a_second(store: OutreachStore) -> None:
    record = store.get("task", store.add_task())
    assert record.values["createdAt"] == record.values["updatedAt"]
    assert record.values["updatedAt"].startswith("2026-09-01T12:00:0")
    assert record.values["updatedAt"].endswith(".000Z")


def test_an_update_moves_the_stamp_unless_told(store: OutreachStore) -> None:
    task = store.add_task(updatedAt="2026-01-01T00:00:00Z")
    store.update("task", task, updatedAt=Instant(0), note="old")
    assert store.get("task", task).values["updatedAt"] == "1970-01-01T00:00:00.000Z"
    store.update("task", task, hidden=True)
    assert store.get("task", task).values["updatedAt"] == "1970-01-01T00:00:00.000Z"
    store.update("task", task, note="new")
    assert store.get("task", task).values["updatedAt"].startswith("2026-09-01T12:00:0")


def test_times_are_kept_in_utc_whatever_zone_they_come_in(store: OutreachStore) -> None:
    task = store.add_task(dueAt="2026-09-01T12:00:00+02:00")
    assert store.get("task", task).values["dueAt"] == "2026-09-01T10:00:00.000Z"


def test_what_the_api_does_not_have_cannot_be_added(store: OutreachStore) -> None:
    with pytest.raises(ValueError, match="has no 'nonsense'"):
        store.add_task(nonsense=1)
    with pytest.raises(ValueError, match="no resource type"):
        store.add("account", {})
    with pytest.raises(ValueError, match="already"):
        store.add("task", {"id": store.add_task()})
    with pytest.raises(ValueError, match="takes an instant"):
        store.add_task(dueAt=[])


def test_ids_go_on_after_one_that_was_chosen(store: OutreachStore) -> None:
    assert store.add_prospect(id=18) == 18
    assert store.add_prospect() == 19


def test_a_deleted_record_leaves_every_index(store: OutreachStore) -> None:
    prospect = store.add_prospect()
    state = store.add_state(prospect, None)
    store.delete("sequenceState", state)
    assert store.pointing_to("sequenceState.prospect", prospect) == ()
    assert store.places("sequenceState") == []
    with pytest.raises(KeyError):
        store.delete("sequenceState", state)


def test_a_moved_record_is_found_under_its_new_prospect_only(store: OutreachStore) -> None:
    state = store.add_state(1, None)
    store.update("sequenceState", state, prospect=2)
    assert store.pointing_to("sequenceState.prospect", 1) == ()
    assert store.pointing_to("sequenceState.prospect", 2) == (state,)


def test_dump_and_load_go_round_through_json(store: OutreachStore) -> None:
    prospect = store.add_prospect(emails=["a@example.com"], custom150="x")
    store.add("task", {"prospect": prospect, "subject": ("prospect", prospect)}, hidden=True, shapes={"owner": "empty"})
    dumped = json.loads(json.dumps(store.dump()))
    other = OutreachStore(SandboxClock(), FaultBoard(FAULTS))
    other.add_user()
    other.change({"load": dumped})
    assert other.dump() == store.dump()
    assert other.add_prospect() == prospect + 1


def test_changes_come_as_json(store: OutreachStore) -> None:
    done = store.change(
        {
            "changes": [
                {"add": "prospect", "attributes": {"firstName": "Ada", "hidden": True}},
                {"update": "prospect", "id": 1, "attributes": {"lastName": "Example"}},
                {"add": "task"},
                {"delete": "task", "id": 1},
            ]
        }
    )
    assert done == {"ids": [1, 1, 1, 1]}
    assert store.get("prospect", 1).hidden
    assert store.summary()["task"] == 0


def test_the_index_is_sorted_whatever_the_order_of_additions(store: OutreachStore) -> None:
    for second in (3, 1, 2):
        store.add_task(updatedAt=f"2026-09-01T00:00:0{second}.000Z")
    assert [id_ for _, id_ in store.places("task")] == [2, 3, 1]
