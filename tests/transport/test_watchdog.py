from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.errors import InterruptedByError
from outreach_sync.transport.attempts import MaybeSentError

if TYPE_CHECKING:
    from outreach_sync.transport.sending import Transport
    from outreach_sync.transport.stopping import StopSignal
import socket

from outreach_sync.transport.watchdog import Exchange


def silence(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side has had enough


def trickle_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def trickle_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("script", [silence, trickle_body, trickle_headers])
def test_a_server_that_never_finishes_holds_a_request(server: Any, transport: Transport, script: Any) -> None:
    server.script = script
    started = time.monotonic()
    with pytest.raises(MaybeSentError, match="too long") as raised:
        transport.send("GET", server.url, timeout_seconds=0.3)
    assert raised.value.timed_out
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("script", [silence, trickle_body])
def test_a_request_to_stop_waits_for_a_silent_server(
    server: Any, transport: Transport, stop: StopSignal, script: Any
) -> None:
    server.script = script
    threading.Timer(0.1, stop.set, (15,)).start()
    started = time.monotonic()
    with pytest.raises(InterruptedByError):
        transport.send("GET", server.url, timeout_seconds=30)
    assert time.monotonic() - started < 2


def test_a_write_in_flight_is_cut_although_it_has_grace(server: Any, transport: Transport, stop: StopSignal) -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.4)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server.script = slow
    threading.Timer(0.05, stop.set, (15,)).start()
    assert transport.send("PUT", server.url, grace_seconds=10).body == b"ok"


def test_a_write_outlasts_its_grace(server: Any, transport: Transport, stop: StopSignal) -> None:
    server.script = silence
    stop.set(15)
    started = time.monotonic()
    with pytest.raises(InterruptedByError):
        transport.send("PUT", server.url, timeout_seconds=30, grace_seconds=0.3)
    assert time.monotonic() - started < 2


def test_a_read_begins_after_a_request_to_stop(server: Any, transport: Transport, stop: StopSignal) -> None:
    stop.set(15)
    with pytest.raises(InterruptedByError):
        transport.send("GET", server.url)
    assert server.received == []


def test_an_exchange_cuts_the_connection_after_another_one_took_it() -> None:
    class Connection:
        exchange: Exchange | None = None

        def __init__(self, sock: socket.socket) -> None:
            self.sock: socket.socket | None = sock

    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Connection(ours)
        earlier, later = (Exchange(seconds=1, grace_seconds=0) for _ in range(2))
        earlier.takes(line)
        later.takes(line)
        assert not earlier.cut()
        ours.sendall(b"still there")
        assert theirs.recv(64) == b"still there"
        assert later.cut()
        assert theirs.recv(64) == b""


def test_a_slow_request_drags_others_down_with_it(server: Any, transport: Transport) -> None:
    def by_path(connection: socket.socket) -> None:
        if b"/silent" in server.received[-1]:
            silence(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server.script = by_path
    failed: list[Exception] = []

    def wait_in_vain() -> None:
        try:
            transport.send("GET", server.url + "/silent", timeout_seconds=0.3)
        except MaybeSentError as failure:
            failed.append(failure)

    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    time.sleep(0.05)
    ends = time.monotonic() + 0.6
    while time.monotonic() < ends:
        assert transport.send("GET", server.url).body == b"ok"
        time.sleep(0.02)
    waiting.join(5)
    assert len(failed) == 1
