"""A request to stop, as every pause and every exchange sees it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Protocol

from outreach_sync.errors import InterruptedByError


class Stopping(Protocol):
    """What the clients need to know of a request to stop."""

    @property
    def signal_number(self) -> int:
        """The signal that asked, 0 while none did."""

    def is_set(self) -> bool:
        """Say whether somebody asked."""

    def seconds_since(self) -> float:
        """Say how long ago it was asked; 0.0 while nobody did."""

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until somebody asks; say whether somebody did."""


class StopSignal:
    """The one request to stop of this process, safe to be set from a signal handler.

    A `threading.Event` is not: its lock is not reentrant, so a handler that interrupts `wait` in the main thread can
    deadlock. `queue.SimpleQueue` is, but the first `get` of one may wait for ever in Python 3.11: where the process is
    held up until its deadline has passed, it goes on without any. Hence a bare lock, held until somebody asks.
    """

    def __init__(self) -> None:
        """Begin unset."""
        self.signal_number = 0
        self._asked_at: float | None = None
        self._gate = threading.Lock()
        self._gate.acquire()

    def set(self, signal_number: int) -> None:
        """Ask to stop; the first signal is the one that is remembered."""
        if self._asked_at is None:
            self.signal_number = signal_number
            self._asked_at = time.monotonic()
            with suppress(RuntimeError):  # a second signal in the midst of this
                self._gate.release()

    def is_set(self) -> bool:
        """Say whether somebody asked."""
        return self._asked_at is not None

    def seconds_since(self) -> float:
        """Say how long ago it was asked; 0.0 while nobody did."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until somebody asks; say whether somebody did."""
        if self._asked_at is not None:
            return True
        if self._gate.acquire(timeout=max(seconds, 0.0)):
            self._gate.release()  # for whoever else waits
        return self.is_set()


def pause(seconds: float, stop: Stopping) -> None:
    """Sleep unless asked to stop.

    Raises:
        InterruptedByError: somebody asked, before or meanwhile.
    """
    if stop.wait(seconds):
        raise InterruptedByError(stop.signal_number)


def check(stop: Stopping) -> None:
    """Go on only if nobody asked to stop.

    Raises:
        InterruptedByError: somebody asked.
    """
    if stop.is_set():
        raise InterruptedByError(stop.signal_number)
