"""Cron expressions, checked and brought into the one form that means the same everywhere.

A cron table counts days of the week from Sunday = 0, APScheduler from Monday = 0: days are therefore rewritten as
names. The check is our own, so that reading a config does not need the scheduler; what passes it, APScheduler takes.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import NamedTuple

DEFAULT_RECONCILE = "0 3 * * sun"

_A_YEAR = date(2027, 1, 1)  # any that is no leap year

_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9]\d?))?", re.ASCII)


class _Field(NamedTuple):
    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


def normal_cron(text: str) -> str:
    """Check an expression of five fields; name its days of the week and number its months.

    Raises:
        ValueError: it is no cron expression; the text names the field, never its content.
    """
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError("is not a cron expression of five fields")
    return " ".join(_normal_field(field, content) for field, content in zip(_FIELDS, fields, strict=True))


def _normal_field(field: _Field, content: str) -> str:
    values = [value for part in content.split(",") for value in _values_of(field, part)]
    if content == "*":
        return content
    if field.words is _DAYS:
        return ",".join(_DAYS[day] for day in sorted({value % 7 for value in values}))
    if field.words and re.search(r"[a-z]", content):
        return ",".join(str(value) for value in sorted(set(values)))
    return content


def _values_of(field: _Field, part: str) -> range:
    """List the numbers that ``*``, ``5``, ``mon-fri``, ``10-20/2`` or ``*/15`` stand for."""
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"is not a cron expression (its {field.name})")
    most = 6 if field.words is _DAYS else field.most
    begin = _number(field, match["first"]) if match["first"] else field.least
    end = begin if match["first"] and not match["step"] else most
    if match["last"]:
        end = _number(field, match["last"])
    if field.words is _DAYS and end < begin:
        end += 7  # fri-mon goes over the end of the week
    step = int(match["step"] or 1)
    if end < begin or (match["step"] and step > end - begin):
        raise ValueError(f"is not a cron expression (its {field.name})")
    return range(begin, end + 1, step)


def _number(field: _Field, word: str) -> int:
    if word in field.words:
        return field.words.index(word) + field.least
    if not word.isdigit() or not field.least <= int(word) <= field.most:
        raise ValueError(f"is not a cron expression (its {field.name})")
    return int(word)


class Timetable(NamedTuple):
    """A cron expression as the numbers it stands for; days of the week count from Monday = 0, as dates do."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def fires_on(self, day: date) -> bool:
        """Say whether it fires on this day at all; both kinds of day must match, as APScheduler has it."""
        return day.month in self.months and day.day in self.days and day.weekday() in self.weekdays

    def firings_a_year(self) -> int:
        """Count the firings of a year of 365 days."""
        days = sum(self.fires_on(_A_YEAR + timedelta(number)) for number in range(365))
        return days * len(self.hours) * len(self.minutes)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first firing after a moment (aware, UTC); None where there is none within four years."""
        for number in range(4 * 366):
            day = moment.date() + timedelta(number)
            if not self.fires_on(day):
                continue
            for hour, minute in product(self.hours, self.minutes):
                firing = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                if firing > moment:
                    return firing
        return None


def timetable(text: str) -> Timetable:
    """Read an expression of five fields.

    Raises:
        ValueError: it is no cron expression.
    """
    fields = normal_cron(text).split()
    minutes, hours, days, months, weekdays = (
        sorted({value for part in content.split(",") for value in _values_of(field, part)})
        for field, content in zip(_FIELDS, fields, strict=True)
    )
    from_monday = frozenset((day - 1) % 7 for day in weekdays)
    return Timetable(tuple(minutes), tuple(hours), frozenset(days), frozenset(months), from_monday)
