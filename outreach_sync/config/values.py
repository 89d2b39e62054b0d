"""The values that a config can hold, as annotated types: how each is read, and what is allowed.

A message never shows what was given: it might be a secret in the wrong place. `errorMessage` is what editors show for a
value that does not fit, and what our own complaints call allowed.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

from outreach_sync.instants import LONGEST_MS, Back, Instant, parse_duration, parse_since
from outreach_sync.records import Scalar
from outreach_sync.rules.skipped import Condition

T = TypeVar("T")

Where = tuple[str | int, ...]
"""The way to a value: keys, and indexes of lists from 0."""

DAY_MS = 86_400_000
_A_YEAR = datetime(2027, 1, 1, tzinfo=UTC)  # not a leap year
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


def firings_a_year(text: str) -> int:
    """Count the firings of a year of 365 days."""
    minute, hour, *days = text.split()
    a_day = CronSim(f"{minute} {hour} * * *", _A_YEAR)
    firings = CronSim(f"0 0 {' '.join(days)}", _A_YEAR - timedelta(seconds=1))
    days_a_year = len(list(takewhile(lambda firing: firing.year == _A_YEAR.year, firings)))
    return len(a_day.minutes) * len(a_day.hours) * days_a_year


def _unless(pattern: str, wrong: str) -> AfterValidator:
    """Refuse a text or a secret that does not match as a whole."""

    def checked(given: str | SecretStr) -> str | SecretStr:
        if not re.fullmatch(pattern, given if isinstance(given, str) else given.get_secret_value(), re.DOTALL):
            raise ValueError(wrong)
        return given

    return AfterValidator(checked)


def _parts(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        if parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0 and re.fullmatch(_UNBROKEN, text):
            return parts
    except ValueError:
        pass
    raise ValueError("is not an address")


def _service_address(given: str) -> str:
    text = given.strip()
    parts = _parts(text)
    try:  # whatever the resolver thinks of it
        loopback = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = parts.hostname == "localhost"
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


def _each_once(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(given)) < len(given):
        raise ValueError("contains a duplicate")
    return given


def _words(raw: object) -> object:
    try:
        return shlex.split(raw) if isinstance(raw, str) else raw
    except ValueError:
        raise ValueError("has a quote that is not closed") from None


def _condition(raw: object) -> Condition:
    given = as_yaml(raw)
    if not isinstance(given, dict) or not given:
        raise ValueError("is not a condition")
    for name, wanted in given.items():
        match wanted:
            case {"not_after": other, **more} if not more:
                names = [name, other]
            case dict():
                raise ValueError("has a map that is not {not_after: ATTRIBUTE}")
            case []:
                raise ValueError("has an empty list, which nothing can match")
            case list() if any(isinstance(one, list | dict) for one in wanted):
                raise ValueError("has a value that is neither text, a number, a truth value nor null")
            case _:
                names = [name]
        if not all(isinstance(one, str) and re.fullmatch(_ATTRIBUTE, one) for one in names):
            raise ValueError("names something that cannot be an attribute")
    return given


def says(allowed: str, **schema: Any) -> WithJsonSchema:
    """Describe a value to editors and in complaints, where pydantic cannot tell by itself."""
    return WithJsonSchema({"type": "string", **schema, "errorMessage": allowed})


_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_NOT_AFTER: dict[str, Any] = {
    "type": "object",
    "properties": {"not_after": {"type": "string"}},
    "required": ["not_after"],
    "additionalProperties": False,
}
_CLAUSE = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}, _NOT_AFTER]}
_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_PLACES = "action|sequence|step|task_type|id|prospect"
_TEMPLATE = r"([^{{}}]|\{{\{{|\}}\}}|\{{({})\}})*"
_STRAY = "has a place that is not known, or a brace that stands alone"
_ANY = "text with any of {action} {sequence} {step} {task_type} {id} {prospect}"
_BRACES = "; {{ and }} for braces"
_UNBROKEN = r"[^\s\x00-\x1f\x7f\u200b-\u200d\u2060\ufeff]*"
_WHOLE = _unless(_UNBROKEN, "has a blank, a line break or an invisible character inside")  # else it was torn or glued
SPANS = "a duration such as 30s, 10m, 24h or 90d"

Maybe = Annotated[T | None, BeforeValidator(lambda raw: None if raw == "" else raw)]
"""A value or null; text that is empty (a variable set to nothing) counts as null."""
Filled = BeforeValidator(lambda raw: {} if raw is None else raw)
"""A map whose keys are all commented out is empty."""

Text = Annotated[str, _unless(r".*\S.*", "is empty")]
Credential = Annotated[str, _WHOLE]
Secret = Annotated[SecretStr, _WHOLE, says("text, best as ${NAME}, or by the key with `_file` added", writeOnly=True)]
SecretAddress = Annotated[
    SecretStr,
    AfterValidator(lambda secret: _parts(secret.get_secret_value()) and secret),
    says("an address that begins with https:// or http://", writeOnly=True),
]
Address = Annotated[
    str,
    AfterValidator(_service_address),
    says("an https:// address without a query (http:// only on a loopback address)"),
]
BaseAddress = Annotated[Address, AfterValidator(lambda address: address.rstrip("/"))]
FilePath = Annotated[Path, BeforeValidator(_path), says("a path; a relative one starts at the config's directory")]
Milliseconds = Annotated[int, BeforeValidator(lambda raw: parse_duration(str(raw)))]
Span = Annotated[Milliseconds, Field(ge=0, le=LONGEST_MS), says(SPANS)]
LongerThanNothing = Annotated[Milliseconds, Field(ge=1, le=LONGEST_MS), says(f"{SPANS}, longer than 0")]
AtMostADay = Annotated[Milliseconds, Field(ge=1, le=DAY_MS), says(f"{SPANS}, longer than 0 and at most 24h")]
Value = Annotated[
    Scalar, WithJsonSchema({**_SCALAR, "errorMessage": "text, a number, true, false, or null for an empty field"})
]
FieldName = Annotated[str, Field(pattern=_FIELD, json_schema_extra={"errorMessage": NAMES[_FIELD]})]
AttributeName = Annotated[str, Field(pattern=_ATTRIBUTE, json_schema_extra={"errorMessage": NAMES[_ATTRIBUTE]})]
OutreachWord = Annotated[str, Field(pattern=_WORD, json_schema_extra={"errorMessage": NAMES[_WORD]})]
EachOnce = AfterValidator(_each_once)
AtLeastOne = Field(min_length=1)
Template = Annotated[Text, _unless(_TEMPLATE.format(_PLACES), _STRAY), says(f"{_ANY}{_BRACES}")]
NoteTemplate = Annotated[Text, _unless(_TEMPLATE.format(_PLACES + "|note"), _STRAY), says(f"{_ANY} {{note}}{_BRACES}")]
Cron = Annotated[str, AfterValidator(checked_cron), says('five fields as in a cron table, such as "0 3 * * sun"')]
Command = Annotated[
    tuple[Text, ...],
    AtLeastOne,
    BeforeValidator(_words),
    WithJsonSchema(
        {**_WORDS, "errorMessage": "a command as a list of words, or as one line; it is started without a shell"}
    ),
]
Start = Annotated[
    Back | Instant | None,
    PlainValidator(lambda raw: None if str(raw).strip().lower() == "all" else parse_since(str(raw))),
    says("a duration such as 90d, a date such as 2026-01-31, or all"),
]
"""How far back to read; None: all there is."""
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
