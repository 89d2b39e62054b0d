"""What the page says of what is not done yet: what was refused, what waits, and how far each stream is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.report.markup import Markup, element, foreign, joined, with_code
from outreach_sync.report.tables import Head, table
from outreach_sync.report.wording import age, counted, moment, number

if TYPE_CHECKING:
    from outreach_sync.report.figures import Mark, Reason, Refusals, Report


def refused(report: Report) -> Markup:
    """Return what was refused, by kind, each with what to do about it."""
    said = (
        f"{counted(report.refused, 'record', 'records')} now, however old."
        if report.refused
        else "Nothing is refused now."
    )
    return element(
        "section",
        element("h2", "Refused, and what to do"),
        element("p", said, class_="lead"),
        *map(_kind, report.refusals),
        id="refused",
    )


def _kind(kind: Refusals) -> Markup:
    parked = f", {number(kind.parked)} parked" if kind.parked else ""
    count = element("span", f"{number(kind.records)}{parked}", class_="total")
    advice = element("p", element("strong", "What to do: "), with_code(kind.advice), class_="advice")
    rows = [_reason_row(reason) for reason in kind.reasons]
    more = ""
    if kind.unlisted:
        command = element("code", "outreach-sync failures list")
        more = element("p", f"And {counted(kind.unlisted, 'more reason', 'more reasons')}: ", command, " has them all.")
    heads = (Head("Reason", numeric=False), Head("Records"))
    return joined(element("h3", kind.title, " ", count), advice, table(kind.title, heads, rows), more)


def _reason_row(reason: Reason) -> list[str]:
    unlisted = reason.records - len(reason.examples)
    named = "; ".join((*reason.examples, *([f"and {number(unlisted)} more"] if unlisted else [])))
    return [joined(foreign(reason.text), element("div", named, class_="why")), number(reason.records)]


def queue(report: Report) -> Markup:
    """Return what waits to be written."""
    heads = (Head("Record", numeric=False), Head("Queued"), Head("Parked"), Head("For a Person"))
    rows = [[one.record, number(one.queued), number(one.parked), number(one.for_person)] for one in report.waiting]
    lead = (
        f"Queued is sent by a coming run. Parked waits until somebody retries it. "
        f"{counted(report.undecided, 'prospect waits', 'prospects wait')} to be decided."
    )
    return element(
        "section",
        element("h2", "What waits"),
        element("p", lead, class_="lead"),
        table("What waits, by kind of record", heads, rows) if rows else element("p", "Nothing waits.", class_="none"),
        id="waiting",
    )


def watermarks(report: Report) -> Markup:
    """Return how far each stream was read."""
    heads = (Head("Stream", numeric=False), Head("Read up to", numeric=False), Head("Age", numeric=False))
    rows = [_mark_row(mark, report) for mark in report.marks]
    return element(
        "section",
        element("h2", "Watermarks"),
        element("p", "Everything that changed in Outreach up to here is in the local database.", class_="lead"),
        table("Watermarks by stream", heads, rows),
        id="watermarks",
    )


def _mark_row(mark: Mark, report: Report) -> list[str]:
    at = mark.watermark
    going_on = element("div", "a walk is not complete", class_="why") if mark.walking else ""
    return [
        mark.stream.replace("_", " "),
        joined("none yet" if at is None else moment(at), going_on),
        "" if at is None else age(report.generated_at - at),
    ]
