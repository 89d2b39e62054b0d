import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from outreach_sync.cli import cli
from outreach_sync.store import run_lock
from tests.harness import FIELDS, Consenting, Setup

_PAGE = Path(__file__).parents[2] / "docs" / "json.md"
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


def _documented() -> dict[str, dict[str, str]]:
    """Return command -> key -> type, as the page has them."""
    tables: dict[str, dict[str, str]] = {}
    for section in re.split(r"^## (?=`)", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        table = {row["key"]: row["kind"] for row in _ROW.finditer(text.partition("\n## ")[0])}
        tables.update(dict.fromkeys(re.findall(r"`([^`]+)`", heading), table))
    return tables


def _walk(value: Any, key: str, table: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Go through a document as deep as the page describes it; an object in a list has no row of its own."""
    kind = table.get(key, "")
    if key and not (key.endswith("[]") and isinstance(value, dict)):
        yield key, value
    if isinstance(value, dict) and kind != "value":
        for name, inner in value.items():
            exact, any_name = f"{key}.{name}".removeprefix("."), f"{key}.*".removeprefix(".")
            yield from _walk(inner, any_name if any_name in table and exact not in table else exact, table)
    elif isinstance(value, list) and not kind.startswith(("value", "list of")) and not key.endswith("[]"):
        for inner in value:
            yield from _walk(inner, f"{key}[]", table)


def _with_json(group: click.Group = cli, before: str = "") -> Iterator[str]:
    """Return every command that has `--json`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _with_json(command, f"{before}{name} ")
        elif any(one.name == "as_json" for one in command.params):
            yield f"{before}{name}"


def _fault(service: str, name: str, **options: Any) -> Callable[[Setup], None]:
    return lambda reader: getattr(reader.sandbox, service).faults.on(name, **options)


def _hold(reader: Setup) -> list[Any]:
    with run_lock(reader.state_path, "run"):
        return [reader.document("status")]


def _long_ago(reader: Setup) -> None:
    with closing(sqlite3.connect(reader.state_path)) as connection, connection:
        connection.execute("UPDATE run SET started_at = started_at - 86400000")
    reader.change("schedule", every="1s")


def _show_each(reader: Setup) -> list[Any]:
    return [reader.document("failures", "show", str(one["id"])) for one in reader.document("failures", "list")]


def _discard(reader: Setup) -> list[Any]:
    return [reader.document("failures", "discard", str(reader.document("failures", "list")[0]["id"]))]


def _explain_everything(reader: Setup) -> list[Any]:
    asked = [("--task", one) for one in range(1, 40)] + [("--prospect", one) for one in range(1, 61)]
    ran = [reader("explain", option, str(number), "--json") for option, number in asked]
    return [one.document for one in ran if one.status == 0]


_NO_EVENTS = _fault("outreach", "scope_missing", scope="events.read")
_NO_LABEL = _fault("workbooks", "refuse_value", field="cf_person_sequence_state", value="Finished")
_NO_TYPE = _fault("workbooks", "refuse_value", field="activity_type")
_EXPIRE = _fault("workbooks", "key_refused")
_OTHER_NAME = {**FIELDS, "sequences": "cf_person_all_sequences"}  # which Workbooks does not give that field
_STEPS: dict[str, list[str | Callable[[Setup], list[Any] | None]]] = {
    "run": ["run --dry-run", "run", _NO_EVENTS, lambda one: one.sandbox.evolve(1), "run", _EXPIRE, "run --full"],
    "reconcile": ["reconcile --dry-run", "reconcile", _NO_EVENTS, "reconcile", _EXPIRE, "reconcile"],
    "status": [
        *("status", "+run", _hold, "status", _EXPIRE, "+run --full --allow-bulk", "+reconcile --allow-bulk"),
        *(_long_ago, "status"),
    ],
    "failures list": ["+run", "failures list"],
    "failures show": [_fault("workbooks", "refuse_all"), "+run", _show_each],
    "failures retry": ["+run", "failures retry"],
    "failures discard": ["+run", _discard],
    "explain": [_NO_LABEL, _NO_TYPE, "+run", _explain_everything],
    "history": ["+run", "history"],
    "auth status": ["auth status", "+run", "auth status"],
    "auth login": ["auth login"],
    "probe-skips": ["probe-skips"],
    "provision": ["provision --dry-run", lambda one: one.change("workbooks", fields=_OTHER_NAME), "provision"],
    "check": ["check"],
}
"""For each command what is done to see all of its keys: lines whose document counts, others (+), and what happens."""


def test_every_command_with_json_has_a_table_and_no_table_lacks_its_command() -> None:
    assert set(_documented()) == set(_with_json()) == set(_STEPS)


@pytest.mark.parametrize("command_", sorted(_STEPS))
def test_the_page_names_exactly_the_keys_that_are_printed(
    setup: Setup, command_: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Consenting(capsys))
    table, printed = _documented()[command_], defaultdict(list)
    for step in _STEPS[command_]:
        documents: list[Any] = []
        if callable(step):
            documents = step(setup) or []
        elif step.startswith("+"):
            setup(*step[1:].split())
        else:
            documents = [setup.document(*step.split())]
        for key, value in (one for document in documents for one in _walk(document, "", table)):
            printed[key].append(value)
    assert sorted(printed.keys() - table.keys()) == [], "printed, and not on the page"
    assert sorted(table.keys() - printed.keys()) == [], "on the page, and never printed"
    kinds = {key: [_KINDS[kind] for kind in kinds.split(" or ")] for key, kinds in table.items()}
    every = [(key, value) for key, values in printed.items() for value in values]
    assert [(key, table[key], value) for key, value in every if not any(is_one(value) for is_one in kinds[key])] == []
