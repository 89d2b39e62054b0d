"""HTML, put together so that text can never become markup.

Whatever is no `Markup` is escaped, and control and direction characters in it are made visible.
"""

from __future__ import annotations

from html import escape

from outreach_sync.scrubbing import Scrubber

_visible = Scrubber().text
_VOID = frozenset({"meta", "link", "br", "rect", "circle", "line", "path", "polyline"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(raw: str) -> Markup:
    """Return text as HTML; already made HTML is left alone."""
    return raw if isinstance(raw, Markup) else Markup(escape(_visible(raw)))


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element.

    Args:
        name: its tag.
        children: what is in it; what is no `Markup` is escaped.
        attributes: None leaves one out. A trailing underscore is dropped (`class_`), others become hyphens.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{''.join(map(text, children))}</{name}>")


def joined(*parts: str) -> Markup:
    """Return parts one after the other."""
    return Markup("".join(map(text, parts)))


def with_code(raw: str) -> Markup:
    """Return text in which what stands between backticks is code."""
    pieces = raw.split("`")
    return joined(*(element("code", piece) if place % 2 else piece for place, piece in enumerate(pieces)))


def foreign(raw: str) -> Markup:
    """Return text that somebody else wrote, kept from turning the direction of what is around it."""
    return element("bdi", raw)
