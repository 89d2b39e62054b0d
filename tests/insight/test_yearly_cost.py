from __future__ import annotations

from pathlib import Path
from typing import Any

from outreach_sync.config.quick import QuickSettings
from outreach_sync.insight.yearly_cost import yearly_cost
from outreach_sync.instants import Instant
from outreach_sync.state.runs import RunRecord

DAY_MS = 86_400_000


def _settings(**changes: Any) -> QuickSettings:
    plain = QuickSettings(
        Path("state.db"), 90 * DAY_MS, ("sequence_states", "tasks", "prospects"), DAY_MS, 600_000, None, None,
        "info", "auto",
    )  # fmt: skip
    return plain._replace(**changes)


def _run(requests: int, *, command: str = "run", exit_status: int = 0) -> RunRecord:
    summary = {"requests": {"outreach": requests, "workbooks": 0}}
    return RunRecord("an-id", command, Instant(0), Instant(1), exit_status, "ok", summary)


def test_until_there_are_runs_a_cycle_is_estimated_at_one_request_a_stream_and_what_sweeps_and_tokens_add() -> None:
    cost = yearly_cost(_settings(), ())
    assert (cost.cycles, cost.measured) == (52_560, False)
    assert cost.requests == 52_560 * 3 + 3 * 365 + 12 * 365


def test_recorded_runs_count_instead_of_the_estimate() -> None:
    cost = yearly_cost(_settings(), [_run(3)] * 9 + [_run(13)])
    assert (cost.per_cycle, cost.measured, cost.requests) == (4.0, True, 210_240)


def test_runs_that_were_cut_short_do_not_make_the_schedule_look_cheap() -> None:
    cost = yearly_cost(_settings(), [_run(4)] * 10 + [_run(0, exit_status=4)] * 50)
    assert cost.per_cycle == 4


def test_a_cron_schedule_is_counted_by_its_firings() -> None:
    cost = yearly_cost(_settings(every_ms=None, cron="*/15 6-20 * * mon-fri"), [_run(3)] * 10)
    assert cost.cycles == 261 * 15 * 4  # 2027 has 261 working days


def test_reconciles_add_what_they_were_seen_to_cost_or_a_page_for_each_thousand_records() -> None:
    weekly = _settings(reconcile="0 3 * * sun")
    assert yearly_cost(weekly, [_run(3)] * 10, lambda: 4_500).per_reconcile == 6
    measured = yearly_cost(weekly, [*[_run(3)] * 10, _run(50, command="reconcile")], lambda: 4_500)
    assert (measured.reconciles, measured.per_reconcile) == (52, 50)
    assert measured.requests == 52_560 * 3 + 52 * 50
