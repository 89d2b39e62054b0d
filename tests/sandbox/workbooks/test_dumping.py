from __future__ import annotations

import json
from typing import Any

import pytest

from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.workbooks import WorkbooksStore
from outreach_sync.sandbox.workbooks.dumping import StoreDoor, dump, load
from outreach_sync.sandbox.workbooks.schema import PERSON, TASK

STATE = "cf_person_sequence_state"


@pytest.fixture
def door(store: WorkbooksStore) -> StoreDoor:
    store.add_person(name="Ada Example", email="ada@example.com", **{STATE: "Finished"})
    store.add_person(name="Bo Example")
    store.add_task(name="Call", primary_contact_id=1002)
    return StoreDoor(store)


def test_a_dump_is_json_and_loads_into_the_same_records(store: WorkbooksStore, door: StoreDoor) -> None:
    store.delete(PERSON, 1002)
    document = json.loads(json.dumps(door.dump()))["records"]
    other = WorkbooksStore(SandboxClock(), bare=True)
    load(other, document)
    assert dump(other) == document
    assert other.get(PERSON, 1001)[STATE] == "Finished"
    assert other.add_person(name="Cy Example") == 1003


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"do": "update", "class": PERSON, "id": 1001, "fields": {"name": "Ada E."}}, ["Ada E.", "Bo Example"]),
        ({"do": "delete", "class": PERSON, "id": 1001}, ["Bo Example"]),
        ({"do": "purge", "class": "crm/people", "id": 1001}, ["Bo Example"]),
        ({"do": "merge", "winner": 1001, "loser": 1002}, ["Ada Example"]),
        ({"do": "clear"}, []),
    ],
)
def test_changes_may_be_given_as_json(
    store: WorkbooksStore, door: StoreDoor, change: dict[str, Any], names: list[str]
) -> None:
    assert door.change(change) == {}
    assert [one["name"] for one in store.all(PERSON)] == names


def test_a_change_can_be_taken_back(store: WorkbooksStore, door: StoreDoor) -> None:
    door.change({"do": "delete", "class": PERSON, "id": 1001})
    door.change({"do": "restore", "class": PERSON, "id": 1001})
    door.change({"do": "touch", "class": PERSON, "id": 1001})
    assert store.get(PERSON, 1001)["lock_version"] == 3
    assert not store.get(PERSON, 1001)["is_deleted"]


def test_permissions_can_be_taken_away(store: WorkbooksStore, door: StoreDoor) -> None:
    door.change({"do": "read_only", "class": PERSON, "id": 1001})
    door.change({"do": "hide", "class": TASK, "id": 4001})
    assert store.get(PERSON, 1001)["_can_modify"] is False
    assert store.get(TASK, 4001)["_can_read"] is False


def test_the_schema_can_be_cut_down(store: WorkbooksStore, door: StoreDoor) -> None:
    door.change({"do": "remove_custom_field", "name": STATE})
    door.change({"do": "remove_picklist_entry", "value": "Cancelled"})
    assert STATE not in store.table(PERSON).fields
    assert "Cancelled" not in store.picklist_values(12)


def test_a_change_nobody_knows_is_refused(door: StoreDoor) -> None:
    with pytest.raises(KeyError):
        door.change({"do": "explode"})


def test_a_loaded_dump_replaces_what_was_there(store: WorkbooksStore, door: StoreDoor) -> None:
    document = dump(WorkbooksStore(SandboxClock()))
    door.change({"do": "load", "records": document})
    assert store.all(PERSON) == []
