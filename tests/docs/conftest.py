"""The program as a reader of the documentation runs it: a directory of their own, and both simulated services."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
import yaml

from outreach_sync.cli import run_command
from outreach_sync.cli.context import Invocation
from outreach_sync.log import Scrubber
from outreach_sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIELDS = {
    "sequence_state": "cf_person_sequence_state",
    "outreach_id": "cf_person_outreach_id",
    "sequences": "cf_person_sequences",
}


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


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


class Reader:
    """Somebody who follows the documentation: `run` does one command line with their config."""

    def __init__(self, sandbox: Sandbox, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.sandbox = sandbox
        self.directory = directory
        self.state_path = directory / "state" / "state.db"
        self.config_path = directory / "config" / "outreach-sync.yaml"
        self.config: dict[str, Any] = sandbox.config(self.state_path)
        self.config["workbooks"]["fields"] = dict(FIELDS)
        self.config["sync"] = {"patience": "1s"}
        self._capsys = capsys
        self.write()

    def write(self) -> None:
        self.config_path.parent.mkdir(exist_ok=True)
        self.config_path.write_text(yaml.safe_dump(self.config, allow_unicode=True), encoding="utf-8")
        self.config_path.chmod(0o600)

    def change(self, section: str, **values: Any) -> None:
        self.config.setdefault(section, {}).update(values)
        self.write()

    def run(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        status = run_command(["-c", str(self.config_path), *arguments])
        captured = self._capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    def document(self, *arguments: str) -> Any:
        """Run a command with `--json` and return what it printed."""
        return self.run(*arguments, "--json").document


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("OUTREACH", "WORKBOOKS", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Invocation, "scrubber", Scrubber())


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.setattr("sys.stdin", Terminal(capsys))
    with Sandbox() as sandbox:
        sandbox.load_example()
        yield Reader(sandbox, tmp_path, capsys)
