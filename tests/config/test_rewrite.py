from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.config.rewrite import replace_file, rewritten

if TYPE_CHECKING:
    from pathlib import Path

WHERE = ("workbooks", "fields")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("workbooks:\n  fields:\n    a: old  # why\n", "workbooks:\n  fields:\n    a: new  # why\n"),
        ("workbooks:\n  fields:\n    a: null\n    b: 1\n", "workbooks:\n  fields:\n    a: new\n    b: 1\n"),
        ("workbooks:\n  fields:\n    # b\n    b: 1\n", "workbooks:\n  fields:\n    # b\n    a: new\n    b: 1\n"),
        ("é: 'ü'\nworkbooks:\n  fields:\n    a: 'o'\n", "é: 'ü'\nworkbooks:\n  fields:\n    a: new\n"),
    ],
    ids=["comment", "null", "missing key", "not ASCII"],
)
def test_only_the_value_changes(before: str, after: str) -> None:
    assert rewritten(before, WHERE, {"a": "new"}) == after


def test_several_values_change_at_once() -> None:
    text = "workbooks:\n  fields:\n    a: 1\n    b: 2\n"
    assert rewritten(text, WHERE, {"b": "y", "a": "longer", "c": "z"}) == (
        "workbooks:\n  fields:\n    c: z\n    a: longer\n    b: y\n"
    )


@pytest.mark.parametrize(
    "text",
    ["", "workbooks:\n  api_key: k\n", "workbooks:\n  fields: {a: old}\n", "workbooks:\n  fields:\n    a: ${A}\n"],
    ids=["empty", "no section", "flow style", "from the environment"],
)
def test_what_cannot_be_changed_alone_is_left_to_people(text: str) -> None:
    assert rewritten(text, WHERE, {"a": "new"}) is None


def test_a_file_is_replaced_in_place_with_its_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    replace_file(link, "new")
    assert (real.read_text(), real.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]
