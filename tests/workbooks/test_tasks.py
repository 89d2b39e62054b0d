from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.instants import parse_iso
from outreach_sync.records import Accepted, Date, TaskRow
from outreach_sync.workbooks.tasks import Tasks, as_html, task_write

if TYPE_CHECKING:
    from outreach_sync.instants import Instant
    from outreach_sync.records import Write
    from outreach_sync.workbooks.client import WorkbooksClient

DUE = parse_iso("2026-09-01T23:00:00Z")


def skipped(name: str = "Skipped: e-mail", due: Instant | None = DUE) -> Write:
    return task_write(
        name=name,
        activity_type="Email",
        activity_status="Cancelled",
        due=due,
        description="a < b\nc",
        person_id=1001,
        reference="outreach-task-9001",
    )


def test_a_task_is_described_with_its_person_and_its_reference() -> None:
    assert skipped().fields == {
        "name": "Skipped: e-mail",
        "activity_type": "Email",
        "activity_status": "Cancelled",
        "description": "a &lt; b<br>c",
        "primary_contact_id": 1001,
        "primary_contact_type": "Private::Crm::Person",
        "created_through_reference": "outreach-task-9001",
        "due_date": Date(DUE),
    }


def test_a_task_without_a_due_date_sends_none() -> None:
    assert not {"due", "due_date", "due_datetime"} & set(skipped(due=None).fields)


def test_a_long_name_is_cut_to_what_a_string_holds() -> None:
    assert skipped("n" * 300).fields["name"] == "n" * 255


def test_a_note_cannot_bring_markup() -> None:
    assert as_html('<script>"&\r\n') == "&lt;script&gt;&quot;&amp;<br>"


def test_tasks_are_created_and_found_by_reference_and_id(client: WorkbooksClient) -> None:
    tasks = Tasks(client)
    assert tasks.write([skipped()]) == (Accepted(500, 0),)
    row = TaskRow(500, 0, is_deleted=False, reference="outreach-task-9001")
    assert tasks.find_by_reference(["outreach-task-9001", "outreach-task-9002"]) == {"outreach-task-9001": [row]}
    assert tasks.find_by_ids([500, 501]) == {500: row}


def test_deleted_and_double_tasks_are_found_too(
    client: WorkbooksClient, records: dict[str, list[dict[str, Any]]]
) -> None:
    records["activity/tasks"] = [
        {"id": 1, "is_deleted": True, "created_through_reference": "r"},
        {"id": 2, "is_deleted": False, "created_through_reference": "r"},
    ]
    assert [task.is_deleted for task in Tasks(client).find_by_reference(["r"])["r"]] == [True, False]
