from __future__ import annotations

import runpy
from pathlib import Path

from outreach_sync.cli import COMMANDS


def test_every_command_gets_a_manual_page_that_says_what_its_help_says(tmp_path: Path) -> None:
    runpy.run_path(str(Path(__file__).with_name("man.py")))["write_pages"](tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert {f"outreach-sync-{name}.1" for name in COMMANDS} < made
    assert "outreach-sync-failures-list.1" in made
    assert "Read, show every change" in (tmp_path / "outreach-sync-run.1").read_text(encoding="utf-8")
