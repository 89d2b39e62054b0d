"""What the page says of runs: how they ended, how long they took, what they moved, and what they asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.insight.yearly_cost import LARGE_PLAN, SMALL_PLAN
from outreach_sync.instants import to_date
from outreach_sync.report.charts import OUTCOMES, SHADES, Column, Subject, columns, figure, legend
from outreach_sync.report.markup import Markup, element, foreign, joined
from outreach_sync.report.tables import Head, folded, table
from outreach_sync.report.wording import counted, day, duration, moment, number, short_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outreach_sync.report.figures import Report
    from outreach_sync.report.runs import Period, RunFigures

_ENDS = dict(zip(OUTCOMES, ("done", "some refused", "failed or unfinished"), strict=True))
_LENGTHS = dict(zip(SHADES, ("median", "longest"), strict=True))


def runs(report: Report) -> Markup:
    """Return how runs went."""
    return element(
        "section",
        element("h2", "Runs"),
        element("p", f"{counted(report.run_count, 'run', 'runs')} in this period.", class_="lead"),
        _run_charts(report) if report.run_count else "",
        id="runs",
    )


def _run_charts(report: Report) -> Markup:
    charts = element(
        "div",
        _outcomes(report),
        _durations(report),
        _chart(report, "read", "Records read", lambda one: one.read),
        _chart(report, "written", "Records written", lambda one: one.written),
        _chart(report, "refusals", "Writes refused", lambda one: one.refused),
        class_="charts",
    )
    heads = [Head("Begins", numeric=False), *map(Head, ("Runs", "Done", "Some refused", "Failed", "Median", "Longest"))]
    by_period = table(
        f"Runs by {_unit(report)}",
        [*heads, Head("Read"), Head("Written"), Head("Refused")],
        [list(_period_cells(period)) for period in reversed(report.periods) if period.runs],
    )
    return joined(
        charts,
        folded(f"Numbers by {_unit(report)}", by_period),
        folded(f"The last {counted(len(report.last_runs), 'run', 'runs')}, one by one", _last_runs(report)),
    )


def _period_cells(period: Period) -> Iterator[str]:
    yield day(period.begins_at)
    yield from map(number, (period.runs, period.ok, period.partial, period.failed))
    yield duration(period.median_ms)
    yield duration(period.longest_ms)
    yield from map(number, (period.read, period.written, period.refused))


def _outcomes(report: Report) -> Markup:
    shown = [_ends(period) for period in report.periods]
    failed = sum(period.failed for period in report.periods)
    partial = sum(period.partial for period in report.periods)
    said = f"{number(report.run_count)} in all, {number(partial)} with refusals, {number(failed)} failed or unfinished."
    chart = columns(Subject("run-ends", f"Runs by {_unit(report)} and how they ended", said), shown)
    return figure("Runs", number(report.run_count), chart, legend(_ENDS))


def _ends(period: Period) -> Column:
    parts = (period.ok, period.partial, period.failed)
    said = ", ".join(f"{number(part)} {end}" for part, end in zip(parts, _ENDS.values(), strict=True))
    return _column(period, said, *parts)


def _durations(report: Report) -> Markup:
    """Draw the median at the foot of each column; its top is what the longest run took."""
    shown = [
        _column(
            period,
            f"median {duration(period.median_ms)}, longest {duration(period.longest_ms)}",
            *(period.median_ms, period.longest_ms - period.median_ms),
        )
        for period in report.periods
    ]
    longest = duration(max(period.longest_ms for period in report.periods))
    subject = Subject("durations", f"Duration of runs by {_unit(report)}", f"The longest took {longest}.")
    return figure("Duration", f"up to {longest}", columns(subject, shown, duration, SHADES), legend(_LENGTHS))


def _chart(report: Report, slug: str, title: str, value: Callable[[Period], int]) -> Markup:
    shown = [_column(period, number(value(period)), value(period)) for period in report.periods]
    total = number(sum(map(value, report.periods)))
    subject = Subject(slug, f"{title} by {_unit(report)}", f"{total} in all.")
    return figure(title, total, columns(subject, shown))


def _column(period: Period, said: str, *parts: int) -> Column:
    return Column(short_day(period.begins_at), f"{to_date(period.begins_at)}: {said}", parts)


def _last_runs(report: Report) -> Markup:
    heads = [Head("Began", numeric=False), Head("Command", numeric=False), Head("Outcome", numeric=False)]
    numbers = [Head(name) for name in ("Exit", "Took", "Read", "Written", "Refused")]
    return table("The last runs", [*heads, *numbers], [list(_run_cells(run)) for run in report.last_runs])


def _run_cells(run: RunFigures) -> Iterator[str]:
    yield moment(run.started_at)
    yield run.command
    yield joined(run.outcome, element("div", foreign(run.error), class_="why") if run.error else "")
    yield "" if run.exit_status is None else str(run.exit_status)
    yield "" if run.duration_ms is None else duration(run.duration_ms)
    yield from map(number, (run.read, run.written, run.refused))


def requests(report: Report) -> Markup:
    """Return what the sync asks of both services, against Outreach's limits."""
    charts = element(
        "div",
        _chart(report, "outreach", "Requests to Outreach", lambda one: one.outreach),
        _chart(report, "workbooks", "Requests to Workbooks", lambda one: one.workbooks),
        class_="charts",
    )
    heads = (Head("Begins", numeric=False), Head("Outreach"), Head("Workbooks"))
    rows = [
        [day(one.begins_at), number(one.outreach), number(one.workbooks)]
        for one in reversed(report.periods)
        if one.runs
    ]
    by_period = folded(f"Requests by {_unit(report)}", table(f"Requests by {_unit(report)}", heads, rows))
    return element(
        "section",
        element("h2", "Requests and quota"),
        element("ul", *(element("li", line) for line in _limits(report)), class_="facts"),
        joined(charts, by_period) if report.run_count else "",
        id="requests",
    )


def _limits(report: Report) -> Iterator[Markup]:
    limit = f" of {number(report.quota_limit)}" if report.quota_limit else ""
    if report.quota_remaining is not None:
        yield joined(f"Outreach's hourly quota: {number(report.quota_remaining)}{limit} left when it was last told.")
    if report.busiest_hour is not None:
        hour = report.busiest_hour
        yield joined(f"Busiest hour: {number(hour.requests)}{limit} requests, from ", moment(hour.begins_at), ".")
    yearly = report.yearly
    basis = "measured" if yearly.measured else "estimated"
    yield joined(
        f"The schedule costs about {number(yearly.requests)} requests a year ({basis}): {number(yearly.cycles)} cycles "
        f"of {yearly.per_cycle:g}, {number(yearly.reconciles)} reconciles of {yearly.per_reconcile:g}. "
        f"Outreach's plans allow {number(SMALL_PLAN)} to {number(LARGE_PLAN)}."
    )


def _unit(report: Report) -> str:
    return "day" if report.days_in_a_period == 1 else "week"
