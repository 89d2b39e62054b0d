"""Answers in the form that nearly all have, decoded by msgspec in one pass into rows of the promised types.

Whatever departs from that form in any way (an id that is text, a part of another type, a record of another kind, a time
that is none) raises `UNUSUAL` here for the whole answer; `parse` then reads it with every doubt there is. Both give the
same page for what both can read, which the tests hold them to.

Importing this module takes as long as reading a few hundred rows with doubt: only answers of some size are worth it.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from outreach_sync.instants import Instant, from_datetime, parse_iso
from outreach_sync.outreach.parse import reference
from outreach_sync.records import Page, Prospect, Sequence, SequenceState, SourceTask, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence as Rows

UNUSUAL = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""What reading here raises for an answer that has another form."""

_Id = Annotated[int, Meta(gt=0, le=2**63 - 1)]


class _Identifier(Struct, gc=False):
    id: _Id


class _ToOne(Struct, gc=False):
    """A relationship; `data` may be null or, with all else, missing. One that has only links needs another look."""

    data: _Identifier | UnsetType | None = UNSET
    links: msgspec.Raw | UnsetType = UNSET


_Related = _ToOne | None


class _StateAttributes(Struct, gc=False, rename="camel"):
    state: str
    state_changed_at: datetime | None = None
    updated_at: datetime | None = None


class _StateRelationships(Struct, gc=False, rename="camel"):
    prospect: _Related = None
    sequence: _Related = None


class _StateRow(Struct, gc=False):
    id: _Id
    attributes: _StateAttributes
    relationships: _StateRelationships


class _ProspectAttributes(Struct, gc=False, rename="camel"):
    first_name: str | None = None
    last_name: str | None = None
    emails: list[str] | None = None
    external_id: str | None = None
    opted_out: bool | None = None
    opted_out_at: datetime | None = None
    email_opted_out: bool | None = None
    emails_opted_at: datetime | None = None
    trashed_at: datetime | None = None
    updated_at: datetime | None = None


class _ProspectRow(Struct, gc=False, tag_field="type", tag="prospect"):
    id: _Id
    attributes: _ProspectAttributes


class _TaskAttributes(Struct, gc=False, rename="camel"):
    action: str | None = None
    task_type: str | None = None
    state: str | None = None
    state_changed_at: str | None = None
    completed: bool | None = None
    completed_at: str | None = None
    autoskip_at: str | None = None
    due_at: str | None = None
    note: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class _TaskRelationships(Struct, gc=False, rename="camel"):
    prospect: _Related = None
    sequence: _Related = None
    sequence_state: _Related = None
    sequence_step: _Related = None
    completer: _Related = None


class _TaskRow(Struct, gc=False):
    id: _Id
    attributes: _TaskAttributes
    relationships: _TaskRelationships


class _SequenceAttributes(Struct, gc=False):
    name: str


class _SequenceRow(Struct, gc=False, tag_field="type", tag="sequence"):
    id: _Id
    attributes: _SequenceAttributes


class _Links(Struct):
    next: str | None = None


class _Answer(Struct, kw_only=True):
    """What all answers have besides their rows."""

    included: list[_ProspectRow | _SequenceRow] = []
    links: _Links | UnsetType | None = UNSET


class _States(_Answer, kw_only=True):
    data: list[_StateRow]


class _Tasks(_Answer, kw_only=True):
    data: list[_TaskRow]


class _Prospects(_Answer, kw_only=True):
    data: list[_ProspectRow]


_ANSWERS = {Stream.SEQUENCE_STATES: _States, Stream.TASKS: _Tasks, Stream.PROSPECTS: _Prospects}


class Answer(NamedTuple):
    """A decoded answer whose rows are still to be made."""

    received: int
    next_url: str | None
    says_what_follows: bool
    content: Any


def decode(body: bytes, stream: Stream) -> Answer:
    """Decode an answer of a walk. Raises what `UNUSUAL` lists."""
    content = _decoder(stream).decode(body)
    links = content.links
    next_url = links.next if isinstance(links, _Links) else None
    if next_url == "":
        raise ValueError("a link that leads nowhere")
    return Answer(len(content.data), next_url, links is not UNSET, content)


def page(answer: Answer, stream: Stream, server_time: Instant | None) -> Page:
    """Make the page of a decoded answer. Raises what `UNUSUAL` lists."""
    content = answer.content
    states = _states(content.data) if stream is Stream.SEQUENCE_STATES else ()
    tasks = tuple(map(_task, content.data)) if stream is Stream.TASKS else ()
    prospects = tuple(map(_prospect, content.data)) if stream is Stream.PROSPECTS else ()
    rows: Rows[SequenceState | SourceTask | Prospect] = states or tasks or prospects
    return Page(
        states=states,
        tasks=tasks,
        prospects=prospects,
        included=tuple([_prospect(row) for row in content.included if type(row) is _ProspectRow]),
        sequences=tuple(
            [
                Sequence(row.id, row.attributes.name)
                for row in content.included
                if type(row) is _SequenceRow and row.attributes.name
            ]
        ),
        refused=(),
        next_url=answer.next_url,
        server_time=server_time,
        received=answer.received,
        without_stamp=[row.updated_at for row in rows].count(None),
    )


@cache
def _decoder(stream: Stream) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_ANSWERS[stream])


def _instant(moment: datetime | None) -> Instant | None:
    return None if moment is None else from_datetime(moment)


def _time(text: str | None) -> Instant | None:
    return None if text is None else parse_iso(text)


def _addresses(listed: list[str] | None) -> tuple[str, ...]:
    return tuple([stripped for address in listed if (stripped := address.strip())]) if listed else ()


def _target(related: _ToOne | None) -> int | None:
    """Return the id that a relationship points to."""
    if related is None:
        return None
    data = related.data
    if type(data) is _Identifier:
        return data.id
    if data is UNSET and related.links is not UNSET:
        raise ValueError("only links")
    return None


def _states(rows: Iterable[_StateRow]) -> tuple[SequenceState, ...]:
    made = []
    for row in rows:
        attributes, relationships = row.attributes, row.relationships
        changed, updated = attributes.state_changed_at, attributes.updated_at
        updated_at = _instant(updated)
        made.append(
            SequenceState(
                row.id,
                _target(relationships.prospect),
                _target(relationships.sequence),
                attributes.state,
                updated_at if changed == updated else _instant(changed),
                updated_at,
            )
        )
    return tuple(made)


def _prospect(row: _ProspectRow) -> Prospect:
    one = row.attributes
    return Prospect(
        row.id,
        one.first_name,
        one.last_name,
        _addresses(one.emails),
        None if one.external_id is None else reference(one.external_id),
        one.opted_out is True,
        _instant(one.opted_out_at),
        one.email_opted_out is True,
        _instant(one.emails_opted_at),
        _instant(one.trashed_at),
        _instant(one.updated_at),
    )


def _task(row: _TaskRow) -> SourceTask:
    one, related = row.attributes, row.relationships
    targets = {
        "prospect": _target(related.prospect),
        "sequence": _target(related.sequence),
        "sequenceState": _target(related.sequence_state),
        "sequenceStep": _target(related.sequence_step),
        "completer": _target(related.completer),
    }
    return SourceTask(
        row.id,
        targets["prospect"],
        targets["sequence"],
        targets["sequenceState"],
        targets["sequenceStep"],
        one.task_type or "",
        one.action or "",
        _time(one.due_at),
        one.note,
        _time(one.updated_at),
        {
            "action": one.action,
            "taskType": one.task_type,
            "state": one.state,
            "stateChangedAt": one.state_changed_at,
            "completed": one.completed,
            "completedAt": one.completed_at,
            "autoskipAt": one.autoskip_at,
            "dueAt": one.due_at,
            "createdAt": one.created_at,
            "updatedAt": one.updated_at,
            **targets,
        },
    )
