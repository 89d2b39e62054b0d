"""Answers of Outreach's API into `records`: one schema of what is read, and one mapping.

A page is decoded whole. Where any part of it has another form than nearly all have, it is decoded row by row, and an
odd row is brought into the usual form first: ids as text, relationships with only links, flags as numbers or words,
times as "null", numbers with thousands of digits. What still makes no sense becomes a `Refused`; of such a row an
opt-out is kept all the same, since it is safe to act on. Facts: Outreach's published OpenAPI; everything may be null,
and unknown attributes are passed over.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct

from outreach_sync.instants import Instant, from_datetime, parse_iso
from outreach_sync.records import Event, Page, Prospect, Refused, Scalar, Sequence, SequenceState, SourceTask, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Json = dict[str, Any]

LARGEST_ID = 2**60 - 1
"""No id of Outreach's comes near it; what is larger is refused, so that it and keys made of it fit any database."""

Id = Annotated[int, Meta(gt=0, le=LARGEST_ID)]
Time = datetime | None
TimeAsText = Annotated[str, Meta(title="a time, kept as it came")] | None
Text = str | None
Flag = bool | None
Texts = list[str] | None
Target = int | UnsetType | None

_UNUSUAL = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_ALL_TOLD: frozenset[str] = frozenset()
_OPT_OUT_EVENTS = frozenset({"opt_out", "emails_opt_out"})

_RELATED_RECORD = re.compile(r"(?:/api/v2)?/[A-Za-z]+/(\d+)/?", re.ASCII)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_YES = frozenset({"true", "t", "yes", "y", "on", "1"})
_NO = frozenset({"false", "f", "no", "n", "off", "0", "", "null"})
_LONGEST_QUOTE = _LONGEST_NUMBER = 40


# The schema


class Kind(NamedTuple):
    """What is read of one kind of record: its path and type in the API, the time it is read by, and its parts."""

    path: str
    type: str
    stamp: str
    attributes: Mapping[str, Any]
    relationships: tuple[str, ...]


KINDS = {
    Stream.SEQUENCE_STATES: Kind(
        *("sequenceStates", "sequenceState", "updatedAt"),
        {"state": str, "stateChangedAt": Time, "updatedAt": Time, "repliedAt": Time},
        ("prospect", "sequence", "sequenceStep"),
    ),
    Stream.TASKS: Kind(
        *("tasks", "task", "updatedAt"),
        dict.fromkeys(("action", "taskType", "state", "stateChangedAt", "completed", "completedAt"), Scalar)
        | {"autoskipAt": Scalar, "dueAt": TimeAsText, "note": Text, "createdAt": Scalar, "updatedAt": TimeAsText},
        ("prospect", "sequence", "sequenceState", "sequenceStep", "completer"),
    ),
    Stream.PROSPECTS: Kind(
        *("prospects", "prospect", "updatedAt"),
        dict.fromkeys(("firstName", "lastName", "externalId"), Text)
        | {"emails": Texts, "optedOut": Flag, "emailOptedOut": Flag}
        | dict.fromkeys(("optedOutAt", "emailsOptedAt", "trashedAt", "updatedAt"), Time),
        (),
    ),
    Stream.EVENTS: Kind(
        *("events", "event", "createdAt"),
        {"name": str, "eventAt": Time, "createdAt": Time},
        ("task", "prospect", "sequence", "sequenceStep"),
    ),
}
"""What is asked for, and of which type it usually is. Of a task, all but the note is for the skip rule to look at."""


_OF_STEPS = frozenset({"repliedAt", "sequenceStep"})


class Wanted(NamedTuple):
    """What is wanted beyond what always is: attributes of a prospect, and of a task (relationships too).

    `steps`: which step a sequence state is at, and whether it was replied to.
    """

    prospect: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    steps: bool = False


def fields_of(stream: Stream, wanted: Wanted) -> tuple[str, ...]:
    """Name the attributes and relationships to ask for: what is not named does not come."""
    kind = KINDS[stream]
    more = {Stream.TASKS: wanted.task, Stream.PROSPECTS: wanted.prospect}.get(stream, ())
    left_out = _OF_STEPS if stream is Stream.SEQUENCE_STATES and not wanted.steps else frozenset()
    return tuple(dict.fromkeys(n for n in (*kind.attributes, *kind.relationships, *more) if n not in left_out))


class _Identifier(Struct, gc=False):
    id: Id


class _ToOne(Struct, gc=False):
    """A relationship; `data` may be null or, with all else, missing."""

    data: _Identifier | UnsetType | None = UNSET
    links: msgspec.Raw | UnsetType = UNSET


class _Name(Struct, gc=False):
    name: str


class _SequenceRow(Struct, gc=False, tag_field="type", tag="sequence"):
    id: Id
    attributes: _Name


class _Links(Struct):
    next: str | None = None


class _Shape(NamedTuple):
    """The types that msgspec decodes a stream into."""

    row: type[Struct]
    attributes: type[Struct]
    relationships: type[Struct]
    answer: msgspec.json.Decoder[Any]


@cache
def _shape(stream: Stream) -> _Shape:
    kind = KINDS[stream]
    attributes = defstruct(
        f"{kind.type}Attributes",
        [(name, type_) if type_ is str else (name, type_, None) for name, type_ in kind.attributes.items()],
        gc=False,
        kw_only=True,
    )
    relationships = defstruct(
        f"{kind.type}Relationships", [(name, _ToOne | UnsetType | None, UNSET) for name in kind.relationships], gc=False
    )
    parts: list[Any] = [("id", Id), ("attributes", attributes)]
    if stream is Stream.PROSPECTS:
        row = defstruct("ProspectRow", parts, gc=False, tag_field="type", tag=kind.type)
        person = row
    else:
        row = defstruct(f"{kind.type}Row", [*parts, ("relationships", relationships)], gc=False)
        person = _shape(Stream.PROSPECTS).row
    answer = defstruct(
        f"{kind.type}Answer",
        [
            ("data", list[row]),  # type: ignore[valid-type]
            ("included", list[person | _SequenceRow], msgspec.field(default_factory=list)),  # type: ignore[valid-type]
            ("links", _Links | UnsetType | None, UNSET),
        ],
    )
    return _Shape(row, attributes, relationships, msgspec.json.Decoder(answer))


# Pages


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
        content = _shape(stream).answer.decode(body)
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


def _usual_page(content: Any, body: bytes, stream: Stream, wanted: Wanted, server_time: Instant | None) -> Page:
    """Make the page of a decoded answer. Raises what `_UNUSUAL` lists where a row makes no sense."""
    data: list[Json | None] = [None] * len(content.data)
    others: list[Json | None] = [None] * len(content.included)
    if wanted.prospect or wanted.task:
        document = parsed_object(body) or {}
        data, others = document["data"], document.get("included", others)
    make = _MAKERS[stream]
    rows = [make(row, raw, wanted) for row, raw in zip(content.data, data, strict=True)]
    pairs = zip(content.included, others, strict=True)
    included = [_prospect(row, raw, wanted) for row, raw in pairs if type(row) is not _SequenceRow]
    named = (row for row in content.included if type(row) is _SequenceRow and row.attributes.name)
    sequences = [Sequence(row.id, row.attributes.name) for row in named]
    link = content.links.next if isinstance(content.links, _Links) else None
    return _page(stream, rows, included, sequences)._replace(next_url=link or None, server_time=server_time)


def _page(stream: Stream, rows: list[Any], included: list[Prospect], sequences: list[Sequence]) -> Page:
    states, tasks, prospects, events = (tuple(rows) if stream is each else () for each in KINDS)
    without_stamp = [row.updated_at for row in rows].count(None)
    read = (states, tasks, prospects, tuple(included), tuple(sequences))
    return Page(*read, (), None, None, len(rows), without_stamp, events)


# Rows


def _state(row: Any, _raw: Json | None, _wanted: Wanted) -> SequenceState:
    attributes, relationships = row.attributes, row.relationships
    prospect, sequence = _target(relationships.prospect), _target(relationships.sequence)
    changed, updated = attributes.stateChangedAt, attributes.updatedAt
    updated_at = _instant(updated)
    changed_at = updated_at if changed == updated else _instant(changed)
    all_told = prospect is not UNSET and sequence is not UNSET
    untold = _ALL_TOLD if all_told else _untold({"prospect": prospect, "sequence": sequence})
    step, replied = _target(relationships.sequenceStep) or None, _instant(attributes.repliedAt)
    pointed = (prospect or None, sequence or None)
    return SequenceState(row.id, *pointed, attributes.state, changed_at, updated_at, untold, step, replied)


def _prospect(row: Any, raw: Json | None, wanted: Wanted) -> Prospect:
    one = row.attributes
    told = raw["attributes"] if raw is not None and wanted.prospect else {}
    return Prospect(
        row.id,
        one.firstName,
        one.lastName,
        tuple([stripped for address in one.emails if (stripped := address.strip())]) if one.emails else (),
        None if (reference := (one.externalId or "").strip()) in {"", "null"} else reference,
        one.optedOut is True,
        _instant(one.optedOutAt),
        one.emailOptedOut is True,
        _instant(one.emailsOptedAt),
        _instant(one.trashedAt),
        _instant(one.updatedAt),
        {name: scalar("", told[name]) for name in wanted.prospect if name in told},
    )


def _task(row: Any, raw: Json | None, wanted: Wanted) -> SourceTask:
    one = row.attributes
    targets = {name: _target(related) for name, related in msgspec.structs.asdict(row.relationships).items()}
    pointed = {name: target or None for name, target in targets.items()}
    looks: dict[str, Scalar] = {**msgspec.structs.asdict(one), **pointed}
    del looks["note"]  # long, personal, and in its own field
    if raw is not None:
        looks |= {name: _look(raw, name) for name in wanted.task if name not in looks}
    prospect, sequence, state, step = (pointed[name] for name in _TASK_TARGETS)
    kind, action, untold = str(one.taskType or ""), str(one.action or ""), _untold(targets)
    due, updated = _parsed_time(one.dueAt), _parsed_time(one.updatedAt)
    return SourceTask(row.id, prospect, sequence, state, step, kind, action, due, one.note, updated, looks, untold)


def _event(row: Any, _raw: Json | None, _wanted: Wanted) -> Event:
    one = row.attributes
    if not one.name:
        raise ValueError("it has no name")
    task, prospect, sequence, step = (_target(getattr(row.relationships, name)) or None for name in _EVENT_TARGETS)
    return Event(row.id, one.name, _instant(one.createdAt), _instant(one.eventAt), task, prospect, sequence, step)


_EVENT_TARGETS, _TASK_TARGETS = KINDS[Stream.EVENTS].relationships, KINDS[Stream.TASKS].relationships[:4]
_MAKERS: dict[Stream, Callable[[Any, Json | None, Wanted], Any]] = {
    Stream.SEQUENCE_STATES: _state,
    Stream.TASKS: _task,
    Stream.PROSPECTS: _prospect,
    Stream.EVENTS: _event,
}


def _instant(moment: datetime | None) -> Instant | None:
    return None if moment is None else from_datetime(moment)


@lru_cache(maxsize=4_096)  # rows come in the order of their stamps, and bulk actions give many the same one
def _parsed_time(text: str | None) -> Instant | None:
    return None if text is None else parse_iso(text)


def _target(related: _ToOne | UnsetType | None) -> Target:
    """Return the id that a relationship points to, None where it says nowhere, UNSET where it says nothing."""
    if related is None or related is UNSET:
        return related
    data = related.data
    if type(data) is _Identifier:
        return data.id
    if data is None:
        return None
    return UNSET if related.links is UNSET else linked(parsed_object(bytes(related.links)))


def _untold(targets: Mapping[str, Target]) -> frozenset[str]:
    return frozenset([name for name, target in targets.items() if target is UNSET])


def _look(raw: Json, name: str) -> Scalar:
    """Return an attribute, or what a to-one relationship of that name points to."""
    relationships = raw.get("relationships")
    if not isinstance(relationships, dict) or name not in relationships:
        return scalar(name, raw["attributes"].get(name))
    return _target(msgspec.convert(relationship(name, relationships[name]), _ToOne | None)) or None


# What is unusual in any way


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
        others = document["included"] if isinstance(document.get("included"), list) else []
        people = [row for row in others if not isinstance(row, dict) or row.get("type") == "prospect"]
        made = _read(rows, stream, wanted, refused)
        included = _read(people, Stream.PROSPECTS, wanted, refused)
        return _page(stream, made, included, _named_sequences(others))._replace(
            refused=tuple(refused), next_url=next_url, server_time=server_time, received=len(rows)
        )

    return Document(len(rows), next_url, "links" in document and (link is None or next_url is not None), page)


def _read(rows: Iterable[Any], stream: Stream, wanted: Wanted, refused: list[Refused]) -> list[Any]:
    """Read each row; one that makes no sense goes to `refused`, and is read besides if it tells of an opt-out."""
    made, kind = [], KINDS[stream]
    for raw in rows:
        try:
            made.append(_MAKERS[stream](msgspec.convert(raw, _shape(stream).row), raw, wanted))
        except _UNUSUAL:
            record = None
            try:
                usual, problems = usual_row(raw, kind.type, kind.attributes, kind.relationships)
                record = _MAKERS[stream](msgspec.convert(usual, _shape(stream).row), raw, wanted)
            except _UNUSUAL as problem:
                problems = [str(problem)]
            if problems:
                refused.append(_refusal(raw, stream, "; ".join(problems)))
            if record is not None and (not problems or _tells_of_an_opt_out(record)):
                made.append(record)
    return made


def _tells_of_an_opt_out(record: SequenceState | SourceTask | Prospect | Event) -> bool:
    if isinstance(record, Prospect):
        return record.opted_out or record.email_opted_out
    if isinstance(record, SequenceState):
        return record.state == "opted_out"
    return isinstance(record, Event) and record.name in _OPT_OUT_EVENTS


def _named_sequences(included: list[Any]) -> list[Sequence]:
    """Read the names; a sequence without one (or without an id) is as if it were not included."""
    found = []
    for raw in included:
        with suppress(ValueError, TypeError, AttributeError):
            row = msgspec.convert(raw | {"id": identifier(raw.get("id"))}, _SequenceRow)
            found.append(Sequence(row.id, row.attributes.name))
    return [sequence for sequence in found if sequence.name]


def _refusal(raw: Any, stream: Stream, reason: str) -> Refused:
    """Name the record as far as it can be named."""
    content = raw if isinstance(raw, dict) else {}
    named = identifier_or_none(content.get("id"))
    try:
        pointed = _look({"attributes": {}, **content}, "prospect")
    except (ValueError, AttributeError):
        pointed = None
    prospect = named if stream is Stream.PROSPECTS else identifier_or_none(pointed)
    record = f"{stream.value[:-1].replace('_', ' ')} {named if named is not None else 'without an id'}"
    return Refused(stream, named, prospect, f"{record}: {reason}")


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


def _number(text: str) -> int | float:
    """Read a whole number; one of so many digits is no id and no value of ours, and Python would not print it."""
    return int(text) if len(text) <= _LONGEST_NUMBER else float(text)


def usual_row(
    raw: Any, kind: str, attributes: Mapping[str, Any], relationships: Iterable[str]
) -> tuple[Json, list[str]]:
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

    told = raw["relationships"] if isinstance(raw.get("relationships"), dict) else {}
    usual = {
        "type": kind,
        "id": identifier(raw.get("id")),
        "attributes": {n: part(_USUAL[type_], n, raw["attributes"].get(n)) for n, type_ in attributes.items()},
        "relationships": {n: part(relationship, n, told[n]) for n in relationships if n in told},
    }
    return usual, problems


def relationship(name: str, value: Any) -> Any:
    """Bring a relationship into the usual form; one that is no object says nothing."""
    if value is None:
        return None
    content = value if isinstance(value, dict) else {}
    data = content.get("data", UNSET)
    if data is None:
        return {"data": None}
    if isinstance(data, dict):
        try:
            return {"data": {"id": identifier(data.get("id"))}}
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    target = linked(content["links"]) if isinstance(content.get("links"), dict) else UNSET
    return {} if target is UNSET else {"data": {"id": target}}


def linked(links: Json | None) -> int | UnsetType:
    """Return the id of the record that a `related` link leads to (`.../prospects/18`), UNSET where it names none."""
    related = (links or {}).get("related")
    link = related.get("href") if isinstance(related, dict) else related
    try:
        found = _RELATED_RECORD.fullmatch(urlsplit(link).path) if isinstance(link, str) else None
        return identifier(found[1]) if found else UNSET
    except ValueError:
        return UNSET


def identifier(value: object) -> int:
    """Read an id, a whole number or its text.

    Raises:
        ValueError: it is none.
    """
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is int and 0 < number <= LARGEST_ID:
        return number
    raise ValueError(f"{_quote(value)} is no id")


def identifier_or_none(value: object) -> int | None:
    """Read an id; None where it is none."""
    try:
        return identifier(value)
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


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, (dict, list, bool)):
        raise ValueError(f"{name} {_quote(value)} is no text")  # noqa: TRY004
    return None if value is None else str(value)


def _required_text(name: str, value: Any) -> str:
    return _text(name, value) or ""


def _flag(name: str, value: Any) -> Flag:
    """Read a truth value in whatever form it comes; one in an unknown form is no "no"."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, int, float)):
        text = str(int(value) if value in (0, 1) else value).strip().lower()
        if text in _YES or text in _NO:
            return text in _YES
    raise ValueError(f"{name} {_quote(value)} is neither yes nor no")


def scalar(_name: str, value: Any) -> Scalar:
    """Keep a scalar as it came; a list (tags, phones) becomes one text, an object nothing."""
    if isinstance(value, list):
        return ", ".join(str(part) for part in value if part is not None) or None
    return None if isinstance(value, dict) else value


def _quote(value: object) -> str:
    text = str(value)
    return f"'{text[:_LONGEST_QUOTE]}{'...' if len(text) > _LONGEST_QUOTE else ''}'"


_USUAL: dict[Any, Callable[[str, Any], Any]] = {
    str: _required_text,
    Text: _text,
    Flag: _flag,
    Time: lambda name, value: None if (text := _time_text(name, value)) is None else datetime.fromisoformat(text),
    TimeAsText: _time_text,
    Texts: lambda _name, value: [one for one in (value if isinstance(value, list) else [value]) if type(one) is str],
    Scalar: scalar,
}
"""How each type of the schema is made of what came instead: null for a list, one text, lists with nulls, and so on."""
