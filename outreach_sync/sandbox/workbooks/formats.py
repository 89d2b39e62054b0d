"""The forms in which Workbooks takes values and shows them (API developers guide: Datatypes, Dates and Times).

Kept values are plain: text, whole numbers, booleans, times as `Instant` cut to the second, days as ``2026-09-01``, and
a ``var_date_time`` as its documented text ``2026-09-01T09:00:00.000Z,1,Europe/London``.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from outreach_sync.instants import Instant, from_datetime, to_date, to_datetime
from outreach_sync.sandbox.workbooks.zones import zone_of

if TYPE_CHECKING:
    from collections.abc import Callable

TRUE_WORDS = frozenset(("true", "t", "on", "1", "yes", "y"))
"""Everything else is false, ``True`` included (guide: Datatypes)."""
STRING_LENGTH = 255
TEXT_TYPES = ("string", "text", "picklist_data")
DEFAULT_DATE = "%e %b %Y"
DEFAULT_DATETIME = "%a %b %d %H:%M:%S UTC %Y"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_FORM = re.compile(r"(\d{1,2}) ([A-Z][a-z]{2})[a-z]* (\d{4})", re.ASCII)
_TIME_FORM = re.compile(
    r"[A-Z][a-z]{2},? ([A-Z][a-z]{2})[a-z]* {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?: (UTC|GMT|Z|[+-]\d{4}))? (\d{4})",
    re.ASCII,
)
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = re.compile(r"-?\d{1,11}", re.ASCII)
_DIRECTIVE = re.compile(r"%(.)")
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_INTEGERS = 2**31
"""How many whole numbers there are on either side of zero: 32 bits, two's complement."""


class Moment(NamedTuple):
    """A point in time, or a whole day: then `at` is its midnight in the user's zone and `day` its name."""

    at: Instant
    day: str | None = None


class OutputForms(NamedTuple):
    """How days and times are shown: patterns for ``strftime`` in the C locale."""

    date: str = DEFAULT_DATE
    datetime: str = DEFAULT_DATETIME


def read_moment(text: str, zone: str) -> Moment:
    """Read a day or time in any form Workbooks takes; one without zone is read in the user's.

    Raises:
        ValueError: the text is neither.
    """
    compact = text.strip()
    if match := _TIME_FORM.fullmatch(compact):
        return Moment(_from_time_form(match, zone))
    if match := _DAY_FORM.fullmatch(compact):
        return day_moment(date(int(match[3]), _month(match[2]), int(match[1])).isoformat(), zone)
    if _EPOCH.fullmatch(compact):
        return Moment(from_datetime(to_datetime(Instant(int(compact) * 1000))))  # so that no calendar lacks it
    return _read_iso(compact, zone)


def day_moment(day: str, zone: str) -> Moment:
    """Take a whole day, ``2026-09-01``, in a zone.

    Raises:
        ValueError: there is no such day.
    """
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    return Moment(from_datetime(start), day)


def day_after(day: str, zone: str) -> Instant:
    """Say when the day is over in a zone: 23 to 25 hours after it began."""
    following = date.fromisoformat(day) + timedelta(days=1)
    return day_moment(following.isoformat(), zone).at


def local_day(at: Instant, zone: str) -> str:
    """Name the day that an instant falls on in a zone."""
    return to_datetime(at).astimezone(ZoneInfo(zone)).date().isoformat()


def read_value(datatype: str, text: str, zone: str) -> Any:
    """Read a value that was sent for a field of this datatype; emptiness is null for all but text and boolean.

    Raises:
        ValueError: it does not fit; the message says why, in the service's words.
    """
    if datatype in TEXT_TYPES:
        return _read_text(datatype, text)
    if datatype == "boolean":
        return text in TRUE_WORDS
    return _READERS[datatype](text, zone) if text.strip() else None


def show_value(datatype: str, value: Any, forms: OutputForms) -> Any:
    """Show a kept value as JSON."""
    if value is None:
        return None
    if datatype == "datetime":
        return show_datetime(value, forms.datetime)
    if datatype == "date":
        return show_day(value, forms.date)
    return value


def show_datetime(at: Instant, form: str = DEFAULT_DATETIME) -> str:
    """Show a time, always UTC, in English whatever the locale."""
    moment = to_datetime(at)
    if form == DEFAULT_DATETIME:
        return (
            f"{_DAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment.day:02d} "
            f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} UTC {moment.year:04d}"
        )
    return _strftime(moment, form)


def show_day(day: str, form: str = DEFAULT_DATE) -> str:
    """Show a day, ``2026-05-02``, by default as `` 2 May 2026``."""
    return _strftime(datetime.fromisoformat(day).replace(tzinfo=UTC), form)


def var_day(day: str, zone: str) -> str:
    """Write a day as a ``var_date_time``."""
    return f"{day},0,{zone}"


def var_time(at: Instant, zone: str) -> str:
    """Write a time as a ``var_date_time``."""
    return f"{to_datetime(at):%Y-%m-%dT%H:%M:%S}.000Z,1,{zone}"


def var_moment(value: str) -> Moment:
    """Read the ``var_date_time`` as it is kept."""
    text, flag, zone = value.split(",", 2)
    return _read_iso(text if flag == "1" else text[:10], zone)


def twin_value(datatype: str, value: str | None) -> Any:
    """Show a ``var_date_time`` as its ``_date`` or ``_datetime`` twin does; a day has no time."""
    if value is None:
        return None
    moment = var_moment(value)
    if datatype == "date":
        return moment.day or to_date(moment.at)
    return None if moment.day else moment.at


def _read_text(datatype: str, text: str) -> str | None:
    if datatype == "string" and len(text) > STRING_LENGTH:
        raise ValueError(f"is too long (maximum is {STRING_LENGTH} characters)")
    return text if text or datatype != "picklist_data" else None


def _read_integer(text: str, _zone: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError("is not a number")
    number = int(text)
    if not -_INTEGERS <= number < _INTEGERS:
        raise ValueError("is out of range")
    return number


def _read_decimal(text: str, _zone: str) -> str:
    if not _DECIMAL.fullmatch(text.strip()):
        raise ValueError("is not a number")
    return text.strip()


def _read_day(text: str, zone: str) -> str:
    moment = _moment_or_complaint(text, zone)
    return moment.day or local_day(moment.at, zone)


def _read_datetime(text: str, zone: str) -> Instant:
    return _whole_second(_moment_or_complaint(text, zone).at)


def _read_var(text: str, zone: str) -> str:
    value, _, rest = text.partition(",")
    flag, _, named = rest.partition(",")
    own_zone = zone_of(named) if named else zone
    moment = _moment_or_complaint(value[:10] if flag == "0" else value, own_zone)
    return var_day(moment.day, own_zone) if moment.day else var_time(moment.at, own_zone)


_READERS: dict[str, Callable[[str, str], Any]] = {
    "integer": _read_integer,
    "has_one": _read_integer,
    "decimal": _read_decimal,
    "date": _read_day,
    "datetime": _read_datetime,
    "var_date_time": _read_var,
}


def _moment_or_complaint(text: str, zone: str) -> Moment:
    try:
        return read_moment(text, zone)
    except (ValueError, KeyError, OverflowError):
        raise ValueError("is not a valid date") from None


def _whole_second(at: Instant) -> Instant:
    return Instant(at // 1000 * 1000)


def _read_iso(text: str, zone: str) -> Moment:
    if _ISO_DAY.fullmatch(text):
        return day_moment(text, zone)
    moment = datetime.fromisoformat(text)
    return Moment(from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))))


def _from_time_form(match: re.Match[str], zone: str) -> Instant:
    month, day, hour, minute, second, offset, year = match.groups()
    text = f"{int(year):04d}-{_month(month):02d}-{int(day):02d}T{hour}:{minute}:{second}"
    named = {"UTC": "+0000", "GMT": "+0000", "Z": "+0000", None: ""}
    return _read_iso(text + named.get(offset, offset or ""), zone).at


def _month(name: str) -> int:
    if name not in _MONTHS:
        raise ValueError(f"'{name}' is no month")
    return _MONTHS.index(name) + 1


def _strftime(moment: datetime, form: str) -> str:
    """Format without the locale, which the standard library would ask for names of days and months."""

    def directive(match: re.Match[str]) -> str:
        own = {
            "a": _DAYS[moment.weekday()],
            "b": _MONTHS[moment.month - 1],
            "e": f"{moment.day:2d}",
            "s": str(int(moment.timestamp())),
            "Z": "UTC",
        }
        return own.get(match[1]) or moment.strftime(match[0])

    return _DIRECTIVE.sub(directive, form)
