from __future__ import annotations

import re
from pathlib import Path

import pytest

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
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = [link["target"] for link in _LINK.finditer(_text(page))]
    assert not [problem for target in targets if (problem := _broken(page, target)) is not None]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_file_that_does_not_exist(page: Path) -> None:
    named = {match["path"] for match in _NAMED_FILE.finditer(_text(page))} - _USERS_OWN
    assert not [path for path in sorted(named) if not _exists(page, path)]


def _exists(page: Path, path: str) -> bool:
    places = (ROOT, page.parent, ROOT / "outreach_sync")
    return any(list(place.glob(path.rstrip("/"))) for place in places)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached:
            continue
        reached.add(page)
        left += [there for there in map(page.parent.joinpath, _local_targets(page)) if there.suffix == ".md"]
        left += [
            one
            for there in map(page.parent.joinpath, _local_targets(page))
            if there.is_dir()
            for one in there.glob("*.md")
        ]
        left = [one.resolve() for one in left]
    assert not set(PAGES) - reached


def _local_targets(page: Path) -> list[str]:
    targets = (link["target"].partition("#")[0] for link in _LINK.finditer(_text(page)))
    return [target for target in targets if target and ":" not in target]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_place_that_is_still_to_be_filled_in(page: Path) -> None:
    assert not re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b|\bFIXME\b", page.read_text(encoding="utf-8"))
