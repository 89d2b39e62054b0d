"""The program as a whole process: what it took, by the kernel's own count."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Took(NamedTuple):
    """What one process took: seconds of wall and of CPU, peak memory in bytes."""

    wall: float
    cpu: float
    peak: int


def take(*command: str) -> Took:
    """Run a command to its end; raise RuntimeError where it fails with something else than 0 or 1."""
    _launcher.send(command)
    took: Took | str = _launcher.recv()
    if isinstance(took, str):
        raise RuntimeError(took)  # noqa: TRY004 - the text is what the process said
    return took


def python(*arguments: str) -> Took:
    """Run this Python."""
    return take(sys.executable, *arguments)


class Program:
    """outreach-sync with a config and a state of its own in a directory."""

    def __init__(self, directory: Path, config: Mapping[str, Any], **sections: Mapping[str, Any]) -> None:
        """Write the config; `sections` extend its sections."""
        self.directory = directory
        self.state = directory / "state.db"
        self.config = directory / "config.yaml"
        merged = {**config, **{name: {**config.get(name, {}), **section} for name, section in sections.items()}}
        merged["state"] = {"path": str(self.state)}
        self.config.write_text(yaml.safe_dump(merged, allow_unicode=True))
        self.config.chmod(0o600)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return one command of it, with logs off so that nothing but the work is measured."""
        return (sys.executable, "-m", "outreach_sync", "-c", str(self.config), "--log-level", "error", *arguments)

    def run(self, *arguments: str) -> Took:
        """Run one command of it."""
        return take(*self.command(*arguments))

    def forget(self, *, but: str = "?") -> None:
        """Remove the state and the tokens, and all that is beside them except what has `but` in its name."""
        for path in self.directory.glob(f"{self.state.name}*"):
            if but not in path.name:
                path.unlink()

    def keep(self) -> bytes:
        """Return the state as it is; tokens are left out, since the services of each trial know only their own."""
        return self.state.read_bytes()

    def restore(self, kept: bytes) -> None:
        """Put a kept state back; the copy of the day stays."""
        self.forget(but=".backup-")
        self.state.touch(mode=0o600)
        self.state.write_bytes(kept)


def _launch(connection: Connection) -> None:
    while (command := connection.recv()) is not None:
        with tempfile.TemporaryFile() as said:
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            failed = f"{' '.join(command)} ended with {process.returncode}: {said.read()[-2000:].decode()}"
        took = Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        connection.send(took if process.returncode in {0, 1} else failed)


# the small process that starts all others: a child's peak memory begins with that of its parent
_fork = multiprocessing.get_context("fork")
_launcher, _theirs = _fork.Pipe()
_fork.Process(target=_launch, args=(_theirs,), daemon=True).start()
