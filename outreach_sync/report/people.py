"""What the page says of people: who says which label, opt-outs, and skipped tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import to_date
from outreach_sync.report.charts import Column, Subject, columns, figure, line, share_bar
from outreach_sync.report.markup import Markup, element, foreign, joined
from outreach_sync.report.tables import Head, folded, table
from outreach_sync.report.wording import change, counted, day, number, share, short_day

if TYPE_CHECKING:
    from outreach_sync.report.figures import Report, Trend

_SHOWN_SEQUENCES = 30


def states(report: Report) -> Markup:
    """Return how many people say which label, now and over time."""
    return element(
        "section",
        element("h2", "Sequence states"),
        element(
            "p", "Linked people by the Sequence State that Workbooks holds. The line starts at zero.", class_="lead"
        ),
        _states_now(report) if report.trends else element("p", "Nobody is linked yet.", class_="none"),
        id="states",
    )


def _states_now(report: Report) -> Markup:
    everyone = sum(trend.now for trend in report.trends)
    heads = (Head("State", numeric=False), Head("People"), Head("Over time", numeric=False), Head("Change"))
    rows = [_state_row(place, trend, everyone) for place, trend in enumerate(report.trends)]
    noted = [at for at, _ in report.trends[0].days]
    by_day = table(
        "People by Sequence State and day",
        (Head("Day", numeric=False), *(Head(foreign(trend.label)) for trend in report.trends)),
        [
            [day(at), *(number(trend.days[place][1]) for trend in report.trends)]
            for place, at in reversed(list(enumerate(noted)))
        ],
    )
    return joined(table("People by Sequence State", heads, rows), folded("Numbers by day", by_day))


def _state_row(place: int, trend: Trend, everyone: int) -> list[str]:
    first_day, first = trend.days[0]
    since = f"{number(first)} on {to_date(first_day)}, {number(trend.now)} now"
    subject = Subject(f"state-{place}", f"{trend.label} over time", since)
    drawn = line(subject, [count for _, count in trend.days])
    name = joined(foreign(trend.label), share_bar(trend.now, everyone))
    people = joined(number(trend.now), " ", element("span", share(trend.now, everyone), class_="share"))
    return [name, people, drawn, change(trend.now - first)]


def opt_outs(report: Report) -> Markup:
    """Return when prospects opted out."""
    shown = [
        Column(short_day(at), f"{to_date(at)}: {counted(count, 'opt-out', 'opt-outs')}", (count,))
        for at, count in report.opt_outs
    ]
    total = number(sum(count for _, count in report.opt_outs))
    chart = columns(Subject("opt-out-days", "Opt-outs over time", f"{total} in all."), shown)
    rows = [[day(at), number(count)] for at, count in reversed(report.opt_outs) if count]
    numbers = table("Days with opt-outs", (Head("Day", numeric=False), Head("Prospects")), rows)
    return element(
        "section",
        element("h2", "Opt-outs"),
        element("p", "Prospects by the day on which they opted out, as far as that still holds.", class_="lead"),
        element("div", figure("Opt-outs", total, chart), class_="charts"),
        folded("Days with opt-outs", numbers if rows else element("p", "None in this period.")),
        id="opt-outs",
    )


def skipped_tasks(report: Report) -> Markup:
    """Return which sequences' tasks are skipped."""
    return element(
        "section",
        element("h2", "Skipped tasks by sequence"),
        element("p", "Recent: last changed in this period. Sent: those that have a Task in Workbooks.", class_="lead"),
        _by_sequence(report) if report.skipped else element("p", "No task was skipped.", class_="none"),
        id="skipped",
    )


def _by_sequence(report: Report) -> Markup:
    most = max(*(one.recent for one in report.skipped), 1)
    rows = [
        [
            joined(foreign(one.name), share_bar(one.recent, most)),
            number(one.recent),
            number(one.kept),
            number(one.sent),
        ]
        for one in report.skipped[:_SHOWN_SEQUENCES]
    ]
    heads = (Head("Sequence", numeric=False), Head("Recent"), Head("All"), Head("Sent"))
    unlisted = len(report.skipped) - len(rows)
    more = element("p", f"And {counted(unlisted, 'more sequence', 'more sequences')} with fewer.") if unlisted else ""
    return joined(table("Skipped tasks by sequence", heads, rows), more)
