from __future__ import annotations

import json
from typing import Any

from outreach_sync.instants import Instant, parse_iso

NOW = parse_iso("2026-09-30T12:00:00Z")


def test_the_busiest_hour_is_held_against_the_quota(filled: Any, page_of: Any) -> None:
    filled.run("a", Instant(NOW - 300_000), requests={"outreach": 321})
    with filled.state.transaction():
        filled.state.facts.put("outreach_quota", json.dumps({"limit": 10_000, "remaining": 9_679, "resets_at": None}))
    page = page_of(filled.state)
    assert "9,679 of 10,000 left" in page.text
    assert "321 of 10,000 requests" in page.text


def test_a_quota_that_was_never_told_is_left_out(filled: Any, page_of: Any) -> None:
    filled.run("a", NOW)
    page = page_of(filled.state)
    assert "hourly quota" not in page.text
    assert "requests a year (estimated)" in page.text


def test_many_days_are_called_weeks_where_they_are_added_up(filled: Any, page_of: Any) -> None:
    filled.run("a", NOW)
    assert "Numbers by week" in page_of(filled.state, days=200).said("summary")
    assert "Numbers by day" in page_of(filled.state, days=100).said("summary")


def test_a_run_that_goes_on_has_neither_duration_nor_exit_status(filled: Any, page_of: Any) -> None:
    filled.run("a", NOW, None)
    page = page_of(filled.state)
    assert "unfinished" in page.said("td")
    assert "failed or unfinished" in "".join(page.said("li"))


def test_a_column_of_durations_tells_the_median_and_the_longest_not_their_difference(filled: Any, page_of: Any) -> None:
    filled.run("a", NOW)
    assert "2026-09-30: median 42 s, longest 42 s" in page_of(filled.state).said("title")
