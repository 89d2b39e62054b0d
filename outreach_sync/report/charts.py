"""Charts as inline SVG: columns over time, small lines, and bars. Their words stand in HTML beside them.

So a chart can be as wide as there is room without its type growing; colours and patterns are the style sheet's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 1000.0, 100.0
_BAR_SHARE = 0.76
_LEAST_BAR = 1.5  # what is there at all has to be seen
_MARGIN = 6.0


class Column(NamedTuple):
    """One column: what a pointer over it shows, its parts from the bottom up, and whether its trouble is new."""

    tip: str
    parts: tuple[int, ...]
    new: bool = True


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
