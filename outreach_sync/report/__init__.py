"""The report: one self-contained page of how the sync is doing, from the local state alone.

`figures` gathers plain values, the template `page.html.j2` words them, `charts` draws. There is no script on the page,
and its content security policy allows nothing but its style sheet, by its hash: a hostile name is shown and does
nothing.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from outreach_sync import __version__
from outreach_sync.errors import UsageError
from outreach_sync.files import write_whole
from outreach_sync.instants import ago, to_date, to_datetime
from outreach_sync.report.charts import bars, share_bar, spark

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.instants import Instant
    from outreach_sync.report.figures import Report

_SECOND_MS, _MINUTE_MS = 1_000, 60_000


def render(report: Report) -> str:
    """Return the report as an HTML document."""
    files = resources.files(__package__)
    style = files.joinpath("style.css").read_text(encoding="utf-8")
    page = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    page.filters.update(number="{:,}".format, ago=_ago, moment=_moment, day=_day, duration=duration, share=share)
    page.globals.update(bars=bars, spark=spark, share_bar=share_bar, version=__version__)
    return page.from_string(files.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        report=report, style=style, style_hash=b64encode(sha256(style.encode()).digest()).decode()
    )


def write_page(page: str, path: Path) -> None:
    """Write the page atomically, readable by its owner only; a pipe or a device is written into.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        write_whole(path, page, through=True)
    except OSError as error:
        raise UsageError(
            f"the report {path} cannot be written ({error.strerror}).",
            advice="Name a file in a directory that exists and is writable by this user.",
        ) from error


def duration(span_ms: int) -> str:
    """Write a span as `340 ms`, `4.2 s`, `42 s`, `3 min 20 s` or `2 h 5 min`."""
    if span_ms < _SECOND_MS:
        return f"{span_ms} ms"
    if span_ms < 10 * _SECOND_MS:
        return f"{span_ms / _SECOND_MS:.1f} s"
    minutes, seconds = divmod(round(span_ms / _SECOND_MS), 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def share(part: float) -> str:
    """Write a share in percent; what is there at all is never `0%`, what is missing at all never leaves `100%`."""
    percent = 100 * part
    if 0 < percent < 1:
        return "<1%"
    return f"{percent:.1f}%" if 99 <= percent < 100 else f"{percent:.0f}%"  # noqa: PLR2004 - percent


def _ago(at: Instant, report: Report) -> str:
    return f"{ago(report.generated_at - at)} ago"


def _moment(at: Instant) -> Markup:
    """Write a time as `2026-09-01 10:15`, machine-readable. All times are UTC."""
    return Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}">{:%Y-%m-%d %H:%M}</time>').format(*[to_datetime(at)] * 2)


def _day(at: Instant) -> Markup:
    """Write a day as `2026-09-01`, machine-readable."""
    return Markup('<time datetime="{0}">{0}</time>').format(to_date(at))
