"""What commands print: tables, sentences and links; and the review of a dry run."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from outreach_sync.cli.context import Invocation
from outreach_sync.insight.explain import Links
from outreach_sync.rules.person import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.run import Ended


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


_CSV = ("record", "action", "prospect_id", "task_id", "workbooks_id", "name", "field", "old", "new")
_NEW = "(new Person)"
_SHOWN_REFUSALS = 25
_INDENT = "    "


def print_review(ended: Ended, config: Config) -> None:
    """Print what a dry run found; the fields go by the titles that people see in Workbooks."""
    document = ended.document
    people = [one for one in document["changes"] if one["record"] == "person"]
    tasks = [one for one in document["changes"] if one["record"] == "task"]
    if document["guard_would_stop"]:
        say("The guard would stop this before its first write; `--allow-bulk` would let it go on.", style="bold red")
    _print_matrix(people, tasks, config)
    titles = _titles(config)
    links = Links.of(config)
    for one in sorted(people, key=lambda one: (_name(ended, one).casefold(), one["prospect_id"] or 0)):
        _print_person(one, _name(ended, one), titles, links)
    for one in tasks:
        _print_task(one, _name(ended, one), links)
    _print_refused(document["refused"])


def print_review_csv(ended: Ended) -> None:
    """Print the same for a spreadsheet: a row for each field."""
    print_csv(_CSV, _csv_rows(ended))


def _csv_rows(ended: Ended) -> Iterator[Mapping[str, Any]]:
    for one in ended.document["changes"]:
        for field, (old, new) in one["fields"].items():
            yield {**one, "name": _name(ended, one), "field": field, "old": old, "new": new}


def _print_matrix(people: Sequence[Mapping[str, Any]], tasks: Sequence[Any], config: Config) -> None:
    state, no_email = config.workbooks.fields.sequence_state, config.workbooks.fields.no_email
    moves = Counter(_move(one, state) for one in people)
    others = moves.pop(None, 0)
    opt_outs = sum(one["fields"].get(no_email, [None, False])[1] is True for one in people)
    created = sum(one["action"] == "create" for one in people)
    rows: list[tuple[Any, ...]] = [(*move, f"{count:,}") for move, count in moves.most_common() if move is not None]
    if others:
        rows.append(("(other fields only)", "", f"{others:,}"))
    if rows:
        print_table(rows, ("Sequence State from", "to", "people"), right=(2,))
    arrow = plain_or("→", "->")
    say(
        f"{len(people):,} people would change: {opt_outs:,} new opt-outs (No Email {arrow} true), {created:,} new "
        f"People. {len(tasks):,} Tasks would be made as {config.sync.tasks.status}."
    )
    say()


def _move(one: Mapping[str, Any], state: str) -> tuple[str, str] | None:
    if state not in one["fields"]:
        return None
    old, new = one["fields"][state]
    return (_NEW if one["workbooks_id"] is None else shown_value(old), shown_value(new))


def _print_person(one: Mapping[str, Any], name: str, titles: Mapping[str, str], links: Links) -> None:
    person = one["workbooks_id"]
    again = " (created again)" if person is not None and one["action"] == "create" else ""
    say(
        Text(name or "(no name)", style="bold"), "  ", _prospect(one, links),
        f"  {_NEW}" if person is None else linked(f"  Person {person}", links.person(person)), again,
    )  # fmt: skip
    width = max(len(titles.get(field, field)) for field in one["fields"])
    for field in sorted(one["fields"], key=lambda field: field not in titles):
        old, new = one["fields"][field]
        say(
            f"{_INDENT}{titles.get(field, field):<{width}}  {shown_value(old)} {plain_or('→', '->')} {shown_value(new)}"
        )


def _print_task(one: Mapping[str, Any], name: str, links: Links) -> None:
    new = {field: values[1] for field, values in one["fields"].items()}
    due = f", due {new['due_date']}" if new.get("due_date") else ""
    task = f"  task {one['task_id']}: {new.get('activity_status')} Task '{new.get('name')}'{due}"
    say(Text(name or "(no name)", style="bold"), "  ", _prospect(one, links), task)


def _prospect(one: Mapping[str, Any], links: Links) -> Text:
    return linked(f"prospect {one['prospect_id']}", links.prospect(one["prospect_id"]))


def _print_refused(refused: Sequence[Mapping[str, Any]]) -> None:
    """Show what would be refused: a dry run keeps no list."""
    if refused:
        say()
        say(f"Would be refused ({len(refused):,}); a dry run keeps no list, `failures list` has it after a run:")
    for one in refused[:_SHOWN_REFUSALS]:
        source = f"prospect {one['prospect_id']}" if one["task_id"] is None else f"task {one['task_id']}"
        say(f"{_INDENT}{source}: {one['reason']}")
    if len(refused) > _SHOWN_REFUSALS:
        say(f"{_INDENT}and {len(refused) - _SHOWN_REFUSALS:,} more; --json has all.")
    say()


def _titles(config: Config) -> dict[str, str]:
    """Return the titles of the configured fields, by column."""
    named = config.workbooks.fields.model_dump()
    return {column: role.title for role in ROLES if (column := named[role.name])}


def _name(ended: Ended, one: Mapping[str, Any]) -> str:
    return ended.names.get(one["prospect_id"], "")
