"""One filter of a read or of a working set: a field, an operator, a value (API developers guide: Filtering Types)."""

from __future__ import annotations

import json
import math
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.workbooks import formats
from outreach_sync.sandbox.workbooks.conditions import Condition, MalformedError
from outreach_sync.sandbox.workbooks.formats import TRUE_WORDS, read_moment
from outreach_sync.sandbox.workbooks.table import loose
from outreach_sync.sandbox.workbooks.zones import zone_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.table import Record, Table

_TEXT_TYPES = ("string", "text", "picklist_data")
_NUMBER_TYPES = ("integer", "has_one", "decimal")
_TIME_TYPES = ("date", "datetime", "var_date_time")
_VAR_MOMENT = re.compile(r"([^,\\]+),([01]),([A-Za-z][\w+/-]*)", re.ASCII)
"""A ``var_date_time`` in full, whose own commas separate no values."""
_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_TODAY = {"today": "eq", "gt_today": "gt", "ge_today": "ge", "lt_today": "lt", "le_today": "le"}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_PAIR = 2
_COMPUTED = ("object_ref", "type", "created_through", "updated_by_user[person_name]", "created_by_user[person_name]")


class RawFilter(NamedTuple):
    """A filter as it was sent."""

    field: str
    operator: str
    value: str


class Setting(NamedTuple):
    """What a filter is read against: the user's zone, the time, and how open questions about ``eq`` are settled."""

    zone: str
    now: Instant
    case_sensitive: bool = False
    without_accents: bool = False
    without_blanks: bool = False
    booleans_without_case: bool = False
    backslash_escapes: bool = False

    def alike(self, text: str) -> str:
        """Give what texts that ``eq`` takes for the same have in common."""
        if self.without_blanks:
            text = text.strip()
        if self.without_accents:
            text = loose(text, strip=False)
        return text if self.case_sensitive else text.lower()

    def values(self, text: str) -> list[str]:
        """Split the value of ``eq``."""
        return list_of(text, backslash_escapes=self.backslash_escapes)


class Span(NamedTuple):
    """A stretch of time, the end not included: a day or a second."""

    start: int
    end: int


class FieldFilter:
    """A filter on one field: `test` is asked about what a record holds in it."""

    def __init__(
        self,
        table: Table,
        field: Field,
        test: Callable[[Any], bool],
        candidates: Callable[[], Collection[int] | None] = lambda: None,
    ) -> None:
        """Take the test, and how to find candidates where there is a quick way."""
        self._table = table
        self._field = field
        self._test = test
        self._candidates = candidates

    def holds(self, record: Record) -> bool:
        """Tell whether the record's value passes the test."""
        return self._test(self._table.value(record, self._field))

    def candidates(self) -> Collection[int] | None:
        """Give the ids an index knows, or None."""
        return self._candidates()


def read_filter(raw: RawFilter, table: Table, setting: Setting) -> Condition:
    """Turn a filter as sent into a condition.

    Raises:
        MalformedError: the field or the operator does not exist, or the value does not fit.
    """
    field = table.fields.get(raw.field)
    if field is None:
        raise MalformedError(f"'{raw.field}' is not a valid filter field")
    if raw.operator in _TODAY:
        today = formats.local_day(setting.now, setting.zone)
        return _compare(raw._replace(operator=_TODAY[raw.operator], value=today), table, field, setting)
    if raw.operator in ("blank", "not_blank"):
        wanted = raw.operator == "blank"
        return FieldFilter(table, field, lambda value: (value in (None, "")) == wanted)
    if raw.operator in ("true", "false"):
        if field.datatype != "boolean":
            raise MalformedError(f"'{raw.operator}' is not a valid filter type for '{raw.field}'")
        return FieldFilter(table, field, lambda value: bool(value) == (raw.operator == "true"))
    return _compare(raw, table, field, setting)


def list_of(value: str, *, backslash_escapes: bool = False) -> list[str]:
    """Split the value of ``eq`` at commas that no backslash precedes; it may take other characters as they are too."""
    if backslash_escapes:
        return _unescaped_list(value)
    return [part.replace("\\,", ",") for part in _UNESCAPED_COMMA.split(value)]


def _unescaped_list(value: str) -> list[str]:
    parts, rest = [""], iter(value)
    for one in rest:
        if one == ",":
            parts.append("")
        else:
            parts[-1] += next(rest, one) if one == "\\" else one
    return parts


def _compare(raw: RawFilter, table: Table, field: Field, setting: Setting) -> Condition:
    if raw.operator == "eq":
        return _equal(raw, table, field, setting)
    if raw.operator == "ne":
        return _negated(_equal(raw, table, field, setting), table, field)
    if raw.operator in ("ct", "nct", "bg", "nbg"):
        return _containing(raw, table, field)
    if raw.operator in _ORDER:
        return _ordered(raw, table, field, setting)
    if raw.operator in ("between", "not_between"):
        return _between(raw, table, field, setting)
    raise MalformedError(f"'{raw.operator}' is not a valid filter type")


def _negated(equal: FieldFilter, table: Table, field: Field) -> FieldFilter:
    test = equal._test  # noqa: SLF001 - the same module
    return FieldFilter(table, field, lambda value: not test(value))


def _equal(raw: RawFilter, table: Table, field: Field, setting: Setting) -> FieldFilter:
    if field.datatype in _TIME_TYPES:
        spans = [_span(part, setting) for part in setting.values(_VAR_MOMENT.sub(r"\1\\,\2\\,\3", raw.value))]
        return FieldFilter(table, field, lambda value: _in_spans(value, field, setting, spans))
    if field.datatype == "boolean":
        words = raw.value.lower() if setting.booleans_without_case else raw.value
        wanted = {part in TRUE_WORDS for part in setting.values(words)}
        return FieldFilter(table, field, lambda value: bool(value) in wanted)
    if field.datatype in _NUMBER_TYPES:
        return _equal_number(setting.values(raw.value), table, field)
    return _equal_text(setting.values(raw.value), table, field, setting)


def _equal_number(parts: list[str], table: Table, field: Field) -> FieldFilter:
    numbers = {number for part in parts if (number := _number(part)) is not None}
    if field.name == "id":
        ids = [int(number) for number in numbers]
        return FieldFilter(table, field, numbers.__contains__, lambda: [id_ for id_ in ids if id_ in table.records])
    if field.name in ("lock_version", "created_by", "updated_by") or field.datatype == "decimal":
        return FieldFilter(table, field, lambda value: value is not None and float(value) in numbers)
    texts = [str(int(number)) for number in numbers]
    return FieldFilter(table, field, numbers.__contains__, lambda: table.with_value(field.name, texts))


def _equal_text(parts: list[str], table: Table, field: Field, setting: Setting) -> FieldFilter:
    wanted = {setting.alike(part) for part in parts}

    def test(value: Any) -> bool:
        return setting.alike("" if value is None else str(value)) in wanted

    if field.name == "object_ref":
        return FieldFilter(table, field, test, lambda: _ids_of_references(parts, table))
    if field.name in _COMPUTED:
        return FieldFilter(table, field, test)
    return FieldFilter(table, field, test, lambda: table.near(field.name, parts))


def _ids_of_references(parts: list[str], table: Table) -> list[int]:
    numbers = [int(number) for part in parts if (number := part.rpartition("-")[2]).isdecimal()]
    return [number for number in numbers if number in table.records]


def _containing(raw: RawFilter, table: Table, field: Field) -> FieldFilter:
    if field.datatype not in _TEXT_TYPES:
        raise MalformedError(f"'{raw.operator}' is not a valid filter type for '{raw.field}'")
    wanted = raw.value.casefold()
    negative = raw.operator.startswith("n")

    def test(value: Any) -> bool:
        text = "" if value is None else str(value).casefold()
        found = text.startswith(wanted) if raw.operator.endswith("bg") else wanted in text
        return found != negative

    return FieldFilter(table, field, test)


def _ordered(raw: RawFilter, table: Table, field: Field, setting: Setting) -> FieldFilter:
    compare = _ORDER[raw.operator]
    if field.datatype in _NUMBER_TYPES:
        bound = _number_or_complaint(raw.value)
        near = _id_range(raw.operator, bound, table) if field.name == "id" else lambda: None
        return FieldFilter(table, field, lambda value: value is not None and compare(float(value), bound), near)
    if field.datatype not in _TIME_TYPES:
        raise MalformedError(f"'{raw.operator}' is not a valid filter type for '{raw.field}'")
    span = _span(raw.value, setting)
    edge = span.end - 1 if raw.operator in ("gt", "le") else span.start

    def test(value: Any) -> bool:
        at = _instant(value, field, setting)
        return at is not None and compare(at, edge)

    return FieldFilter(table, field, test)


def _id_range(name: str, bound: float, table: Table) -> Callable[[], Collection[int]]:
    number = int(bound)
    if name in ("gt", "ge"):
        return lambda: table.ids(above=number - 1)
    return lambda: table.ids(upto=number)


def _between(raw: RawFilter, table: Table, field: Field, setting: Setting) -> FieldFilter:
    low, high = _two_values(raw.value)
    above = _ordered(raw._replace(operator="ge", value=low), table, field, setting)
    below = _ordered(raw._replace(operator="le", value=high), table, field, setting)
    wanted = raw.operator == "between"
    tests = (above._test, below._test)  # noqa: SLF001 - the same module
    return FieldFilter(table, field, lambda value: all(test(value) for test in tests) == wanted)


def _two_values(text: str) -> tuple[str, str]:
    """Read ``JSON([a,b])``; the guide's own examples leave the quotation marks out."""
    inner = text.strip().removeprefix("JSON(").removesuffix(")").strip()
    try:
        parts = [str(part) for part in json.loads(inner)]
    except (TypeError, ValueError):
        parts = [part.strip() for part in inner.strip("[]").split(",")]
    if len(parts) != _PAIR:
        raise MalformedError("between takes JSON([a,b])")
    return parts[0], parts[1]


def _span(text: str, setting: Setting) -> Span:
    value, _, rest = text.partition(",")
    flag, _, named = rest.partition(",")
    try:
        zone = zone_of(named) if named else setting.zone
        moment = read_moment(value[:10] if flag == "0" else value, zone)
        end = formats.day_after(moment.day, zone) if moment.day else moment.at // 1000 * 1000 + 1000
    except (ValueError, OverflowError):
        raise MalformedError(f"'{text}' is not a valid date") from None
    return Span(moment.at // 1000 * 1000, end)


def _in_spans(value: Any, field: Field, setting: Setting, spans: list[Span]) -> bool:
    at = _instant(value, field, setting)
    return at is not None and any(span.start <= at < span.end for span in spans)


def _instant(value: Any, field: Field, setting: Setting) -> int | None:
    if value is None:
        return None
    if field.datatype == "date":
        return formats.day_moment(value, setting.zone).at
    if field.datatype == "datetime":
        return int(value)
    return formats.var_moment(value).at


def _number(text: str) -> float | None:
    try:
        number = float(text) if "_" not in text else math.nan  # which Python alone takes for a number
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _number_or_complaint(text: str) -> float:
    number = _number(text)
    if number is None:
        raise MalformedError(f"'{text}' is not a number")
    return number
