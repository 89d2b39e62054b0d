from __future__ import annotations

from typing import Any

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Stream
from outreach_sync.rules.watermark import Walk

NOW = parse_iso("2026-09-30T12:00:00Z")


def test_each_kind_of_refusal_comes_with_what_to_do_and_commands_as_code(filled: Any, page_of: Any) -> None:
    filled.refusal(1, "no entry of the picklist", parked=True)
    page = page_of(filled.state)
    assert "Refused by Workbooks " in page.said("h3")
    assert "failures retry" in page.said("code")
    assert "1, 1 parked" in page.said("span")
    assert "failure 1: prospect 1, Person 1001" in page.said("div")


def test_reasons_beyond_the_first_are_counted_with_the_command_that_has_them(filled: Any, page_of: Any) -> None:
    for prospect_id in range(1, 24):
        filled.refusal(prospect_id, f"reason {prospect_id}")
    page = page_of(filled.state)
    assert "And 3 more reasons: " in page.said("p")
    assert "outreach-sync failures list" in page.said("code")


def test_an_incomplete_walk_is_told_beside_the_watermark(filled: Any, page_of: Any) -> None:
    filled.watermark(Stream.TASKS, Instant(NOW - 7_200_000))
    assert "a walk is not complete" not in page_of(filled.state).text
    with filled.state.transaction():
        walk = Walk(None, True, False, "https://example.com/next", NOW, NOW, NOW)
        filled.state.progress.keep_walk(Stream.TASKS, walk)
    page = page_of(filled.state)
    assert "a walk is not complete" in page.said("div")
    assert "2 hours ago" in page.said("td")


def test_a_stream_that_was_never_read_has_no_age(page_of: Any) -> None:
    page = page_of(None)
    assert page.said("td").count("none yet") == 3
