"""Somebody who is pinged, and a log that remembers."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ping(NamedTuple):
    path: str
    query: dict[str, list[str]]
    body: str


class Receiver:
    """A service that takes pings; `status` is what it answers, `seconds` how long it takes."""

    def __init__(self) -> None:
        self.pings: list[Ping] = []
        self.status = 200
        self.seconds = 0.0
        receiver = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                receiver.pings.append(Ping(parts.path, parse_qs(parts.query), body))
                time.sleep(receiver.seconds)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/ping/top-secret"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def paths(self) -> list[str]:
        return [ping.path.removeprefix("/ping/top-secret") for ping in self.pings]


class Recorder:
    """A log that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **values: Any) -> None:
        self.events.append((event, values))

    info = warning = debug


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def log() -> Recorder:
    return Recorder()
