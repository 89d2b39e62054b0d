"""The forms in which Workbooks takes values and gives them back.

Facts: the API developers guide, section on formats. What comes back differs from what was sent (a boolean sent as ``1``
returns as ``true``, a day as `` 2 May 2026``), so nothing can be compared before it is parsed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from outreach_sync.instants import Instant, from_datetime, parse_iso, to_datetime
from outreach_sync.records import Date, DateTime, Scalar

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
_DAY_LENGTH = len("2026-09-01")
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
    """Read text: a number becomes its digits (18.0 those of 18), emptiness None."""
    if raw is None or raw == "":
        return None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw)


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


def read_datetime(raw: object) -> Instant | None:
    """Read a point in time in any form Workbooks gives one.

    Returns:
        The instant; the midnight (UTC) of a day where only a day is stored; None for emptiness and for what is no time.
    """
    try:
        return _read_known_form((read_text(raw) or "").strip())
    except (ValueError, OverflowError, OSError):
        return None


def read(raw: object, datatype: Datatype) -> Scalar:
    """Read a field by its datatype."""
    return _READERS[datatype](raw)


def _read_known_form(text: str) -> Instant:
    """Try the forms in turn; raises ValueError (or OverflowError) where none fits."""
    if match := _DEFAULT_DATETIME.fullmatch(text):
        return _from_default(match)
    if _EPOCH.fullmatch(text):
        return Instant(round(float(text) * 1000))
    if match := _DEFAULT_DATE.fullmatch(text):
        return from_datetime(datetime(int(match[3]), _month_number(match[2]), int(match[1]), tzinfo=UTC))
    return _read_iso_form(text)


def _read_iso_form(text: str) -> Instant:
    """Read ISO 8601, alone or as the first part of a ``var_date_time``: ``<ISO>,<1 with time, 0 a day>,<zone>``."""
    moment, _, rest = text.partition(",")
    return parse_iso(moment[:_DAY_LENGTH] if rest.startswith("0") else moment)


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
