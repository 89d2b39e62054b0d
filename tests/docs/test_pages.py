from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import click
import pytest

from outreach_sync import errors
from outreach_sync.cli import COMMANDS
from outreach_sync.cli.sandbox import do
from outreach_sync.insight import explain
from outreach_sync.insight.explain import Kind

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<title>.+?)\s*$", re.MULTILINE)
_NAMED_FILE = re.compile(r"`(?P<path>(?:config|docs|outreach_sync|tests)/[\w./*-]+|[\w-]+\.(?:md|toml|lock|example))`")
_USERS_OWN = {"config/outreach-sync.yaml"}  # what `init` writes


def _text(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """Make the anchors of a page's headings as GitHub does: lower case, punctuation dropped, blanks to hyphens."""
    titles = (heading["title"] for heading in _HEADING.finditer(_text(page)))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def _broken(page: Path, target: str) -> str | None:
    if re.match(r"[a-z]+:", target):
        return None
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    if not there.exists():
        return f"{target}: no such file"
    if anchor and there.suffix == ".md" and anchor not in _anchors(there):
        return f"{target}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_named_file_of_a_page_is_there_and_nothing_is_still_to_be_filled_in(page: Path) -> None:
    targets = [link["target"] for link in _LINK.finditer(_text(page))]
    assert not [problem for target in targets if (problem := _broken(page, target)) is not None]
    named = {match["path"] for match in _NAMED_FILE.finditer(_text(page))} - _USERS_OWN
    assert not [path for path in sorted(named) if not _exists(page, path)]
    assert not re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b|\bFIXME\b", page.read_text(encoding="utf-8"))


def _exists(page: Path, path: str) -> bool:
    places = (ROOT, page.parent, ROOT / "outreach_sync")
    return any(list(place.glob(path.rstrip("/"))) for place in places)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            targets = [(page.parent / target).resolve() for target in _local_targets(page)]
            left += [one for one in targets if one.suffix == ".md"]
            left += [one for there in targets if there.is_dir() for one in there.glob("*.md")]
    assert not set(PAGES) - reached


def _local_targets(page: Path) -> list[str]:
    targets = (link["target"].partition("#")[0] for link in _LINK.finditer(_text(page)))
    return [target for target in targets if target and ":" not in target]


def test_every_command_gets_a_manual_page_that_says_what_its_help_says(tmp_path: Path) -> None:
    runpy.run_path(str(Path(__file__).with_name("man.py")))["write_pages"](tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert {f"outreach-sync-{name}.1" for name in COMMANDS} < made
    assert "outreach-sync-failures-list.1" in made
    assert "Read, show every change" in (tmp_path / "outreach-sync-run.1").read_text(encoding="utf-8")


PAGE = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")


def _written_again(script: str, name: str, page: str) -> str:
    module: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name(script)))
    text: str = module[name](page)
    return text


def test_the_page_has_every_fault_with_what_it_does() -> None:
    assert _written_again("sandbox.py", "with_current_faults", PAGE) == PAGE, "`make docs` writes it again"


def test_the_page_shows_every_command_of_the_back_door() -> None:
    shown = {tuple(line.split()) for line in re.findall(r"^\$ outreach-sync sandbox do (.+)$", PAGE, re.MULTILINE)}
    groups = {name: one for name, one in do.commands.items() if isinstance(one, click.Group)}
    paths = [(name,) for name in do.commands if name not in groups]
    paths += [(name, inner) for name, group in groups.items() for inner in group.commands]
    assert [path for path in paths if not any(words[: len(path)] == path for words in shown)] == []


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_help_in_the_readme_is_what_the_program_prints() -> None:
    assert _written_again("readme.py", "with_current_help", README) == README, "`make docs` writes it again"


def test_the_help_names_every_command_with_the_line_it_is_registered_with() -> None:
    folded = " ".join(README.split())
    assert not [name for name, (_, line) in COMMANDS.items() if f"{name} {line}" not in folded]


def test_the_readme_names_every_exit_status_that_the_program_ends_with() -> None:
    told = re.search(r"^Exit status: (?P<all>.*?)\n\n", README, re.DOTALL | re.MULTILINE)
    assert told is not None
    assert {int(status) for status in re.findall(r"(?:^|·\s)(\d+)\s", told["all"])} == _statuses()


def _statuses() -> set[int]:
    numbers = (getattr(one, "exit_status", None) for one in vars(errors).values() if isinstance(one, type))
    return {0, 1, *(number for number in numbers if isinstance(number, int))}


RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
_HEADINGS = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
_OF_OTHERS = {  # of the system, SQLite and click
    *("Permission denied", "database disk image is malformed", "file is not a database"),
    *("database or disk is full", "is locked", "Usage"),
}
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


def _quoted_lines() -> list[str]:
    """Return what the tables of the exit statuses say that the program says."""
    sections = [RUNBOOK.partition(f"# Exit status {one}\n")[2].partition("\n## ")[0] for one in (2, 3, 4)]
    cells = [row.split("|")[1] for row in "".join(sections).splitlines() if row.startswith("| ")]
    return [quoted for cell in cells for quoted in re.findall(r"`([^`]+)`", cell)]


def _pieces(quoted: str) -> list[str]:
    """Cut what a page quotes at what it leaves out, and at numbers and variables, which the program puts in."""
    pieces = re.split(r"…|: |\b[A-Z]+(?:_[A-Z]+)+\b|\b\d+(?:\.\d+)?\b", quoted)
    return [piece for part in pieces if len(piece := part.strip(" :,.()")) > 3 and piece not in _OF_OTHERS]


@pytest.mark.parametrize("quoted", _quoted_lines())
def test_what_the_runbook_quotes_is_what_the_program_says(quoted: str) -> None:
    assert not [piece for piece in _pieces(quoted) if not any(piece in said for said in TEMPLATES)]


def test_every_exit_status_has_an_entry() -> None:
    assert {int(number) for number in re.findall(r"^## Exit status (\d+)$", RUNBOOK, re.MULTILINE)} == _statuses()
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


# -- the map and the decisions


def _map() -> set[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line for line in text.partition("## The way")[0].splitlines() if line.startswith("| `")]
    return {place.rstrip("/") for row in rows for place in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_map_names_every_package_and_module_and_nothing_else() -> None:
    inside = (ROOT / "outreach_sync").iterdir()
    there = {one.name for one in inside if one.suffix == ".py" or (one / "__init__.py").exists()}
    assert _map() == {name for name in there if not name.startswith("__")}


def test_every_decision_has_a_number_of_its_own_and_carries_it_in_its_title() -> None:
    notes = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [note.name[:4] for note in notes]
    assert numbers == [f"{number:04}" for number in range(1, len(notes) + 1)]
    titles = [note.read_text(encoding="utf-8").splitlines()[0] for note in notes]
    assert not [title for number, title in zip(numbers, titles, strict=True) if not title.startswith(f"# {number}: ")]
