"""Answers of Outreach's API into `records`: one schema for each kind of row, and one mapping.

A page is decoded whole. Where any part of it has another form than nearly all have, it is decoded row by row, and an
odd row is brought into the usual form first: ids that are text, relationships that have only links, flags that are
numbers. What still makes no sense becomes a `Refused`; of such a row an opt-out is kept all the same, since it is safe
to act on. Facts: Outreach's published OpenAPI; everything may be null, and unknown attributes are passed over.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from outreach_sync.instants import Instant, from_datetime, parse_iso
from outreach_sync.records import Event, Page, Prospect, Refused, Scalar, Sequence, SequenceState, SourceTask, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Json = dict[str, Any]

LARGEST_ID = 2**60 - 1
"""No id of Outreach's comes near it; what is larger is refused, so that it and keys made of it fit any database."""

TASK_LOOKS = (
    *("action", "taskType", "state", "stateChangedAt", "completed", "completedAt", "autoskipAt", "dueAt", "createdAt"),
    *("updatedAt", "prospect", "sequence", "sequenceState", "sequenceStep", "completer"),
)
"""What is kept of every task for the skip rule; not its note, which is long, personal, and in its own field."""

OPT_OUT_EVENTS = ("opt_out", "emails_opt_out")
_OPTED_OUT = "opted_out"
_UNUSUAL = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_RELATED_RECORD = re.compile(r"/[A-Za-z]+/(\d+)/?", re.ASCII)
_YES = frozenset({"true", "t", "yes", "y", "on", "1"})
_NO = frozenset({"false", "f", "no", "n", "off", "0", "", "null"})
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONGEST_QUOTE = 40
_LONGEST_NUMBER = 40
_EVERYTHING_TOLD: frozenset[str] = frozenset()

_Id = Annotated[int, Meta(gt=0, le=LARGEST_ID)]
_TimeText = Annotated[str, Meta(title="a time, kept as text")] | None


class _Identifier(Struct, gc=False):
    id: _Id


class _ToOne(Struct, gc=False):
    """A relationship; `data` may be null or, with all else, missing."""

    data: _Identifier | UnsetType | None = UNSET
    links: msgspec.Raw | UnsetType = UNSET


_Related = _ToOne | UnsetType | None


class _StateAttributes(Struct, gc=False, rename="camel"):
    state: str
    state_changed_at: datetime | None = None
    updated_at: datetime | None = None
    replied_at: datetime | None = None


class _StateRelationships(Struct, gc=False, rename="camel"):
    prospect: _Related = UNSET
    sequence: _Related = UNSET
    sequence_step: _Related = UNSET


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
    action: Scalar = None
    task_type: Scalar = None
    state: Scalar = None
    state_changed_at: Scalar = None
    completed: Scalar = None
    completed_at: Scalar = None
    autoskip_at: Scalar = None
    due_at: _TimeText = None
    note: str | None = None
    created_at: Scalar = None
    updated_at: _TimeText = None


class _TaskRelationships(Struct, gc=False, rename="camel"):
    prospect: _Related = UNSET
    sequence: _Related = UNSET
    sequence_state: _Related = UNSET
    sequence_step: _Related = UNSET
    completer: _Related = UNSET


class _TaskRow(Struct, gc=False):
    id: _Id
    attributes: _TaskAttributes
    relationships: _TaskRelationships


class _EventAttributes(Struct, gc=False, rename="camel"):
    name: str
    event_at: datetime | None = None
    created_at: datetime | None = None


class _EventRelationships(Struct, gc=False, rename="camel"):
    task: _Related = UNSET
    prospect: _Related = UNSET
    sequence: _Related = UNSET
    sequence_step: _Related = UNSET


class _EventRow(Struct, gc=False):
    id: _Id
    attributes: _EventAttributes
    relationships: _EventRelationships


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


class _Events(_Answer, kw_only=True):
    data: list[_EventRow]


class Wanted(NamedTuple):
    """The attributes beyond the usual ones: of a prospect, and of a task (relationships too)."""

    prospect: tuple[str, ...] = ()
    task: tuple[str, ...] = ()


class Document(NamedTuple):
    """One answer of a walk, of which the rows are still to be read.

    Attributes:
        received: how many rows arrived, whether they make sense or not.
        next_url: `links.next`, None on the last page.
        says_what_follows: whether it tells that there is a next page, or none; if not, only a page that is not full is
            the last one for certain.
        page: reads the rows; takes the answer's `Date`.
    """

    received: int
    next_url: str | None
    says_what_follows: bool
    page: Callable[[Instant | None], Page]


def read_document(body: bytes, stream: Stream, wanted: Wanted) -> Document | None:
    """Parse one answer of a walk; None where it is no JSON:API document with a list of rows."""
    try:
        content = _decoder(stream).decode(body)
    except _UNUSUAL:
        return _read_row_by_row(body, stream, wanted)
    link = content.links.next if isinstance(content.links, _Links) else None

    def page(server_time: Instant | None) -> Page:
        try:
            return _usual_page(content, body, stream, wanted, server_time)
        except _UNUSUAL:
            document = _read_row_by_row(body, stream, wanted)
            if document is None:
                raise
            return document.page(server_time)

    return Document(len(content.data), link or None, content.links is not UNSET and link != "", page)


def parsed_object(body: bytes) -> Json | None:
    """Parse a JSON object; None where the body is none.

    Lone surrogates, which JSON can spell but neither SQLite nor Workbooks can take, become question marks.
    """
    try:
        content = json.loads(body, parse_int=_number)
        if _SURROGATE.search(body):
            content = json.loads(json.dumps(content, ensure_ascii=False).encode(errors="replace"), parse_int=_number)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def reference(text: str | None) -> str | None:
    """Read an id of another system; empty and "null" are none."""
    stripped = "" if text is None else text.strip()
    return None if stripped in {"", "null"} else stripped


@cache
def _decoder(stream: Stream) -> msgspec.json.Decoder[Any]:
    answers = {
        Stream.SEQUENCE_STATES: _States,
        Stream.TASKS: _Tasks,
        Stream.PROSPECTS: _Prospects,
        Stream.EVENTS: _Events,
    }
    return msgspec.json.Decoder(answers[stream])


def _number(text: str) -> int | float:
    """Read a whole number; one of so many digits is no id and no value of ours, and Python would not print it."""
    return int(text) if len(text) <= _LONGEST_NUMBER else float(text)


def _usual_page(content: Any, body: bytes, stream: Stream, wanted: Wanted, server_time: Instant | None) -> Page:
    """Make the page of a decoded answer. Raises what `_UNUSUAL` lists where a row makes no sense."""
    data: list[Json | None] = [None] * len(content.data)
    included: list[Json | None] = [None] * len(content.included)
    if wanted.prospect or wanted.task:
        document = parsed_object(body) or {}
        data, included = document["data"], document.get("included", [])
    make = _MAKERS[stream]
    return _page(
        stream,
        [make(row, raw, wanted) for row, raw in zip(content.data, data, strict=True)],
        [
            _prospect(row, raw, wanted)
            for row, raw in zip(content.included, included, strict=True)
            if type(row) is _ProspectRow
        ],
        [
            Sequence(row.id, row.attributes.name)
            for row in content.included
            if type(row) is _SequenceRow and row.attributes.name
        ],
    )._replace(
        next_url=(content.links.next or None) if isinstance(content.links, _Links) else None,
        server_time=server_time,
        received=len(content.data),
    )


def _page(stream: Stream, rows: list[Any], included: list[Prospect], sequences: list[Sequence]) -> Page:
    made = tuple(rows)
    return Page(
        states=made if stream is Stream.SEQUENCE_STATES else (),
        tasks=made if stream is Stream.TASKS else (),
        prospects=made if stream is Stream.PROSPECTS else (),
        events=made if stream is Stream.EVENTS else (),
        included=tuple(included),
        sequences=tuple(sequences),
        refused=(),
        next_url=None,
        server_time=None,
        received=0,
        without_stamp=[row.updated_at for row in rows].count(None),
    )


def _state(row: _StateRow, _raw: Json | None, _wanted: Wanted) -> SequenceState:
    attributes, relationships = row.attributes, row.relationships
    prospect, sequence = _target(relationships.prospect), _target(relationships.sequence)
    changed, updated = attributes.state_changed_at, attributes.updated_at
    updated_at = _instant(updated)
    return SequenceState(
        row.id,
        prospect or None,
        sequence or None,
        attributes.state,
        updated_at if changed == updated else _instant(changed),
        updated_at,
        _untold(prospect=prospect, sequence=sequence) if UNSET in (prospect, sequence) else _EVERYTHING_TOLD,
        _target(relationships.sequence_step) or None,
        _instant(attributes.replied_at),
    )


def _prospect(row: _ProspectRow, raw: Json | None, wanted: Wanted) -> Prospect:
    one = row.attributes
    told = raw["attributes"] if raw is not None and wanted.prospect else {}
    return Prospect(
        row.id,
        one.first_name,
        one.last_name,
        tuple([stripped for address in one.emails if (stripped := address.strip())]) if one.emails else (),
        reference(one.external_id),
        one.opted_out is True,
        _instant(one.opted_out_at),
        one.email_opted_out is True,
        _instant(one.emails_opted_at),
        _instant(one.trashed_at),
        _instant(one.updated_at),
        {name: _scalar(told[name]) for name in wanted.prospect if name in told},
    )


def _task(row: _TaskRow, raw: Json | None, wanted: Wanted) -> SourceTask:
    one, related = row.attributes, row.relationships
    targets = {
        "prospect": _target(related.prospect),
        "sequence": _target(related.sequence),
        "sequenceState": _target(related.sequence_state),
        "sequenceStep": _target(related.sequence_step),
        "completer": _target(related.completer),
    }
    untold = _untold(**targets) if UNSET in targets.values() else _EVERYTHING_TOLD
    pointed = {name: target or None for name, target in targets.items()}
    looks: dict[str, Scalar] = {
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
        **pointed,
    }
    if raw is not None:
        looks |= {name: _look(raw, name) for name in wanted.task if name not in looks}
    return SourceTask(
        row.id,
        pointed["prospect"],
        pointed["sequence"],
        pointed["sequenceState"],
        pointed["sequenceStep"],
        str(one.task_type or ""),
        str(one.action or ""),
        _time(one.due_at),
        one.note,
        _time(one.updated_at),
        looks,
        untold,
    )


def _event(row: _EventRow, _raw: Json | None, _wanted: Wanted) -> Event:
    one, related = row.attributes, row.relationships
    if not one.name:
        raise ValueError("it has no name")
    return Event(
        row.id,
        one.name,
        _instant(one.created_at),
        _instant(one.event_at),
        _target(related.task) or None,
        _target(related.prospect) or None,
        _target(related.sequence) or None,
        _target(related.sequence_step) or None,
    )


_MAKERS: dict[Stream, Callable[[Any, Json | None, Wanted], Any]] = {
    Stream.SEQUENCE_STATES: _state,
    Stream.TASKS: _task,
    Stream.PROSPECTS: _prospect,
    Stream.EVENTS: _event,
}
_ROWS: dict[Stream, type[Struct]] = {
    Stream.SEQUENCE_STATES: _StateRow,
    Stream.TASKS: _TaskRow,
    Stream.PROSPECTS: _ProspectRow,
    Stream.EVENTS: _EventRow,
}


def _instant(moment: datetime | None) -> Instant | None:
    return None if moment is None else from_datetime(moment)


@lru_cache(maxsize=4_096)  # rows come in the order of their stamps, and bulk actions give many the same one
def _time(text: str | None) -> Instant | None:
    return None if text is None else parse_iso(text)


def _target(related: _Related) -> int | UnsetType | None:
    """Return the id that a relationship points to, None where it says nowhere, UNSET where it says nothing."""
    if related is None or related is UNSET:
        return related
    data = related.data
    if type(data) is _Identifier:
        return data.id
    if data is None:
        return None
    return UNSET if related.links is UNSET else _linked(parsed_object(bytes(related.links)))


def _linked(links: Json | None) -> int | UnsetType:
    """Return the id of the record that a `related` link leads to (`.../prospects/18`), UNSET where it names none."""
    related = (links or {}).get("related")
    link = related.get("href") if isinstance(related, dict) else related
    try:
        found = _RELATED_RECORD.search(urlsplit(link).path.removeprefix("/api/v2")) if isinstance(link, str) else None
        whole = found if found is not None and found.end() == len(found.string) and found.start() == 0 else None
        return _id(whole[1]) if whole is not None else UNSET
    except ValueError:
        return UNSET


def _untold(**targets: int | UnsetType | None) -> frozenset[str]:
    return frozenset(name for name, target in targets.items() if target is UNSET)


def _look(raw: Json, name: str) -> Scalar:
    """Return an attribute, or what a to-one relationship of that name points to."""
    relationships = raw.get("relationships")
    if not isinstance(relationships, dict) or name not in relationships:
        return _scalar(raw["attributes"].get(name))
    return _target(msgspec.convert(_usual_relationship(relationships[name]), _ToOne | None)) or None


# What follows reads the pages that are unusual in any way.


def _read_row_by_row(body: bytes, stream: Stream, wanted: Wanted) -> Document | None:
    document = parsed_object(body)
    rows = document.get("data") if document is not None else None
    if document is None or not isinstance(rows, list):
        return None
    links = document.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    link = link.get("href", "") if isinstance(link, dict) else link  # JSON:API also allows a link object
    next_url = link if isinstance(link, str) and link else None

    def page(server_time: Instant | None) -> Page:
        refused: list[Refused] = []
        others = document.get("included")
        included = others if isinstance(others, list) else []
        people = [row for row in included if not isinstance(row, dict) or row.get("type") == "prospect"]
        return _page(
            stream,
            _read(rows, stream, wanted, refused),
            _read(people, Stream.PROSPECTS, wanted, refused),
            _named_sequences(included),
        )._replace(refused=tuple(refused), next_url=next_url, server_time=server_time, received=len(rows))

    return Document(len(rows), next_url, "links" in document and (link is None or next_url is not None), page)


def _read(rows: Iterable[Any], stream: Stream, wanted: Wanted, refused: list[Refused]) -> list[Any]:
    """Read each row; one that makes no sense goes to `refused`, and is read besides if it tells of an opt-out."""
    made = []
    for raw in rows:
        try:
            made.append(_MAKERS[stream](msgspec.convert(raw, _ROWS[stream]), raw, wanted))
        except _UNUSUAL:
            record, problems = _read_unusual(raw, stream, wanted)
            if problems:
                refused.append(_refusal(raw, stream, "; ".join(problems)))
            if record is not None and (not problems or _tells_of_an_opt_out(record)):
                made.append(record)
    return made


def _read_unusual(raw: Any, stream: Stream, wanted: Wanted) -> tuple[Any, list[str]]:
    """Return the record of a row, None where nothing can be made of it, and what in it made no sense."""
    try:
        usual, problems = _usual_row(raw, _ROWS[stream])
        return _MAKERS[stream](msgspec.convert(usual, _ROWS[stream]), raw, wanted), problems
    except _UNUSUAL as problem:
        return None, [str(problem)]


def _tells_of_an_opt_out(record: SequenceState | SourceTask | Prospect | Event) -> bool:
    match record:
        case Prospect():
            return record.opted_out or record.email_opted_out
        case SequenceState():
            return record.state == _OPTED_OUT
        case Event():
            return record.name in OPT_OUT_EVENTS
        case _:
            return False


def _named_sequences(included: list[Any]) -> list[Sequence]:
    """Read the names; a sequence without one (or without an id) is as if it were not included."""
    found = []
    for raw in included:
        if isinstance(raw, dict) and raw.get("type") == "sequence":
            try:
                found.append(
                    Sequence(_id(raw.get("id")), _text("name", (raw.get("attributes") or {}).get("name")) or "")
                )
            except (ValueError, AttributeError):
                continue
    return [sequence for sequence in found if sequence.name]


def _usual_row(raw: Any, kind: type[Struct]) -> tuple[Json, list[str]]:
    """Return a row in the form of the schema, and what of it made no sense and is therefore null.

    Raises:
        ValueError: nothing can be made of it.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("attributes"), dict):
        raise ValueError("its parts are not what the API promises")  # noqa: TRY004 - one class for what makes no sense
    problems: list[str] = []

    def part(usual: Callable[[str, Any], Any], name: str, value: Any) -> Any:
        try:
            return usual(name, value)
        except (ValueError, OverflowError) as problem:
            problems.append(str(problem))
            return "" if usual is _required_text else None

    types = {field.name: field.type for field in _fields(kind)}
    attributes = {
        field.encode_name: part(_USUAL[field.type], field.encode_name, raw["attributes"].get(field.encode_name))
        for field in _fields(types["attributes"])
    }
    usual: Json = {"type": kind.__struct_config__.tag, "id": _id(raw.get("id")), "attributes": attributes}
    if "relationships" in types:
        told: Json = raw["relationships"] if isinstance(raw.get("relationships"), dict) else {}
        usual["relationships"] = {
            field.encode_name: part(_relationship, field.encode_name, told[field.encode_name])
            for field in _fields(types["relationships"])
            if field.encode_name in told
        }
    return usual, problems


@cache
def _fields(kind: type[Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _refusal(raw: Any, stream: Stream, reason: str) -> Refused:
    """Name the record as far as it can be named."""
    kind = stream.value[:-1].replace("_", " ")
    content = raw if isinstance(raw, dict) else {}
    relationships = content.get("relationships")
    named = _id_or_none(content.get("id"))
    try:
        prospect = _relationship("prospect", relationships.get("prospect")) if isinstance(relationships, dict) else None
        pointed = _target(msgspec.convert(prospect, _ToOne | None)) or None
    except ValueError:
        pointed = None
    return Refused(
        stream,
        named,
        named if stream is Stream.PROSPECTS else pointed,
        f"{kind} {named if named is not None else 'without an id'}: {reason}",
    )


def _relationship(name: str, value: Any) -> Any:
    """Bring a relationship into the usual form; one that is no object says nothing."""
    try:
        return _usual_relationship(value)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None


def _usual_relationship(value: Any) -> Any:
    if value is None:
        return None
    content = value if isinstance(value, dict) else {}
    data = content.get("data", UNSET)
    if isinstance(data, dict):
        return {"data": {"id": _id(data.get("id"))}}
    if data is None:
        return {"data": None}
    linked = _linked(content["links"]) if isinstance(content.get("links"), dict) else UNSET
    return {"data": {"id": linked}} if linked is not UNSET else {}


def _id(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is int and 0 < number <= LARGEST_ID:
        return number
    raise ValueError(f"{_quote(value)} is no id")


def _id_or_none(value: object) -> int | None:
    try:
        return _id(value)
    except ValueError:
        return None


def _time_text(name: str, value: Any) -> str | None:
    if value is None or value in ("", "null"):
        return None
    try:
        if isinstance(value, str):
            parse_iso(value)
            return value
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{name} {_quote(value)} is no time")


def _moment(name: str, value: Any) -> datetime | None:
    text = _time_text(name, value)
    return None if text is None else datetime.fromisoformat(text)


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"{name} {_quote(value)} is no text")  # noqa: TRY004
    return str(value)


def _required_text(name: str, value: Any) -> str:
    return _text(name, value) or ""


def _flag(name: str, value: Any) -> bool | None:
    """Read a truth value in whatever form it comes; one in an unknown form is no "no"."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, int, float)):
        text = str(int(value) if value in (0, 1) else value).strip().lower()
        if text in _YES or text in _NO:
            return text in _YES
    raise ValueError(f"{name} {_quote(value)} is neither yes nor no")


def _addresses(_name: str, value: Any) -> list[str]:
    """Read addresses in their order; null, one text, and lists with nulls occur."""
    listed = value if isinstance(value, list) else [value]
    return [address for address in listed if isinstance(address, str)]


def _scalar(value: Any) -> Scalar:
    """Keep a scalar as it came; a list (tags, phones) becomes one text, an object nothing."""
    if isinstance(value, list):
        return ", ".join(str(part) for part in value if part is not None) or None
    if isinstance(value, str):
        return value
    return None if isinstance(value, dict) else value


def _quote(value: object) -> str:
    text = str(value)
    return f"'{text[:_LONGEST_QUOTE]}{'...' if len(text) > _LONGEST_QUOTE else ''}'"


_USUAL: dict[Any, Callable[[str, Any], Any]] = {
    str: _required_text,
    str | None: _text,
    bool | None: _flag,
    datetime | None: _moment,
    list[str] | None: _addresses,
    _TimeText: _time_text,
    Scalar: lambda _name, value: _scalar(value),
}
"""How each type of the schema is made of what came instead."""
