"""JSON:API documents into `records`: tolerant of everything that is merely absent, not of what makes no sense.

A relationship's `data` may be null, missing, or the whole relationship `{}` or only links; ids are integers or text; an
included resource may be missing; unknown attributes are passed over. A time that is no time, or a row without an id,
makes a `Refused`.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from outreach_sync.instants import parse_iso
from outreach_sync.outreach.queries import TASK_FIELDS
from outreach_sync.records import Page, Prospect, Refused, Scalar, Sequence, SequenceState, SourceTask, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outreach_sync.instants import Instant

Row = TypeVar("Row", SequenceState, SourceTask, Prospect)
Json = dict[str, Any]

TASK_LOOKS = tuple(name for name in TASK_FIELDS if name != "note")  # long, personal, and in its own field
_RELATED_RECORD = re.compile(r"/api/v2/[A-Za-z]+/(\d+)/?$", re.ASCII)
_LONGEST_QUOTE = 40
_LARGEST_ID = 2**63 - 1  # what the state database can hold


class Wanted(NamedTuple):
    """The attributes beyond the usual ones: of a prospect (`extra`) and of a task (`attributes`)."""

    prospect: tuple[str, ...] = ()
    task: tuple[str, ...] = ()


def read_page(document: Json, stream: Stream, wanted: Wanted, server_time: Instant | None) -> Page:
    """Make a page of a document whose `data` is a list, doubting every part of every row."""
    rows = document["data"]
    refused: list[Refused] = []
    states = _read(rows, _state, refused, stream) if stream is Stream.SEQUENCE_STATES else ()
    tasks = _read(rows, _task_reader(wanted.task), refused, stream) if stream is Stream.TASKS else ()
    read_prospects = partial(_read, read=_prospect_reader(wanted.prospect), refused=refused, stream=Stream.PROSPECTS)
    prospects = read_prospects(rows) if stream is Stream.PROSPECTS else ()
    return Page(
        states=states,
        tasks=tasks,
        prospects=prospects,
        included=read_prospects(_of_type(document, "prospect")),
        sequences=_sequences(_of_type(document, "sequence")),
        refused=tuple(refused),
        next_url=next_url(document),
        server_time=server_time,
        received=len(rows),
        without_stamp=_without_stamp(states) + _without_stamp(tasks) + _without_stamp(prospects),
    )


def _read(
    rows: Iterable[Any], read: Callable[[Json, Json, Json], Row], refused: list[Refused], stream: Stream
) -> tuple[Row, ...]:
    """Read each row; what makes no sense goes to `refused`."""
    made: list[Row] = []
    for row in rows:
        try:
            made.append(read(row, row.get("attributes") or {}, row.get("relationships") or {}))
        except (ValueError, TypeError, AttributeError) as problem:
            refused.append(_refusal(row, stream, problem))
    return tuple(made)


def _without_stamp(rows: tuple[Row, ...]) -> int:
    return sum(row.updated_at is None for row in rows)


def _state(row: Json, attributes: Json, relationships: Json) -> SequenceState:
    return SequenceState(
        _id(row.get("id")),
        _to_one(relationships.get("prospect")),
        _to_one(relationships.get("sequence")),
        _text(attributes, "state") or "",
        _time(attributes, "stateChangedAt"),
        _time(attributes, "updatedAt"),
    )


def _task_reader(extra: tuple[str, ...]) -> Callable[[Json, Json, Json], SourceTask]:
    names = tuple(dict.fromkeys(TASK_LOOKS + extra))

    def read(row: Json, attributes: Json, relationships: Json) -> SourceTask:
        return SourceTask(
            _id(row.get("id")),
            _to_one(relationships.get("prospect")),
            _to_one(relationships.get("sequence")),
            _to_one(relationships.get("sequenceState")),
            _to_one(relationships.get("sequenceStep")),
            _text(attributes, "taskType") or "",
            _text(attributes, "action") or "",
            _time(attributes, "dueAt"),
            _text(attributes, "note"),
            _time(attributes, "updatedAt"),
            {
                name: _to_one(relationships[name]) if name in relationships else _scalar(attributes.get(name))
                for name in names
            },
        )

    return read


def _prospect_reader(extra: tuple[str, ...]) -> Callable[[Json, Json, Json], Prospect]:
    def read(row: Json, attributes: Json, _relationships: Json) -> Prospect:
        return Prospect(
            _id(row.get("id")),
            _text(attributes, "firstName"),
            _text(attributes, "lastName"),
            _emails(attributes.get("emails")),
            reference(attributes.get("externalId")),
            _flag(attributes, "optedOut"),
            _time(attributes, "optedOutAt"),
            _flag(attributes, "emailOptedOut"),
            _time(attributes, "emailsOptedAt"),
            _time(attributes, "trashedAt"),
            _time(attributes, "updatedAt"),
            {name: _scalar(attributes[name]) for name in extra if name in attributes},
        )

    return read


def _sequences(rows: Iterable[Json]) -> tuple[Sequence, ...]:
    """Read the names; a sequence without one (or without an id) is as if it were not included."""
    found = []
    for row in rows:
        attributes = row.get("attributes")
        name = _text(attributes, "name") if isinstance(attributes, dict) else None
        try:
            found.append(Sequence(_id(row.get("id")), name or ""))
        except ValueError:
            continue
    return tuple(sequence for sequence in found if sequence.name)


def _of_type(document: Json, kind: str) -> list[Json]:
    included = document.get("included")
    if not isinstance(included, list):
        return []
    return [row for row in included if isinstance(row, dict) and row.get("type") == kind]


def next_url(document: Json) -> str | None:
    """Return `links.next`; None on the last page, and where there is no telling (`says_what_follows`)."""
    link = _next_link(document)
    return link if isinstance(link, str) and link else None


def says_what_follows(document: Json) -> bool:
    """Say whether an answer tells what follows it: the next page, or by `links` without one that there is none."""
    link = _next_link(document)
    return "links" in document and (link is None or (isinstance(link, str) and bool(link)))


def _next_link(document: Json) -> Any:
    links = document.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    return link.get("href", "") if isinstance(link, dict) else link  # JSON:API also allows a link object


def _refusal(row: Any, stream: Stream, problem: Exception) -> Refused:
    """Name the record as far as it can be named."""
    kind = stream.value[:-1].replace("_", " ")
    content = row if isinstance(row, dict) else {}
    relationships = content.get("relationships")
    named = _id_or_none(content.get("id"))
    prospect = relationships.get("prospect") if isinstance(relationships, dict) else None
    data = prospect.get("data") if isinstance(prospect, dict) else None
    pointed = _id_or_none(data.get("id")) if isinstance(data, dict) else None
    reason = str(problem) if type(problem) is ValueError else "its parts are not what the API promises"
    return Refused(
        stream,
        named,
        named if stream is Stream.PROSPECTS else pointed,
        f"{kind} {named if named is not None else 'without an id'}: {reason}",
    )


def _id(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is int and 0 < number <= _LARGEST_ID:
        return number
    raise ValueError(f"{_quote(value)} is no id")


def _id_or_none(value: object) -> int | None:
    try:
        return _id(value)
    except ValueError:
        return None


def _to_one(relationship: Any) -> int | None:
    """Return the id that a to-one relationship points to; null, `{}` and absent point nowhere.

    One that has only links points to what its `related` link names (`.../prospects/18`): a state must not be lost
    because of the form of its answer.
    """
    if type(relationship) is not dict:
        return None
    data = relationship.get("data")
    if type(data) is dict:
        return _id(data.get("id"))
    links = relationship.get("links") if "data" not in relationship else None
    related = links.get("related") if type(links) is dict else None
    found = _RELATED_RECORD.search(related) if isinstance(related, str) else None
    return _id(found[1]) if found else None


def _time(attributes: Json, name: str) -> Instant | None:
    text = attributes.get(name)
    if text is None or text in ("", "null"):
        return None
    if not isinstance(text, str):
        raise ValueError(f"{name} {_quote(text)} is no time")  # noqa: TRY004 - one class for all that makes no sense
    try:
        return _parsed_time(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} {_quote(text)} is no time") from None


@lru_cache(maxsize=4_096)  # rows come in the order of their stamps, and bulk actions give many the same one
def _parsed_time(text: str) -> Instant:
    return parse_iso(text)


def _text(attributes: Json, name: str) -> str | None:
    value = attributes.get(name)
    return None if value is None else _storable(str(value))


def _storable(text: str) -> str:
    """Replace lone surrogates, which JSON can spell but neither SQLite nor Workbooks can take."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def reference(value: object) -> str | None:
    """Read an id of another system: text, or a number that somebody put there; empty and "null" are none."""
    text = "" if value is None else _storable(str(value)).strip()
    return None if text in ("", "null") else text


def _flag(attributes: Json, name: str) -> bool:
    value = attributes.get(name)
    return value is True or value == "true"


def _emails(value: Any) -> tuple[str, ...]:
    """Read addresses in their order; null, one text, and lists with nulls occur."""
    listed = value if isinstance(value, list) else [value]
    return tuple(_storable(address.strip()) for address in listed if isinstance(address, str) and address.strip())


def _scalar(value: Any) -> Scalar:
    """Keep a scalar as it came; a list (tags, phones) becomes one text, an object nothing."""
    if isinstance(value, list):
        return _storable(", ".join(str(part) for part in value if part is not None)) or None
    if isinstance(value, str):
        return _storable(value)
    return None if isinstance(value, dict) else value


def _quote(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 1]}…"
