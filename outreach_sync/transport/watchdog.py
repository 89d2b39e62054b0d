"""Ending exchanges that last too long, whatever the other side does.

A socket timeout starts anew with each byte, so a server that trickles holds a reader for ever, and a read that waits
does not notice a request to stop. The watchdog shuts such a connection down from outside; the reader then sees its end.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from outreach_sync.transport.stopping import Stopping

_TICK_SECONDS = 0.1


class Line(Protocol):
    """A connection that may be shut down from outside."""

    exchange: Exchange | None
    sock: socket.socket | None


class Exchange:
    """One request and its answer, from the start of sending to the last byte.

    Attributes:
        connected: whether the connection stood, so that the request may have reached the service.
        severed: whether the watchdog cut the connection; what then seems to be an answer may be half of one.
        overdue, interrupted: why it did.
    """

    def __init__(self, *, seconds: float, grace_seconds: float) -> None:
        """Begin now; allow `seconds` in all, and `grace_seconds` from a request to stop."""
        self.started = time.monotonic()
        self.ends = self.started + seconds
        self.grace_seconds = grace_seconds
        self.connected = False
        self.severed = False
        self.overdue = False
        self.interrupted = False
        self._line: Line | None = None

    def takes(self, line: Line) -> None:
        """Name the connection that carries this exchange from now on."""
        line.exchange = self
        self._line = line

    def elapsed_ms(self) -> int:
        """Say how long it has lasted."""
        return round((time.monotonic() - self.started) * 1000)

    def is_over(self, stop: Stopping) -> bool:
        """Say whether its time, or its grace after a request to stop, is over."""
        self.overdue = time.monotonic() > self.ends
        self.interrupted = stop.is_set() and stop.seconds_since() >= self.grace_seconds
        return self.overdue or self.interrupted

    def cut(self) -> bool:
        """Shut its connection down; say whether there was one yet."""
        line = self._line
        connection = line.sock if line is not None and line.exchange is self else None
        if connection is None:
            return False
        self.severed = True
        with suppress(OSError):  # it may have ended by itself
            # not SSLSocket's own shutdown, which resets what the reading thread uses
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        return True


class Watchdog:
    """One daemon thread for all exchanges of a transport; it sleeps while there are none."""

    def __init__(self, stop: Stopping) -> None:
        """Start no thread yet."""
        self._stop = stop
        self._under_way: set[Exchange] = set()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, exchange: Exchange) -> None:
        """Keep an eye on it until `release`."""
        with self._change:
            self._under_way.add(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="exchange-watchdog", daemon=True)
                self._thread.start()
            self._change.notify()

    def release(self, exchange: Exchange) -> None:
        """Forget it: it has ended."""
        with self._change:
            self._under_way.discard(exchange)

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._under_way:
                    self._change.wait()
                for exchange in [each for each in self._under_way if each.is_over(self._stop) and each.cut()]:
                    self._under_way.discard(exchange)
            time.sleep(_TICK_SECONDS)
