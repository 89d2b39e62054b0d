"""Charts as inline SVG. Sizes are in units of the view box; colours and patterns are the style sheet's.

Each chart is an image with a title and a description; the numbers stand in a table beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.report.markup import Markup, element, joined
from outreach_sync.report.wording import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WIDTH, _HEIGHT = 320.0, 134.0
_TOP, _BASE = 24.0, 110.0
_BAR_SHARE = 0.76
_LEAST_BAR = 1.5  # what is there at all has to be seen
_LINE_WIDTH, _LINE_HEIGHT, _LINE_MARGIN = 120.0, 32.0, 3.0


class Column(NamedTuple):
    """One column: what it stands for, what a pointer over it shows, and its parts from the bottom up."""

    name: str
    tip: str
    parts: tuple[int, ...]

    @property
    def height(self) -> int:
        """All parts together."""
        return sum(self.parts)


def columns(slug: str, title: str, description: str, shown: Sequence[Column], write: Callable[[int], str]) -> Markup:
    """Draw columns over time.

    Args:
        slug: what makes the chart's ids unique on the page.
        title: what is drawn.
        description: what it says, in a sentence.
        shown: the columns, oldest first; at least one.
        write: how a value is worded.
    """
    highest = max(column.height for column in shown)
    slot = _WIDTH / len(shown)
    bars = [
        _column(column, left=slot * place + slot * (1 - _BAR_SHARE) / 2, width=slot * _BAR_SHARE, highest=highest)
        for place, column in enumerate(shown)
        if column.height
    ]
    return _image(
        slug,
        title,
        description,
        _rule(_TOP) if highest else "",
        element("text", write(highest), x=0, y=16) if highest else element("text", "none", x=0, y=_BASE - 8),
        *bars,
        _rule(_BASE),
        element("text", shown[0].name, x=0, y=128),
        element("text", shown[-1].name, x=_WIDTH, y=128, text_anchor="end") if len(shown) > 1 else "",
    )


def _image(slug: str, title: str, description: str, *drawn: str) -> Markup:
    return element(
        "svg",
        element("title", title, id=f"{slug}-title"),
        element("desc", description, id=f"{slug}-desc"),
        *drawn,
        class_="chart",
        role="img",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        aria_labelledby=f"{slug}-title {slug}-desc",
    )


def _rule(height: float) -> Markup:
    return element("line", class_="rule", x1=0, x2=f"{_WIDTH:g}", y1=f"{height:g}", y2=f"{height:g}")


def _column(column: Column, *, left: float, width: float, highest: int) -> Markup:
    base, drawn = _BASE, []
    for place, part in enumerate(column.parts):
        height = max(part / highest * (_BASE - _TOP), _LEAST_BAR) if part else 0.0
        base -= height
        if part:
            sizes = {"x": f"{left:.2f}", "y": f"{base:.2f}", "width": f"{width:.2f}", "height": f"{height:.2f}"}
            drawn.append(element("rect", class_=f"part-{place}", **sizes))
    return element("g", element("title", column.tip), *drawn)


def line(slug: str, title: str, description: str, values: Sequence[int]) -> Markup:
    """Draw a small line over time, from zero up so that small changes do not look large."""
    highest = max(*values, 1)
    across = (_LINE_WIDTH - 2 * _LINE_MARGIN) / max(len(values) - 1, 1)
    points = [
        (_LINE_MARGIN + across * place, _LINE_HEIGHT - _LINE_MARGIN - value / highest * (_LINE_HEIGHT - 8))
        for place, value in enumerate(values if len(values) > 1 else [*values, *values])
    ]
    if len(values) == 1:
        points[1] = (_LINE_WIDTH - _LINE_MARGIN, points[0][1])
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor = f"{_LINE_HEIGHT - _LINE_MARGIN:.1f}"
    end_x, end_y = points[-1]
    return element(
        "svg",
        element("title", title, id=f"{slug}-title"),
        element("desc", description, id=f"{slug}-desc"),
        element("path", class_="area", d=f"M{points[0][0]:.1f},{floor} L{path} L{end_x:.1f},{floor} Z"),
        element("polyline", class_="line", points=path),
        element("circle", class_="end", cx=f"{end_x:.1f}", cy=f"{end_y:.1f}", r=2.5),
        class_="spark",
        role="img",
        viewBox=f"0 0 {_LINE_WIDTH:g} {_LINE_HEIGHT:g}",
        aria_labelledby=f"{slug}-title {slug}-desc",
    )


def share_bar(share: float) -> Markup:
    """Draw a share (0 to 1) as a bar: decoration of a number that stands beside it."""
    wide = f"{max(0.0, min(share, 1.0)) * 100:.2f}"
    return element(
        "svg",
        element("rect", class_="track", width=100, height=6),
        element("rect", class_="fill", width=wide, height=6),
        class_="bar",
        viewBox="0 0 100 6",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def patterns() -> Markup:
    """Return the patterns that tell the parts of a column apart without colour."""
    return element(
        "svg",
        element(
            "defs",
            _pattern("hatched", "M0,6 L6,0 M-1,1 L1,-1 M5,7 L7,5"),
            _pattern("crossed", "M0,6 L6,0 M0,0 L6,6"),
        ),
        class_="patterns",
        width=0,
        height=0,
        aria_hidden="true",
    )


def _pattern(name: str, drawn: str) -> Markup:
    ground = element("rect", class_=f"{name}-ground", width=6, height=6)
    lines = element("path", class_=f"{name}-lines", d=drawn)
    return element("pattern", ground, lines, id=name, width=6, height=6, patternUnits="userSpaceOnUse")


def figure(title: str, total: str, drawn: Markup, *notes: str) -> Markup:
    """Return a chart with its name and the one number that matters most."""
    name = element("span", title, class_="name")
    caption = element("figcaption", name, " ", element("span", total, class_="total"))
    return element("figure", caption, drawn, *notes)


def legend(*parts: str) -> Markup:
    """Say what the parts of columns are, from the bottom up."""
    swatches = [
        element(
            "li",
            element(
                "svg",
                element("rect", class_=f"part-{place}", width=12, height=12),
                class_="swatch",
                viewBox="0 0 12 12",
                aria_hidden="true",
            ),
            joined(" ", name),
        )
        for place, name in enumerate(parts)
    ]
    return element("ul", *swatches, class_="legend")


def total_of(shown: Sequence[Column]) -> str:
    """Word the sum of all columns."""
    return number(sum(column.height for column in shown))
