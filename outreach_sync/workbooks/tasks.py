"""Tasks in Workbooks: the one that stands for each skipped task of a sequence.

Facts: the guide and the bindings' examples: `due`, `due_date` and `due_datetime` are one value, of which only one may
be set; `primary_contact_id` with its type ties a Task to a Person; the description is HTML.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from outreach_sync.records import Date, TaskRow, Write, WriteValue
from outreach_sync.workbooks.formats import read_boolean, read_integer, read_text
from outreach_sync.workbooks.lookups import UNIQUE_VALUES, record_id, rows_by_field, rows_by_id
from outreach_sync.workbooks.people import CLASS_NAME as PERSON_CLASS
from outreach_sync.workbooks.verdicts import LOCK_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.records import Verdict
    from outreach_sync.workbooks.client import WorkbooksClient
    from outreach_sync.workbooks.wire import Row

CONTROLLER = "activity/tasks"
CLASS_NAME = "Private::Activity::Task"
REFERENCE = "created_through_reference"
_COLUMNS = ("id", "lock_version", "is_deleted", REFERENCE)
_NAME_LENGTH = 255


class Tasks:
    """The Tasks of one Workbooks. Every look-up raises as `WorkbooksClient.read` does, and finds deleted ones too."""

    def __init__(self, client: WorkbooksClient) -> None:
        """Send nothing yet."""
        self._client = client

    def find_by_reference(self, references: Iterable[str]) -> dict[str, list[TaskRow]]:
        """Find Tasks by `created_through_reference`, which need not be unique; only those that matched are keys."""
        rows = rows_by_field(
            self._client,
            CONTROLLER,
            REFERENCE,
            references,
            _COLUMNS,
            include_deleted=True,
            per_request=UNIQUE_VALUES,
        )
        found: dict[str, list[TaskRow]] = {}
        for task in map(_task, rows):
            found.setdefault(task.reference, []).append(task)
        return found

    def find_by_ids(self, ids: Iterable[int]) -> dict[int, TaskRow]:
        """Find Tasks by id; whichever is absent is gone or hidden from us."""
        rows = rows_by_id(self._client, CONTROLLER, ids, _COLUMNS, include_deleted=True)
        return {task.id: task for task in map(_task, rows)}

    def write(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Create Tasks; raises and judges as `WorkbooksClient.write`."""
        return self._client.write(CONTROLLER, writes)


def task_write(
    *,
    name: str,
    activity_type: str,
    activity_status: str,
    due: Instant | None,
    description: str,
    person_id: int,
    reference: str,
) -> Write:
    """Describe the create of one Task for a Person.

    `description` is plain text; `due` becomes its UTC day, and without one no due date is sent. A name longer than the
    255 characters a string may have is cut.
    """
    fields: dict[str, WriteValue] = {
        "name": name[:_NAME_LENGTH],
        "activity_type": activity_type,
        "activity_status": activity_status,
        "description": as_html(description),
        "primary_contact_id": person_id,
        "primary_contact_type": PERSON_CLASS,
        REFERENCE: reference,
    }
    if due is not None:
        fields["due_date"] = Date(due)
    return Write(0, 0, fields)


def as_html(text: str) -> str:
    """Escape plain text for a rich-text field, keeping its lines."""
    return html.escape(text).replace("\r\n", "\n").replace("\n", "<br>")


def _task(row: Row) -> TaskRow:
    lock_version = read_integer(row.get("lock_version"))
    return TaskRow(
        id=record_id(row),
        lock_version=LOCK_UNKNOWN if lock_version is None else lock_version,
        is_deleted=bool(read_boolean(row.get("is_deleted"))),
        reference=read_text(row.get(REFERENCE)) or "",
    )
