"""Death at a chosen moment: before or after anything that changes something which outlives the process.

The moments are counted: each statement that writes to the state, each commit, each request that changes something in a
service, each write of the token file. At the chosen one the reaper strikes; whoever ignores that is struck again.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from outreach_sync.connections import Transport
from outreach_sync.outreach.auth import TokenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHANGING = ("INSERT", "UPDATE", "DELETE", "CREATE", "BEGIN", "DROP", "PRAGMA user_version =")
_LAST_ANSWERS_S = 5.0


class KilledError(BaseException):
    """The process is dead as far as the program can tell: no handler of ordinary errors may catch this."""


class Reaper:
    """Counts moments and strikes at one of them (`at`, from 1; 0: never, only count)."""

    def __init__(self, at: int, *, strike: Callable[[], None] | None = None) -> None:
        self.at = at
        self.moments: list[str] = []
        self.struck = False
        self._strike = strike
        self._counting = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._in_flight = 0

    def moment(self, what: str) -> None:
        """Note that something that changes the world is about to happen, or has just happened."""
        with self._counting:
            self.moments.append(what)
            due = self.at and len(self.moments) >= self.at
        if due:
            self.struck = True
            if self._strike is not None:
                self._strike()
            raise KilledError(what)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the moments of a run; when it is dead, release what the kernel would release."""
        with ExitStack() as stack:
            for patch in self._patches():
                stack.enter_context(patch)
            try:
                yield
            finally:
                self._bury()

    def _patches(self) -> Iterator[Any]:
        connect, send, write = sqlite3.connect, Transport.send, TokenFile.write

        def mortal_connect(*args: Any, **options: Any) -> sqlite3.Connection:
            factory = _mortal(self, options.pop("factory", sqlite3.Connection))
            connection = connect(*args, factory=factory, **options)
            self._connections.append(connection)
            return connection

        def mortal_send(transport: Transport, method: str, url: str, **options: Any) -> Any:
            with self._underway():
                changing = "/oauth/token" in url or b"_method=PUT" in _bytes(options.get("body"))
                if not changing:
                    return send(transport, method, url, **options)
                what = "token request" if "/oauth/token" in url else "write to Workbooks"
                self.moment(f"before {what}")
                answer = send(transport, method, url, **options)
                self.moment(f"after {what}")
                return answer

        def mortal_write(file: TokenFile, tokens: Any) -> None:
            self.moment("before the token file")
            write(file, tokens)
            self.moment("after the token file")

        yield mock.patch.object(sqlite3, "connect", mortal_connect)
        yield mock.patch.object(Transport, "send", mortal_send)
        yield mock.patch.object(TokenFile, "write", mortal_write)

    @contextmanager
    def _underway(self) -> Iterator[None]:
        with self._counting:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._counting:
                self._in_flight -= 1

    def _bury(self) -> None:
        """Let requests of threads that a real death would have ended run out, then close what it would have closed."""
        ends = time.monotonic() + _LAST_ANSWERS_S
        while self._in_flight and time.monotonic() < ends:
            time.sleep(0.001)
        for thread in threading.enumerate():
            if thread.name == "page-ahead":
                thread.join(_LAST_ANSWERS_S)
        for connection in self._connections:
            sqlite3.Connection.close(connection)


def kill_the_process() -> None:
    """Strike as the kernel does: nothing is caught, closed or flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""


def _mortal(reaper: Reaper, factory: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    class Mortal(factory):  # type: ignore[misc,valid-type]
        """A connection whose owner may die before any statement that changes the file."""

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.lstrip().startswith(_CHANGING):
                reaper.moment(f"before {' '.join(sql.split()[:3])}")
            return super().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.lstrip().startswith(_CHANGING):
                reaper.moment(f"before many {' '.join(sql.split()[:3])}")
            return super().executemany(sql, *args)

        def commit(self) -> None:
            reaper.moment("before COMMIT")
            super().commit()
            reaper.moment("after COMMIT")

    return Mortal
