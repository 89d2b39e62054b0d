"""The program against both simulated services, started in this process: `outreach(...)` runs one command line."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest
import yaml

from outreach_sync.cli import run_command
from outreach_sync.cli.context import Invocation
from outreach_sync.log import Scrubber
from outreach_sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FIELDS = {
    "sequence_state": "cf_person_sequence_state",
    "outreach_id": "cf_person_outreach_id",
    "sequences": "cf_person_sequences",
}


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Command(Protocol):
    def __call__(self, *arguments: str) -> Ran: ...


class Setup:
    """Both services, the config that uses them, and where the state is."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self.sandbox = sandbox
        self.state_path = directory / "state" / "state.db"
        self.config_path = directory / "config.yaml"
        self.config: dict[str, Any] = sandbox.config(self.state_path)
        self.config["workbooks"]["fields"] = dict(FIELDS)
        self.config["sync"] = {"patience": "1s"}
        self.write()

    def write(self) -> None:
        self.config_path.write_text(yaml.safe_dump(self.config, allow_unicode=True), encoding="utf-8")
        self.config_path.chmod(0o600)

    def change(self, section: str, **values: Any) -> None:
        self.config.setdefault(section, {}).update(values)
        self.write()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OUTREACH", "WORKBOOKS", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(Invocation, "scrubber", Scrubber())


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Setup]:
    with Sandbox() as sandbox:
        yield Setup(sandbox, tmp_path)


@pytest.fixture
def setup(empty: Setup) -> Setup:
    empty.sandbox.load_example()
    return empty


@pytest.fixture
def on_terminal(tmp_path: Path) -> Callable[..., Ran]:
    """Run one command line in a process of its own whose stdout and stderr are a terminal; `err` is empty."""

    def run(*arguments: str, columns: int = 100, **environment: str) -> Ran:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "outreach_sync", "-c", str(tmp_path / "config.yaml"), *arguments],
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )  # fmt: skip
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # what a terminal says when nobody holds its other end
            while part := os.read(ours, 65_536):
                said += part
        os.close(ours)
        return Ran(process.wait(), said.decode().replace("\r\n", "\n"), "")

    return run


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run one command line with the config of `setup` or `empty`."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        status = run_command(["-c", str(tmp_path / "config.yaml"), *arguments])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run
