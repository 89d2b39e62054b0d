"""Cron expressions, brought into the one form that means the same everywhere.

A cron table counts days of the week from Sunday = 0, APScheduler from Monday = 0: numbers are therefore rewritten
as names.
"""

from __future__ import annotations

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DEFAULT_RECONCILE = "0 3 * * sun"
_KNOWN_GOOD = frozenset({DEFAULT_RECONCILE})


def normal_cron(text: str) -> str:
    """Check a five-field expression and name its days of the week.

    APScheduler is imported only for an expression that is not known to be good: it takes its time.

    Raises:
        ValueError: it is no cron expression.
    """
    fields = text.lower().split()
    if len(fields) != 5:  # noqa: PLR2004  # minute, hour, day, month, day of the week
        raise ValueError("is not a cron expression of five fields")
    normal = " ".join((*fields[:4], _named_days(fields[4])))
    if normal not in _KNOWN_GOOD:
        _let_apscheduler_judge(normal)
    return normal


def _let_apscheduler_judge(expression: str) -> None:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  # heavy, and seldom needed

    try:
        CronTrigger.from_crontab(expression, timezone="UTC")
    except ValueError:
        raise ValueError("is not a cron expression") from None


def _named_days(field: str) -> str:
    if field == "*":
        return field
    days = {day for part in field.split(",") for day in _days_of(part)}
    return ",".join(_DAYS[day] for day in sorted(days))


def _days_of(part: str) -> list[int]:
    """List the days, 0 for Sunday, that ``1``, ``mon-fri``, ``5-7`` or ``*/2`` stand for."""
    span, _, step = part.partition("/")
    if step and (not step.isdigit() or not int(step)):
        raise ValueError("is not a cron expression (a step of its days of the week)")
    first, dash, last = span.partition("-")
    if span == "*":
        begin, end = 0, 6
    else:
        begin = _day(first)
        end = _day(last) if dash else (6 if step else begin)
    if end < begin:
        end += 7
    return [day % 7 for day in range(begin, end + 1, int(step or 1))]


def _day(word: str) -> int:
    if word in _DAYS:
        return _DAYS.index(word)
    if word.isdigit() and int(word) <= 7:  # noqa: PLR2004  # 7 is Sunday once more
        return int(word)
    raise ValueError("is not a cron expression (its days of the week)")
