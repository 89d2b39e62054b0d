"""What recorded runs did, one by one and added up by period."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import Instant
from outreach_sync.state.history import DAY_MS, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from outreach_sync.state.runs import RunRecord

UNFINISHED = "unfinished"
"""The outcome of a run that goes on, or whose process was killed."""

_HOUR_MS = 3_600_000
_MOST_DAILY_PERIODS = 100
_WRITTEN = ("created", "updated", "recreated")


class RunFigures(NamedTuple):
    """One run. `written` and `refused` count people and tasks; `duration_ms` is None for one that did not finish."""

    started_at: Instant
    command: str
    outcome: str
    exit_status: int | None
    duration_ms: int | None
    read: int
    written: int
    refused: int
    outreach: int
    workbooks: int
    error: str | None


class Period(NamedTuple):
    """What the runs of a period did together; a period is a UTC day, or a week where days would be too many.

    `failed` counts unfinished runs too. The durations are 0 where no run finished.
    """

    begins_at: Instant
    ok: int
    partial: int
    failed: int
    median_ms: int
    longest_ms: int
    read: int
    written: int
    refused: int
    outreach: int
    workbooks: int

    @property
    def runs(self) -> int:
        """All runs."""
        return self.ok + self.partial + self.failed


class BusiestHour(NamedTuple):
    """The hour (UTC) in which the runs that began made the most requests to Outreach, and how many."""

    begins_at: Instant
    requests: int


def run_figures(run: RunRecord, clean: Callable[[str], str]) -> RunFigures:
    """Read the figures of a run from its record; `clean` is what every text passes through."""
    summary = run.summary
    people, tasks, requests = (_numbers(summary, name) for name in ("people", "tasks", "requests"))
    streams = summary.get("streams") or {}
    error = summary.get("error")
    return RunFigures(
        started_at=run.started_at,
        command=clean(run.command),
        outcome=clean(run.outcome or UNFINISHED),
        exit_status=run.exit_status,
        duration_ms=None if run.finished_at is None else max(0, run.finished_at - run.started_at),
        read=sum(_numbers(streams, stream).get("read", 0) for stream in streams),
        written=sum(people.get(name, 0) for name in _WRITTEN) + tasks.get("created", 0),
        refused=people.get("rejected", 0) + tasks.get("rejected", 0),
        outreach=requests.get("outreach", 0),
        workbooks=requests.get("workbooks", 0),
        error=clean(str(error)) if error else None,
    )


def days_in_a_period(days: int) -> int:
    """Say how long the periods are that a span of days is shown in: a day, or a week."""
    return 1 if days <= _MOST_DAILY_PERIODS else 7


def period_starts(now: Instant, days: int) -> list[Instant]:
    """Return when the periods begin that cover the last `days` days, today included, oldest first."""
    length = days_in_a_period(days)
    count = -(-days // length)
    end = day_of(now) + DAY_MS
    return [Instant(end - (count - place) * length * DAY_MS) for place in range(count)]


def by_period(runs: Iterable[RunFigures], starts: Sequence[Instant]) -> tuple[Period, ...]:
    """Add runs up by period; periods without a run are there too, runs outside all of them are not."""
    length = starts[1] - starts[0] if len(starts) > 1 else DAY_MS
    grouped: dict[int, list[RunFigures]] = {}
    for run in runs:
        grouped.setdefault((run.started_at - starts[0]) // length, []).append(run)
    return tuple(_period(start, grouped.get(place, [])) for place, start in enumerate(starts))


def busiest_hour(runs: Iterable[RunFigures]) -> BusiestHour | None:
    """Return the hour with the most requests to Outreach, the latest of several; None: there were none."""
    hours: Counter[int] = Counter()
    for run in runs:
        hours[run.started_at // _HOUR_MS] += run.outreach
    hour, requests = max(hours.items(), key=lambda one: (one[1], one[0]), default=(0, 0))
    return BusiestHour(Instant(hour * _HOUR_MS), requests) if requests else None


def _period(begins_at: Instant, runs: Sequence[RunFigures]) -> Period:
    outcomes = Counter(run.outcome for run in runs)
    durations = [run.duration_ms for run in runs if run.duration_ms is not None]
    return Period(
        begins_at=begins_at,
        ok=outcomes["ok"],
        partial=outcomes["partial"],
        failed=len(runs) - outcomes["ok"] - outcomes["partial"],
        median_ms=round(median(durations)) if durations else 0,
        longest_ms=max(durations, default=0),
        read=sum(run.read for run in runs),
        written=sum(run.written for run in runs),
        refused=sum(run.refused for run in runs),
        outreach=sum(run.outreach for run in runs),
        workbooks=sum(run.workbooks for run in runs),
    )


def _numbers(section: Mapping[str, Any], name: str) -> dict[str, int]:
    """Return the whole numbers of a part of a summary; an older version may have written it otherwise."""
    part = section.get(name)
    if not isinstance(part, dict):
        return {}
    return {key: value for key, value in part.items() if isinstance(value, int)}
