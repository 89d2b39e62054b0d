"""The simulated services in processes of their own, the same at the start of every trial.

An account is filled once; each trial forks the two services from it, so that what one trial wrote is gone in the next
and no trial pays for filling. Client and services share nothing but sockets.
"""

from __future__ import annotations

import gc
import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.server import HttpServer, Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from outreach_sync.sandbox.server import SandboxClock, Service

_fork = multiprocessing.get_context("fork")


class Recorded(NamedTuple):
    """One request as it arrived, to be sent again."""

    service: str
    method: str
    path: str
    query: list[tuple[str, str]]
    body: bytes


class Stage:
    """A filled account, and the two services forked from it for each trial.

    Attributes:
        sandbox: fill and change it between trials; the services of the next trial see it.
    """

    def __init__(self, *, latency_ms: float = 0) -> None:
        """Bind both ports; nothing answers yet."""
        self.sandbox = Sandbox()
        self._servers = {
            side.name: HttpServer(_Tape(side), latency_ms=latency_ms)
            for side in (self.sandbox.outreach, self.sandbox.workbooks)
        }

    def set_latency(self, milliseconds: float) -> None:
        """Change what is added to every answer from the next trial on."""
        for server in self._servers.values():
            server.latency_ms = milliseconds

    def config(self, state_path: Path) -> dict[str, Any]:
        """Return the config of a client of these services."""
        config = self.sandbox.config(state_path)
        config["outreach"]["base_url"] = self._servers["outreach"].url
        config["workbooks"]["base_url"] = self._servers["workbooks"].url
        return config

    @contextmanager
    def serving(self) -> Iterator[Services]:
        """Serve from forks of the account for the block."""
        gc.collect()
        gc.freeze()
        children = {name: _Child(server) for name, server in self._servers.items()}
        try:
            yield Services(children)
        finally:
            for child in children.values():
                child.end()


class Services:
    """Both services of one trial."""

    def __init__(self, children: dict[str, _Child]) -> None:
        self._children = children

    def recorded(self) -> list[Recorded]:
        """Return every request since the last call, each service's in its order."""
        return [one for child in self._children.values() for one in child.ask()]


class _Child:
    """One forked service."""

    def __init__(self, server: HttpServer) -> None:
        self._connection, theirs = _fork.Pipe()
        self._process = _fork.Process(target=_serve, args=(server, theirs), daemon=True)
        self._process.start()

    def ask(self) -> list[Recorded]:
        self._connection.send("recorded")
        answer: list[Recorded] = self._connection.recv()
        return answer

    def end(self) -> None:
        self._connection.send("end")
        self._process.join()


def _serve(server: HttpServer, connection: Connection) -> None:
    gc.disable()
    server.start()
    tape = server.service
    while connection.recv() == "recorded":
        connection.send(tape.taken())  # type: ignore[attr-defined]


class _Tape:
    """A service that remembers what was asked of it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.name = service.name
        self.clock: SandboxClock = service.clock
        self._requests: list[Recorded] = []

    def respond(self, request: Request) -> Response:
        self._requests.append(Recorded(self.name, request.method, request.path, request.query, request.body))
        return self._service.respond(request)

    def taken(self) -> list[Recorded]:
        taken, self._requests = self._requests, []
        return taken
