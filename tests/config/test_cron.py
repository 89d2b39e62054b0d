from __future__ import annotations

from datetime import UTC, datetime

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given, strategies as st

from outreach_sync.config.cron import DEFAULT_RECONCILE, normal_cron, timetable


def _part(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least - 1, most + 1)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(number, number, st.integers(0, 70)).map(lambda three: f"{three[0]}-{three[1]}/{three[2]}"),
        st.integers(0, 70).map(lambda step: f"*/{step}"),
        st.tuples(number, st.integers(1, 70)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    )


def _field(least: int, most: int) -> st.SearchStrategy[str]:
    return st.lists(_part(least, most), min_size=1, max_size=2).map(",".join)


EXPRESSIONS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 7)).map(" ".join)


@given(EXPRESSIONS)
def test_whatever_passes_is_taken_by_the_scheduler_and_stays_the_same_when_checked_again(expression: str) -> None:
    try:
        normal = normal_cron(expression)
    except ValueError:
        return
    CronTrigger.from_crontab(normal, timezone="UTC")
    assert normal_cron(normal) == normal


@pytest.mark.parametrize("day", ["0", "7", "sun", "SUN"])
def test_sunday_is_sunday_however_it_is_written(day: str) -> None:
    trigger = CronTrigger.from_crontab(normal_cron(f"0 3 * * {day}"), timezone="UTC")
    fired = trigger.get_next_fire_time(None, datetime(2026, 9, 1, tzinfo=UTC))
    assert fired is not None
    assert fired.isoformat() == "2026-09-06T03:00:00+00:00"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("* * * * *", "* * * * *"),
        ("*/15 6-20 * * 1-5", "*/15 6-20 * * mon,tue,wed,thu,fri"),
        ("0 3 * * fri-mon", "0 3 * * sun,mon,fri,sat"),
        ("0 3 * * */2", "0 3 * * sun,tue,thu,sat"),
        ("0 0 1,15 jan-mar *", "0 0 1,15 1,2,3 *"),
        ("0 0 1 */3 *", "0 0 1 */3 *"),
    ],
)
def test_days_are_named_and_months_numbered(written: str, normal: str) -> None:
    assert normal_cron(written) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1- * * * *",
        "1,,2 * * * *",
        "* * * * hush",
        "@daily",
    ],
)
def test_what_is_no_expression_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression") as caught:
        normal_cron(text)
    assert "hush" not in str(caught.value)


def test_the_default_is_normal() -> None:
    assert normal_cron(DEFAULT_RECONCILE) == DEFAULT_RECONCILE


def test_a_timetable_fires_next_at_the_first_matching_minute() -> None:
    table = timetable("*/15 6-7 * * mon-fri")
    friday_evening = datetime(2026, 9, 4, 20, 0, tzinfo=UTC)
    assert table.next_after(friday_evening) == datetime(2026, 9, 7, 6, 0, tzinfo=UTC)
    assert table.next_after(datetime(2026, 9, 7, 6, 0, tzinfo=UTC)) == datetime(2026, 9, 7, 6, 15, tzinfo=UTC)


def test_a_timetable_for_a_day_that_never_comes_fires_never() -> None:
    assert timetable("0 0 31 2 *").next_after(datetime(2026, 9, 4, tzinfo=UTC)) is None
    assert timetable("0 0 31 2 *").firings_a_year() == 0


def test_firings_of_a_year_are_those_of_the_scheduler() -> None:
    assert timetable("0 3 * * sun").firings_a_year() == 52
    assert timetable("*/10 * * * *").firings_a_year() == 365 * 144


@pytest.mark.parametrize("text", ["*/7 5 1-10 * mon", "0 0 * 2 7", "59 23 31 12 *", "1,30 */6 * * fri-mon"])
def test_a_timetable_agrees_with_the_scheduler(text: str) -> None:
    trigger, moment = CronTrigger.from_crontab(normal_cron(text), timezone=UTC), datetime(2026, 9, 4, 20, 0, tzinfo=UTC)
    for _ in range(5):
        expected = trigger.get_next_fire_time(moment, moment)
        assert timetable(text).next_after(moment) == expected
        moment = expected
