"""What tests of whole runs and commands share: both services, a config that uses them, and time in no time."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import requests
import yaml

from outreach_sync import instants
from outreach_sync.cli import run_command
from outreach_sync.config import load_config
from outreach_sync.config.model import Config
from outreach_sync.http import StopSignal
from outreach_sync.run import RunSummary
from outreach_sync.sandbox import Sandbox

PERSON, TASK = "Private::Crm::Person", "Private::Activity::Task"
STATE, NO_EMAIL, RUNNING = "cf_person_sequence_state", "no_email_soliciting", "Active \u2013 Running"
DAY = 86_400_000
FIELDS = {role: f"cf_person_{role}" for role in ("sequence_state", "outreach_id", "sequences")}


def counts(ended: RunSummary) -> dict[str, int]:
    """Return what a run did to people, and how many tasks it made, as far as it did anything."""
    both = {"tasks": ended.tasks.created, **ended.document["people"]}
    return {name: count for name, count in both.items() if count and name != "queued"}


class Recorder:
    """A log that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **values: Any) -> None:
        self.events.append((event, values))

    info = warning = debug

    def of(self, event: str) -> list[dict[str, Any]]:
        return [values for name, values in self.events if name == event]


class Time:
    """The time of this machine and of both services: real time, and what was passed, or waited for, in no time."""

    def __init__(self) -> None:
        self._passed_ms = 0
        self._lock = threading.Lock()

    def time_ns(self) -> int:
        """Stand in for `time.time_ns`."""
        return time.time_ns() + self._passed_ms * 1_000_000

    def waited(self) -> float:
        """Say how many seconds of pauses there were, however busy the machine is."""
        return self._passed_ms / 1000

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass for this machine and for both services."""
        with self._lock:
            self._passed_ms += milliseconds

    def wait(self, stop: StopSignal, seconds: float) -> bool:
        """Stand in for `StopSignal.wait`: the pause takes no time, it passes it."""
        if not stop.is_set():
            self.pass_time(round(max(seconds, 0.0) * 1000))
        return stop.is_set()

    @contextmanager
    def running(self, *, everywhere: bool = False) -> Iterator[None]:
        """Be the time by which the program and the services live; `everywhere`: no pause at all takes real time."""
        with ExitStack() as patched:
            patched.enter_context(mock.patch.object(instants, "time", self))
            if everywhere:
                patched.enter_context(mock.patch.object(StopSignal, "wait", lambda *asked: self.wait(*asked)))  # noqa: PLW0108
                patched.enter_context(mock.patch.object(StopSignal, "clock", self.waited))
            yield


class NoWaiting(StopSignal):
    """A request to stop for runs whose pauses take no time: they pass it instead."""

    def __init__(self, clock: Time) -> None:
        super().__init__()
        self.clock, self.wait = clock.waited, lambda seconds: clock.wait(self, seconds)


class Pauses(StopSignal):
    """A request to stop whose pauses are kept, and move the clock by which patience is measured instead of lasting."""

    def __init__(self, *, still: bool = False) -> None:
        """Let real time pass too, unless it stands `still`."""
        super().__init__()
        self.now = 1000.0
        self.pauses: list[float] = []
        self._still = still

    def clock(self) -> float:
        return self.now if self._still else self.now + super().clock()

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return self.is_set()


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def everything(self) -> str:
        return self.out + self.err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Installation:
    """Both simulated services, and a config file that uses them, whose state is in a directory of its own.

    `settings` is what the file says, as soon as `write` was called.
    """

    def __init__(self, directory: Path, sandbox: Sandbox, **sync: Any) -> None:
        self.sandbox = sandbox
        self.outreach, self.workbooks = sandbox.outreach.store, sandbox.workbooks.store
        self.directory = directory
        self.state_path = directory / "state" / "state.db"
        self.config_path = directory / "config.yaml"
        self.settings: dict[str, Any] = {**sandbox.config(self.state_path), "sync": sync}

    def write(self, **sync: Any) -> None:
        """Write the config, with these settings of `sync` besides."""
        document = {**self.settings, "sync": {**self.settings["sync"], **sync}}
        self.config_path.parent.mkdir(exist_ok=True)
        self.config_path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        self.config_path.chmod(0o600)

    def change(self, section: str, **values: Any) -> None:
        """Change a section of the config from now on."""
        self.settings.setdefault(section, {}).update(values)
        self.write()

    def config(self, **sync: Any) -> Config:
        """Load the config as the program does."""
        self.write(**sync)
        return load_config(self.config_path)


class CommandLine:
    """Runs command lines in this process; nothing in them waits."""

    def __init__(self, config_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config_path, self._capsys = config_path, capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        return Ran(run_command(["-c", str(self.config_path), *arguments]), *self._capsys.readouterr())


class Setup(Installation):
    """An installation with all fields of a Person; called, it runs a command line."""

    def __init__(self, directory: Path, sandbox: Sandbox, command: CommandLine) -> None:
        super().__init__(directory, sandbox, patience="20s")
        self.command = command
        self.settings["workbooks"]["fields"] = dict(FIELDS)
        self.write()

    def __call__(self, *arguments: str) -> Ran:
        return self.command(*arguments)

    def document(self, *arguments: str) -> Any:
        return self(*arguments, "--json").document


def on_a_terminal(
    config: Path, *arguments: str, typed: str = "", columns: int = 100, errors: bool = True, **environment: str
) -> Ran:
    """Run one command line in a process of its own on a terminal, at which somebody has typed; `err` is empty."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "outreach_sync", "-c", str(config), *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs if errors else subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, typed.encode() + b"\x04")  # who asks for more is told that nobody types any more
    said = b""
    with suppress(OSError):  # what a terminal says when nobody holds its other end
        while part := os.read(ours, 65_536):
            said += part
    os.close(ours)
    return Ran(process.wait(), said.decode().replace("\r\n", "\n"), "")


def consent(url: str, decision: str = "approve") -> str:
    """Do what a user in a browser does; return the address that it ends at."""
    answer = requests.get(f"{url}&decision={decision}", allow_redirects=False, timeout=5)
    return answer.headers["Location"]


class Consenting:
    """Stands in for stdin: somebody who reads the printed address and pastes what `answer` makes of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], answer: Callable[[str], str] = consent) -> None:
        self._capsys, self._answer = capsys, answer

    def isatty(self) -> bool:
        return False

    def readline(self, _most: int) -> str:  # a line may have no end
        said = "".join(self._capsys.readouterr())
        return self._answer(next(line for line in said.splitlines() if "/oauth/authorize" in line)) + "\n"
