"""The help in the README: `python -m tests.docs.readme` writes it again, and a test compares it."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from outreach_sync.cli import cli

PATH = Path(__file__).parents[2] / "README.md"
_HELP = re.compile(r"(?<=<!-- help: checked by tests/docs/test_pages.py -->\n).*?(?=<!-- /help -->)", re.DOTALL)


def with_current_help(readme: str) -> str:
    """Return the README with what `outreach-sync --help` prints between its two marks.

    Raises:
        ValueError: it has not exactly one such place.
    """
    printed = CliRunner().invoke(cli, ["--help"], prog_name="outreach-sync", terminal_width=80).output
    renewed, places = _HELP.subn(lambda _: f"```text\n{printed}```\n", readme)
    if places != 1:
        raise ValueError(f"the README has {places} places for the help")
    return renewed


if __name__ == "__main__":
    PATH.write_text(with_current_help(PATH.read_text(encoding="utf-8")), encoding="utf-8")
