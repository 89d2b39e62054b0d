"""The whole target behind one face: the look-ups and writes that a cycle needs, and why they might all fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.workbooks import findings, people, tasks
from outreach_sync.workbooks.client import WorkbooksClient
from outreach_sync.workbooks.metadata import Metadata
from outreach_sync.workbooks.people import People
from outreach_sync.workbooks.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from outreach_sync.http import OnRetry, StopSignal, Transport
    from outreach_sync.instants import Instant
    from outreach_sync.records import PersonRow, TaskRow, Verdict, Write
    from outreach_sync.workbooks.findings import Finding
    from outreach_sync.workbooks.metadata import RecordType
    from outreach_sync.workbooks.settings import WorkbooksSettings


class Workbooks:
    """Workbooks as a cycle sees it. Look-ups raise as `WorkbooksClient.read` does, writes as `WorkbooksClient.write`.

    Attributes:
        client: for whatever has no method here.
        metadata: what `check` and `provision` read and make.
    """

    def __init__(
        self,
        settings: WorkbooksSettings,
        transport: Transport,
        stop: StopSignal,
        *,
        on_retry: OnRetry | None = None,
    ) -> None:
        """Send nothing yet; `transport` must be made for `settings.base_url`."""
        self.client = WorkbooksClient(settings, transport, stop, on_retry=on_retry)
        self.metadata = Metadata(self.client)
        self._transport = transport
        self._people = People(self.client)
        self._tasks = Tasks(self.client)

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._transport.requests

    def server_now(self) -> Instant | None:
        """Say what Workbooks' clock reads, None before its first answer."""
        return self._transport.server_now()

    def people_by_ids(self, person_ids: Collection[int]) -> Mapping[int, PersonRow]:
        """Read Persons, deleted ones too; those that are gone for good or not permitted are absent."""
        return self._people.find_by_ids(person_ids)

    def people_by_reference(self, references: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find Persons by `created_through_reference`, deleted ones too."""
        return self._people.find_by_reference(references, include_deleted=True)

    def people_by_object_ref(self, object_refs: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by `PERS-<n>`."""
        return self._people.find_by_object_ref(object_refs)

    def people_by_outreach_id(self, outreach_ids: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by the configured Outreach id field; nobody where none is configured."""
        field = self.client.settings.fields.get("outreach_id")
        return self._people.find_by_field(field, outreach_ids) if field else {}

    def people_by_email(self, addresses: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by main e-mail address, ignoring case; keyed by the case-folded address."""
        return self._people.find_by_email(addresses)

    def tasks_by_reference(self, references: Collection[str]) -> Mapping[str, Sequence[TaskRow]]:
        """Find Tasks by `created_through_reference`, deleted ones too."""
        return self._tasks.find_by_reference(references)

    def tasks_by_ids(self, task_ids: Collection[int]) -> Mapping[int, TaskRow]:
        """Read Tasks, deleted ones too."""
        return self._tasks.find_by_ids(task_ids)

    def write_people(self, writes: Sequence[Write]) -> Sequence[Verdict]:
        """Write Persons, each judged by its own answer, in order."""
        return self._people.write(writes)

    def write_tasks(self, writes: Sequence[Write]) -> Sequence[Verdict]:
        """Write Tasks, each judged by its own answer, in order."""
        return self._tasks.write(writes)

    def problems(self) -> tuple[Finding, ...]:
        """Compare the configured fields and needed permissions with the metadata, in one request."""
        types = self.metadata.read_types((people.CLASS_NAME, tasks.CLASS_NAME))
        person, task = types.get(people.CLASS_NAME), types.get(tasks.CLASS_NAME)
        return _of_people(person, self.client.settings.fields) + _of_tasks(task)

    def systemic_problem(self) -> str | None:
        """Say what makes Workbooks refuse everything (a field gone, a permission), None where nothing does."""
        fatal = [f"{finding.subject}: {finding.problem}" for finding in self.problems() if finding.fatal]
        return "; ".join(fatal) or None


def _of_people(described: RecordType | None, wanted: Mapping[str, str]) -> tuple[Finding, ...]:
    if described is None:
        return (findings.hidden_type(people.CLASS_NAME),)
    fields = findings.field_problems(described, wanted)
    return fields + findings.permission_problems(described, ("create", "update"))


def _of_tasks(described: RecordType | None) -> tuple[Finding, ...]:
    if described is None:
        return (findings.hidden_type(tasks.CLASS_NAME),)
    return findings.permission_problems(described, ("create",))
