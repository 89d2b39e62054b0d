from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from outreach_sync import errors
from outreach_sync.insight import explain
from outreach_sync.insight.explain import Kind

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
_HEADINGS = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
_OF_SYSTEM = {
    "Permission denied",
    "database disk image is malformed",
    "file is not a database",
    "database or disk is full",
    "is locked",
}
_OF_CLICK = {"Usage"}
_WORDY = 30


def _templates() -> list[str]:
    """Return every text that the program can say, with `…` where it puts something in."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "outreach_sync").rglob("*.py"))
    return [said for tree in trees for node in ast.walk(tree) if (said := _said(node)) is not None]


def _said(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


TEMPLATES = _templates()


def _section(title: str) -> str:
    return RUNBOOK.partition(f"# {title}\n")[2].partition("\n## ")[0]


def _quoted_lines() -> list[str]:
    """Return what the tables of the exit statuses say that the program says."""
    tables = "".join(_section(f"Exit status {status}") for status in (2, 3, 4))
    cells = [row.split("|")[1] for row in tables.splitlines() if row.startswith("| ")]
    return [quoted for cell in cells for quoted in re.findall(r"`([^`]+)`", cell)]


def _pieces(quoted: str) -> list[str]:
    """Cut what a page quotes at what it leaves out, and at numbers and variables, which the program puts in."""
    pieces = re.split(r"…|: |\b[A-Z]+(?:_[A-Z]+)+\b|\b\d+(?:\.\d+)?\b", quoted)
    return [piece for part in pieces if len(piece := part.strip(" :,.()")) > 3 and piece not in _OF_SYSTEM | _OF_CLICK]


@pytest.mark.parametrize("quoted", _quoted_lines())
def test_what_the_runbook_quotes_is_what_the_program_says(quoted: str) -> None:
    assert not [piece for piece in _pieces(quoted) if not any(piece in said for said in TEMPLATES)]


def test_every_exit_status_has_an_entry() -> None:
    numbers = (getattr(one, "exit_status", None) for one in vars(errors).values() if isinstance(one, type))
    statuses = {0, 1, *(number for number in numbers if isinstance(number, int))}
    assert {int(number) for number in re.findall(r"^## Exit status (\d+)$", RUNBOOK, re.MULTILINE)} == statuses
    assert "Exit status 128+n" in _HEADINGS


def test_every_kind_of_refusal_has_an_entry_by_the_name_under_which_failures_lists_it() -> None:
    kinds = [explain._OF_SOURCE, explain._BY_WORKBOOKS, *explain._KINDS]
    assert all(isinstance(kind, Kind) for kind in kinds)
    assert not [kind.title for kind in kinds if kind.title not in _HEADINGS]


@pytest.mark.parametrize("kind", explain._KINDS, ids=lambda kind: kind.title)
def test_the_example_of_a_kind_is_a_reason_that_the_program_gives(kind: Kind) -> None:
    section = RUNBOOK.partition(f"### {kind.title}\n")[2]
    example = re.search(r"`([^`]+)`", section)
    assert example is not None
    text = " ".join(example[1].split())
    assert kind.words in text
    wordy = [said for said in TEMPLATES if len(said) > _WORDY]  # `…` alone would be any text
    assert any(re.fullmatch(re.escape(said.replace("{}", "…")).replace("…", ".*"), text) for said in wordy)
