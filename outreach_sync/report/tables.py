"""Tables, and the folded form that stands beside a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.report.markup import Markup, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NARROW = 4  # so many columns fit on a phone; what is wider scrolls by itself


class Head(NamedTuple):
    """The head of a column; `numeric` ones are aligned at their end."""

    name: str
    numeric: bool = True


def table(caption: str, heads: Sequence[Head], rows: Iterable[Sequence[str]], *, shows_caption: bool = False) -> Markup:
    """Return a table whose first cell of each row is the row's head.

    Args:
        caption: what the table holds; read aloud, and seen where `shows_caption`.
        heads: one for each column.
        rows: the cells.
        shows_caption: whether the caption is seen; not where a heading or a summary says the same.
    """
    whole = element(
        "table",
        element("caption", caption, class_=None if shows_caption else "unseen"),
        element("thead", element("tr", *(_head(head) for head in heads))),
        element("tbody", *(_row(heads, row) for row in rows)),
    )
    if len(heads) <= _NARROW:
        return whole
    return element("div", whole, class_="scroll", role="region", tabindex=0, aria_label=f"{caption} (scrolls)")


def folded(summary: str, *content: str) -> Markup:
    """Return content that is shown when asked for, and printed."""
    return element("details", element("summary", summary), *content)


def _head(head: Head) -> Markup:
    return element("th", head.name, scope="col", class_="number" if head.numeric else None)


def _row(heads: Sequence[Head], cells: Sequence[str]) -> Markup:
    first, *others = cells
    return element(
        "tr",
        element("th", first, scope="row"),
        *(
            element("td", cell, class_="number" if head.numeric else None)
            for head, cell in zip(heads[1:], others, strict=True)
        ),
    )
