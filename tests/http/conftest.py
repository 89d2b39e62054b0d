"""A server that answers exactly what a test tells it to, byte for byte, and a clock that only pauses move."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from outreach_sync.connections import Transport
from outreach_sync.http import StopSignal
from tests.harness import Pauses

Script = Callable[[socket.socket], None]


class ScriptedServer:
    """Runs `script` for each request on each connection; keeps what it was sent."""

    def __init__(self) -> None:
        self.script: Script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.received: list[bytes] = []
        self.connections = 0
        self.ended = threading.Event()  # one of the connections was closed
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while request := _read_request(connection):
                self.received.append(request)
                self.script(connection)
        self.ended.set()


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (part := connection.recv(65536)):
            return b""
        received += part
    return received


def answering(answer: bytes) -> Script:
    return lambda connection: connection.sendall(answer)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.listener.close()


@pytest.fixture
def stop() -> StopSignal:
    return StopSignal()


@pytest.fixture
def fake() -> Pauses:
    return Pauses(still=True)


@pytest.fixture
def transport(server: ScriptedServer, stop: StopSignal) -> Iterator[Transport]:
    made = Transport(server.url, user_agent="test agent", stop=stop)
    yield made
    made.close()
