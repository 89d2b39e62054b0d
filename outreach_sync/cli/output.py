"""What commands print: JSON, CSV, tables, links and spans of time; nothing in any of them can steer a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from outreach_sync.cli.context import Invocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print one line for each field, for a spreadsheet.")

NOTHING = "∅"
"""How an empty value is shown."""

_UNLIMITED_COLUMNS = 10_000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def terminal() -> Console:
    """Return stdout as rich sees it: as wide as the terminal; off one, without colours and never wrapped."""
    is_terminal = sys.stdout.isatty()
    plain = not is_terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in {"dumb", "unknown"}
    return Console(
        file=sys.stdout,
        force_terminal=is_terminal,
        color_system=None if plain else "auto",
        width=None if is_terminal else _UNLIMITED_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )


def safe(value: object) -> str:
    """Return a value of a service's on one line, without secrets and control characters; None is empty."""
    return "" if value is None else Invocation.scrubber.line(str(value))


def say(*parts: object, style: str = "") -> None:
    """Print a line, made safe; `Text` keeps its style and link."""
    line = Text(style=style)
    for part in parts:
        line.append_text(_harmless(part))
    terminal().print(line)


def _harmless(part: object) -> Text:
    if not isinstance(part, Text):
        return Text(safe(part))
    plain = safe(part.plain)
    return part if plain == part.plain else Text(plain, style=part.style)


def print_json(document: Any) -> None:
    """Print exactly one JSON document, in which what could steer a terminal is escaped."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(document, ensure_ascii=ascii_only, indent=2 if sys.stdout.isatty() else None)
    harmless = (one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
    click.echo(text if text.isprintable() else "".join(harmless))


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows for a spreadsheet; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    click.echo(out.getvalue(), nl=False)


def _cell(value: Any) -> str:
    text = Invocation.scrubber.text(
        json.dumps(value) if isinstance(value, bool) else "" if value is None else str(value)
    )
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def print_table(rows: Iterable[Sequence[Any]], headers: Sequence[str], *, right: Sequence[int] = ()) -> None:
    """Print a table as wide as it has to be; on a terminal long cells are wrapped.

    Args:
        rows: the cells, which are made safe; `Text` keeps its style and link.
        headers: one for each column.
        right: which columns hold numbers.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_harmless, row))
    terminal().print(table, soft_wrap=False)


def shown_value(value: Any) -> str:
    """Write a field's value on one line; nothing is `∅`."""
    if value is None or value == "":
        return plain_or(NOTHING, "-")
    return str(value).lower() if isinstance(value, bool) else str(value).replace("\n", " | ")


def linked(label: str, url: str) -> Text:
    """Return a text that can be clicked on terminals that know how; without an address it is only a text."""
    return Text(safe(label), style=f"link {url}" if url else "")


def plain_or(fancy: str, plain: str) -> str:
    """Choose the sign that stdout can spell."""
    try:
        fancy.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return plain
    return fancy
