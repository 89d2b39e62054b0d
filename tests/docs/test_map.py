from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
