from __future__ import annotations

import os
import signal
from collections import deque
from typing import TYPE_CHECKING

import pytest

from outreach_sync.cli import ui
from outreach_sync.cli.ui import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _usual_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ui, "_GRACE_SECONDS", 86_400.0)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_could_wait_does_not_end_a_run_in_its_midst(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.is_set()
        assert stop.signal_number == number
    assert signal.getsignal(number) == before


def test_a_run_that_was_told_to_survive_its_terminal_does() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set()


def test_a_schedule_that_is_told_to_read_its_config_does_not_stop() -> None:
    asked: deque[int] = deque()
    with stop_on_signals(asked) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked
        assert not stop.is_set()
