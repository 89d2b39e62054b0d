"""The page of promises names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_promise_names_a_test_that_is_gone(path: str, name: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^(def {name}\(|class {name}\b|{name} =)", source, re.MULTILINE)


def test_a_promise_is_made_without_a_proof() -> None:
    rows = re.findall(
        r"^\| (?!promise \||question|---)(.+?) \| (.+?) \|$", PAGE.split("## What can happen")[0], re.MULTILINE
    )
    assert len(rows) > 10
    assert not [promise for promise, proof in rows if not re.fullmatch(r"`tests/[\w/]+\.py::\w+`", proof)]
