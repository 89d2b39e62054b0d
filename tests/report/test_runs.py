from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.report.runs import UNFINISHED, BusiestHour, busiest_hour, by_period, period_starts, run_figures
from outreach_sync.state.history import DAY_MS
from outreach_sync.state.runs import RunRecord

NOW = parse_iso("2026-09-30T12:00:00Z")
TODAY = parse_iso("2026-09-30T00:00:00Z")


def _run(began: int, took: int | None = 1000, outcome: str | None = "ok", **summary: Any) -> RunRecord:
    finished = None if took is None else Instant(began + took)
    return RunRecord("an-id", "run", Instant(began), finished, 0, outcome, summary)


def _figures(*records: RunRecord) -> list[Any]:
    return [run_figures(record, str) for record in records]


def test_what_a_run_read_wrote_and_asked_for_is_added_up_from_its_summary() -> None:
    summary = {
        "streams": {"tasks": {"read": 3}, "prospects": {"read": 4}},
        "people": {"created": 1, "updated": 2, "recreated": 4, "unchanged": 99, "rejected": 8},
        "tasks": {"created": 16, "rejected": 32},
        "requests": {"outreach": 5, "workbooks": 6},
    }
    (run,) = _figures(_run(NOW, 1000, "ok", **summary))
    assert (run.read, run.written, run.refused, run.outreach, run.workbooks) == (7, 23, 40, 5, 6)


@pytest.mark.parametrize(
    "summary", [{}, {"people": None, "streams": None}, {"people": [], "requests": {"outreach": "x"}}]
)
def test_a_summary_of_another_shape_counts_as_nothing_done(summary: dict[str, Any]) -> None:
    (run,) = _figures(_run(NOW, 1000, "ok", **summary))
    assert (run.read, run.written, run.refused, run.outreach, run.error) == (0, 0, 0, 0, None)


def test_a_killed_run_is_unfinished_and_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    killed, set_back = _figures(_run(NOW, took=None, outcome=None), _run(NOW, took=-5000))
    assert (killed.outcome, killed.duration_ms) == (UNFINISHED, None)
    assert set_back.duration_ms == 0


def test_the_error_of_a_run_passes_the_scrubber() -> None:
    assert run_figures(_run(NOW, error="a secret"), lambda text: text.replace("secret", "***")).error == "a ***"


def test_periods_end_with_today_and_cover_days_without_a_run() -> None:
    starts = period_starts(NOW, 3)
    assert starts == [TODAY - 2 * DAY_MS, TODAY - DAY_MS, TODAY]
    periods = by_period(_figures(_run(TODAY), _run(NOW), _run(TODAY - 1), _run(TODAY - 9 * DAY_MS)), starts)
    assert [period.runs for period in periods] == [0, 1, 2]


def test_a_single_day_has_a_period_too() -> None:
    (period,) = by_period(_figures(_run(NOW)), period_starts(NOW, 1))
    assert (period.begins_at, period.runs) == (TODAY, 1)


def test_many_days_are_shown_by_week_and_none_is_left_out() -> None:
    assert len(period_starts(NOW, 100)) == 100
    starts = period_starts(NOW, 101)
    assert len(starts) == 15
    assert starts[0] <= TODAY - 100 * DAY_MS
    assert starts[-1] + 7 * DAY_MS == TODAY + DAY_MS


def test_a_period_tells_done_partial_and_failed_apart_and_counts_the_unfinished_as_failed() -> None:
    runs = _figures(
        _run(TODAY, 1000), _run(TODAY, 9000, "partial"), _run(TODAY, 2000, "failed"), _run(TODAY, None, None)
    )
    (period,) = by_period(runs, [TODAY])
    assert (period.ok, period.partial, period.failed) == (1, 1, 2)
    assert (period.median_ms, period.longest_ms) == (2000, 9000)


def test_the_busiest_hour_adds_up_the_runs_that_began_in_it() -> None:
    asked = [(TODAY, 40), (TODAY + 3_599_999, 30), (TODAY + 3_600_000, 60)]
    runs = _figures(*(_run(at, requests={"outreach": count}) for at, count in asked))
    assert busiest_hour(runs) == BusiestHour(TODAY, 70)
    assert busiest_hour(_figures(_run(TODAY))) is None
    assert busiest_hour([]) is None
