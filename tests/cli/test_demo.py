from __future__ import annotations

import os
import subprocess
import sys
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


def test_a_narrow_encoding_does_not_end_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "outreach_sync", "demo"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Everything is as it must be." in done.stdout
