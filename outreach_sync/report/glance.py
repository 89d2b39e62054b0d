"""The top of the page: what needs attention, and the numbers that people ask for first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.report.markup import Markup, element, foreign, joined
from outreach_sync.report.wording import age, counted, moment, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.report.figures import Report
    from outreach_sync.report.runs import RunFigures

_WELL_ENDED = ("ok", "partial")


def glance(report: Report) -> Markup:
    """Return the verdict and the tiles."""
    return element("section", element("h2", "At a glance"), _verdict(report), _tiles(report), id="glance")


def _verdict(report: Report) -> Markup:
    points = list(_points(report))
    if not points:
        said = element("p", element("strong", "All is well."), " Nothing needs attention.")
        return element("div", said, class_="verdict well")
    title = element("p", element("strong", "Needs attention"))
    return element("div", title, element("ul", *(element("li", point) for point in points)), class_="verdict ill")


def _points(report: Report) -> Iterator[Markup]:
    """Yield what somebody has to look at, the most urgent first."""
    if report.marks and not report.last_runs:
        yield _nothing_ran(report)
    last = report.last_runs[0] if report.last_runs else None
    if last is not None and last.outcome not in _WELL_ENDED:
        ended = "is going on or was killed" if last.exit_status is None else f"ended with {last.exit_status}"
        yield joined("The last run, of ", moment(last.started_at), f", {ended}", *_why(last))
    for one in report.overdue:
        yield joined(f"Overdue: {one}. Does the scheduler run?")
    if report.refused:
        link = element("a", counted(report.refused, "record is", "records are"), " refused", href="#refused")
        yield joined(link, f", {report.parked} of them parked: the list says what to do about each.")
    if report.token_warning:
        yield joined(f"Tokens: {report.token_warning}.")


def _why(run: RunFigures) -> tuple[str, ...]:
    return (": ", foreign(run.error)) if run.error else (".",)


def _nothing_ran(report: Report) -> Markup:
    if any(mark.watermark is not None for mark in report.marks):
        return joined(f"No run was made in the last {counted(report.days, 'day', 'days')}. Does the scheduler run?")
    return joined(
        "No run has been made yet. ", element("code", "outreach-sync check"), " says whether everything is set up, ",
        element("code", "outreach-sync run --dry-run"), " what the first run would do.",
    )  # fmt: skip


def _tiles(report: Report) -> Markup:
    last = report.last_runs[0] if report.last_runs else None
    told = age(report.generated_at - last.started_at) if last else "none"
    return element(
        "dl",
        _tile("Linked people", number(report.people), "in Workbooks, known to the sync"),
        _tile("Last run", told, f"{last.command}: {last.outcome}" if last else "in this period"),
        _tile("Waiting", number(report.queued), f"and {number(report.parked)} parked"),
        _tile("Written", number(sum(one.written for one in report.periods)), "people and tasks, in this period"),
        _tile("Opt-outs", number(sum(count for _, count in report.opt_outs)), "prospects, in this period"),
        _tile("Requests a year", number(report.yearly.requests), "to Outreach, by the schedule"),
        class_="tiles",
    )


def _tile(name: str, value: str, note: str) -> Markup:
    return element("div", element("dt", name), element("dd", value, class_="value"), element("dd", note, class_="note"))
