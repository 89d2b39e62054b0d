"""The program as a reader of the documentation runs it: a directory of their own, and both simulated services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from outreach_sync.sandbox import Sandbox
from tests.harness import FIELDS, CommandLine, Installation, Time, forget_the_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Terminal:
    """What stands in for a person at the terminal: opens the printed address, allows access, pastes where it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def isatty(self) -> bool:
        return False

    def readline(self) -> str:
        said = "".join(self._capsys.readouterr())
        address = next(line for line in said.splitlines() if "/oauth/authorize" in line)
        answer = requests.get(f"{address}&decision=approve", allow_redirects=False, timeout=5)
        return answer.headers["Location"] + "\n"


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
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_the_environment(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr("sys.stdin", Terminal(capsys))
    with Sandbox() as sandbox, Time().running(everywhere=True):
        sandbox.load_example()
        yield Reader(tmp_path, sandbox, capsys)
