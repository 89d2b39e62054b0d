"""What the steps need of the two services and of the config: the edges of the pipeline, as types."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.records import Page, PersonRow, Stream, TaskRow, Verdict, Write
    from outreach_sync.rules.conditions import Condition
    from outreach_sync.rules.person import Policy
    from outreach_sync.rules.watermark import Reading


class Source(Protocol):
    """Outreach, read."""

    @property
    def requests(self) -> int:
        """Requests sent so far, those for tokens left out."""

    def server_time(self) -> Instant:
        """Return the service's clock: as last heard, else asked for."""

    def heard_time(self) -> Instant | None:
        """Return the service's clock as last heard, None where nothing was heard yet."""

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        """Return where a walk of a stream begins; `since` None: no lower bound."""

    def trusts(self, url: str) -> bool:
        """Say whether a stored URL is on the host that is configured now."""

    def pages(self, stream: Stream, url: str) -> Iterator[Page]:
        """Walk from a URL to the last page, in order, reading one page ahead.

        Raises:
            CursorRefusedError: the service does not take the page token any more; begin the walk again.
        """

    def states_of(self, prospect_ids: Sequence[int]) -> Iterator[Page]:
        """Read all sequence states of prospects, whatever their age."""

    def prospects_by_id(self, prospect_ids: Sequence[int]) -> Iterator[Page]:
        """Read prospects; those that are deleted or hidden are absent."""

    def all_states_url(self) -> str:
        """Return where a walk through all sequence states begins, with nothing included."""

    def by_id(self, stream: Stream, ids: Sequence[int]) -> Iterator[Page]:
        """Read records of a stream; those that are deleted or hidden are absent."""


class Target(Protocol):
    """Workbooks: look-ups in bulk, and writes judged object by object."""

    @property
    def requests(self) -> int:
        """Requests sent so far."""

    def people_by_ids(self, person_ids: Collection[int]) -> Mapping[int, PersonRow]:
        """Read Persons, deleted ones too; those that are gone for good or not permitted are absent."""

    def people_by_reference(self, references: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by `created_through_reference`."""

    def people_by_object_ref(self, object_refs: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by `PERS-<n>`."""

    def people_by_outreach_id(self, outreach_ids: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by the configured Outreach id field."""

    def people_by_email(self, addresses: Collection[str]) -> Mapping[str, Sequence[PersonRow]]:
        """Find live Persons by `main_location[email]`, ignoring case; keyed by the folded address."""

    def tasks_by_reference(self, references: Collection[str]) -> Mapping[str, Sequence[TaskRow]]:
        """Find Tasks by `created_through_reference`, deleted ones too."""

    def tasks_by_ids(self, task_ids: Collection[int]) -> Mapping[int, TaskRow]:
        """Read Tasks, deleted ones too; those that are gone for good or not permitted are absent."""

    def write_people(self, writes: Sequence[Write]) -> Sequence[Verdict]:
        """Write Persons in one request, each judged by its own answer, in order."""

    def write_tasks(self, writes: Sequence[Write]) -> Sequence[Verdict]:
        """Write Tasks in one request, each judged by its own answer, in order."""

    def systemic_problem(self) -> str | None:
        """Say what makes Workbooks refuse everything (a field gone, a permission), None where nothing does."""


class FieldNames(NamedTuple):
    """The Workbooks field for each role; None: not configured."""

    sequence_state: str
    state_updated_at: str
    no_email: str
    outreach_id: str | None = None
    sequences: str | None = None

    def of(self, role: str) -> str:
        """Return the field that plays a role that is configured."""
        return str(getattr(self, role))


class TaskForm(NamedTuple):
    """How the Workbooks Task of a skipped task looks: `types` maps action or task type (`default` last) to its type."""

    status: str
    name: str
    description: str
    types: Mapping[str, str]


class Plan(NamedTuple):
    """The config as the pipeline needs it. Times in milliseconds.

    Attributes:
        streams: which streams this run reads, in this order.
        configured_streams: which streams the config names.
        reading: from where they are read.
        policy: what a Person says.
        match: the match rules, in order.
        creates: whether a Person without a match is created.
        recreates: whether what was deleted in Workbooks is created again.
        create_fields: Workbooks field -> prospect attribute, for a Person that is created.
        skip_rule: what counts as skipped.
        fingerprint: of everything that decides what a Person says.
        field_fingerprint: of the field names alone.
        task_fingerprint: of the skip rule.
    """

    streams: tuple[Stream, ...]
    configured_streams: tuple[Stream, ...]
    reading: Reading
    policy: Policy
    fields: FieldNames
    match: tuple[str, ...]
    creates: bool
    recreates: bool
    create_fields: Mapping[str, str]
    task_form: TaskForm
    skip_rule: tuple[Condition, ...]
    max_attempts: int
    guard_share: float
    guard_count: int
    batch_size: int
    concurrency: int
    fingerprint: str
    field_fingerprint: str
    task_fingerprint: str
    vanished_is_skipped: bool = False
    """Whether an open sequence task that is gone although its sequence state moved on counts as skipped."""
    look_again_ms: int = 2_000
    """How long after a first look a record that may have been created is looked for once more."""
