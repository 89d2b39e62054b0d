from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
LEVELS = {"debug", "info", "warning", "error"}


def logged() -> Iterator[tuple[str, str]]:
    """Find (event, level) of every event that the program logs; the simulated services log none."""
    for path in (ROOT / "outreach_sync").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(value=str(event)), *_]):
                    if level in LEVELS and event.isidentifier():  # `zlib.error("…")` is no event
                        yield event, level


def test_the_reference_lists_every_event_with_its_level_and_no_other() -> None:
    reference = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", reference, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert sorted(set(logged())) == sorted(listed)
