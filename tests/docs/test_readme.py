from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

from outreach_sync import errors
from outreach_sync.cli import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _with_current_help() -> str:
    module: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("readme.py")))
    text: str = module["with_current_help"](README)
    return text


def test_the_help_in_the_readme_is_what_the_program_prints() -> None:
    assert _with_current_help() == README, "`make docs` writes it again"


def test_the_help_names_every_command_with_the_line_it_is_registered_with() -> None:
    folded = " ".join(README.split())
    assert not [name for name, (_, _, line) in COMMANDS.items() if f"{name} {line}" not in folded]


def test_the_readme_names_every_exit_status_that_the_program_ends_with() -> None:
    told = re.search(r"^Exit status: (?P<all>.*?)\n\n", README, re.DOTALL | re.MULTILINE)
    assert told is not None
    assert {int(status) for status in re.findall(r"(?:^|·\s)(\d+)\s", told["all"])} == _statuses()


def _statuses() -> set[int]:
    numbers = (getattr(one, "exit_status", None) for one in vars(errors).values() if isinstance(one, type))
    return {0, 1, *(number for number in numbers if isinstance(number, int))}
