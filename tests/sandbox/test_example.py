from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from outreach_sync import instants
from outreach_sync.sandbox.example import load_example
from outreach_sync.sandbox.faults import FaultBoard
from outreach_sync.sandbox.outreach import OutreachStore
from outreach_sync.sandbox.outreach.trouble import FAULTS
from outreach_sync.sandbox.server import SandboxClock
from outreach_sync.sandbox.workbooks import WorkbooksStore

NOON = instants.parse_iso("2026-09-01T12:00:00Z")
PERSON = "Private::Crm::Person"
Stores = tuple[OutreachStore, WorkbooksStore]


def filled(seed: int = 1) -> Stores:
    clock = SandboxClock(NOON)
    stores = OutreachStore(clock, FaultBoard(FAULTS)), WorkbooksStore(clock)
    load_example(*stores, NOON, seed)
    return stores


@pytest.fixture(scope="module")
def stores() -> Stores:
    return filled()


def values(outreach: OutreachStore, type_: str) -> list[dict[str, Any]]:
    return [record.values for record in outreach.all(type_)]


def test_the_example_is_the_same_every_time_and_another_with_another_seed(stores: Stores) -> None:
    assert filled()[0].dump() == stores[0].dump()
    assert filled(2)[0].dump() != stores[0].dump()


def test_it_has_the_size_that_is_promised(stores: Stores) -> None:
    summary = stores[0].summary()
    assert (summary["prospect"], summary["sequence"], summary["task"]) == (60, 8, 80)
    assert 120 <= summary["sequenceState"] <= 180


def test_tasks_show_every_hypothesis_of_a_skip(stores: Stores) -> None:
    tasks = values(stores[0], "task")
    shapes = {(task["state"], task["completed"], task.get("completedAt") is None) for task in tasks}
    assert {("complete", False, True), ("complete", True, True), ("complete", True, False)} <= shapes
    assert "skipped" in {task["state"] for task in tasks}
    by_itself = [task for task in tasks if task.get("completedAt") and not task.get("completer")]
    assert by_itself
    assert all(task["autoskipAt"] <= task["stateChangedAt"] for task in by_itself)


def test_the_people_in_workbooks_fit_in_every_way_there_is(stores: Stores) -> None:
    outreach, workbooks = stores
    people = workbooks.all(PERSON, include_deleted=True)
    emails = Counter(person["main_location[email]"] for person in people if person["main_location[email]"])
    assert max(emails.values()) == 2
    assert emails["ines.mixed@example.com"] == 1
    assert any(person["is_deleted"] for person in people)
    assert any(person["created_through_reference"] == "outreach-prospect-23" for person in people)
    assert sum(1 for person in people if person["no_email_soliciting"]) == 2
    wanted = outreach.get("prospect", 15).values["externalId"]
    assert [person["id"] for person in people if person["object_ref"] == wanted]
    assert outreach.get("prospect", 15).values["emails"][0] not in emails
    assert sum(1 for email in emails if email.startswith("only")) == 6
