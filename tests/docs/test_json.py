from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import pytest

from outreach_sync.cli import cli
from outreach_sync.store import run_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Reader

_PAGE = Path(__file__).parents[2] / "docs" / "json.md"
_HEADING = re.compile(r"^## (?P<names>`.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| (?P<kind>[^|]+?) \|", re.MULTILINE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "time": lambda value: isinstance(value, str) and bool(_TIME.fullmatch(value)),
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in {int, float},
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "list of integer": lambda value: isinstance(value, list) and all(type(one) is int for one in value),
    "list of text": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "value": lambda value: True,
}


class Found(NamedTuple):
    """A place in a document: the key as the page writes it, and what stands there."""

    key: str
    value: Any


def _documented() -> dict[str, dict[str, str]]:
    """Return command -> key -> type, as the page has them."""
    tables: dict[str, dict[str, str]] = {}
    text = _PAGE.read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        section = text[heading.end() : following.start() if following else None]
        table = {row["key"]: row["kind"] for row in _ROW.finditer(section)}
        for name in re.findall(r"`([^`]+)`", heading["names"]):
            tables[name] = table
    return tables


def _walk(value: Any, key: str, table: dict[str, str]) -> Iterator[Found]:
    """Go through a document as deep as the page describes it."""
    if key:
        yield Found(key, value)
    if isinstance(value, dict) and table.get(key) != "value":
        for name, inner in value.items():
            yield from _walk(inner, _spelled(f"{key}." if key else "", name, table), table)
    if isinstance(value, list) and not table.get(key, "").startswith(("value", "list of")):
        for inner in value:
            yield from _inside(inner, f"{key}[]", table)


def _inside(value: Any, key: str, table: dict[str, str]) -> Iterator[Found]:
    """Go through an element of a list; the element itself has no row."""
    if not isinstance(value, dict):
        yield Found(key, value)
        return
    for name, inner in value.items():
        yield from _walk(inner, _spelled(f"{key}.", name, table), table)


def _spelled(before: str, name: str, table: dict[str, str]) -> str:
    exact = f"{before}{name}"
    return f"{before}*" if f"{before}*" in table and exact not in table else exact


def _right(kinds: str, value: Any) -> bool:
    return any(_KINDS[kind](value) for kind in kinds.split(" or "))


def _with_json() -> set[str]:
    """Return every command that has `--json`."""
    return {name for name, command in _commands(cli) if any(one.name == "as_json" for one in command.params)}


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _run_documents(reader: Reader) -> list[Any]:
    documents = [reader.document("run", "--dry-run"), reader.document("run")]
    reader.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    reader.sandbox.evolve(1)
    documents.append(reader.document("run"))
    reader.change("workbooks", api_key="expired")
    return [*documents, reader.document("run", "--full")]


def _reconcile_documents(reader: Reader) -> list[Any]:
    documents = [reader.document("reconcile", "--dry-run"), reader.document("reconcile")]
    reader.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    documents.append(reader.document("reconcile"))
    reader.change("workbooks", api_key="expired")
    return [*documents, reader.document("reconcile")]


def _status_documents(reader: Reader) -> list[Any]:
    before = reader.document("status")
    reader.run("run")
    with run_lock(reader.state_path, "run"):
        during = reader.document("status")
    after = reader.document("status")
    reader.change("schedule", every="1s")
    return [before, during, after, *_after_trouble(reader)]


def _after_trouble(reader: Reader) -> list[Any]:
    """Return how things stand after a run that failed, long ago."""
    import sqlite3  # noqa: PLC0415 - only here

    reader.change("workbooks", api_key="expired")
    reader.run("run", "--full", "--allow-bulk")
    reader.run("reconcile", "--allow-bulk")
    connection = sqlite3.connect(reader.state_path)
    connection.execute("UPDATE run SET started_at = started_at - 86400000")
    connection.commit()
    connection.close()
    return [reader.document("status")]


def _failures(reader: Reader) -> list[Any]:
    reader.run("run")
    listed: list[Any] = reader.document("failures", "list")
    return listed


def _shown_failures(reader: Reader) -> list[Any]:
    reader.sandbox.workbooks.faults.on("refuse_all")
    return [reader.document("failures", "show", str(one["id"])) for one in _failures(reader)]


def _provisioned(reader: Reader) -> list[Any]:
    """Ask for a field under a name that Workbooks does not give it."""
    first = reader.document("provision", "--dry-run")
    reader.change(
        "workbooks", fields={**reader.settings["workbooks"]["fields"], "sequences": "cf_person_all_sequences"}
    )
    return [first, reader.document("provision")]


def _explanations(reader: Reader) -> list[Any]:
    """Explain everybody and every task, while Workbooks refuses some of it."""
    reader.sandbox.workbooks.faults.on("refuse_value", field="cf_person_sequence_state", value="Finished")
    reader.sandbox.workbooks.faults.on("refuse_value", field="activity_type")
    reader.run("run")
    tasks = [reader.run("explain", "--task", str(number), "--json") for number in range(1, 40)]
    people = [reader.run("explain", "--prospect", str(number), "--json") for number in range(1, 61)]
    return [one.document for one in (*tasks, *people) if one.status == 0]


DOCUMENTS: dict[str, Callable[[Reader], list[Any]]] = {
    "run": _run_documents,
    "reconcile": _reconcile_documents,
    "status": _status_documents,
    "failures list": lambda reader: [_failures(reader)],
    "failures show": _shown_failures,
    "failures retry": lambda reader: [_failures(reader) and reader.document("failures", "retry")],
    "failures discard": lambda reader: [reader.document("failures", "discard", str(_failures(reader)[0]["id"]))],
    "explain": _explanations,
    "history": lambda reader: [reader.run("run") and reader.document("history")],
    "auth status": lambda reader: [
        reader.document("auth", "status"),
        reader.run("run") and reader.document("auth", "status"),
    ],
    "auth login": lambda reader: [reader.document("auth", "login")],
    "probe-skips": lambda reader: [reader.document("probe-skips")],
    "provision": _provisioned,
    "check": lambda reader: [reader.document("check")],
}


def test_every_command_with_json_has_a_table_and_no_table_lacks_its_command() -> None:
    assert set(_documented()) == _with_json() == set(DOCUMENTS)


@pytest.mark.parametrize("command", sorted(DOCUMENTS))
def test_the_page_names_exactly_the_keys_that_are_printed(reader: Reader, command: str) -> None:
    table = _documented()[command]
    found = [one for document in DOCUMENTS[command](reader) for one in _walk(document, "", table)]
    printed = defaultdict(list)
    for one in found:
        printed[one.key].append(one.value)
    assert not sorted(set(printed) - set(table)), "printed, and not on the page"
    assert not sorted(set(table) - set(printed)), "on the page, and never printed"
    wrong = [
        (key, table[key], value) for key, values in printed.items() for value in values if not _right(table[key], value)
    ]
    assert not wrong


def test_the_reader_of_tables_notices_a_key_of_another_type() -> None:
    assert not _right("time or null", "yesterday")
    assert not _right("integer", True)
    assert _right("time or null", None)
