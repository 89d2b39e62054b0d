"""The simulated services in processes of their own, the same at the start of every trial.

An account is filled once; each trial forks the two services from it, so that what one trial wrote is gone in the next
and no trial pays for filling. Client and services share nothing but sockets.
"""

from __future__ import annotations

import gc
import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from outreach_sync.sandbox.server import Request, Response
    from outreach_sync.sandbox.service import SimulatedService

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
        self.sandbox = Sandbox(latency_ms=latency_ms)

    @contextmanager
    def serving(self) -> Iterator[Callable[[], list[Recorded]]]:
        """Serve from forks of the account for the block.

        What is yielded returns every request since its last call, each service's in its order.
        """
        gc.collect()
        gc.freeze()
        pipes = []
        for service in (self.sandbox.outreach, self.sandbox.workbooks):
            ours, theirs = _fork.Pipe()
            process = _fork.Process(target=_serve, args=(service, theirs), daemon=True)
            process.start()
            pipes.append((ours, process))

        def recorded() -> list[Recorded]:
            for pipe, _ in pipes:
                pipe.send("recorded")
            return [one for pipe, _ in pipes for one in pipe.recv()]

        try:
            yield recorded
        finally:
            for pipe, process in pipes:
                pipe.send("end")
                process.join()


def _serve(server: SimulatedService, connection: Connection) -> None:
    gc.disable()
    answer, requests = server.respond, list[Recorded]()

    def respond(request: Request) -> Response:
        requests.append(Recorded(server.name, request.method, request.path, request.query, request.body))
        return answer(request)

    server.respond = respond
    server.start()
    while connection.recv() == "recorded":
        connection.send(requests)
        requests.clear()
