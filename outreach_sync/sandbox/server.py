"""A small, quick HTTP/1.1 server on loopback for the simulated services, able to misbehave on the wire.

A service turns a `Request` into a `Response`; everything about sockets is here: keep-alive, the ``Date`` header,
latency, and the ways a connection can break (`WireFault`).
A service that fails is answered for with 500, and its traceback goes to the log.
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
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self, cast
from urllib.parse import parse_qsl, unquote

from outreach_sync.sandbox.framing import FramingError, read_body, split_target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.clock import SandboxClock

_BODILESS = {204, 304}
_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_FAILURE = {
    "errors": [{"id": "internalServerError", "title": "Internal Server Error"}],
    "message": "An error has occurred.",
}
"""The body of a 500, with the keys that clients of either service look at."""


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
    """One answer. ``Date`` and ``Content-Length`` are added by the server."""

    status: int
    headers: dict[str, str]
    body: bytes
    wire: WireFault | None = None


class Service(Protocol):
    """What `HttpServer` serves. `clock` gives the ``Date`` header and the time of each request."""

    name: str
    clock: SandboxClock

    def respond(self, request: Request) -> Response:
        """Answer one request. Called from many threads at once."""


def gzipped(response: Response) -> Response:
    """Compress the body (level 1: quick) and say so in the headers. Call it where the client can take it."""
    headers = {**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return response._replace(headers=headers, body=gzip.compress(response.body, compresslevel=1, mtime=0))


def takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding header takes gzip: named, and not with the weight 0 (RFC 9110, 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" or not weight
    return False


class HttpServer:
    """Serves one service on a port of a loopback address, a thread for each connection. Usable as a context manager."""

    def __init__(self, service: Service, *, host: str = "127.0.0.1", port: int = 0, latency_ms: float = 0) -> None:
        """Bind at once, so that `url` is known before `start`; port 0 takes any free one."""
        self.latency_ms = latency_ms
        self._server = _Listener((host, port), service, self)
        self._thread: threading.Thread | None = None
        self.url = f"http://{host}:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox-http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and close every connection that is still open."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.drop_connections()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: Service, owner: HttpServer) -> None:
        self.service = service
        self.owner = owner
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Exchange)

    def server_bind(self) -> None:
        # the inherited one asks the resolver for the machine's name, which can take seconds
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = cast("tuple[str, int]", self.server_address[:2])

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
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Listener
    server_version = "sandbox"
    _REASONS: ClassVar[dict[int, str]] = {status.value: status.phrase for status in HTTPStatus}

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()  # the client waits for this line before it sends the body
        return going_on

    def _answer(self) -> None:
        try:
            request = self._request()
        except FramingError as error:
            self.close_connection = True
            headers = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
            refusal = Response(400, headers, str(error).encode())
            self._send(refusal, len(refusal.body))
            return
        if self.server.owner.latency_ms:
            time.sleep(self.server.owner.latency_ms / 1000)
        response = self._response(request)
        if response.wire is None:
            self._send(response, len(response.body))
        else:
            self._misbehave(response, response.wire)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815 - the names http.server looks for

    def _response(self, request: Request) -> Response:
        try:
            return self.server.service.respond(request)
        except Exception:  # the outermost place: a service that fails must not look like a broken network
            name = self.server.service.name
            logging.getLogger(__name__).exception("%s failed at %s %s", name, request.method, request.path)
            return Response(500, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(_FAILURE).encode())

    def _request(self) -> Request:
        path, query = split_target(self.path)
        return Request(
            method=self.command,
            path=unquote(path),
            query=parse_qsl(query, keep_blank_values=True),
            headers=cast("Mapping[str, str]", self.headers),
            body=read_body(self.headers, self.rfile),
            at=self.server.service.clock.now(),
            target=self.path,
        )

    def _send(self, response: Response, upto: int) -> None:
        lines = [f"HTTP/1.1 {response.status} {self._REASONS.get(response.status, 'Unknown')}"]
        date = formatdate(self.server.service.clock.header_now() / 1000, usegmt=True)
        headers = {"Date": date, **response.headers}
        if response.status not in _BODILESS:
            headers["Content-Length"] = str(len(response.body))
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        if self.command != "HEAD" and response.status not in _BODILESS:
            self.wfile.write(response.body[:upto])
        self.wfile.flush()

    def _misbehave(self, response: Response, fault: WireFault) -> None:
        self.close_connection = True
        if fault.kind == "hang":
            self.server.stopping.wait(fault.seconds)
            return
        if fault.kind == "slow":
            self._send_slowly(response, fault.seconds)
            return
        if fault.kind != "reset_before":
            self._send(response, len(response.body) // 2)
        if fault.kind != "cut_short":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            os.close(self.connection.detach())  # close() alone would say goodbye in order first

    def _send_slowly(self, response: Response, seconds: float) -> None:
        """Send the head, then the body in ten pieces with a pause before each."""
        self._send(response, 0)
        step = max(1, -(-len(response.body) // 10))
        for start in range(0, len(response.body), step):
            self.server.stopping.wait(seconds / 10)
            self.wfile.write(response.body[start : start + step])
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the inherited name
        """Stay silent: the journal of the service has it."""
