from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cronsim import CronSim

from outreach_sync.config.model import checked_cron
from outreach_sync.insight.status import firings_a_year


def _next_firing(text: str, after: datetime) -> datetime:
    return next(CronSim(text, after))


@pytest.mark.parametrize("day", ["0", "7", "sun", "SUN"])
def test_sunday_is_sunday_however_it_is_written(day: str) -> None:
    found = _next_firing(checked_cron(f"0 3 * * {day}"), datetime(2026, 9, 1, tzinfo=UTC))
    assert found.isoformat() == "2026-09-06T03:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("5-1 * * * *", "*/0 * * * *", "a * * * *", "1- * * * *", "1,,2 * * * *", "* * * * hush", "@daily"),
    ],
)
def test_what_is_not_an_expression_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression") as caught:
        checked_cron(text)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30,31 feb *", "0 0 31 4,6,9,11 */2"])
def test_a_day_that_never_comes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="day-of-month"):
        checked_cron(text)


@pytest.mark.parametrize("text", ["0 3 * * sun", "0 0 29 2 *", "0 0 31 2 mon", "0 0 31 1,2 *"])
def test_a_day_that_comes_seldom_is_taken(text: str) -> None:
    assert _next_firing(checked_cron(text), datetime(2026, 9, 4, tzinfo=UTC)) > datetime(2026, 9, 4, tzinfo=UTC)


def test_the_next_firing_is_strictly_later() -> None:
    expression = checked_cron("*/15 6-7 * * mon-fri")
    monday = datetime(2026, 9, 7, 6, tzinfo=UTC)
    assert _next_firing(expression, datetime(2026, 9, 4, 20, 0, 0, 7, tzinfo=UTC)) == monday
    assert _next_firing(expression, monday) == monday.replace(minute=15)


def test_where_both_kinds_of_day_are_restricted_either_is_enough() -> None:
    moment, fired = datetime(2026, 9, 1, tzinfo=UTC), []
    for _ in range(5):
        moment = _next_firing("0 0 1 * mon", moment)
        fired.append(moment.day)
    assert fired == [7, 14, 21, 28, 1]
    assert firings_a_year("0 0 1 * mon") == 52 + 12 - 3  # the first of February, March and November 2027 are Mondays


@pytest.mark.parametrize(
    ("text", "count"), [("0 3 * * sun", 52), ("*/10 * * * *", 365 * 144), ("0,30 6-20 1 * *", 12 * 30)]
)
def test_the_firings_of_a_year_are_counted(text: str, count: int) -> None:
    assert firings_a_year(text) == count
