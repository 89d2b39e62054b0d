"""Charts as inline SVG. Sizes are in units of the view box; colours and patterns are the style sheet's.

Each chart is an image with a title and a description; the numbers stand in a table beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.report.markup import Markup, element
from outreach_sync.report.wording import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_WIDTH, _HEIGHT = 320.0, 134.0
_TOP, _BASE = 24.0, 110.0
_BAR_SHARE = 0.76
_LEAST_BAR = 1.5  # what is there at all has to be seen
_LINE_WIDTH, _LINE_HEIGHT, _LINE_MARGIN = 120.0, 32.0, 3.0

OUTCOMES = ("plain", "hatched", "crossed")
"""How parts look that get worse from the bottom up."""

SHADES = ("plain", "pale")
"""How parts look of which none is bad."""


class Subject(NamedTuple):
    """What a chart is of: a slug that is its own on the page, its title, and what it says, in a sentence."""

    slug: str
    title: str
    description: str


class Column(NamedTuple):
    """One column: what it stands for, what a pointer over it shows, and its parts from the bottom up."""

    name: str
    tip: str
    parts: tuple[int, ...]

    @property
    def height(self) -> int:
        """All parts together."""
        return sum(self.parts)


def columns(
    subject: Subject,
    shown: Sequence[Column],
    write: Callable[[int], str] = number,
    looks: Sequence[str] = OUTCOMES,
) -> Markup:
    """Draw columns over time.

    Args:
        subject: what the chart is of.
        shown: the columns, oldest first; at least one.
        write: how a value is worded.
        looks: how the parts look, from the bottom up: classes of the style sheet.
    """
    highest = max(column.height for column in shown)
    slot = _WIDTH / len(shown)
    bars = [
        element(
            "g",
            element("title", column.tip),
            *_parts(column, slot * (place + (1 - _BAR_SHARE) / 2), slot * _BAR_SHARE, highest=highest, looks=looks),
        )
        for place, column in enumerate(shown)
        if column.height
    ]
    return _image(
        subject, _WIDTH, _HEIGHT, "chart",
        _rule(_TOP) if highest else "",
        element("text", write(highest), x=0, y=16) if highest else element("text", "none", x=0, y=_BASE - 8),
        *bars,
        _rule(_BASE),
        element("text", shown[0].name, x=0, y=128),
        element("text", shown[-1].name, x=_WIDTH, y=128, text_anchor="end") if len(shown) > 1 else "",
    )  # fmt: skip


def _image(subject: Subject, width: float, height: float, look: str, *drawn: str) -> Markup:
    slug = subject.slug
    return element(
        "svg",
        element("title", subject.title, id=f"{slug}-title"),
        element("desc", subject.description, id=f"{slug}-desc"),
        *drawn,
        class_=look,
        role="img",
        viewBox=f"0 0 {width:g} {height:g}",
        aria_labelledby=f"{slug}-title {slug}-desc",
    )


def _rule(height: float) -> Markup:
    return element("line", class_="rule", x1=0, x2=f"{_WIDTH:g}", y1=f"{height:g}", y2=f"{height:g}")


def _parts(column: Column, left: float, width: float, *, highest: int, looks: Sequence[str]) -> Iterator[Markup]:
    base = _BASE
    for part, look in zip(column.parts, looks, strict=False):
        if part:
            height = max(part / highest * (_BASE - _TOP), _LEAST_BAR)
            base -= height
            sizes = {"x": f"{left:.2f}", "y": f"{base:.2f}", "width": f"{width:.2f}", "height": f"{height:.2f}"}
            yield element("rect", class_=look, **sizes)


def line(subject: Subject, values: Sequence[int]) -> Markup:
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
    return _image(
        subject, _LINE_WIDTH, _LINE_HEIGHT, "spark",
        element("path", class_="area", d=f"M{points[0][0]:.1f},{floor} L{path} L{end_x:.1f},{floor} Z"),
        element("polyline", class_="line", points=path),
        element("circle", class_="end", cx=f"{end_x:.1f}", cy=f"{end_y:.1f}", r=2.5),
    )  # fmt: skip


def share_bar(part: int, whole: int) -> Markup:
    """Draw a part of a whole as a bar: decoration of a number that stands beside it."""
    wide = f"{part / (whole or 1) * 100:.2f}"
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
            _pattern("hatch", "M0,6 L6,0 M-1,1 L1,-1 M5,7 L7,5"),
            _pattern("cross", "M0,6 L6,0 M0,0 L6,6"),
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


def legend(parts: Mapping[str, str]) -> Markup:
    """Say what the parts of columns are: look -> meaning, from the bottom up."""
    return element("ul", *(element("li", _swatch(look), " ", name) for look, name in parts.items()), class_="legend")


def _swatch(look: str) -> Markup:
    square = element("rect", class_=look, width=12, height=12)
    return element("svg", square, class_="swatch", viewBox="0 0 12 12", aria_hidden="true")
