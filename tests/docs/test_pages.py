import ast
import re
from pathlib import Path

import pytest

from outreach_sync import errors
from outreach_sync.cli import COMMANDS
from outreach_sync.cli.sandbox import do
from outreach_sync.insight import explain
from tests.docs.generated import ROOT, with_current_faults, with_current_help, write_manual

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


def _links(page: Path) -> list[tuple[Path, str]]:
    """Return the file and the anchor that each link of a page leads to, those to other sites left out."""
    targets = [link["target"] for link in _LINK.finditer(_text(page)) if not re.match(r"[a-z]+:", link["target"])]
    split = [target.partition("#") for target in targets]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in split]


def _exists(page: Path, path: str) -> bool:
    places = (ROOT, page.parent, ROOT / "outreach_sync")
    return any(list(place.glob(path.rstrip("/"))) for place in places)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_named_file_of_a_page_is_there_and_nothing_is_still_to_be_filled_in(page: Path) -> None:
    links, named = _links(page), {match["path"] for match in _NAMED_FILE.finditer(_text(page))} - _USERS_OWN
    assert [there for there, _ in links if not there.exists()] == []
    assert [link for link in links if link[1] and link[0].suffix == ".md" and link[1] not in _anchors(link[0])] == []
    assert [path for path in sorted(named) if not _exists(page, path)] == []
    assert not re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b|\bFIXME\b", page.read_text(encoding="utf-8"))


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            for there, _ in _links(page):
                left += there.glob("*.md") if there.is_dir() else [there] if there.suffix == ".md" else []
    assert set(PAGES) - reached == set()


def test_every_command_gets_a_manual_page_that_says_what_its_help_says(tmp_path: Path) -> None:
    write_manual(tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert {f"outreach-sync-{name}.1" for name in (*COMMANDS, "failures-list")} < made
    assert "Read, show every change" in (tmp_path / "outreach-sync-run.1").read_text(encoding="utf-8")


README, SANDBOX, RUNBOOK, MAP = (
    (ROOT / page).read_text(encoding="utf-8")
    for page in ("README.md", "docs/sandbox.md", "docs/runbook.md", "docs/architecture.md")
)


def test_the_readme_and_the_page_of_the_sandbox_have_the_help_and_the_faults_as_they_are() -> None:
    assert with_current_help(README) == README, "`make docs` writes it again"
    assert with_current_faults(SANDBOX) == SANDBOX, "`make docs` writes it again"


def test_the_page_shows_every_command_of_the_back_door() -> None:
    shown = [line.split() for line in re.findall(r"^\$ outreach-sync sandbox do (.+)$", SANDBOX, re.MULTILINE)]
    groups = {name: getattr(one, "commands", {"": None}) for name, one in do.commands.items()}
    paths = [[name, inner] if inner else [name] for name, group in groups.items() for inner in group]
    assert [path for path in paths if not any(words[: len(path)] == path for words in shown)] == []


def test_the_readme_and_the_runbook_have_every_exit_status_that_the_program_ends_with() -> None:
    numbers = (getattr(one, "exit_status", None) for one in vars(errors).values() if isinstance(one, type))
    statuses = {0, 1, *(number for number in numbers if isinstance(number, int))}
    told = README.partition("\nExit status: ")[2].partition("\n\n")[0]
    assert {int(status) for status in re.findall(r"(?:^|·\s)(\d+)\s", told)} == statuses
    assert {int(number) for number in re.findall(r"^## Exit status (\d+)$", RUNBOOK, re.MULTILINE)} == statuses
    assert "Exit status 128+n" in _HEADINGS


_HEADINGS = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
_OF_OTHERS = {  # of the system, SQLite and click
    *("Permission denied", "database disk image is malformed", "file is not a database"),
    *("database or disk is full", "is locked", "Usage"),
}
_WORDY = 30


def _said(node: ast.AST) -> str | None:
    """Return a text that the program can say, with `…` where it puts something in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "outreach_sync").rglob("*.py")]
TEMPLATES = [said for tree in TREES for node in ast.walk(tree) if (said := _said(node)) is not None]


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


def test_every_kind_of_refusal_has_an_entry_by_the_name_under_which_failures_lists_it() -> None:
    kinds = [explain._OF_SOURCE, explain._BY_WORKBOOKS, *explain._KINDS]
    assert [kind.title for kind in kinds if kind.title not in _HEADINGS] == []


@pytest.mark.parametrize("kind", explain._KINDS, ids=lambda kind: kind.title)
def test_the_example_of_a_kind_is_a_reason_that_the_program_gives(kind: explain.Kind) -> None:
    text = " ".join(RUNBOOK.partition(f"### {kind.title}\n")[2].split("`")[1].split())
    assert kind.words in text
    wordy = [said for said in TEMPLATES if len(said) > _WORDY]  # `…` alone would be any text
    assert any(re.fullmatch(re.escape(said.replace("{}", "…")).replace("…", ".*"), text) for said in wordy)


# -- the map and the decisions


def test_the_map_names_every_package_and_module_and_nothing_else() -> None:
    rows = [line.split("|")[1] for line in MAP.partition("## The way")[0].splitlines() if line.startswith("| `")]
    named = {place.rstrip("/") for row in rows for place in re.findall(r"`([^`]+)`", row)}
    inside = (ROOT / "outreach_sync").iterdir()
    there = {one.name for one in inside if one.suffix == ".py" or (one / "__init__.py").exists()}
    assert named == {name for name in there if not name.startswith("__")}


def test_every_decision_has_a_number_of_its_own_and_carries_it_in_its_title() -> None:
    notes = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [note.name[:4] for note in notes] == [f"{number:04}" for number in range(1, len(notes) + 1)]
    assert [note.name for note in notes if not note.read_text("utf-8").startswith(f"# {note.name[:4]}: ")] == []
