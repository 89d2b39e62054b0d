"""Requests to Workbooks as form bodies, and the forms in which it takes values and gives them back.

Pure: nothing is sent here. Facts: the API developers guide (reading, writing, "square arrays", formats) and the PHP
binding for how nested names are spelled. Everything goes in the body of a POST, with `_method` saying what is meant, so
that no proxy log holds the key and no list of ids is too long for a URL. What comes back differs from what was sent (a
boolean sent as ``1`` returns as ``true``, a day as `` 2 May 2026``), so nothing can be compared before it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from outreach_sync.errors import UntrustedAnswerError
from outreach_sync.instants import EARLIEST, LATEST, Instant, from_datetime, parse_iso, to_datetime
from outreach_sync.records import Date, DateTime, Scalar, Write, WriteValue
from outreach_sync.rules.person import ROLES, Datatype

PERSON_CLASS, TASK_CLASS = "Private::Crm::Person", "Private::Activity::Task"

REFERENCE = "created_through_reference"

NO_VALUE = ":no_value:"
"""Leaves a field alone: for the object that lacks it in a request where another has it."""
NULL_VALUE = ":null_value:"
"""Sets a field to null."""
LOCK_UNKNOWN = -1
"""The lock version of an accepted object whose answer did not name one: read the record before the next write."""
PAGE_ROWS = 100
"""The documented safe maximum of rows in an answer, and of objects in a write."""

_VALUES = 96
T = TypeVar("T")
Pair = tuple[str, str]

Row = Mapping[str, Any]
"""One record as it came, by column; `read` parses the values."""


class Filter(NamedTuple):
    """One condition: a field, an operator of the guide (eq, gt, true...), and the value ('' where it takes none)."""

    field: str
    operator: str
    value: str


class Reading(NamedTuple):
    """Which rows, and which of their columns. `logic` joins the filters by their 1-based numbers; '' means all hold.

    `extra` are further parameters of the one controller that needs them (`class_names[]` for metadata).
    """

    filters: tuple[Filter, ...]
    columns: tuple[str, ...]
    logic: str = ""
    extra: tuple[Pair, ...] = ()


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut values into parts of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def value_chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut values into requests; one with a backslash, which may escape its neighbour, goes alone.

    A look-up has been read to its end only when a page was short. So where there are several, each asks for a few less
    than a page has rows: even if each matches once, and a few match several records, no further page is needed.
    """
    plain = [value for value in values if "\\" not in value]
    yield from chunks(plain, PAGE_ROWS if len(plain) <= PAGE_ROWS else _VALUES)
    yield from ((value,) for value in values if "\\" in value)


def spelled_lists(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Put values as they can be asked for: together, but one with a backslash alone and in two ways.

    Whether a backslash escapes more than a comma, and so itself, is not documented; what the wrong way finds is not
    what was asked for.
    """
    if not any("\\" in value for value in values):
        yield values
        return
    for value in values:
        yield (value,)
        yield (value.replace("\\", "\\\\"),)


def encode(pairs: Iterable[Pair]) -> bytes:
    """Percent-encode as UTF-8 form data; the `[]` that ends a name stays as the guide shows it.

    Half a surrogate pair, which JSON can smuggle into a text, has no UTF-8 and becomes a question mark.
    """
    return "&".join(f"{_quote(name)}={quote(value, safe='', errors='replace')}" for name, value in pairs).encode()


def _quote(name: str) -> str:
    inner, ending = (name[:-2], "[]") if name.endswith("[]") else (name, "")
    return quote(inner, safe="", errors="replace") + ending


def credentials(api_key: str) -> list[Pair]:
    """Name the key and the API version, as every request must."""
    return [("client", "api"), ("api_version", "1"), ("api_key", api_key)]


def read_pairs(reading: Reading, *, paged: bool = True, skip_totals: Sequence[str] = ()) -> list[Pair]:
    """Spell out a read: one page of at most 100 rows in the order of their ids.

    `_limit` does nothing without `_start` (guide).
    `skip_totals` are the spellings of "do not count" to send: the guide and the bindings differ.
    """
    pairs = [("_method", "GET"), *reading.extra]
    if paged:
        pairs += [("_start", "0"), ("_limit", str(PAGE_ROWS)), ("_sort", "id"), ("_dir", "ASC")]
        pairs += [(name, "true") for name in skip_totals]
    if reading.logic:
        pairs.append(("_fm", reading.logic))
    return pairs + _filter_pairs(reading.filters) + [("_select_columns[]", column) for column in reading.columns]


def write_pairs(writes: Sequence[Write]) -> list[Pair]:
    """Spell out a write: a filter that selects exactly the objects, then each object with the same names in one order.

    Raises:
        ValueError: an id occurs twice, or a value cannot be sent (`unsendable` tells beforehand).
    """
    ids = [write.id for write in writes if write.id]
    if len(set(ids)) != len(ids):
        raise ValueError("a record occurs twice in one write")
    selected = dict.fromkeys(str(write.id) for write in writes)
    pairs = [("_method", "PUT"), ("_strict_attribute_checking", "1"), ("_per_object_transactions", "1")]
    pairs += [("_fm", "or")] if len(selected) > 1 else []
    pairs += _filter_pairs(Filter("id", "eq", record_id) for record_id in selected)
    columns = tuple(dict.fromkeys(name for write in writes for name in write.fields))
    for write in writes:
        pairs += [("__method[]", "PUT" if write.id else "POST"), ("id[]", str(write.id))]
        pairs += [("lock_version[]", str(write.lock_version))]
        pairs += [(f"{nested_name(name)}[]", _field_text(write, name)) for name in columns]
    return pairs


def unsendable(write: Write) -> str | None:
    """Say which field holds a text that Workbooks would take for a command; None where all can be sent."""
    for name, value in write.fields.items():
        if value in (NO_VALUE, NULL_VALUE):
            return f"{name}: the text '{value}' has a special meaning and cannot be sent"
    return None


def list_value(values: Iterable[str]) -> str:
    """Join values for `eq`, which splits at commas: a comma of their own is escaped with a backslash (guide)."""
    return ",".join(value.replace(",", "\\,") for value in values)


def look_up(field: str, values: Iterable[str], columns: Iterable[str], *, include_deleted: bool) -> Reading:
    """Ask for the rows whose field is one of the values: `eq` with a list is Workbooks' "in" (guide).

    Deleted rows are hidden unless `is_deleted` is in the filter.
    """
    filters: tuple[Filter, ...] = (Filter(field, "eq", list_value(values)),)
    if include_deleted:
        filters = (*filters, Filter("is_deleted", "true", ""), Filter("is_deleted", "false", ""))
    return Reading(filters, tuple(dict.fromkeys(columns)), "1 AND (2 OR 3)" if include_deleted else "")


def beyond(reading: Reading, last_id: int) -> Reading:
    """Ask for the rows after this id. An offset would shift, and skip rows, while others delete."""
    number = len(reading.filters) + 1
    logic = f"({reading.logic}) AND {number}" if reading.logic else ""
    return reading._replace(filters=(*reading.filters, Filter("id", "gt", str(last_id))), logic=logic)


def _filter_pairs(filters: Iterable[Filter]) -> list[Pair]:
    return [pair for one in filters for pair in (("_ff[]", one.field), ("_ft[]", one.operator), ("_fc[]", one.value))]


def _field_text(write: Write, name: str) -> str:
    if name not in write.fields:
        return NO_VALUE
    value = write.fields[name]
    if value in (NO_VALUE, NULL_VALUE):
        raise ValueError(unsendable(write))
    return NULL_VALUE if value is None else to_wire(value)


def nested_name(name: str) -> str:
    """Spell a name that is nested twice, ``a[b[c]]``, as the PHP binding does: ``a[b][c]``."""
    if name.count("[") < 2:  # noqa: PLR2004  # nested once: as it is
        return name
    head, *rest = name.replace("]", "").split("[")
    return head + "".join(f"[{part}]" for part in rest)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TRUE = frozenset(("true", "t", "on", "1", "yes", "y"))
_DEFAULT_DATETIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (?:UTC|GMT|Z|\+0000) (\d{4})", re.ASCII
)
_DEFAULT_DATE = re.compile(r"(\d{1,2}) ([A-Z][a-z]{2}) (\d{4})", re.ASCII)
_DAY_LENGTH = len("2026-09-01")
_DIGITS = re.compile(r"\d{1,19}", re.ASCII)
_LARGEST = 2**62
"""Larger ids make no sense, and those near 2^63 fit no database."""
_EPOCH = re.compile(r"-?\d{1,11}(?:\.\d+)?", re.ASCII)


ROLE_DATATYPES = {role.name: role.datatype for role in ROLES}
"""What each configured field holds, by its role."""


def to_wire(value: str | int | DateTime | Date) -> str:
    """Write one value the way Workbooks documents it, in English whatever the locale.

    ``1`` or ``0``, ``Tue Sep 01 10:00:04 UTC 2026`` cut to the second, `` 1 Sep 2026`` for the UTC day padded with a
    blank, text as it is. Null has no form of its own here: see `write_pairs`.
    """
    if isinstance(value, DateTime | Date):
        at = to_datetime(value.at)
        if isinstance(value, Date):
            return f"{at.day:2d} {_MONTHS[at.month - 1]} {at.year:04d}"
        return f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at:%d %H:%M:%S} UTC {at.year:04d}"
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def read_text(raw: object) -> str | None:
    """Read text: a number becomes its digits (18.0 those of 18), emptiness None, half a surrogate pair a "?"."""
    if raw is None or raw == "":
        return None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    text = str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw)
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def read_boolean(raw: object) -> bool | None:
    """Read a boolean in any of the spellings Workbooks takes for true; everything else is false, null is None."""
    if raw is None:
        return None
    return str(raw).strip().lower() in _TRUE


def read_integer(raw: object) -> int | None:
    """Read a whole number that a database can hold, also one that came as text; anything else is None."""
    if (isinstance(raw, str) and _DIGITS.fullmatch(raw.strip())) or (isinstance(raw, float) and raw.is_integer()):
        raw = int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw if abs(raw) <= _LARGEST else None
    return None


def record_id(row: Row) -> int:
    """Return the id of a row.

    Raises:
        UntrustedAnswerError: it has none that makes sense.
    """
    number = read_integer(row.get("id"))
    if number is None or number <= 0:
        raise UntrustedAnswerError("Workbooks returned a record without an id that makes sense.")
    return number


def lock_version_of(row: Row) -> int:
    """Return the lock version of a row, `LOCK_UNKNOWN` where it has none."""
    lock_version = read_integer(row.get("lock_version"))
    return LOCK_UNKNOWN if lock_version is None else lock_version


def read_datetime(raw: object) -> Instant | None:
    """Read a point in time in any form Workbooks gives one.

    Returns:
        The instant; the midnight (UTC) of a day where only a day is stored; None for emptiness, and for what is not a
        time between 1900 and 3000.
    """
    try:
        moment = _read_known_form((read_text(raw) or "").strip())
    except (ValueError, OverflowError):
        return None
    return moment if EARLIEST <= moment < LATEST else None


def read(raw: object, datatype: Datatype) -> Scalar:
    """Read a field by its datatype."""
    return _READERS[datatype](raw)


def is_kept(sent: WriteValue, raw: object) -> bool:
    """Say whether a field that reads as `raw` holds what was sent for it; times count by the second."""
    if isinstance(sent, DateTime | Date):
        kept = read_datetime(raw)
        return kept is not None and to_wire(type(sent)(kept)) == to_wire(sent)
    if isinstance(sent, bool):
        return bool(read_boolean(raw)) is sent
    wanted = "" if sent is None else str(sent)
    return (read_text(raw) or "").replace("\r\n", "\n") == wanted.replace("\r\n", "\n")


def _read_known_form(text: str) -> Instant:
    """Try the forms in turn; raises ValueError or OverflowError where none fits.

    A ``var_date_time`` is ISO 8601 with more behind it: ``<ISO>,<1 with time, 0 a day>,<zone>``.
    """
    if match := _DEFAULT_DATETIME.fullmatch(text):
        month, *numbers = match.groups()
        day, hour, minute, second, year = map(int, numbers)
        return from_datetime(datetime(year, _MONTHS.index(month) + 1, day, hour, minute, second, tzinfo=UTC))
    if _EPOCH.fullmatch(text):
        return Instant(round(float(text) * 1000))
    if match := _DEFAULT_DATE.fullmatch(text):
        return from_datetime(datetime(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]), tzinfo=UTC))
    moment, _, rest = text.partition(",")
    return parse_iso(moment[:_DAY_LENGTH] if rest.startswith("0") else moment)


_READERS: dict[Datatype, Callable[[object], Scalar]] = {
    Datatype.TEXT: read_text,
    Datatype.BOOLEAN: read_boolean,
    Datatype.DATETIME: read_datetime,
}
