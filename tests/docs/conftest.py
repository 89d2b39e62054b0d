"""The program as a reader of the documentation runs it: a directory of their own, and both simulated services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox import Sandbox
from tests.harness import CommandLine, Consenting, Setup, Time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", Consenting(capsys))
    with Sandbox() as sandbox, Time().running(everywhere=True):
        sandbox.load_example()
        yield Setup(tmp_path, sandbox, CommandLine(tmp_path / "config.yaml", capsys))
