from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from outreach_sync.cli import run_command

if TYPE_CHECKING:
    import pytest


def test_it_needs_no_config_ends_with_0_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_command(["demo"]) == 0
    captured = capsys.readouterr()
    assert "Everything is as it must be." in captured.out
    assert captured.err == ""
    assert list(Path(tmp_path).iterdir()) == []
