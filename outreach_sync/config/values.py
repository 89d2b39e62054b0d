"""The values that a config can hold, as annotated types: how each is read, and what is allowed.

A message never shows what was given: it might be a secret in the wrong place. `errorMessage` is what editors show for a
value that does not fit, and what our own complaints call allowed.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

from outreach_sync.instants import LONGEST_MS, Instant, OutOfReachError, parse_duration, parse_moment
from outreach_sync.records import Scalar
from outreach_sync.rules.skipped import Condition

T = TypeVar("T")
G = TypeVar("G", str, SecretStr)

Where = tuple[str | int, ...]
"""The way to a value: keys, and indexes of lists from 0."""

DAY_MS = 86_400_000
_NAME = re.compile(r"\w[\w\[\]-]{0,60}", re.ASCII)
_A_YEAR = datetime(2027, 1, 1, tzinfo=UTC)  # not a leap year
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f\u200b-\u200d\u2060\ufeff]")
_PLACES = ("action", "sequence", "step", "task_type", "id", "prospect")
_FIELD, _ATTRIBUTE, _WORD = r"^[A-Za-z_]\w*(\[\w+\])*$", "^[A-Za-z][A-Za-z0-9_]*$", "^[a-z][a-z0-9_]*$"
NAMES = {
    _FIELD: "the name of a field in Workbooks, such as cf_person_outreach_id",
    _ATTRIBUTE: "the name of an attribute in Outreach, such as customField or completedAt",
    _WORD: "a name as Outreach writes it, such as opted_out or skip_task",
}
"""The pattern of a name to what is allowed."""


class Plain(str):
    """Unquoted text that YAML reads as a number or a truth value, which is `value`."""

    __slots__ = ("value",)
    value: Scalar

    def __new__(cls, text: str, value: Scalar) -> Self:
        """Keep both readings."""
        plain = super().__new__(cls, text)
        plain.value = value
        return plain


class Back(NamedTuple):
    """So many milliseconds before the server's clock."""

    ms: int


class From(NamedTuple):
    """From this time on."""

    at: Instant


class Everything(NamedTuple):
    """All there is."""


def shown_way(where: Where) -> str:
    """Write the way to a value as ``sync.tasks.skipped_when[0].state``.

    A key that is not a name is not shown: ``{api_key:hush}``, for want of a blank, is a key.
    """
    steps = (f"[{one}]" if isinstance(one, int) else f".{one if _NAME.fullmatch(one) else '…'}" for one in where)
    return "".join(steps).removeprefix(".")


def as_yaml(tree: object) -> Any:
    """Return a part of the tree as YAML reads it, numbers and truth values included."""
    match tree:
        case Plain():
            return tree.value
        case list():
            return [as_yaml(one) for one in tree]
        case dict():
            return {key: as_yaml(one) for key, one in tree.items()}
    return tree


def checked_cron(text: str) -> str:
    """Return a cron expression of five fields (crontab(5), UTC) with single blanks.

    Raises:
        ValueError: it is not one, or never fires; the text names the field, never its content.
    """
    fields = text.lower().split()
    if len(fields) != 5:  # noqa: PLR2004
        raise ValueError("is not a cron expression of five fields")
    try:
        firing = next(CronSim(" ".join(fields), _A_YEAR), None)
    except CronSimError as error:
        raise ValueError(f"is not a cron expression ({str(error).lower()})") from None
    if firing is None:
        raise ValueError("never fires")
    return " ".join(fields)


def next_firing(text: str, after: datetime) -> datetime:
    """Return the first firing after a moment (aware, UTC)."""
    return next(CronSim(text, after))


def firings_a_year(text: str) -> int:
    """Count the firings of a year of 365 days."""
    minute, hour, *days = text.split()
    a_day = CronSim(f"{minute} {hour} * * *", _A_YEAR)
    firings = CronSim(f"0 0 {' '.join(days)}", _A_YEAR - timedelta(seconds=1))
    days_a_year = len(list(takewhile(lambda firing: firing.year == _A_YEAR.year, firings)))
    return len(a_day.minutes) * len(a_day.hours) * days_a_year


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("is empty" if raw is None else "is not text")  # noqa: TRY004 - pydantic wants it so
    return _not_blank(raw)


def _unbroken(given: G) -> G:
    """Refuse a credential with a blank or a line break in it: it was torn or glued together on its way here."""
    if _BREAKS.search(given if isinstance(given, str) else given.get_secret_value()):
        raise ValueError("has a blank, a line break or an invisible character inside")
    return given


def _host_of(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in {"https", "http"} or not host or _BREAKS.search(text):
        raise ValueError("is not an address")
    return host


def _secret_address(secret: SecretStr) -> SecretStr:
    _host_of(secret.get_secret_value())
    return secret


def _service_address(given: str) -> str:
    text = given.strip()
    host, parts = _host_of(text), urlsplit(text)
    try:  # whatever the resolver thinks of it
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if parts.scheme == "http" and not loopback:
        raise ValueError("is http on a host that is not this machine")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("has more than a host and a path")
    return text


def _path(raw: object, info: ValidationInfo) -> Path:
    """Expand `~`; a relative path starts at the directory of the config, which the context names."""
    if not isinstance(raw, str | Path) or not str(raw).strip() or "\0" in str(raw):
        raise ValueError("is not a path")
    try:
        return Path((info.context or {}).get("base", ""), Path(raw).expanduser())
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def _milliseconds(raw: object) -> int:
    text = _text(raw)
    try:
        return parse_duration(text)
    except OutOfReachError:
        raise
    except ValueError:
        raise ValueError("is not a duration") from None


def _start(raw: object) -> Back | From | Everything:
    text = _text(raw).strip()
    if text.lower() == "all":
        return Everything()
    for reads in (lambda: Back(parse_duration(text)), lambda: From(parse_moment(text))):
        try:
            return reads()
        except OutOfReachError:
            raise
        except ValueError:
            continue
    raise ValueError("is none of the three")


def _each_once(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(given)) < len(given):
        raise ValueError("contains a duplicate")
    return given


def _at_least_one(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given:
        raise ValueError("is an empty list")
    return given


def _template(*places: str) -> Any:
    """Make the rule of a template: it can reach nothing but its places."""

    def checked(text: str) -> str:
        try:
            parts = list(Formatter().parse(_not_blank(text)))
        except ValueError as error:
            raise error if not text.strip() else ValueError("has a brace that is not closed, or not opened") from None
        for _, place, layout, conversion in parts:
            if place is not None and (place not in places or layout or conversion):
                raise ValueError("has a place that is not known")
        return text

    return AfterValidator(checked)


def _words(raw: object) -> tuple[str, ...]:
    try:
        words = tuple(map(_text, raw)) if isinstance(raw, list) else tuple(shlex.split(_text(raw)))
    except ValueError as error:
        raise ValueError("has a quote that is not closed" if "quot" in str(error) else str(error)) from None
    if not words or any("\0" in word for word in words):
        raise ValueError("is not a command")
    return words


def _condition(raw: object) -> Condition:
    given = as_yaml(raw)
    if not isinstance(given, Mapping) or not given:
        raise ValueError("is not a condition")
    return {_attribute(name): _requirement(wanted) for name, wanted in given.items()}


def _attribute(raw: object) -> str:
    if not isinstance(raw, str) or not re.fullmatch(_ATTRIBUTE, raw):
        raise ValueError("names something that cannot be an attribute")
    return raw


def _requirement(raw: object) -> Any:
    match raw:
        case {"not_after": other, **more} if not more:
            return {"not_after": _attribute(other)}
        case dict():
            raise ValueError("has a map that is not {not_after: ATTRIBUTE}")
        case []:
            raise ValueError("has an empty list, which nothing can match")
        case list() if any(isinstance(one, list | dict) for one in raw):
            raise ValueError("has a value that is neither text, a number, a truth value nor null")
    return raw


def says(allowed: str, **schema: Any) -> WithJsonSchema:
    """Describe a value to editors and in complaints, where pydantic cannot tell by itself."""
    return WithJsonSchema({"type": "string", **schema, "errorMessage": allowed})


def _list(*places: str) -> str:
    return "text with any of " + " ".join(f"{{{place}}}" for place in places) + "; {{ and }} for braces"


def _name(pattern: str) -> Any:
    return Field(pattern=pattern, json_schema_extra={"errorMessage": NAMES[pattern]})


_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_NOT_AFTER: dict[str, Any] = {
    "type": "object",
    "properties": {"not_after": {"type": "string"}},
    "required": ["not_after"],
    "additionalProperties": False,
}
_CLAUSE = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}, _NOT_AFTER]}
_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
SPANS = "a duration such as 30s, 10m, 24h or 90d"

Maybe = Annotated[T | None, BeforeValidator(lambda raw: None if raw == "" else raw)]
"""A value or null; text that is empty (a variable set to nothing) counts as null."""
Filled = BeforeValidator(lambda raw: {} if raw is None else raw)
"""A map whose keys are all commented out is empty."""

Text = Annotated[str, AfterValidator(_not_blank)]
Credential = Annotated[str, AfterValidator(_unbroken)]
Secret = Annotated[
    SecretStr, AfterValidator(_unbroken), says("text, best as ${NAME}, or by the key with `_file` added")
]
SecretAddress = Annotated[
    SecretStr, AfterValidator(_secret_address), says("an address that begins with https:// or http://")
]
Address = Annotated[
    str,
    AfterValidator(_service_address),
    says("an https:// address without a query (http:// only on a loopback address)"),
]
BaseAddress = Annotated[Address, AfterValidator(lambda address: address.rstrip("/"))]
FilePath = Annotated[
    Path, BeforeValidator(_path), PlainSerializer(str), says("a path; a relative one starts at the config's directory")
]
Milliseconds = Annotated[int, BeforeValidator(_milliseconds)]
Span = Annotated[Milliseconds, Field(ge=0, le=LONGEST_MS), says(SPANS)]
LongerThanNothing = Annotated[Milliseconds, Field(ge=1, le=LONGEST_MS), says(f"{SPANS}, longer than 0")]
AtMostADay = Annotated[Milliseconds, Field(ge=1, le=DAY_MS), says(f"{SPANS}, longer than 0 and at most 24h")]
Value = Annotated[
    Scalar, WithJsonSchema({**_SCALAR, "errorMessage": "text, a number, true, false, or null for an empty field"})
]
FieldName = Annotated[str, _name(_FIELD)]
AttributeName = Annotated[str, _name(_ATTRIBUTE)]
OutreachWord = Annotated[str, _name(_WORD)]
EachOnce = AfterValidator(_each_once)
AtLeastOne = AfterValidator(_at_least_one)
Template = Annotated[str, _template(*_PLACES), says(_list(*_PLACES))]
NoteTemplate = Annotated[str, _template(*_PLACES, "note"), says(_list(*_PLACES, "note"))]
Cron = Annotated[str, AfterValidator(checked_cron), says('five fields as in a cron table, such as "0 3 * * sun"')]
Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    WithJsonSchema(
        {**_WORDS, "errorMessage": "a command as a list of words, or as one line; it is started without a shell"}
    ),
]
Start = Annotated[
    Back | From | Everything,
    PlainValidator(_start),
    PlainSerializer(str),
    says("a duration such as 90d, a date such as 2026-01-31, or all"),
]
SkipRule = Annotated[
    Condition,
    GetPydanticSchema(lambda _source, handler: handler(Annotated[Any, PlainValidator(_condition)])),
    says(
        "a map of attribute to a value, null, a list of values, or {not_after: ATTRIBUTE}",
        type="object",
        minProperties=1,
        propertyNames={"pattern": _ATTRIBUTE},
        additionalProperties=_CLAUSE,
    ),
]
