"""The time the simulated services live in: real time plus an offset that a test may move."""

from __future__ import annotations

import threading

from outreach_sync import instants
from outreach_sync.instants import Instant


class SandboxClock:
    """A clock that runs with real time, can be moved, and can tell the outside something else.

    Record stamps and expiries use `now`. The ``Date`` header uses `header_now`, `header_skew` milliseconds off:
    a server whose stamps and whose header disagree is one of the things a client has to survive. Thread-safe.
    """

    def __init__(self, at: Instant | None = None) -> None:
        """Start at the instant `at`, or at this machine's time."""
        self._lock = threading.Lock()
        self._offset_ms = 0
        self.header_skew = 0
        if at is not None:
            self.set(at)

    def now(self) -> Instant:
        """Say what time it is for the services."""
        return Instant(instants.now() + self._offset_ms)

    def header_now(self) -> Instant:
        """Say what time the services claim in their ``Date`` header."""
        return Instant(self.now() + self.header_skew)

    def advance(self, milliseconds: int) -> Instant:
        """Move the clock forward, or back for a negative number, and return the new time."""
        with self._lock:
            self._offset_ms += milliseconds
        return self.now()

    def set(self, at: Instant) -> None:
        """Make it the instant `at`; time runs on from there."""
        with self._lock:
            self._offset_ms = at - instants.now()
