"""The forms in which Workbooks takes values and gives them back.

Facts: the API developers guide, section on formats. What comes back differs from what was sent (a boolean sent as ``1``
returns as ``true``, a day as `` 2 May 2026``), so values are compared after parsing, never as text.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from outreach_sync.instants import Instant, from_datetime, parse_iso, to_date, to_datetime
from outreach_sync.records import Date, DateTime, Scalar, WriteValue

if TYPE_CHECKING:
    from collections.abc import Callable

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, start=1)}
_TRUE = frozenset(("true", "t", "on", "1", "yes", "y"))
_DEFAULT_DATETIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (?:UTC|GMT|Z|\+0000) (\d{4})",
    re.ASCII,
)
_DEFAULT_DATE = re.compile(r"(\d{1,2}) ([A-Z][a-z]{2}) (\d{4})", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = re.compile(r"-?\d{1,11}(?:\.\d+)?", re.ASCII)


class Datatype(StrEnum):
    """How a field is read; the value is for people."""

    TEXT = "text"
    BOOLEAN = "boolean"
    DATETIME = "date-time"


ROLE_DATATYPES = {
    "sequence_state": Datatype.TEXT,
    "state_updated_at": Datatype.DATETIME,
    "no_email": Datatype.BOOLEAN,
    "outreach_id": Datatype.TEXT,
    "sequences": Datatype.TEXT,
}
"""What each configured field holds, by its role."""


def to_wire(value: str | int | DateTime | Date) -> str:
    """Write one value the way Workbooks documents it: ``1`` or ``0``, its own forms of time and day, text as it is.

    Times are cut to the second and always UTC. Null has no form of its own here: see `wire`.
    """
    if isinstance(value, DateTime):
        return write_datetime(value.at)
    if isinstance(value, Date):
        return write_date(value.at)
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def write_datetime(instant: Instant) -> str:
    """Write as ``Tue Sep 01 10:00:04 UTC 2026``: English, whatever the locale."""
    at = to_datetime(instant)
    return f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at:%d %H:%M:%S} UTC {at.year:04d}"


def write_date(instant: Instant) -> str:
    """Write the UTC day as `` 1 Sep 2026``, padded with a blank as Workbooks does."""
    at = to_datetime(instant)
    return f"{at.day:2d} {_MONTHS[at.month - 1]} {at.year:04d}"


def read_text(raw: object) -> str | None:
    """Read text: a number becomes its digits, emptiness None."""
    if raw is None or raw == "":
        return None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(raw)


def read_boolean(raw: object) -> bool | None:
    """Read a boolean in any of the spellings Workbooks takes for true; everything else is false, null is None."""
    if raw is None:
        return None
    return str(raw).strip().lower() in _TRUE


def read_integer(raw: object) -> int | None:
    """Read a whole number, also one that came as text; anything else is None."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.isascii() and raw.strip().isdigit():
        return int(raw)
    return None


def read_datetime(raw: object) -> Instant | str | None:
    """Read a point in time in any form Workbooks gives one.

    Returns:
        The instant; a day as ``2026-09-01`` where only a day is stored; the text as it came where it is neither, which
        is the same as nothing that could be wanted; None for emptiness.
    """
    text = read_text(raw)
    if text is None:
        return None
    compact = text.strip()
    try:
        return _read_known_form(compact)
    except (ValueError, OverflowError, OSError):
        return text


def read(raw: object, datatype: Datatype) -> Scalar:
    """Read a field by its datatype."""
    return _READERS[datatype](raw)


def same(wanted: WriteValue, stored: Scalar) -> bool:
    """Say whether a field, as `read` returned it, already holds what is wanted.

    Times are compared to the second, or by day where only a day is stored; empty text and null are one, as are false
    and null; line ends and blanks around a text do not count.
    """
    if isinstance(wanted, bool):
        return wanted == bool(read_boolean(stored))
    if isinstance(wanted, DateTime):
        return _same_moment(wanted.at, stored)
    if isinstance(wanted, Date):
        return to_date(wanted.at) == _day_of(stored)
    return _canonical(wanted) == _canonical(stored)


def _same_moment(wanted: Instant, stored: Scalar) -> bool:
    moment = _moment_of(stored)
    if isinstance(moment, str):
        return moment == to_date(wanted)
    return moment is not None and moment // 1000 == wanted // 1000


def _day_of(stored: Scalar) -> str | None:
    moment = _moment_of(stored)
    return moment if moment is None or isinstance(moment, str) else to_date(moment)


def _moment_of(stored: Scalar) -> Instant | str | None:
    return Instant(stored) if isinstance(stored, int) else read_datetime(stored)


def _canonical(value: object) -> str:
    return (read_text(value) or "").replace("\r\n", "\n").strip()


def _read_known_form(text: str) -> Instant | str:
    """Try the forms in turn; raises ValueError (or OverflowError) where none fits."""
    if match := _DEFAULT_DATETIME.fullmatch(text):
        return _from_default(match)
    if _EPOCH.fullmatch(text):
        return Instant(round(float(text) * 1000))
    if match := _DEFAULT_DATE.fullmatch(text):
        return date(int(match[3]), _month_number(match[2]), int(match[1])).isoformat()
    return _read_iso_form(text)


def _read_iso_form(text: str) -> Instant | str:
    """Read ISO 8601, alone or as the first part of a ``var_date_time``: ``<ISO>,<1 with time, 0 a day>,<zone>``."""
    moment, _, rest = text.partition(",")
    if _ISO_DATE.fullmatch(moment) or rest.startswith("0"):
        return date.fromisoformat(moment[:10]).isoformat()
    return parse_iso(moment)


def _from_default(match: re.Match[str]) -> Instant:
    month, day, hour, minute, second, year = match.groups()
    return from_datetime(
        datetime(int(year), _month_number(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC),
    )


def _month_number(name: str) -> int:
    try:
        return _MONTH_NUMBERS[name]
    except KeyError:
        raise ValueError(f"'{name}' is no month") from None


_READERS: dict[Datatype, Callable[[object], Scalar]] = {
    Datatype.TEXT: read_text,
    Datatype.BOOLEAN: read_boolean,
    Datatype.DATETIME: read_datetime,
}
