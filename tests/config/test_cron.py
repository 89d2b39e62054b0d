from __future__ import annotations

from datetime import UTC, datetime

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given, strategies as st

from outreach_sync.config.cron import DEFAULT_RECONCILE, normal_cron, schedulable, timetable
from outreach_sync.config.models import Schedule
from outreach_sync.schedule import CYCLE, trigger_of


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
    for minute, hour, day, month, weekday in schedulable(normal):
        CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)
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
        ("0 3 * * */2", "0 3 * * */2"),  # only where it begins with * must the day of the month match as well
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


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30,31 feb *", "0 0 31 4,6,9,11 */2"])
def test_a_day_that_never_comes_is_refused_instead_of_waited_for(text: str) -> None:
    with pytest.raises(ValueError, match="never fires"):
        normal_cron(text)


@pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 31 2 mon", "0 0 31 1,2 *"])
def test_a_day_that_seldom_comes_is_no_mistake(text: str) -> None:
    assert timetable(text).next_after(datetime(2026, 9, 4, tzinfo=UTC)) is not None


def test_a_leap_day_is_found_over_a_century_without_one() -> None:
    found = timetable("0 0 29 2 *").next_after(datetime(2096, 3, 1, tzinfo=UTC))
    assert found == datetime(2104, 2, 29, tzinfo=UTC)


def test_where_both_kinds_of_day_are_restricted_either_is_enough_as_in_a_cron_table() -> None:
    table, moment, fired = timetable("0 0 1 * mon"), datetime(2026, 9, 1, tzinfo=UTC), []
    for _ in range(5):
        moment = table.next_after(moment) or moment
        fired.append(moment.day)
    assert fired == [7, 14, 21, 28, 1]
    assert table.firings_a_year() == 52 + 12 - 3  # the first of February, March and November 2027 are Mondays
    assert timetable("0 0 1-7 * */6").firings_a_year() == 24  # the first Saturday and Sunday of each month


def test_firings_of_a_year_are_those_of_the_scheduler() -> None:
    assert timetable("0 3 * * sun").firings_a_year() == 52
    assert timetable("*/10 * * * *").firings_a_year() == 365 * 144


@pytest.mark.parametrize(
    "text",
    [
        *("*/7 5 1-10 * mon", "0 0 1 * mon", "0 0 1-10 * */2", "0 0 */3 * mon"),
        *("0 0 * 2 7", "59 23 31 12 *", "1,30 */6 * * fri-mon", "0 3 * * */2"),
    ],
)
def test_a_timetable_agrees_with_the_scheduler(text: str) -> None:
    schedule = Schedule.model_validate({"cron": text, "jitter": "0s"})
    trigger, moment = trigger_of(schedule, CYCLE), datetime(2026, 9, 4, 20, 0, tzinfo=UTC)
    assert trigger is not None
    for _ in range(20):
        expected = trigger.get_next_fire_time(moment, moment)
        assert timetable(text).next_after(moment) == expected
        moment = expected
