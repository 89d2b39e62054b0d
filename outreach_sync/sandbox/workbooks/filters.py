"""The filters of a request: which records they select (API developers guide: Filtering Types, Boolean expressions)."""

from __future__ import annotations

import math
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.workbooks import formats
from outreach_sync.sandbox.workbooks.formats import TEXT_TYPES, TRUE_WORDS
from outreach_sync.sandbox.workbooks.store import loose

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.store import Record, Table

    Test = Callable[[Any], bool]
    Known = Collection[int] | None

_NUMBER_TYPES = ("integer", "has_one")
_TIME_TYPES = ("date", "datetime", "var_date_time")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_TOKEN = re.compile(r"\s*(\d+|[()]|AND\b|OR\b|NOT\b)", re.IGNORECASE | re.ASCII)
_VAR_MOMENT = re.compile(r"([^,\\]+),([01]),([A-Za-z][\w+/-]*)", re.ASCII)
"""A ``var_date_time`` in full, whose own commas separate no values."""
_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_UNINDEXED = ("lock_version", "created_by", "updated_by", "type", "created_through")


class MalformedError(ValueError):
    """The request makes no sense (`calls` and writes say so too); the text goes into the answer's ``failures``."""


class RawFilter(NamedTuple):
    """A filter as it was sent."""

    field: str
    operator: str
    value: str


class Setting(NamedTuple):
    """What filters are read against: the user's zone, and the faults that settle open questions about ``eq``."""

    zone: str
    faults: FaultBoard

    def alike(self, value: Any) -> str:
        """Give what texts that ``eq`` takes for the same have in common."""
        text = "" if value is None else str(value)
        if self.faults.fires("eq_without_blanks"):
            text = text.strip()
        if self.faults.fires("eq_without_accents"):
            text = loose(text, strip=False)
        return text if self.faults.fires("eq_case_sensitive") else text.lower()

    def values(self, text: str) -> list[str]:
        """Split the value of ``eq`` at commas that no backslash precedes; it may escape other characters too."""
        if not self.faults.fires("backslash_escapes"):
            return [part.replace("\\,", ",") for part in _UNESCAPED_COMMA.split(text)]
        parts, rest = [""], iter(text)
        for one in rest:
            if one == ",":
                parts.append("")
            else:
                parts[-1] += next(rest, one) if one == "\\" else one
        return parts


class Condition(NamedTuple):
    """Something that holds of a record or not; all it holds of are among the `candidates`, where those are known."""

    holds: Callable[[Record], bool]
    candidates: Collection[int] | None = None


def select(filters: Sequence[RawFilter], logic: str, table: Table, setting: Setting) -> Condition:
    """Turn filters and the ``_fm`` that joins them into one condition."""
    if logic.lower() == "or" and all((one.field, one.operator) == ("id", "eq") for one in filters):
        filters = [RawFilter("id", "eq", ",".join(one.value for one in filters))]  # the usual working set, quicker
    conditions = [_condition(one, table, setting) for one in filters]
    if logic.lower() in ("", "and"):
        return _all(conditions)
    if logic.lower() == "or":
        return _some(conditions)
    return _Expression(conditions, logic).condition


def _all(parts: list[Condition]) -> Condition:
    known = [part.candidates for part in parts if part.candidates is not None]
    return Condition(lambda record: all(part.holds(record) for part in parts), min(known, key=len, default=None))


def _some(parts: list[Condition]) -> Condition:
    known = [part.candidates for part in parts if part.candidates is not None]
    candidates = set().union(*known) if len(known) == len(parts) else None
    return Condition(lambda record: any(part.holds(record) for part in parts), candidates)


class _Expression:
    """Reads ``1 AND (2 OR NOT 3)``; NOT binds closest, then AND, then OR."""

    def __init__(self, conditions: list[Condition], logic: str) -> None:
        self._conditions = conditions
        self._tokens = [token.upper() for token in _TOKEN.findall(logic)]
        self.condition = self._or()
        if self._tokens or _TOKEN.sub("", logic).strip():
            raise MalformedError(f"the filter expression '{logic}' is not valid")

    def _or(self) -> Condition:
        parts = [self._and()]
        while self._next("OR"):
            parts.append(self._and())
        return _some(parts)

    def _and(self) -> Condition:
        parts = [self._one()]
        while self._next("AND"):
            parts.append(self._one())
        return _all(parts)

    def _one(self) -> Condition:
        if self._next("NOT"):
            inner = self._one()
            return Condition(lambda record: not inner.holds(record))
        if self._next("("):
            inner = self._or()
            if not self._next(")"):
                raise MalformedError("a parenthesis in the filter expression is not closed")
            return inner
        token = self._tokens.pop(0) if self._tokens else "its end"
        if not token.isdigit() or not 1 <= int(token) <= len(self._conditions):
            raise MalformedError(f"the filter expression is not valid at '{token}'")
        return self._conditions[int(token) - 1]

    def _next(self, token: str) -> bool:
        found = self._tokens[:1] == [token]
        del self._tokens[: int(found)]
        return found


def _condition(raw: RawFilter, table: Table, setting: Setting) -> Condition:
    field = table.fields.get(raw.field)
    if field is None:
        raise MalformedError(f"'{raw.field}' is not a valid filter field")
    test, candidates = _test(raw, table, field, setting)
    return Condition(lambda record: test(table.value(record, field)), candidates)


def _test(raw: RawFilter, table: Table, field: Field, setting: Setting) -> tuple[Test, Known]:
    """Give the test of a value, and the ids of the records that an index knows to pass it, if any does."""
    name = raw.operator
    test: Test
    if name in ("eq", "ne"):
        equal, known = _equal(raw.value, table, field, setting)
        return (equal, known) if name == "eq" else (lambda value: not equal(value), None)
    if name in _ORDER:
        return _ordered(raw, table, field, setting)
    if name in ("blank", "not_blank"):
        test = lambda value: (value in (None, "")) == (name == "blank")  # noqa: E731 - one of several
    elif name in ("true", "false") and field.datatype == "boolean":
        test = lambda value: bool(value) == (name == "true")  # noqa: E731
    elif name in ("ct", "nct", "bg", "nbg") and field.datatype in TEXT_TYPES:
        test = _containing(name, raw.value.lower())
    else:
        raise MalformedError(f"'{name}' is not a valid filter type for '{raw.field}'")
    return test, None


def _equal(text: str, table: Table, field: Field, setting: Setting) -> tuple[Test, Known]:
    if field.datatype in _TIME_TYPES:
        spans = [_span(part, setting) for part in setting.values(_VAR_MOMENT.sub(r"\1\\,\2\\,\3", text))]
        return lambda value: _falls(_instant(value, field, setting), spans), None
    parts = setting.values(text)
    if field.datatype == "boolean":
        wanted = {part in TRUE_WORDS for part in parts}
        return lambda value: bool(value) in wanted, None
    if field.datatype in _NUMBER_TYPES:
        return _equal_number(parts, table, field)
    texts = {setting.alike(part) for part in parts}
    known: Known = None
    if field.name == "object_ref":
        known = [id_ for part in parts if (id_ := int("0" + part.rpartition("-")[2])) in table.records]
    elif field.name not in _UNINDEXED and "[person_name]" not in field.name:
        known = table.near(field.name, parts)
    return lambda value: setting.alike(value) in texts, known


def _equal_number(parts: list[str], table: Table, field: Field) -> tuple[Test, Known]:
    numbers = {number for part in parts if (number := _number(part)) is not None}
    known: Known = None
    if field.name == "id":
        known = [int(one) for one in numbers if one in table.records]
    elif field.name not in _UNINDEXED:
        known = table.near(field.name, [str(int(one)) for one in numbers])
    return lambda value: value is not None and float(value) in numbers, known


def _containing(name: str, wanted: str) -> Test:
    def test(value: Any) -> bool:
        text = "" if value is None else str(value).lower()
        found = text.startswith(wanted) if name.endswith("bg") else wanted in text
        return found != name.startswith("n")

    return test


def _ordered(raw: RawFilter, table: Table, field: Field, setting: Setting) -> tuple[Test, Known]:
    compare = _ORDER[raw.operator]
    if field.datatype in _TIME_TYPES:
        start, end = _span(raw.value, setting)
        edge = end - 1 if raw.operator in ("gt", "le") else start
        return lambda value: value is not None and compare(_instant(value, field, setting), edge), None
    bound = _number(raw.value)
    if bound is None or field.datatype not in _NUMBER_TYPES:
        raise MalformedError(f"'{raw.operator}' of '{raw.value}' is not valid for '{raw.field}'")
    known = table.ids(above=int(bound) - 1) if field.name == "id" and raw.operator in ("gt", "ge") else None
    return lambda value: value is not None and compare(float(value), bound), known


def _span(text: str, setting: Setting) -> tuple[int, int]:
    """Read a day or a second as a stretch of time, the end not included."""
    try:
        moment = formats.read_var(text.strip(), setting.zone)
        end = formats.day_after(moment.day, setting.zone) if moment.day else moment.at // 1000 * 1000 + 1000
    except (ValueError, OverflowError):
        raise MalformedError(f"'{text}' is not a valid date") from None
    return moment.at // 1000 * 1000, end


def _falls(at: int | None, spans: list[tuple[int, int]]) -> bool:
    return at is not None and any(start <= at < end for start, end in spans)


def _instant(value: Any, field: Field, setting: Setting) -> int | None:
    if value is None:
        return None
    if field.datatype == "date":
        return formats.day_moment(value, setting.zone).at
    return int(value) if field.datatype == "datetime" else formats.var_moment(value).at


def _number(text: str) -> float | None:
    try:
        number = float(text) if "_" not in text else math.nan  # which Python alone takes for a number
    except ValueError:
        return None
    return number if math.isfinite(number) else None
