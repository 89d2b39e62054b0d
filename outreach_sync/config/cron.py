"""Cron expressions, checked and brought into the one form that means the same everywhere.

A cron table counts days of the week from Sunday = 0, APScheduler from Monday = 0: days are therefore rewritten as
names. The check is our own, so that reading a config does not need the scheduler; what passes it, APScheduler takes.

Where both the day of the month and the day of the week are restricted, a cron table fires on either; where one of them
begins with ``*``, on what both allow (crontab(5)). APScheduler always wants both, so it may need two expressions.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_RECONCILE = "0 3 * * sun"

_A_YEAR = date(2027, 1, 1)  # any that is no leap year
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PATIENCE_DAYS = 40 * 366  # 29 February on a certain day of the week may take so long

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
    normal = [_normal_field(field, content) for field, content in zip(_FIELDS, fields, strict=True)]
    if not _can_fire(normal):
        raise ValueError("never fires: none of its months has such a day")
    return " ".join(normal)


def schedulable(text: str) -> tuple[tuple[str, ...], ...]:
    """Return what APScheduler is to be given: the five fields of one expression, or of two where either will do."""
    minute, hour, day, month, weekday = normal_cron(text).split()
    named = weekday if weekday == "*" else _named(_numbers(_FIELDS[4], weekday))
    if not _either_day(day, weekday):
        return ((minute, hour, day, month, named),)
    return (minute, hour, day, month, "*"), (minute, hour, "*", month, named)


def _either_day(day: str, weekday: str) -> bool:
    return not day.startswith("*") and not weekday.startswith("*")


def _can_fire(fields: Sequence[str]) -> bool:
    """Say whether there ever is such a day. Every date is every day of the week in some year, 29 February too."""
    _, _, day, month, weekday = fields
    days, months = _numbers(_FIELDS[2], day), _numbers(_FIELDS[3], month)
    return _either_day(day, weekday) or any(one <= _LONGEST[month - 1] for one in days for month in months)


def _normal_field(field: _Field, content: str) -> str:
    values = _numbers(field, content)
    if field.words is _DAYS:
        return content if content.startswith("*") else _named(values)
    if field.words and re.search(r"[a-z]", content):
        return ",".join(str(value) for value in values)
    return content


def _numbers(field: _Field, content: str) -> list[int]:
    return sorted({value for part in content.split(",") for value in _values_of(field, part)})


def _named(days: Iterable[int]) -> str:
    return ",".join(_DAYS[day] for day in sorted({day % 7 for day in days}))


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
    """A cron expression as the numbers it stands for; days of the week count from Monday = 0, as dates do.

    `either_day`: one kind of day suffices; else both must match.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool = False

    def fires_on(self, day: date) -> bool:
        """Say whether it fires on this day at all."""
        by_date, by_weekday = day.day in self.days, day.weekday() in self.weekdays
        matches = by_date or by_weekday if self.either_day else by_date and by_weekday
        return matches and day.month in self.months

    def firings_a_year(self) -> int:
        """Count the firings of a year of 365 days."""
        days = sum(self.fires_on(_A_YEAR + timedelta(number)) for number in range(365))
        return days * len(self.hours) * len(self.minutes)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first firing after a moment (aware, UTC); None where there is none within forty years."""
        for number in range(_PATIENCE_DAYS):
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
    minutes, hours, days, months, weekdays = map(_numbers, _FIELDS, fields)
    from_monday = frozenset((day - 1) % 7 for day in weekdays)
    either_day = _either_day(fields[2], fields[4])
    return Timetable(tuple(minutes), tuple(hours), frozenset(days), frozenset(months), from_monday, either_day)
