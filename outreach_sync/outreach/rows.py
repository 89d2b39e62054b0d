"""Answers of Outreach's API into `records`: one schema of what is read, and one mapping.

Rows are decoded one after the other. Where any part of a page has another form than nearly all have, it is read again,
and each row is brought into the usual form first: ids as text, relationships with only links, flags as numbers or
words, times as "null", numbers with thousands of digits. What still makes no sense becomes a `Refused`; of such a row
an opt-out is kept all the same, since it is safe to act on. Facts: Outreach's published OpenAPI; everything may be
null, and unknown attributes are passed over.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, defstruct, structs

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Event, Page, Prospect, Refused, Scalar, Sequence, SequenceState, SourceTask, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.connections import Answer

Json = dict[str, Any]

LARGEST_ID = 2**60 - 1  # no id comes near it; what is larger is refused, so that keys made of it fit any database

Id = Annotated[int, Meta(gt=0, le=LARGEST_ID)]
Time = Annotated[str, Meta(title="a time, kept as it came")] | None
Text = str | None
Flag = bool | None
Texts = list[str] | None

_UNUSUAL = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_OF_STEPS = frozenset({"repliedAt", "sequenceStep"})
_ALL_TOLD: frozenset[str] = frozenset()

_RELATED_RECORD = re.compile(r"(?:/api/v2)?/[A-Za-z]+/(\d+)/?", re.ASCII)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOTHING = ("", "null")
_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", *_NOTHING), False),
}
_LONGEST_QUOTE = _LONGEST_NUMBER = 40
STATE_REMOVED, MERGED = "sequence_state_destroyed", "prospect_merged"
REMOVED = ("prospect_destroyed", MERGED)
SHOWN_BY = {
    "opt_out": ("opted_out", True),
    "opt_out_revert": ("opted_out", False),
    "emails_opt_out": ("email_opted_out", True),
    "emails_opt_out_revert": ("email_opted_out", False),
}
"""What a prospect says that was read since such an event, and need not be read again. No other events are asked for."""


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
        | {"autoskipAt": Scalar, "dueAt": Time, "note": Text, "createdAt": Scalar, "updatedAt": Time},
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


class Wanted(NamedTuple):
    """What is wanted beyond what always is."""

    prospect: tuple[str, ...] = ()  # attributes
    task: tuple[str, ...] = ()  # attributes and relationships
    steps: bool = False  # which step a sequence state is at, and whether it was replied to


def fields_of(stream: Stream, wanted: Wanted) -> tuple[str, ...]:
    """Name the attributes and relationships to ask for: what is not named does not come."""
    shape = _shape(stream, wanted)
    left_out = _OF_STEPS if stream is Stream.SEQUENCE_STATES and not wanted.steps else ()
    return tuple(dict.fromkeys(n for n in (*shape.attributes, *shape.relationships) if n not in left_out))


class _Identifier(Struct, gc=False):
    id: Id


class _Links(Struct, gc=False):
    next: str | None = None
    related: Any = None


class _ToOne(Struct, gc=False):
    """A relationship; `data` may be null or, with all else, missing."""

    data: _Identifier | UnsetType | None = UNSET
    links: _Links | UnsetType = UNSET


class _Name(Struct, gc=False):
    name: str


class _SequenceRow(Struct, gc=False, tag_field="type", tag="sequence"):
    id: Id
    attributes: _Name


class _Answer(Struct, gc=False):
    """An answer whose rows are decoded and mapped one after the other, so that few objects are alive at a time."""

    data: list[msgspec.Raw]
    included: list[msgspec.Raw] = []
    links: _Links | UnsetType | None = UNSET


_ANSWER = msgspec.json.Decoder(_Answer)


class _Shape(NamedTuple):
    """What a row of a stream looks like, with what is wanted besides, and what decodes it and what is included."""

    attributes: Mapping[str, Any]
    relationships: tuple[str, ...]
    row: type[Struct]
    decode: Callable[[msgspec.Raw], Any]
    decode_included: Callable[[msgspec.Raw], Any]


@cache
def _shape(stream: Stream, wanted: Wanted) -> _Shape:
    kind = KINDS[stream]
    more = {Stream.TASKS: wanted.task, Stream.PROSPECTS: wanted.prospect}.get(stream, ())
    types = {**dict.fromkeys(more, Any), **kind.attributes}
    pointers = (*kind.relationships, *(more if stream is Stream.TASKS else ()))
    defaults = {str: msgspec.NODEFAULT, Any: UNSET}
    fields = [(name, type_, defaults.get(type_)) for name, type_ in types.items()]
    related = [(name, _ToOne | UnsetType | None, UNSET) for name in pointers]
    attributes = defstruct(f"{kind.type}Attributes", fields, gc=False, kw_only=True)
    relationships = defstruct(f"{kind.type}Relationships", related, gc=False)
    parts: list[Any] = [("id", Id), ("attributes", attributes), ("relationships", relationships)]
    if stream is Stream.PROSPECTS:
        row = person = defstruct("ProspectRow", parts[:2], gc=False, tag_field="type", tag=kind.type)
    else:
        row, person = defstruct(f"{kind.type}Row", parts, gc=False), _shape(Stream.PROSPECTS, wanted).row
    return _Shape(types, pointers, row, *(msgspec.json.Decoder(one).decode for one in (row, person | _SequenceRow)))


def read_page(answer: Answer, stream: Stream, wanted: Wanted) -> Page | None:
    """Parse one answer of a walk (None: it is none); its `next_url` is '' where it does not tell what follows."""
    shape, make, people, sequences = _shape(stream, wanted), _MAKERS[stream], list[Prospect](), list[Sequence]()
    try:
        content: Any = _ANSWER.decode(answer.body)
        rows = [make(row, wanted) for row in map(shape.decode, content.data)]
        for row in map(shape.decode_included, content.included):
            if isinstance(row, _SequenceRow):
                sequences.append(Sequence(row.id, row.attributes.name))
            else:
                people.append(_prospect(row, wanted))
    except _UNUSUAL:
        document = parsed_object(answer.body) or {}
        return _row_by_row(document, answer, stream, wanted) if isinstance(document.get("data"), list) else None
    following = "" if content.links is UNSET else content.links and content.links.next
    return _page(answer, stream, rows, people, sequences)._replace(next_url=following)


def _row_by_row(document: Json, answer: Answer, stream: Stream, wanted: Wanted) -> Page:
    """Read each row by itself; one that makes no sense is refused, and read besides if it tells of an opt-out."""
    refused: list[Refused] = []

    def read(raw: Any, kind: Stream) -> list[Any]:
        try:
            usual, problems = _usual_row(raw, kind, wanted)
            record = [_MAKERS[kind](msgspec.convert(usual, _shape(kind, wanted).row), wanted)]
        except _UNUSUAL as problem:
            record, problems = [], [str(problem)]
        if not problems:
            return record
        named = prospect = None  # as far as the record can be named
        with suppress(ValueError, AttributeError):
            named = identifier(raw.get("id"))
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            related = msgspec.convert(_usual_relationship(raw["relationships"]["prospect"]), _ToOne | None)
            prospect = _target(related) or None
        name = f"{kind.value[:-1].replace('_', ' ')} {named if named is not None else 'without an id'}"
        whose = named if kind is Stream.PROSPECTS else prospect
        refused.append(Refused(kind, named, whose, f"{name}: {'; '.join(problems)}"))
        return [one for one in record if _tells_of_an_opt_out(one)]

    rows = [one for raw in document["data"] for one in read(raw, stream)]
    people, sequences = [], list[Sequence]()
    for raw in document["included"] if isinstance(document.get("included"), list) else ():
        if not isinstance(raw, dict) or raw.get("type") == KINDS[Stream.PROSPECTS].type:
            people += read(raw, Stream.PROSPECTS)
        else:  # a sequence without a name or an id is as if it were not included
            with suppress(*_UNUSUAL, TypeError):
                one = msgspec.convert({**raw, "id": identifier(raw.get("id"))}, _SequenceRow)
                sequences.append(Sequence(one.id, one.attributes.name))
    links = document.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    link = link.get("href", "") if isinstance(link, dict) else link  # JSON:API also allows a link object
    following = link if "links" in document and (link is None or isinstance(link, str)) else ""
    page = _page(answer, stream, rows, people, sequences)
    return page._replace(refused=tuple(refused), next_url=following, received=len(document["data"]))


def _page(answer: Answer, stream: Stream, rows: list[Any], included: list[Prospect], sequences: list[Sequence]) -> Page:
    rows_of: dict[str, Any] = {"states" if stream is Stream.SEQUENCE_STATES else stream.value: tuple(rows)}
    return Page(
        **rows_of,
        included=tuple(included),
        sequences=tuple([sequence for sequence in sequences if sequence.name]),
        server_time=answer.server_time,
        received=len(rows),
        without_stamp=[row.updated_at for row in rows].count(None),
    )


def _state(row: Any, _wanted: Wanted) -> SequenceState:
    attributes, relationships = row.attributes, row.relationships
    prospect, sequence = _target(relationships.prospect), _target(relationships.sequence)
    untold = _ALL_TOLD
    if prospect is UNSET or sequence is UNSET:
        untold = frozenset(name for name, one in (("prospect", prospect), ("sequence", sequence)) if one is UNSET)
    return SequenceState._make((
        row.id, prospect or None, sequence or None, attributes.state, _instant(attributes.stateChangedAt),
        _instant(attributes.updatedAt), untold, _target(relationships.sequenceStep) or None,
        _instant(attributes.repliedAt),
    ))  # fmt: skip


def _prospect(row: Any, wanted: Wanted) -> Prospect:
    one = row.attributes
    emails = tuple([line for email in one.emails or () if (line := email.strip()) and "\n" not in line])
    reference = (one.externalId or "").strip()
    more = {name: _scalar(value) for name in wanted.prospect if (value := getattr(one, name)) is not UNSET}
    return Prospect._make((
        row.id, one.firstName, one.lastName, emails, None if reference in _NOTHING else reference,
        one.optedOut is True, _instant(one.optedOutAt), one.emailOptedOut is True, _instant(one.emailsOptedAt),
        _instant(one.trashedAt), _instant(one.updatedAt), more,
    ))  # fmt: skip


def _task(row: Any, wanted: Wanted) -> SourceTask:
    one = row.attributes
    targets = {name: _target(related) for name, related in structs.asdict(row.relationships).items()}
    looks = structs.asdict(one)
    looks |= {name: None if looks[name] is UNSET else _scalar(looks[name]) for name in wanted.task}
    if "note" not in wanted.task:
        del looks["note"]  # long, personal, and in its own field
    usual = KINDS[Stream.TASKS].relationships
    looks |= {name: target or None for name, target in targets.items() if name in usual or target is not UNSET}
    prospect, sequence, state, step = (targets[name] or None for name in usual[:4])
    untold = frozenset([name for name in usual if targets[name] is UNSET])
    return SourceTask(
        row.id, prospect, sequence, state, step, str(one.taskType or ""), str(one.action or ""), _instant(one.dueAt),
        one.note, _instant(one.updatedAt), looks, untold,
    )  # fmt: skip


def _event(row: Any, _wanted: Wanted) -> Event:
    one = row.attributes
    if not one.name:
        raise ValueError("it has no name")
    targets = (_target(getattr(row.relationships, name)) or None for name in KINDS[Stream.EVENTS].relationships)
    return Event(row.id, one.name, _instant(one.createdAt), _instant(one.eventAt), *targets)


_MAKERS: dict[Stream, Callable[[Any, Wanted], Any]] = {
    Stream.SEQUENCE_STATES: _state,
    Stream.TASKS: _task,
    Stream.PROSPECTS: _prospect,
    Stream.EVENTS: _event,
}


@lru_cache(maxsize=64)  # a row has the same stamp twice, and bulk actions give one to many rows in a row
def _instant(text: str | None) -> Instant | None:
    return None if text is None else parse_iso(text)


def _target(related: _ToOne | UnsetType | None) -> int | UnsetType | None:
    """Return the id that a relationship, or its `related` link, points to; None: nowhere, UNSET: it says nothing."""
    if related is None or related is UNSET:
        return related
    data = related.data
    if isinstance(data, _Identifier):
        return data.id
    if data is None or related.links is UNSET:
        return data
    link = related.links.related
    link = link.get("href") if isinstance(link, dict) else link
    with suppress(ValueError):
        found = _RELATED_RECORD.fullmatch(urlsplit(link).path) if isinstance(link, str) else None
        return identifier(found[1]) if found else UNSET
    return UNSET


def _tells_of_an_opt_out(record: SequenceState | SourceTask | Prospect | Event) -> bool:
    if isinstance(record, Prospect):
        return record.opted_out or record.email_opted_out
    if isinstance(record, SequenceState):
        return record.state == "opted_out"
    return isinstance(record, Event) and SHOWN_BY.get(record.name, ("", False))[1]


def parsed_object(body: bytes) -> Json | None:
    """Parse a JSON object; None where the body is none.

    Lone surrogates, which JSON can spell but neither SQLite nor Workbooks can take, become question marks. A number of
    so many digits that Python would not print it becomes a float: it is no id and no value of ours.
    """

    def number(text: str) -> int | float:
        return int(text) if len(text) <= _LONGEST_NUMBER else float(text)

    try:
        content = json.loads(body, parse_int=number)
        if _SURROGATE.search(body):
            content = json.loads(json.dumps(content, ensure_ascii=False).encode(errors="replace"), parse_int=number)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _usual_row(raw: Any, stream: Stream, wanted: Wanted) -> tuple[Json, list[str]]:
    """Return a row in the form of the schema, and what of it made no sense and is null; ValueError: it is hopeless."""
    if not isinstance(raw, dict) or not isinstance(raw.get("attributes"), dict):
        raise ValueError("its parts are not what the API promises")  # noqa: TRY004 - one class for what makes no sense
    shape, problems = _shape(stream, wanted), list[str]()
    said, told = raw["attributes"], raw["relationships"] if isinstance(raw.get("relationships"), dict) else {}
    attributes, relationships = dict[str, Any](), dict[str, Any]()
    for name, type_ in shape.attributes.items():
        try:
            if name in said or type_ is str:
                attributes[name] = _usual(type_, said.get(name))
        except (ValueError, OverflowError) as problem:
            problems.append(f"{name} {problem}")
            attributes[name] = "" if type_ is str else None
    for name in shape.relationships:
        try:
            if name in told:
                relationships[name] = _usual_relationship(told[name])
        except ValueError as problem:
            problems.append(f"{name}: {problem}")
            relationships[name] = None
    usual = {"type": KINDS[stream].type, "id": identifier(raw.get("id"))}
    return {**usual, "attributes": attributes, "relationships": relationships}, problems


def _usual(type_: Any, value: Any) -> Any:
    """Bring an attribute into the form of its type, such as a list for one text; an unknown flag is no "no"."""
    if value is None:
        return "" if type_ is str else None
    if type_ in (Scalar, Any):
        return _scalar(value)
    if type_ is Texts:
        return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    usual: Any = UNSET
    problem = "is no text"
    if type_ is Flag:
        word = str(int(value) if value in (0, 1) else value).strip().lower()
        usual, problem = _FLAGS.get(word, UNSET), "is neither yes nor no"
    elif type_ is Time:
        problem = "is no time"
        with suppress(ValueError, OverflowError):
            if isinstance(value, str):
                usual = None if value in _NOTHING or _instant(value) is None else value
    elif not isinstance(value, (dict, list, bool)):
        usual = str(value)
    if usual is UNSET:
        raise ValueError(f"{_quote(value)} {problem}")
    return usual


def _scalar(value: Any) -> Scalar:
    """Keep a scalar as it came; a list (tags, phones) becomes one text, an object nothing."""
    if isinstance(value, list):
        return ", ".join(str(part) for part in value if part is not None) or None
    return None if isinstance(value, dict) else value


def _usual_relationship(value: Any) -> Any:
    """Bring a relationship into the usual form; one that is no object says nothing."""
    if value is None:
        return None
    content = value if isinstance(value, dict) else {}
    data, links = content.get("data", UNSET), content.get("links")
    if data is None:
        return {"data": None}
    if isinstance(data, dict):
        return {"data": {"id": identifier(data.get("id"))}}
    return {"links": {"related": links.get("related")}} if isinstance(links, dict) else {}


def identifier(value: object) -> int:
    """Read an id, a whole number or its text."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is int and 0 < number <= LARGEST_ID:
        return number
    raise ValueError(f"{_quote(value)} is no id")


def _quote(value: object) -> str:
    text = str(value)
    return f"'{text[:_LONGEST_QUOTE]}{'...' if len(text) > _LONGEST_QUOTE else ''}'"
