import http.client
import socket
import threading

import pytest
import requests

from outreach_sync.sandbox.server import HttpServer, Request, Response, WireFault


def test_a_client_that_leaves_asked_nothing_and_the_next_arrives_decoded(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[Request] = []

    def respond(request: Request) -> Response:
        asked.append(request)
        return Response(200, {}, b"x")

    with HttpServer(respond) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            leaving.shutdown(socket.SHUT_WR)
            while leaving.recv(1024):
                pass  # until the service has given it up
        address = f"{server.url}/a%20b?x%5B%5D=1&y=&x%5B%5D=%C3%A9+z"
        assert requests.post(address, b"form", headers={"X-Some": "thing"}, timeout=5).status_code == 200
    (request,) = asked
    assert (request.method, request.path, request.body) == ("POST", "/a b", b"form")
    assert request.query == [("x[]", "1"), ("y", ""), ("x[]", "é z")]
    assert request.headers.get("x-SOME") == "thing"
    assert "Traceback" not in capfd.readouterr().err


def test_stop_ends_what_hangs_and_frees_the_port() -> None:
    arrived = threading.Event()

    def respond(_request: Request) -> Response:
        arrived.set()
        return Response(200, {}, b"", WireFault("hang", 60))

    server = HttpServer(respond)
    server.start()
    opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    opened.request("GET", "/")
    assert arrived.wait(5)
    server.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        opened.getresponse()
    opened.close()
    again = HttpServer(respond, port=int(server.url.rpartition(":")[2]))
    again.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(again.url, timeout=5)


def test_a_service_that_fails_is_answered_for_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with HttpServer(lambda _request: 1 / 0) as server:  # type: ignore[arg-type,return-value]
        answer = requests.get(f"{server.url}/broken", timeout=5)
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (500, "internalServerError")
    assert answer.json()["message"]
    assert "failed at GET /broken" in caplog.text
    assert "ZeroDivisionError" in caplog.text
