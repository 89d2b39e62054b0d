"""The program against both simulated services, started in this process: `outreach(...)` runs one command line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox import Sandbox
from tests.harness import FIELDS, CommandLine, Installation, Ran, Time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Setup(Installation):
    """Both services, the config that uses them, and where the state is; called, it runs a command line."""

    def __init__(self, directory: Path, sandbox: Sandbox, command: CommandLine) -> None:
        super().__init__(directory, sandbox, patience="20s")
        self.command = command
        self.settings["workbooks"]["fields"] = dict(FIELDS)
        self.write()

    def __call__(self, *arguments: str) -> Ran:
        return self.command(*arguments)


@pytest.fixture
def empty(tmp_path: Path, command: CommandLine) -> Iterator[Setup]:
    with Sandbox() as sandbox, Time().running(everywhere=True):
        yield Setup(tmp_path, sandbox, command)


@pytest.fixture
def setup(empty: Setup) -> Setup:
    empty.sandbox.load_example()
    return empty


@pytest.fixture
def on_terminal(tmp_path: Path) -> Callable[..., Ran]:
    """Run one command line in a process of its own on a terminal, at which somebody has typed; `err` is empty."""

    def run(*arguments: str, typed: str = "", columns: int = 100, **environment: str) -> Ran:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "outreach_sync", "-c", str(tmp_path / "config.yaml"), *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )  # fmt: skip
        os.close(theirs)
        os.write(ours, typed.encode())
        said = b""
        with contextlib.suppress(OSError):  # what a terminal says when nobody holds its other end
            while part := os.read(ours, 65_536):
                said += part
        os.close(ours)
        return Ran(process.wait(), said.decode().replace("\r\n", "\n"), "")

    return run


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """Run one command line with the config of `setup` or `empty`."""
    return CommandLine(tmp_path / "config.yaml", capsys)
