from __future__ import annotations

from typing import Any

from outreach_sync.instants import Instant, parse_iso

NOW = parse_iso("2026-09-30T12:00:00Z")


def test_a_sync_that_runs_in_time_without_refusals_is_well(filled: Any, page_of: Any) -> None:
    filled.run("a", Instant(NOW - 300_000))
    page = page_of(filled.state)
    assert "All is well." in page.said("strong")
    assert "5 min ago" in page.said("dd")


def test_a_failed_last_run_is_told_with_its_error_and_exit_status(filled: Any, page_of: Any) -> None:
    filled.run("a", Instant(NOW - 900_000))
    filled.run("b", Instant(NOW - 300_000), "failed", error="Outreach: no answer.")
    page = page_of(filled.state)
    assert "Needs attention" in page.said("strong")
    assert "".join(page.said("li")).count(", ended with 4: ") == 1
    assert "Outreach: no answer." in page.said("bdi")


def test_a_killed_run_is_told_apart_from_a_failed_one(filled: Any, page_of: Any) -> None:
    filled.run("a", Instant(NOW - 300_000), None)
    assert "is going on or was killed" in page_of(filled.state).text


def test_an_overdue_run_is_what_needs_attention(filled: Any, page_of: Any) -> None:
    filled.run("a", Instant(NOW - 7_200_000))
    assert "Overdue: run, which the schedule wanted at 2026-09-30T10:10:00Z" in page_of(filled.state).text


def test_refused_records_link_to_what_to_do_about_them(filled: Any, page_of: Any) -> None:
    filled.run("a", Instant(NOW - 300_000), "partial")
    filled.refusal(1, "no", parked=True)
    page = page_of(filled.state)
    assert "1 record is refused" in "".join(page.said("a"))
    assert "#refused" in [tag.attributes.get("href") for tag in page.named("a") if tag.section == "glance"]
