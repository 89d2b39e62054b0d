"""The report: one self-contained page of how the sync is doing, from the local state alone.

`figures` gathers plain values, the template `page.html.j2` words them, and the charts are drawn here as inline SVG:
columns over time, small lines, and bars. Their words stand in HTML beside them, so a chart can be as wide as there is
room without its type growing; colours and patterns are the style sheet's. There is no script on the page,
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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outreach_sync.instants import Instant
    from outreach_sync.report.figures import Column, Report

_SECOND_MS = 1_000
_WIDTH, _HEIGHT = 1000.0, 100.0
_BAR_SHARE = 0.76
_LEAST_BAR = 1.5  # what is there at all has to be seen
_MARGIN = 6.0


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


# -- charts


def bars(slug: str, title: str, columns: Sequence[Column], looks: Sequence[str]) -> Markup:
    """Draw columns over time, the highest as high as the chart.

    Args:
        slug: names the chart on the page.
        title: what it shows, in a sentence.
        columns: oldest first; at least one.
        looks: classes of the style sheet for the parts, from the bottom up.
    """
    highest = max(*(sum(column.parts) for column in columns), 1)
    slot = _WIDTH / len(columns)
    drawn = (
        _column(column, slot * (place + (1 - _BAR_SHARE) / 2), slot * _BAR_SHARE, highest, looks)
        for place, column in enumerate(columns)
        if any(column.parts)
    )
    return _image(slug, title, "chart", Markup("").join(drawn))


def _column(column: Column, left: float, width: float, highest: int, looks: Sequence[str]) -> Markup:
    rects, base = Markup(""), _HEIGHT
    for part, look in zip(column.parts, looks, strict=True):
        if part:
            height = max(part / highest * _HEIGHT, _LEAST_BAR)
            base -= height
            rects += Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
                look if column.new else f"{look} old", left, base, width, height
            )
    return Markup("<g><title>{}</title>{}</g>").format(column.tip, rects)


def spark(slug: str, title: str, values: Sequence[int]) -> Markup:
    """Draw a small line over time, from zero up so that small changes do not look large."""
    highest = max(*values, 1)
    shown = [*values, *values] if len(values) == 1 else values
    across = (_WIDTH - 2 * _MARGIN) / (len(shown) - 1)
    points = [
        (_MARGIN + across * place, _HEIGHT - _MARGIN - value / highest * (_HEIGHT - 2 * _MARGIN))
        for place, value in enumerate(shown)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor = f"{_HEIGHT - _MARGIN:.1f}"
    drawn = Markup('<path class="area" d="M{:.1f},{} L{} L{:.1f},{} Z"/><polyline class="line" points="{}"/>').format(
        points[0][0], floor, path, points[-1][0], floor, path
    )
    return _image(slug, title, "spark", drawn)


def share_bar(part: int, whole: int) -> Markup:
    """Draw a part of a whole as a bar: decoration of a number that stands beside it."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="6"/><rect class="fill" width="{:.2f}" height="6"/></svg>'
    ).format(part / (whole or 1) * 100)


def _image(slug: str, title: str, look: str, drawn: Markup) -> Markup:
    return Markup(
        '<svg class="{}" role="img" viewBox="0 0 {:g} {:g}" preserveAspectRatio="none" aria-labelledby="{}-title">'
        '<title id="{}-title">{}</title>{}</svg>'
    ).format(look, _WIDTH, _HEIGHT, slug, slug, title, drawn)
