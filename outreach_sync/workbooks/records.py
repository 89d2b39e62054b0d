"""People and Tasks in Workbooks: finding them by what is known of them, and writing what changed.

Column names are those of the guide, of its examples and of production answers; which fields are ours the config says.
`due`, `due_date` and `due_datetime` are one value, of which only one may be set; `primary_contact_id` with its type
ties a Task to a Person; a Task's description is HTML.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

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

    from outreach_sync.config.model import Config, Workbooks as Section
    from outreach_sync.http import OnRetry, StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.records import Scalar, Verdict
    from outreach_sync.workbooks.client import Account
    from outreach_sync.workbooks.metadata import Finding

PEOPLE, TASKS = "crm/people", "activity/tasks"
EMAIL, OBJECT_REF = "main_location[email]", "object_ref"

_TASK_COLUMNS = ("id", "lock_version", "is_deleted", REFERENCE)
_PERSON_COLUMNS = (*_TASK_COLUMNS, EMAIL, OBJECT_REF)
_NAME_LENGTH = 255


class Workbooks:
    """Workbooks as a cycle sees it. Look-ups raise as `WorkbooksClient.read` does, writes as `WorkbooksClient.write`.

    Attributes:
        client: for what has no method here.
        metadata: what `check` and `provision` read and make.
        fields: the configured fields of a Person, role -> name.
    """

    def __init__(
        self,
        section: Section,
        stop: StopSignal,
        *,
        patience_seconds: float,
        only_where: Mapping[str, Scalar] | None = None,
        on_retry: OnRetry | None = None,
    ) -> None:
        """Send nothing yet. `section` is the config's; raises as `WorkbooksClient`.

        `only_where` maps further fields that are read to the value they are compared with.
        """
        self.client = WorkbooksClient(section, stop, patience_seconds=patience_seconds, on_retry=on_retry)
        self.metadata = Metadata(self.client)
        self.fields = {role: name for role, name in section.fields.model_dump().items() if name is not None}
        self._datatypes = {
            **{
                name: Datatype.BOOLEAN if isinstance(value, bool) else Datatype.TEXT
                for name, value in (only_where or {}).items()
            },
            **{name: ROLE_DATATYPES.get(role, Datatype.TEXT) for role, name in self.fields.items()},
        }

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self.client.transport.requests

    def server_now(self) -> Instant | None:
        """Say what Workbooks' clock reads, None before its first answer."""
        return self.client.transport.server_now()

    def who(self, *, at_most: float | None = None) -> Account:
        """Ask who is behind the key, for at most so many seconds."""
        return self.client.who(at_most=at_most)

    def people_by_ids(self, person_ids: Iterable[int]) -> dict[int, PersonRow]:
        """Read People, deleted ones too, with what they hold; those that are absent may be hidden from the key."""
        columns = (*_PERSON_COLUMNS, *self._datatypes)
        rows = self.client.by_ids(PEOPLE, person_ids, columns, include_deleted=True)
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
        case, also with a blank before or behind it, and compared here. One stored in yet another spelling is missed.
        """
        rows = self.client.by_values(
            PEOPLE, EMAIL, addresses, (*_PERSON_COLUMNS, *self._datatypes), spellings=_spellings, key=mailbox
        )
        return {key: list(map(self._person, some)) for key, some in rows.items()}

    def tasks_by_reference(self, references: Iterable[str]) -> dict[str, list[TaskRow]]:
        """Find Tasks by `created_through_reference`, deleted ones too; only what matched is a key."""
        rows = self.client.by_values(TASKS, REFERENCE, references, _TASK_COLUMNS, include_deleted=True)
        return {reference: list(map(_task, some)) for reference, some in rows.items()}

    def tasks_by_ids(self, task_ids: Iterable[int]) -> dict[int, TaskRow]:
        """Read Tasks, deleted ones too."""
        rows = self.client.by_ids(TASKS, task_ids, _TASK_COLUMNS, include_deleted=True)
        return {task.id: task for task in map(_task, rows)}

    def write_people(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write People, each judged by its own answer, in order."""
        return self.client.write(PEOPLE, writes)

    def write_tasks(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write Tasks, each judged by its own answer, in order."""
        return self.client.write(TASKS, writes)

    def problems(self) -> tuple[Finding, ...]:
        """Compare the configured fields and needed permissions with the metadata, in one request."""
        return self.metadata.problems(self.fields)

    def systemic_problem(self) -> str | None:
        """Say what makes Workbooks refuse everything (a field gone, a permission), None where nothing does."""
        fatal = [f"{finding.subject}: {finding.problem}" for finding in self.problems() if finding.fatal]
        return "; ".join(fatal) or None

    def _people(
        self, field: str, values: Iterable[str], *, include_deleted: bool = False
    ) -> dict[str, list[PersonRow]]:
        columns = (*_PERSON_COLUMNS, *self._datatypes)
        rows = self.client.by_values(PEOPLE, field, values, columns, include_deleted=include_deleted)
        return {value: list(map(self._person, some)) for value, some in rows.items()}

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
    return dict.fromkeys(spelling for form in forms for spelling in (form, f" {form}", f"{form} "))


def _task(row: Row) -> TaskRow:
    return TaskRow(
        id=record_id(row),
        lock_version=lock_version_of(row),
        is_deleted=bool(read_boolean(row.get("is_deleted"))),
        reference=read_text(row.get(REFERENCE)) or "",
    )


def workbooks_from(config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> Workbooks:
    """Return Workbooks, ready to be read and written.

    Raises:
        ConfigError: the key is missing.
    """
    return Workbooks(
        config.workbooks,
        stop,
        patience_seconds=config.sync.patience_ms / 1000,
        only_where=config.sync.people.only_where,
        on_retry=on_retry,
    )
