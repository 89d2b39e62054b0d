"""People and Tasks in Workbooks: finding them by what is known of them, and writing what changed.

Column names are those of the guide, of its examples and of production answers; which fields are ours the config says.
`due`, `due_date` and `due_datetime` are one value, of which only one may be set; `primary_contact_id` with its type
ties a Task to a Person; a Task's description is HTML.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from outreach_sync.records import Date, PersonRow, TaskRow, Write, WriteValue
from outreach_sync.rules.matching import mailbox
from outreach_sync.rules.person import Datatype
from outreach_sync.workbooks.client import WorkbooksClient
from outreach_sync.workbooks.metadata import Metadata
from outreach_sync.workbooks.wire import (
    PERSON_CLASS,
    REFERENCE,
    ROLE_DATATYPES,
    Row,
    lock_version_of,
    read,
    read_boolean,
    read_text,
    record_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.http import OnRetry, StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.records import Verdict
    from outreach_sync.workbooks.metadata import Finding

PEOPLE, TASKS = "crm/people", "activity/tasks"
EMAIL, OBJECT_REF = "main_location[email]", "object_ref"

_TASK_COLUMNS = ("id", "lock_version", "is_deleted", REFERENCE)
_PERSON_COLUMNS = (*_TASK_COLUMNS, EMAIL, OBJECT_REF)
_NAME_LENGTH = 255


class Workbooks(WorkbooksClient):
    """Workbooks as a cycle sees it. Look-ups raise as `read` does.

    Attributes:
        metadata: what `check` and `provision` read and make.
        fields: the configured fields of a Person, role -> name.
    """

    def __init__(self, config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> None:
        """Send nothing yet; raises as `WorkbooksClient`."""
        super().__init__(config, stop, on_retry=on_retry)
        self.metadata = Metadata(self)
        self.fields = {role: name for role, name in config.workbooks.fields.model_dump().items() if name is not None}
        compared = config.sync.people.only_where
        self._datatypes = {
            **{
                name: Datatype.BOOLEAN if isinstance(value, bool) else Datatype.TEXT for name, value in compared.items()
            },
            **{name: ROLE_DATATYPES.get(role, Datatype.TEXT) for role, name in self.fields.items()},
        }
        self._columns = (*_PERSON_COLUMNS, *self._datatypes)

    def people_by_ids(self, person_ids: Iterable[int]) -> dict[int, PersonRow]:
        """Read People, deleted ones too, with what they hold; those that are absent may be hidden from the key."""
        rows = self.by_ids(PEOPLE, person_ids, self._columns, include_deleted=True)
        return {person.id: person for person in map(self._person, rows)}

    def people_by_reference(self, references: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find People by `created_through_reference`, which need not be unique, deleted ones too; by reference."""
        return self._people(REFERENCE, references, include_deleted=True)

    def people_by_object_ref(self, object_refs: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by `PERS-<n>`."""
        return self._people(OBJECT_REF, object_refs)

    def people_by_outreach_id(self, outreach_ids: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by the configured Outreach id field, to the letter; nobody where none is configured."""
        field = self.fields.get("outreach_id")
        return self._people(field, outreach_ids) if field else {}

    def people_by_email(self, addresses: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by main e-mail address, whatever its case and the blanks around it, by its `mailbox`.

        Whether Workbooks ignores case or blanks is not documented: each address is asked for as it is and in lower
        case, also with a blank before it, behind it or on both sides, and compared here. One stored in yet another
        spelling is missed.
        """
        return self._people(EMAIL, addresses, spellings=_spellings, key=mailbox)

    def tasks_by_reference(self, references: Iterable[str]) -> dict[str, list[TaskRow]]:
        """Find Tasks by `created_through_reference`, deleted ones too; only what matched is a key."""
        rows = self.by_values(TASKS, REFERENCE, references, _TASK_COLUMNS, include_deleted=True)
        return {reference: list(map(_task, some)) for reference, some in rows.items()}

    def tasks_by_ids(self, task_ids: Iterable[int]) -> dict[int, TaskRow]:
        """Read Tasks, deleted ones too."""
        rows = self.by_ids(TASKS, task_ids, _TASK_COLUMNS, include_deleted=True)
        return {task.id: task for task in map(_task, rows)}

    def write_people(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write People, each judged by its own answer, in order."""
        return self.write(PEOPLE, writes)

    def write_tasks(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write Tasks, each judged by its own answer, in order."""
        return self.write(TASKS, writes)

    def problems(self) -> tuple[Finding, ...]:
        """Compare the configured fields and needed permissions with the metadata, in one request."""
        return self.metadata.problems(self.fields)

    def systemic_problem(self) -> str | None:
        """Say what makes Workbooks refuse everything (a field gone, a permission), None where nothing does."""
        fatal = [f"{finding.subject}: {finding.problem}" for finding in self.problems() if finding.fatal]
        return "; ".join(fatal) or None

    def _people(self, field: str, values: Iterable[str], **how: Any) -> dict[str, list[PersonRow]]:
        rows = self.by_values(PEOPLE, field, values, self._columns, **how)
        return {key: list(map(self._person, some)) for key, some in rows.items()}

    def _person(self, row: Row) -> PersonRow:
        return PersonRow(
            id=record_id(row),
            lock_version=lock_version_of(row),
            is_deleted=bool(read_boolean(row.get("is_deleted"))),
            email=read_text(row.get(EMAIL)),
            reference=read_text(row.get(REFERENCE)),
            object_ref=read_text(row.get(OBJECT_REF)),
            fields={name: read(row.get(name), datatype) for name, datatype in self._datatypes.items()},
        )


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
        "description": html.escape(description).replace("\r\n", "\n").replace("\n", "<br>"),
        "primary_contact_id": person_id,
        "primary_contact_type": PERSON_CLASS,
        REFERENCE: reference,
    }
    if due is not None:
        fields["due_date"] = Date(due)
    return Write(0, 0, fields)


def _spellings(address: str) -> Iterable[str]:
    plain = address.strip()
    forms: Mapping[str, None] = dict.fromkeys((address, plain, plain.lower()))
    return dict.fromkeys(spelling for form in forms for spelling in (form, f" {form}", f"{form} ", f" {form} "))


def _task(row: Row) -> TaskRow:
    return TaskRow(
        id=record_id(row),
        lock_version=lock_version_of(row),
        is_deleted=bool(read_boolean(row.get("is_deleted"))),
        reference=read_text(row.get(REFERENCE)) or "",
    )
