"""Cron expressions in UTC, as crontab(5) means them: cronsim reads them, this says what is wrong with one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from cronsim import CronSim, CronSimError

DEFAULT_RECONCILE = "0 3 * * sun"

_FIELDS = 5
_A_YEAR = datetime(2027, 1, 1, tzinfo=UTC)  # not a leap year


def checked_cron(text: str) -> str:
    """Return an expression of five fields, with single blanks.

    Raises:
        ValueError: it is not a cron expression, or never fires; the text names the field, never its content.
    """
    fields = text.lower().split()
    if len(fields) != _FIELDS:
        raise ValueError("is not a cron expression of five fields")
    try:
        firing = next(CronSim(" ".join(fields), _A_YEAR), None)
    except CronSimError as error:
        raise ValueError(f"is not a cron expression ({str(error).lower()})") from None
    if firing is None:
        raise ValueError("never fires")
    return " ".join(fields)


def next_firing(text: str, after: datetime) -> datetime:
    """Return the first firing after a moment (aware, UTC)."""
    return next(CronSim(text, after))


def firings_a_year(text: str) -> int:
    """Count the firings of a year of 365 days."""
    minute, hour, *days = text.split()
    a_day = CronSim(f"{minute} {hour} * * *", _A_YEAR)
    return len(a_day.minutes) * len(a_day.hours) * _days_a_year(" ".join(days))


def _days_a_year(days: str) -> int:
    moment, count = _A_YEAR - timedelta(seconds=1), 0
    for firing in CronSim(f"0 0 {days}", moment):
        if firing.date() >= date(_A_YEAR.year + 1, 1, 1):
            break
        count += 1
    return count
