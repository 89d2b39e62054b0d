"""From where a stream is read, and how far its watermark may move, whatever the clocks say."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config.model import Guard
from outreach_sync.instants import Back, Instant, parse_duration, parse_iso
from outreach_sync.rules import watermark as rules
from outreach_sync.rules.watermark import Progress, Reading, Walk, Watched

DAY = parse_duration("24h")
NOW = parse_iso("2026-09-10T12:00:00Z")
READING = Reading(Back(parse_duration("90d")), parse_duration("10m"), DAY)
WALK = Walk(None, moves_watermark=True, counts_as_sweep=False)


def ago(text: str) -> Instant:
    return Instant(NOW - parse_duration(text))


def clock() -> Instant:
    raise AssertionError("the service is asked for nothing")


def progress(watermark: Instant | None = None, swept: Instant | None = None) -> Progress:
    return Progress(watermark, swept, None)


def test_the_first_load_reads_back_by_the_server_clock_waits_for_it_and_counts_as_a_sweep() -> None:
    back = Walk(ago("90d"), moves_watermark=True, counts_as_sweep=True)
    for heard, ask in ((NOW, clock), (None, lambda: NOW)):
        assert rules.walk_to_make(progress(), READING, heard, ask) == back
    for start in (None, ago("5d")):  # neither needs a clock
        made = rules.walk_to_make(progress(), READING._replace(start=start), None, clock)
        assert made == Walk(start, moves_watermark=True, counts_as_sweep=True)


def test_a_usual_run_reads_the_overlap_back_and_goes_on_with_an_open_walk_as_it_began() -> None:
    known = progress(ago("1h"), NOW)
    usual = Walk(ago("70m"), moves_watermark=True, counts_as_sweep=False)
    assert rules.walk_to_make(known, READING, None, clock) == rules.walk_to_make(known, READING, NOW, clock) == usual
    for walk in (WALK._replace(as_is=True), WALK):
        assert rules.walk_to_make(known._replace(walk=walk), READING, NOW, clock) == walk
    full = rules.walk_to_make(progress(ago("100d"), NOW), READING._replace(full=True), NOW, clock)
    assert full.since == ago("101d") - 600_000, "all that a sweep reads is read, though sync.start is later"


@pytest.mark.parametrize(
    ("since", "began", "start", "goes_on"),
    [
        (None, NOW, None, True), (ago("90d"), NOW, None, False), (None, None, READING.start, True),
        (ago("90d") + 60_000, NOW, READING.start, True), (ago("90d") + 60_001, NOW, READING.start, False),
        (ago("90d"), None, READING.start, False), (ago("5d"), NOW, ago("5d"), True), (ago("4d"), NOW, ago("5d"), False),
    ],
)  # fmt: skip
def test_a_full_run_goes_on_with_a_walk_only_where_that_reads_all_of_it(
    since: Instant | None, began: Instant | None, start: Any, goes_on: bool
) -> None:
    walk = WALK._replace(since=since, began_at=began, next_url="next")
    made = rules.walk_to_make(Progress(ago("1h"), None, walk), READING._replace(start=start, full=True), NOW, clock)
    assert (made.next_url, made.as_is) == ("next" if goes_on else None, True)


@pytest.mark.parametrize(("watermark", "moves"), [("1h", True), ("110m", True), ("111m", False), (None, False)])
def test_a_run_since_a_time_moves_the_watermark_only_where_it_covers_it(watermark: str | None, moves: bool) -> None:
    known = progress(ago(watermark) if watermark else None, NOW)
    bound = rules.walk_to_make(known, READING._replace(since=ago("2h")), None, clock)
    assert bound == Walk(ago("2h"), moves_watermark=moves, counts_as_sweep=False)


@pytest.mark.parametrize(
    ("began", "due"),
    [(ago("23h59m"), False), (ago("24h"), True), (ago("30d"), True), (NOW + 60_000, False), (NOW + 60_001, True)],
)
def test_a_sweep_is_due_once_its_time_has_passed_or_the_last_one_was_dated_wrongly(began: int, due: bool) -> None:
    sweep = rules.late_sweep(progress(ago("1m"), Instant(began)), READING, NOW)
    since = min(began - DAY, NOW - 60_000 - max(DAY, 600_000))
    assert sweep == (Walk(Instant(since), moves_watermark=True, counts_as_sweep=True) if due else None)


def test_a_sweep_reads_back_by_the_overlap_at_least() -> None:
    reading = READING._replace(overlap=3 * DAY)
    assert rules.late_sweep(progress(ago("1m"), ago("25h")), reading, NOW).since == NOW - 60_000 - 3 * DAY
    assert rules.late_sweep(progress(None, ago("25h")), READING, NOW).since == ago("49h")


@pytest.mark.parametrize(
    ("server", "local", "newest", "trusted"),
    [
        (NOW, NOW, ago("1h"), NOW), (NOW, ago("1d"), ago("1h"), ago("1h")),
        (Instant(NOW + DAY), NOW, ago("1h"), NOW), (ago("1d"), NOW, ago("1h"), ago("1d")),
        (Instant(NOW + DAY), ago("1d"), ago("1h"), ago("1h")), (NOW, Instant(NOW + DAY), Instant(NOW + DAY), NOW),
        (None, NOW, ago("1h"), ago("1h")), (None, NOW, None, None), (NOW, None, None, NOW),
        (None, NOW, Instant(NOW + DAY), NOW),
    ],
)  # fmt: skip
def test_the_watermark_trusts_no_clock_alone(
    server: Instant | None, local: Instant | None, newest: Instant | None, trusted: Instant | None
) -> None:
    assert rules.trusted_time(WALK._replace(began_at=server, local_at=local, newest=newest)) == trusted


def test_where_nothing_is_newer_than_the_bound_it_is_at_least_as_late_as_that() -> None:
    walk = WALK._replace(began_at=NOW, local_at=ago("1d"), newest=ago("1h"))
    assert [rules.trusted_time(walk._replace(since=at)) for at in (ago("30m"), NOW + DAY)] == [ago("30m"), NOW]
    for newest in (None, ago("1h")):
        assert rules.trusted_time(walk._replace(since=ago("2h"), began_at=None, newest=newest)) == ago("2h")


SKEW = st.integers(-DAY, DAY)


@given(SKEW, SKEW, st.integers(0, DAY))
def test_one_wrong_clock_never_moves_the_watermark_past_what_was_read(server: int, local: int, age: int) -> None:
    if server > 0 and local > 0:
        return  # both wrong the same way at once is beyond the promise
    walk = WALK._replace(began_at=NOW + server, local_at=NOW + local, newest=NOW - age)
    assert (rules.trusted_time(walk) or NOW) <= NOW


def test_both_the_share_and_the_count_must_be_exceeded() -> None:
    for numbers in ((501, 1000), (502, 1002), (501, 0)):
        assert rules.is_mass_change(*numbers, share=0.5, count=500), numbers
    for numbers in ((500, 999), (501, 1002), (10, 10), (0, 0)):
        assert not rules.is_mass_change(*numbers, share=0.5, count=500), numbers


@pytest.mark.parametrize(
    ("counted", "linked", "found"),
    [
        ((600, 0, 0), 1000, {Watched.UPDATES}), ((0, 11, 0), 60, {Watched.LOSSES}),
        ((60, 60, 0), 60, {Watched.LOSSES}), ((0, 10, 0), 60, set()), ((0, 11, 0), 110, set()),
        ((0, 0, 501), 0, {Watched.CREATIONS}), ((0, 0, 500), 0, set()), ((600, 200, 600), 1000, set(Watched)),
    ],
)  # fmt: skip
def test_each_number_has_its_own_limit(counted: tuple[int, ...], linked: int, found: set[str]) -> None:
    numbers = dict(zip(Watched, counted, strict=True))
    assert set(rules.guard_problems(numbers, linked, Guard(), loaded=True)) == found
    assert set(rules.guard_problems(numbers, linked, Guard(), loaded=False)) == found - {Watched.UPDATES}
