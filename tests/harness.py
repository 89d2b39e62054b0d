"""What tests of whole runs share: time that passes without anybody waiting."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from outreach_sync import instants
from outreach_sync.http import StopSignal

if TYPE_CHECKING:
    from collections.abc import Iterator


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

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the time by which the program and the services live."""
        with mock.patch.object(instants, "time", self):
            yield


class NoWaiting(StopSignal):
    """A request to stop for runs whose pauses take no time: they pass it instead."""

    def __init__(self, clock: Time) -> None:
        super().__init__()
        self._clock = clock

    def clock(self) -> float:
        return self._clock.waited()

    def wait(self, seconds: float) -> bool:
        if not self.is_set():
            self._clock.pass_time(round(max(seconds, 0.0) * 1000))
        return self.is_set()


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
