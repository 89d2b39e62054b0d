"""What both services say, as plain values: the vocabulary that every step shares.

Named tuples rather than dataclasses: a page holds thousands of them, they are immutable, and the state stores them
as they are. Times are `Instant` (milliseconds, UTC). Facts: Outreach's published OpenAPI; Workbooks' developers guide.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant, to_date, to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

Scalar = str | int | float | bool | None  # what one attribute of a JSON record holds where it is not a list


class Stream(StrEnum):
    """The four things that are read from Outreach; the value is the name in config, state and output."""

    SEQUENCE_STATES = "sequence_states"
    TASKS = "tasks"
    PROSPECTS = "prospects"
    EVENTS = "events"


class Prospect(NamedTuple):
    """A person as Outreach knows them."""

    id: int
    first_name: str | None
    last_name: str | None
    emails: tuple[str, ...]  # in Outreach's order and spelling
    external_id: str | None
    opted_out: bool
    opted_out_at: Instant | None
    email_opted_out: bool
    emails_opted_at: Instant | None
    trashed_at: Instant | None
    updated_at: Instant | None
    extra: Mapping[str, Scalar] = {}  # the attributes that `sync.people.create_fields` names


class SequenceState(NamedTuple):
    """One time a prospect was put into a sequence."""

    id: int
    prospect_id: int | None
    sequence_id: int | None
    state: str  # Outreach's word, '' where it gave none
    state_changed_at: Instant | None
    updated_at: Instant | None
    untold: frozenset[str] = frozenset()  # relationships of which nothing was said: what is known of them still holds
    sequence_step_id: int | None = None  # it and `replied_at` are asked for where tasks that vanish count as skipped
    replied_at: Instant | None = None


class SourceTask(NamedTuple):
    """A task in Outreach."""

    id: int
    prospect_id: int | None
    sequence_id: int | None
    sequence_state_id: int | None
    sequence_step_id: int | None
    task_type: str
    action: str
    due_at: Instant | None
    note: str | None
    updated_at: Instant | None
    attributes: Mapping[str, Scalar]  # all that the rule looks at, by Outreach's names; of a relationship, its id
    untold: frozenset[str] = frozenset()  # as in `SequenceState`


class Event(NamedTuple):
    """Something that happened in Outreach; events are only ever added, but their ids may be gone later."""

    id: int
    name: str
    at: Instant | None  # its `createdAt`
    event_at: Instant | None  # when it happened
    task_id: int | None
    prospect_id: int | None
    sequence_id: int | None
    sequence_step_id: int | None

    @property
    def updated_at(self) -> Instant | None:
        """Its stamp, as other rows have one."""
        return self.at


class Sequence(NamedTuple):
    """A sequence's name, for task names and the `sequences` field."""

    id: int
    name: str


class Refused(NamedTuple):
    """A source record that makes no sense, listed under `failures`; `reason` says for people which, and why."""

    stream: Stream
    id: int | None
    prospect_id: int | None
    reason: str


class Page(NamedTuple):
    """One answer of a walk: the rows of its stream, what was included, and where to go on."""

    states: tuple[SequenceState, ...] = ()
    tasks: tuple[SourceTask, ...] = ()
    prospects: tuple[Prospect, ...] = ()
    included: tuple[Prospect, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    refused: tuple[Refused, ...] = ()  # also among the rows where it tells of an opt-out, what makes no sense is None
    next_url: str | None = None  # `links.next`; None on the last page
    server_time: Instant | None = None  # the answer's `Date`
    received: int = 0  # the rows that arrived, whether they made sense or not
    without_stamp: int = 0  # those whose stamp is null
    events: tuple[Event, ...] = ()

    @property
    def rows(self) -> tuple[SequenceState, ...] | tuple[SourceTask, ...] | tuple[Prospect, ...] | tuple[Event, ...]:
        """The rows of its stream, whichever that is."""
        return self.states or self.tasks or self.prospects or self.events

    def ids(self, stream: Stream) -> set[int]:
        """Return the ids of the records of its stream, of those that make no sense too."""
        refused = (one.id for one in self.refused if one.stream is stream and one.id is not None)
        return {*(row.id for row in self.rows), *refused}


class PersonRow(NamedTuple):
    """A Workbooks Person as a look-up returned it."""

    id: int
    lock_version: int
    is_deleted: bool
    email: str | None
    reference: str | None
    object_ref: str | None
    fields: Mapping[str, Scalar]  # the configured ones by their Workbooks names; an `Instant` for a date-time


class TaskRow(NamedTuple):
    """A Workbooks Task as a look-up returned it."""

    id: int
    is_deleted: bool


class Write(NamedTuple):
    """One object of a batched write, by Workbooks field; `id` and `lock_version` are 0 for a create."""

    id: int
    lock_version: int
    fields: Mapping[str, WriteValue]


class DateTime(NamedTuple):
    """A point in time to be written as a Workbooks datetime."""

    at: Instant


class Date(NamedTuple):
    """A day to be written as a Workbooks date: that of the instant in UTC."""

    at: Instant


WriteValue = str | int | bool | DateTime | Date | None


class Accepted(NamedTuple):
    """Workbooks took this object: its id and the lock version it has now."""

    id: int
    lock_version: int


class Stale(NamedTuple):
    """The lock version sent was not the current one; nothing was written."""


class Rejected(NamedTuple):
    """Workbooks looked at this object and said no; `reasons` are its words, `field: text` where it named a field."""

    reasons: tuple[str, ...]


class Unknown(NamedTuple):
    """Nothing is known of this object: look before sending it again. `why` is for people."""

    why: str


Verdict = Accepted | Stale | Rejected | Unknown  # what became of one object of a write


def plain(value: WriteValue) -> Scalar:
    """Return a value as JSON shows it: times in ISO 8601."""
    if isinstance(value, DateTime):
        return to_iso(value.at)
    return to_date(value.at) if isinstance(value, Date) else value
