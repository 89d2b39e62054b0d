from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.errors import UsageError
from outreach_sync.instants import Instant, now
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Setup


class Service:
    """The command as a service, its log, and what it told the service manager."""

    def __init__(self, setup: Setup, directory: Path) -> None:
        self.log_path = directory / "log"
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(str(directory / "notify"))
        self.line.setblocking(False)
        self.messages: list[str] = []
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "outreach_sync", "-c", str(setup.config_path), "schedule"],
                stderr=log,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify")},
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        self.told()  # the socket's queue is short
        lines = [line for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def told(self) -> list[str]:
        try:
            while True:
                self.messages.append(self.line.recv(1000).decode())
        except BlockingIOError:
            return self.messages

    def close(self) -> None:
        self.process.kill()
        self.process.wait(5)
        self.line.close()


def eventually(condition: Callable[[], Any], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def service(setup: Setup, tmp_path: Path) -> Iterator[Service]:
    setup.change("schedule", every="1s", jitter="0s")
    one = Service(setup, tmp_path)
    yield one
    one.close()


def test_it_runs_cycles_heeds_a_hangup_and_ends_with_0_when_asked_to(service: Service, setup: Setup) -> None:
    eventually(lambda: len(service.events("run_finished")) >= 2)
    assert service.events("run_finished")[0]["people"]["updated"] > 0
    setup.change("schedule", every="banana")
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.events("config_kept"))
    setup.change("schedule", every="2s")
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.events("config_reloaded"))
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert service.events("schedule_stopped")
    told = service.told()
    assert {"READY=1", "STOPPING=1"} <= set(told)
    assert any(text.startswith("RELOADING=1") for text in told)


def test_a_signal_during_a_cycle_ends_it_soon_and_with_0(service: Service, setup: Setup) -> None:
    setup.sandbox.outreach.faults.on("hang", seconds=20)
    eventually(lambda: service.events("run_started"))
    began = time.monotonic()
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(30) == 0
    assert time.monotonic() - began < 28


def test_a_reconcile_that_fell_due_while_nobody_was_there_is_made_up_for(setup: Setup, tmp_path: Path) -> None:
    setup.change("schedule", every="1h", jitter="0s", reconcile="0 3 * * sun")
    state = Store.open(setup.state_path)
    with state.transaction():
        state.history.begin("old", "reconcile", Instant(now() - 8 * 86_400_000))
    state.close()
    service = Service(setup, tmp_path)
    try:
        eventually(lambda: len(service.events("run_finished")) >= 2)
        assert [event["command"] for event in service.events("run_started")] == ["run", "reconcile"]
    finally:
        service.close()


def test_a_wrong_config_at_the_start_is_an_error(setup: Setup) -> None:
    setup.change("schedule", every="banana")
    assert setup("schedule").status == 2


def test_a_signal_that_comes_before_the_first_cycle_is_heeded(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup("run")
    heeded: list[Any] = []

    def look(*_: object) -> None:
        heeded.extend(map(signal.getsignal, (signal.SIGTERM, signal.SIGHUP)))
        raise UsageError("that is all.")

    monkeypatch.setattr("outreach_sync.cli.run.last_begun", look)
    assert setup("schedule").status == 2
    assert signal.SIG_DFL not in heeded
