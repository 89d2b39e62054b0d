from __future__ import annotations

import signal
import threading
import time

import pytest

from outreach_sync.errors import InterruptedByError
from outreach_sync.transport.stopping import StopSignal, check, pause


def test_a_pause_ends_early_though_nobody_asked() -> None:
    started = time.monotonic()
    pause(0.05, StopSignal())
    assert time.monotonic() - started >= 0.05


def test_a_request_to_stop_does_not_end_every_pause() -> None:
    stop = StopSignal()
    ended: list[bool] = []
    waiting = [threading.Thread(target=lambda: ended.append(stop.wait(30))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    stop.set(15)
    for thread in waiting:
        thread.join(5)
    assert ended == [True, True, True]


def test_the_signal_is_forgotten() -> None:
    stop = StopSignal()
    check(stop)
    stop.set(signal.SIGTERM)
    stop.set(signal.SIGINT)
    with pytest.raises(InterruptedByError) as raised:
        pause(30, stop)
    assert raised.value.signal_number == signal.SIGTERM
    with pytest.raises(InterruptedByError):
        check(stop)


def test_a_signal_handler_that_sets_it_deadlocks_the_waiting_main_thread() -> None:
    stop = StopSignal()
    before = signal.signal(signal.SIGALRM, lambda number, _frame: stop.set(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert stop.wait(10)
        assert stop.signal_number == signal.SIGALRM
        assert 0 <= stop.seconds_since() < 5
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_time_since_grows_though_nobody_asked() -> None:
    assert StopSignal().seconds_since() == 0


def test_a_pause_that_is_over_before_it_begins_lasts_for_ever() -> None:
    """A process that is held up between reading the clock and waiting: a busy machine, a virtual one that sleeps."""

    def many() -> None:
        ends = time.monotonic() + 2
        while time.monotonic() < ends:
            for microseconds in (1, 2, 5, 20):
                StopSignal().wait(microseconds * 1e-6)

    pausing = threading.Thread(target=many, daemon=True)
    pausing.start()
    pausing.join(30)
    assert not pausing.is_alive()
