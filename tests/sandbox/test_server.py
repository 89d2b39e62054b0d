from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from outreach_sync import instants
from outreach_sync.sandbox.server import HttpServer, Request, Response, WireFault

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = b"0123456789" * 100


class Echo:
    """Keeps what it was asked and answers with a thousand bytes."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.arrived = threading.Event()
        self.answer = Response(200, {"Content-Type": "text/plain"}, BODY)

    def respond(self, request: Request) -> Response:
        self.asked.append(request)
        self.arrived.set()
        return self.answer


@pytest.fixture
def service() -> Echo:
    return Echo()


@pytest.fixture
def server(service: Echo) -> Iterator[HttpServer]:
    with HttpServer(service.respond) as running:
        yield running


@pytest.fixture
def connection(server: HttpServer) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    yield opened
    opened.close()


def test_a_request_arrives_decoded_and_in_order(service: Echo, connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/a%20b?x%5B%5D=1&y=&x%5B%5D=%C3%A9+z", body=b"form", headers={"X-Some": "thing"})
    connection.getresponse().read()
    request = service.asked[0]
    assert (request.method, request.path, request.body) == ("POST", "/a b", b"form")
    assert request.query == [("x[]", "1"), ("y", ""), ("x[]", "é z")]
    assert request.headers.get("x-SOME") == "thing"
    assert abs(request.at - instants.now()) < 5000


def test_stop_ends_what_hangs_and_frees_the_port(service: Echo) -> None:
    service.answer = service.answer._replace(wire=WireFault("hang", 60))
    server = HttpServer(service.respond)
    server.start()
    port = int(server.url.rpartition(":")[2])
    opened = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    opened.request("GET", "/")
    assert service.arrived.wait(5)
    start = instants.now()
    server.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        opened.getresponse()
    opened.close()
    assert instants.now() - start < 2000
    again = HttpServer(service.respond, port=port)
    again.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_service_that_fails_is_answered_for_and_logged(
    server: HttpServer, connection: http.client.HTTPConnection, caplog: pytest.LogCaptureFixture
) -> None:
    server.respond = lambda _request: 1 / 0  # type: ignore[return-value,assignment]
    for _ in range(2):
        connection.request("GET", "/broken")
        response = connection.getresponse()
        document = json.loads(response.read())
        assert response.status == 500
        assert document["errors"][0]["id"] == "internalServerError"
        assert document["message"]
    assert "failed at GET /broken" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_client_that_leaves_while_it_sends_asked_nothing_and_leaves_no_trace(
    service: Echo, server: HttpServer, connection: http.client.HTTPConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        leaving.shutdown(socket.SHUT_WR)
        while leaving.recv(1024):
            pass  # until the service has given it up
    connection.request("GET", "/after")
    assert connection.getresponse().status == 200
    server.stop()
    assert [request.path for request in service.asked] == ["/after"]
    assert "Traceback" not in capfd.readouterr().err
