"""The program as a reader of the documentation runs it: a directory of their own, and both simulated services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox import Sandbox
from tests.harness import FIELDS, CommandLine, Consenting, Installation, Time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Reader(Installation):
    """Somebody who follows the documentation: `run` does one command line with their config."""

    def __init__(self, directory: Path, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(directory, sandbox, patience="20s")
        self.config_path = directory / "config" / "outreach-sync.yaml"
        self.settings["workbooks"]["fields"] = dict(FIELDS)
        self.run = CommandLine(self.config_path, capsys)
        self.write()

    def document(self, *arguments: str) -> Any:
        """Run a command with `--json` and return what it printed."""
        return self.run(*arguments, "--json").document


@pytest.fixture(autouse=True)
def _place_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr("sys.stdin", Consenting(capsys))
    with Sandbox() as sandbox, Time().running(everywhere=True):
        sandbox.load_example()
        yield Reader(tmp_path, sandbox, capsys)
