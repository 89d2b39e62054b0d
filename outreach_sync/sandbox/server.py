"""The server below both simulated services: werkzeug's WSGI server on loopback, able to misbehave on the wire.

A service turns a `Request` into a `Response`. Everything about sockets is here: connections that are kept, the ``Date``
header of the services' clock, latency, and the ways in which a connection can break (`WireFault`).
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
import zlib
from abc import ABC, abstractmethod
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, cast
from urllib.parse import parse_qsl

from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import parse_accept_header
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request as WsgiRequest

from outreach_sync import instants
from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


HTML = {"Content-Type": "text/html; charset=utf-8"}
_BODILESS = {204, 304}
_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_FAILURE = {
    "errors": [{"id": "internalServerError", "title": "Internal Server Error"}],
    "message": "An error has occurred.",
}
"""The body of a 500, with the keys that clients of either service look at."""


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


class Request(NamedTuple):
    """One request as a service sees it: path and query decoded, `headers` looked up whatever the case.

    `target` is the request target as it came.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    at: Instant
    target: str = ""


class WireFault(NamedTuple):
    """How the connection breaks.

    `reset_before` and `reset_during` end it with a TCP reset, before or in the middle of the answer; `cut_short` closes
    it in order, but too early; `hang` waits `seconds` without a byte and closes; `slow` spreads the body over them.
    """

    kind: Literal["reset_before", "reset_during", "cut_short", "hang", "slow"]
    seconds: float = 0.0


class Response(NamedTuple):
    """One answer. ``Date``, unless it is there and empty, and ``Content-Length`` are added by the server."""

    status: int
    headers: dict[str, str]
    body: bytes
    wire: WireFault | None = None


def gzipped(response: Response) -> Response:
    """Compress the body (level 1: quick) and say so in the headers. Call it where the client can take it."""
    headers = {**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return response._replace(headers=headers, body=gzip.compress(response.body, compresslevel=1, mtime=0))


def takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding header takes gzip."""
    return parse_accept_header(accepted)["gzip"] > 0


@lru_cache(maxsize=2)
def _blanks(megabytes: int) -> bytes:
    packer = zlib.compressobj(level=1, wbits=31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(megabytes)), packer.flush()])


class Running(ABC):
    """Something that is started and stopped, also as a context manager."""

    @abstractmethod
    def start(self) -> None:
        """Begin to answer."""

    @abstractmethod
    def stop(self) -> None:
        """Stop answering, and free the port."""

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def damaged(response: Response, take: Callable[[str], Mapping[str, Any] | None], seconds: float) -> Response:
    """Damage an answer by the faults that both services have; `take` asks for one, `seconds` is how slow is slow."""
    if take("broken_json") is not None:
        response = response._replace(body=response.body[: max(1, len(response.body) // 2)])
    huge = take("huge_answer")
    if huge is not None:  # with blanks in its middle, which JSON allows and no reader needs
        blanks = _blanks(huge.get("megabytes", 625))
        packed = gzip.compress(response.body[:1]) + blanks + gzip.compress(response.body[1:])
        response = response._replace(headers={**response.headers, "Content-Encoding": "gzip"}, body=packed)
    if take("date_missing") is not None:
        response = response._replace(headers={**response.headers, "Date": ""})
    if take("body_cut_short") is not None:
        response = response._replace(wire=WireFault("cut_short"))
    slow = take("slow")
    return response if slow is None else response._replace(wire=WireFault("slow", slow.get("seconds", seconds)))


class HttpServer(Running):
    """Serves on a port of 127.0.0.1, a thread for each connection.

    Attributes:
        respond: answers one request; called from many threads at once.
        clock: gives the ``Date`` header and the time of each request.
        url: where, without a trailing slash.
        latency_ms: what is added to every answer.
    """

    def __init__(
        self,
        respond: Callable[[Request], Response],
        *,
        clock: SandboxClock | None = None,
        port: int = 0,
        latency_ms: float = 0,
    ) -> None:
        """Bind at once, so that `url` is known before `start`; port 0 takes any free one."""
        self.respond = respond
        self.clock = clock or SandboxClock()
        self.latency_ms = latency_ms
        with socket.create_server(("127.0.0.1", port), backlog=128) as bound:
            self._server = _Listener(bound, self)  # werkzeug takes a copy of the socket
        self._thread: threading.Thread | None = None
        self.url = f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and close every connection that is still open."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.drop_connections()


class _Listener(ThreadedWSGIServer):
    block_on_close = False

    def __init__(self, bound: socket.socket, owner: HttpServer) -> None:
        self.owner = owner
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        host, port = bound.getsockname()
        # given a socket, it raises what is wrong with an address instead of ending the process
        super().__init__(host, port, _no_app, _Exchange, fd=bound.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        self.stopping.set()
        with self._open_lock:
            remaining = list(self._open)
        for connection in remaining:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it went away by itself in the meantime

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up: tests and wire faults do it all the time."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _no_app(_environ: object, _start_response: object) -> list[bytes]:
    raise NotImplementedError  # `_Exchange` asks the service itself


class _Exchange(WSGIRequestHandler):
    """One connection. werkzeug's own `run_wsgi` ends it after each answer and cannot be broken halfway: not used."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def run_wsgi(self) -> None:
        owner = self.server.owner
        asked = WsgiRequest(self.make_environ())
        try:
            body = asked.get_data()
        except ClientDisconnected:  # a client that was killed while it sent
            self.close_connection = True
            return
        request = Request(
            method=asked.method,
            path=asked.path,
            query=parse_qsl(asked.query_string.decode("latin-1"), keep_blank_values=True),
            headers=cast("Mapping[str, str]", asked.headers),
            body=body,
            at=owner.clock.now(),
            target=self.path,
        )
        if owner.latency_ms:
            time.sleep(owner.latency_ms / 1000)
        try:
            response = owner.respond(request)
        except Exception:  # the outermost place: a service that fails must not look like a broken network
            logging.getLogger(__name__).exception("the simulated service failed at %s %s", request.method, request.path)
            response = Response(500, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(_FAILURE).encode())
        if response.wire is None:
            self._send(response, len(response.body))
        else:
            self._misbehave(response, response.wire)

    def _send(self, response: Response, upto: int) -> None:
        date = formatdate(self.server.owner.clock.header_now() / 1000, usegmt=True)
        headers = {"Date": date, **response.headers}
        if response.status not in _BODILESS:
            headers["Content-Length"] = str(len(response.body))
        lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if name != "Date" or value]
        shown = b"" if self.command == "HEAD" or response.status in _BODILESS else response.body[:upto]
        self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + shown)

    def _misbehave(self, response: Response, fault: WireFault) -> None:
        self.close_connection = fault.kind != "slow"
        if fault.kind == "hang":
            self.server.stopping.wait(fault.seconds)
        elif fault.kind == "slow":  # the head, then the body in ten pieces with a pause before each
            self._send(response, 0)
            step = max(1, -(-len(response.body) // 10))
            for start in range(0, len(response.body), step):
                self.server.stopping.wait(fault.seconds / 10)
                self.wfile.write(response.body[start : start + step])
        elif fault.kind == "cut_short":
            self._send(response, len(response.body) // 2)
        else:
            if fault.kind == "reset_during":
                self._send(response, len(response.body) // 2)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            os.close(self.connection.detach())  # close() alone would say goodbye in order first

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the inherited name
        """Stay silent: the journal of the service has it."""
