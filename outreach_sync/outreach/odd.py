"""What Outreach's answers hold in another form than usual, brought into the usual one, and what makes no sense named.

Ids come as text, flags as numbers or words, relationships as links only, times as "null", numbers with thousands of
digits. The types here are those that the schema in `rows` is written in.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from msgspec import UNSET, Meta, UnsetType

from outreach_sync.instants import parse_iso
from outreach_sync.records import Scalar

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

_RELATED_RECORD = re.compile(r"(?:/api/v2)?/[A-Za-z]+/(\d+)/?", re.ASCII)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_YES = frozenset({"true", "t", "yes", "y", "on", "1"})
_NO = frozenset({"false", "f", "no", "n", "off", "0", "", "null"})
_LONGEST_QUOTE = _LONGEST_NUMBER = 40


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


def _moment(name: str, value: Any) -> datetime | None:
    text = _time_text(name, value)
    return None if text is None else datetime.fromisoformat(text)


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


def _addresses(_name: str, value: Any) -> list[str]:
    """Read addresses in their order; null, one text, and lists with nulls occur."""
    return [address for address in (value if isinstance(value, list) else [value]) if isinstance(address, str)]


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
    Time: _moment,
    TimeAsText: _time_text,
    Texts: _addresses,
    Scalar: scalar,
}
"""How each type of the schema is made of what came instead."""
