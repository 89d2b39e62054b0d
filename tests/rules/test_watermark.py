"""From where a stream is read, and how far its watermark may move, whatever the clocks say."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import Instant, parse_duration, parse_iso
from outreach_sync.rules.watermark import (
    Bound,
    Progress,
    Reading,
    Walk,
    believed,
    first_bound,
    lag,
    sweep_bound,
    sweep_is_due,
    trusted_time,
)

DAY = parse_duration("24h")
NOW = parse_iso("2026-09-10T12:00:00Z")
READING = Reading(parse_duration("90d"), None, parse_duration("10m"), DAY)
WALK = Walk(None, moves_watermark=True, counts_as_sweep=False)


def ago(text: str) -> Instant:
    return Instant(NOW - parse_duration(text))


def progress(watermark: Instant | None = None, swept: Instant | None = None) -> Progress:
    return Progress(watermark, swept, None)


def test_the_first_load_reads_back_from_the_server_clock_and_counts_as_a_sweep() -> None:
    assert first_bound(progress(), READING, NOW) == Bound(ago("90d"), moves_watermark=True, counts_as_sweep=True)


def test_the_first_load_waits_for_the_server_clock_instead_of_using_ours() -> None:
    assert first_bound(progress(), READING, None) is None


@pytest.mark.parametrize(
    ("reading", "since"),
    [(READING._replace(start=None), None), (READING._replace(start_at=ago("5d")), ago("5d"))],
    ids=["all", "a date"],
)
def test_a_first_load_without_a_duration_needs_no_clock(reading: Reading, since: Instant | None) -> None:
    assert first_bound(progress(), reading, None) == Bound(since, moves_watermark=True, counts_as_sweep=True)


def test_each_run_reads_the_overlap_back() -> None:
    bound = first_bound(progress(ago("1h"), ago("2h")), READING, NOW)
    assert bound == Bound(ago("1h10m"), moves_watermark=True, counts_as_sweep=False)


def test_a_full_run_ignores_the_watermark() -> None:
    bound = first_bound(progress(ago("1h"), ago("2h")), READING._replace(full=True), NOW)
    assert bound == Bound(ago("90d"), moves_watermark=True, counts_as_sweep=True)


@pytest.mark.parametrize(
    ("watermark", "since", "moves"),
    [(ago("1h"), ago("2h"), True), (ago("2h"), ago("1h"), False), (None, ago("1h"), False)],
    ids=["covers it", "would skip an hour", "nothing was ever read"],
)
def test_a_run_since_a_time_moves_the_watermark_only_where_it_covers_it(
    watermark: Instant | None,
    since: Instant,
    moves: bool,
) -> None:
    bound = first_bound(progress(watermark, NOW), READING._replace(since=since), NOW)
    assert bound == Bound(since, moves, counts_as_sweep=False)


@pytest.mark.parametrize(("swept", "due"), [("23h59m", False), ("24h", True), ("30d", True)])
def test_a_sweep_is_due_once_its_time_has_passed(swept: str, due: bool) -> None:
    assert sweep_is_due(progress(ago("1m"), ago(swept)), READING, NOW) is due


def test_a_sweep_reads_from_its_period_before_the_last_one_began() -> None:
    bound = sweep_bound(progress(ago("1m"), ago("25h")), READING)
    assert bound == Bound(ago("49h"), moves_watermark=True, counts_as_sweep=True)


def test_a_run_that_knows_the_time_sweeps_at_once() -> None:
    overdue = progress(ago("1m"), ago("25h"))
    assert first_bound(overdue, READING, NOW) == sweep_bound(overdue, READING)


@pytest.mark.parametrize(
    ("server", "local", "newest", "trusted"),
    [
        (NOW, NOW, ago("1h"), NOW),
        (NOW, ago("400d"), ago("30d"), NOW),
        (NOW, Instant(NOW + 400 * DAY), None, NOW),
        (NOW, NOW, Instant(NOW + DAY), NOW),
        (None, NOW, ago("1h"), ago("1h")),
        (None, NOW, None, None),
    ],
    ids=["all agree", "ours is behind", "ours is ahead", "a row is ahead", "no Date header", "nothing known"],
)
def test_the_watermark_is_the_servers_clock_whatever_ours_says(
    server: Instant | None, local: Instant | None, newest: Instant | None, trusted: Instant | None
) -> None:
    assert trusted_time(WALK._replace(began_at=server, local_at=local, newest=newest)) == trusted


@pytest.mark.parametrize(
    ("offset", "server", "local", "expected"),
    [
        (None, NOW, NOW, 0),
        (0, None, NOW, 0),
        (0, NOW, NOW, 0),
        (-400 * DAY, NOW, Instant(NOW + 400 * DAY), 0),
        (0, Instant(NOW + DAY), NOW, 0),
        (DAY, NOW, NOW, DAY),
        (60_000, NOW, NOW, 0),
    ],
    ids=["first", "no Date", "in step", "ours far ahead", "server jumps", "server was ahead", "a minute"],
)
def test_the_marks_lag_by_what_the_server_was_ahead(
    offset: int | None, server: Instant | None, local: Instant, expected: int
) -> None:
    assert lag(offset, server, local) == expected


@given(st.integers(600_000, 30 * DAY), st.integers(0, 60 * DAY), st.integers(-400 * DAY, 400 * DAY))
def test_one_wrong_answer_never_keeps_later_runs_from_reading_what_it_passed_over(
    ahead: int, later: int, ours: int
) -> None:
    wrong = progress(Instant(NOW + ahead), Instant(NOW + ahead))
    behind = lag(ahead - ours, Instant(NOW + later), Instant(NOW + later + ours))
    bound = first_bound(believed(wrong, behind), READING, Instant(NOW + later))
    assert bound is not None
    assert bound.since is not None
    assert bound.since <= NOW
