"""What the schedule costs in Outreach requests a year; plans allow 250,000 to 1,000,000.

Measured on the runs that were recorded, late sweeps and token requests included; estimated until there are enough.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.config.cron import firings_a_year

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.store import Store
    from outreach_sync.store.history import RunRecord

SMALL_PLAN, LARGE_PLAN = 250_000, 1_000_000
"""Requests a year that Outreach's plans allow."""

FIRST_LOAD = "first_load_done"
"""The fact that names the run which completed the first load (`deliver` puts it there)."""

_YEAR_MS = 365 * 86_400_000
_TOKENS_A_YEAR = 365 * 12  # an access token lives two hours
_ENOUGH_RUNS = 10
_MEASURED_RUNS = 300
_PAGE = 1000


class YearlyCost(NamedTuple):
    """Cycles and reconciles a year, the Outreach requests of one of each, and of all of it.

    `measured`: the requests of a cycle are those of recorded runs.
    """

    cycles: int
    per_cycle: float
    reconciles: int
    per_reconcile: float
    requests: int
    measured: bool


def yearly_cost(config: Config, state: Store) -> YearlyCost:
    """Work out what the schedule costs from what was recorded."""
    schedule = config.schedule
    runs = _recorded(state)
    cycles = firings_a_year(schedule.cron) if schedule.cron else _YEAR_MS // (schedule.every_ms or _YEAR_MS)
    per_cycle = _mean(runs, "run", at_least=_ENOUGH_RUNS)
    measured = per_cycle is not None
    if per_cycle is None:
        extra = len(config.sync.streams) * (_YEAR_MS / config.sync.late_sweep_ms) + _TOKENS_A_YEAR
        per_cycle = len(config.sync.streams) + extra / cycles if cycles else 0.0
    reconciles = firings_a_year(schedule.reconcile) if schedule.reconcile else 0
    per_reconcile = _mean(runs, "reconcile", at_least=1)
    if per_reconcile is None:
        per_reconcile = float(ceil(state.count_states() / _PAGE) + 1) if reconciles else 0.0
    requests = round(cycles * per_cycle + reconciles * per_reconcile)
    return YearlyCost(cycles, round(per_cycle, 2), reconciles, round(per_reconcile, 1), requests, measured)


def _recorded(state: Store) -> list[RunRecord]:
    """Return recent runs without the first load, and the last reconcile however old."""
    first_load = state.facts.get(FIRST_LOAD)
    recorded = {run.id: run for run in state.runs.latest(_MEASURED_RUNS) if run.id != first_load}
    reconcile = state.runs.latest_of("reconcile")
    if reconcile is not None:
        recorded[reconcile.id] = reconcile
    return list(recorded.values())


def _mean(runs: Sequence[RunRecord], command: str, *, at_least: int) -> float | None:
    """Return the mean of the Outreach requests of the runs that were not cut short; None: there are too few."""
    counts = [
        run.summary["requests"]["outreach"]
        for run in runs
        if run.command == command and run.exit_status in (0, 1) and "requests" in run.summary
    ]
    return sum(counts) / len(counts) if len(counts) >= at_least else None
