from __future__ import annotations

import secrets
import socket
import struct
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.errors import UntrustedAnswerError
from outreach_sync.instants import parse_iso
from outreach_sync.transport.attempts import MaybeSentError, NotSentError
from outreach_sync.transport.sending import Transport
from outreach_sync.transport.stopping import StopSignal

if TYPE_CHECKING:
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Sep 2026 10:15:03 GMT\r\nX-Odd: a\r\nContent-Length: 2\r\n\r\nok"


def test_an_answer_loses_something(server: Any, transport: Transport) -> None:
    server.script = lambda connection: connection.sendall(OK)
    answer = transport.send("GET", server.url + "/x", params=[("a[b]", "1,2")])
    assert (answer.status, answer.body, answer.headers["x-odd"]) == (200, b"ok", "a")
    assert answer.server_time == transport.server_time == parse_iso("2026-09-01T10:15:03Z")
    assert 0 <= answer.elapsed_ms < 5000
    assert server.received[0].startswith(b"GET /x?a%5Bb%5D=1%2C2 HTTP/1.1\r\n")
    assert b"User-Agent: test agent\r\n" in server.received[0]


def test_the_clock_of_the_service_is_forgotten_or_stands_still(server: Any, transport: Transport) -> None:
    assert transport.server_now() is None
    server.script = lambda connection: connection.sendall(OK)
    transport.send("GET", server.url)
    server.script = lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    transport.send("GET", server.url)
    now = transport.server_now()
    assert now is not None
    assert parse_iso("2026-09-01T10:15:03Z") <= now < parse_iso("2026-09-01T10:15:08Z")


def test_each_request_opens_a_connection_or_is_not_counted(server: Any, transport: Transport) -> None:
    for _ in range(5):
        transport.send("GET", server.url)
    assert (transport.requests, server.connections) == (5, 1)


def test_threads_miscount_the_requests(server: Any, transport: Transport) -> None:
    def several() -> None:
        for _ in range(10):
            transport.send("GET", server.url)

    threads = [threading.Thread(target=several) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert transport.requests == len(server.received) == 40


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "https://{host}/x",
        "http://localhost:{port}/x",
        "http://user@{host}/x",
        "http://{host}@evil.example/x",
        "http://evil.example/{host}",
        "//{host}/x",
        "ftp://{host}/x",
        "http://127.0.0.1:x/",
        "",
    ],
)
def test_a_request_leaves_for_another_origin(server: Any, transport: Transport, url: str) -> None:
    host = server.url.removeprefix("http://")
    with pytest.raises(UntrustedAnswerError):
        transport.send("GET", url.format(host=host, port=host.partition(":")[2]))
    assert server.received == []
    assert transport.requests == 0


def test_the_default_port_makes_another_origin() -> None:
    transport = Transport("https://api.outreach.io", user_agent="x", stop=StopSignal())
    assert transport.trusts("https://api.outreach.io:443/api/v2/tasks")
    assert transport.trusts("HTTPS://API.Outreach.IO/api/v2/tasks")
    assert not transport.trusts("https://api.outreach.io.evil.example/")


def test_a_redirect_is_followed(server: Any, transport: Transport) -> None:
    server.script = lambda connection: connection.sendall(
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    )
    assert transport.send("PUT", server.url, body="a=1").status == 302
    assert len(server.received) == 1


def test_cookies_or_passwords_from_elsewhere_are_sent(
    server: Any, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password planted\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.script = lambda connection: connection.sendall(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 0\r\n\r\n"
    )
    transport.send("GET", server.url)
    transport.send("GET", server.url)
    assert b"Authorization" not in server.received[1]
    assert b"Cookie" not in server.received[1]


def test_a_connection_that_is_refused_might_count_as_sent(stop: StopSignal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(NotSentError):
        Transport(url, user_agent="x", stop=stop).send("PUT", url)


def test_a_name_that_does_not_resolve_might_count_as_sent(stop: StopSignal) -> None:
    url = "http://nowhere.invalid"
    with pytest.raises(NotSentError):
        Transport(url, user_agent="x", stop=stop).send("PUT", url)


def test_a_service_that_speaks_no_tls_gets_the_request_all_the_same(server: Any, stop: StopSignal) -> None:
    url = server.url.replace("http", "https")
    server.script = lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(NotSentError):
        Transport(url, user_agent="x", stop=stop).send("PUT", url, body="a=1", timeout_seconds=0.3)
    assert server.received == []


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def cut(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    connection.shutdown(socket.SHUT_RDWR)


def cut_chunks(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def lie_about_gzip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")


@pytest.mark.parametrize("script", [reset, cut, cut_chunks, lie_about_gzip])
def test_a_lost_answer_counts_as_not_sent(server: Any, transport: Transport, script: Any) -> None:
    server.script = script
    with pytest.raises(MaybeSentError) as raised:
        transport.send("PUT", server.url + "/x?secret=planted", body="api_key=planted")
    assert not raised.value.timed_out


def test_the_next_request_suffers_from_a_lost_answer(server: Any, transport: Transport) -> None:
    server.script = cut
    with pytest.raises(MaybeSentError):
        transport.send("GET", server.url)
    server.script = lambda connection: connection.sendall(OK)
    assert transport.send("GET", server.url).status == 200


@pytest.mark.parametrize("script", [reset, cut, lie_about_gzip])
def test_a_secret_stands_in_a_traceback(server: Any, transport: Transport, script: Any) -> None:
    server.script = script
    secret = secrets.token_hex(8)  # a traceback quotes the source
    with pytest.raises(MaybeSentError) as raised:
        transport.send("GET", f"{server.url}/path?key={secret}", headers={"Authorization": f"Bearer {secret}"})
    assert "/path" in str(raised.value)
    assert secret not in "".join(traceback.format_exception(raised.value))
