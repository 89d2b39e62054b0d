"""The page: everything in one file that asks nobody for anything.

No script at all, and a content security policy that allows nothing but this style sheet, by its hash: whatever a
hostile name should still manage to be, it is not executed and fetches nothing.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from outreach_sync import __version__
from outreach_sync.report.charts import patterns
from outreach_sync.report.glance import glance
from outreach_sync.report.markup import Markup, element, joined
from outreach_sync.report.pending import queue, refused, watermarks
from outreach_sync.report.people import opt_outs, skipped_tasks, states
from outreach_sync.report.running import requests, runs
from outreach_sync.report.wording import counted, day, moment

if TYPE_CHECKING:
    from outreach_sync.report.figures import Report

_CONTENTS = (
    ("states", "States", states),
    ("refused", "Refused", refused),
    ("waiting", "Waiting", queue),
    ("watermarks", "Watermarks", watermarks),
    ("runs", "Runs", runs),
    ("requests", "Requests", requests),
    ("opt-outs", "Opt-outs", opt_outs),
    ("skipped", "Skipped tasks", skipped_tasks),
)


def render(report: Report) -> str:
    """Return the report as an HTML document."""
    body = element(
        "body",
        element("a", "Skip to the report", href="#main", class_="skip"),
        patterns(),
        _header(report),
        element("main", glance(report), *(section(report) for _, _, section in _CONTENTS), id="main", tabindex=-1),
        _footer(),
    )
    return f"<!doctype html>\n{element('html', _head(), body, lang='en')}\n"


def _head() -> Markup:
    style = Markup(resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8"))
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", name_="referrer", content="no-referrer"),
        element("meta", name_="robots", content="noindex"),
        element("title", "outreach-sync report"),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    )


def _header(report: Report) -> Markup:
    links = [element("li", element("a", name, href=f"#{slug}")) for slug, name, _ in _CONTENTS]
    days = f"{counted(report.days, 'day', 'days')}"
    return element(
        "header",
        element("h1", "outreach-sync report"),
        element(
            "p", f"The last {days}, since ", day(report.periods[0].begins_at), ". Made ", moment(report.generated_at),
            ". All times are UTC.",
        ),
        element("nav", element("ul", *links), aria_label="Contents"),
    )  # fmt: skip


def _footer() -> Markup:
    said = joined(
        f"Made by outreach-sync {__version__} from its local database. Holds record ids and reasons, no personal data; "
        "asks no server for anything."
    )
    return element("footer", element("p", said))
