from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import click

from outreach_sync.cli.sandbox import do

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_the_page_has_every_fault_with_what_it_does() -> None:
    module: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("sandbox.py")))
    assert module["with_current_faults"](PAGE) == PAGE, "`make docs` writes it again"


def test_the_page_shows_every_command_of_the_back_door() -> None:
    shown = {tuple(line.split()) for line in re.findall(r"^\$ outreach-sync sandbox do (.+)$", PAGE, re.MULTILINE)}
    groups = {name: one for name, one in do.commands.items() if isinstance(one, click.Group)}
    paths = [(name,) for name in do.commands if name not in groups]
    paths += [(name, inner) for name, group in groups.items() for inner in group.commands]
    assert [path for path in paths if not any(words[: len(path)] == path for words in shown)] == []
