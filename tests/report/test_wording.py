from __future__ import annotations

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.report import wording


@pytest.mark.parametrize(
    ("span_ms", "said"),
    [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (9_940, "9.9 s"), (42_400, "42 s"), (200_000, "3 min 20 s")],
)
def test_a_duration_keeps_as_much_as_is_worth_reading(span_ms: int, said: str) -> None:
    assert wording.duration(span_ms) == said


@pytest.mark.parametrize("span_ms", [9_960, 59_600, 119_700])
def test_a_duration_is_never_rounded_up_to_sixty_seconds(span_ms: int) -> None:
    assert " 60 s" not in f" {wording.duration(span_ms)}"


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (-5, "just now"),
        (0, "just now"),
        (1, "1 min ago"),
        (119, "119 min ago"),
        (120, "2 hours ago"),
        (2879, "47 hours ago"),
        (2880, "2 days ago"),
    ],
)
def test_an_age_is_told_by_the_largest_unit_that_is_not_too_coarse(minutes: int, said: str) -> None:
    assert wording.age(minutes * 60_000) == said


def test_a_part_that_is_there_is_never_zero_percent() -> None:
    assert wording.share(1, 1000) == "<1%"
    assert wording.share(0, 1000) == "0%"
    assert wording.share(0, 0) == "0%"
    assert wording.share(1000, 1000) == "100%"


def test_numbers_and_changes_are_worded_for_reading() -> None:
    assert wording.counted(1, "run", "runs") == "1 run"
    assert wording.counted(12_345, "run", "runs") == "12,345 runs"
    assert [wording.change(count) for count in (0, 5, -1200)] == ["no change", "+5", "\u22121,200"]


def test_times_are_readable_by_people_and_by_programs() -> None:
    at = parse_iso("2026-09-01T10:15:03Z")
    assert wording.moment(at) == '<time datetime="2026-09-01T10:15:03Z">2026-09-01 10:15</time>'
    assert wording.day(at) == '<time datetime="2026-09-01">2026-09-01</time>'
    assert wording.short_day(at) == "1 Sep"
