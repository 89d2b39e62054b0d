"""One exchange: what comes back, what is lost, where it may go, how long it may last and how large it may be."""

import errno
import gc
import gzip
import secrets
import socket
import struct
import threading
import time
import traceback
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from outreach_sync import connections
from outreach_sync.connections import Transport, proxies, trusted_certificates
from outreach_sync.errors import ConfigError, InterruptedByError, UntrustedAnswerError
from outreach_sync.http import MaybeSentError, NotSentError, StopSignal
from outreach_sync.instants import parse_iso
from tests.http.conftest import Script, answering

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Sep 2026 10:15:03 GMT\r\nX-Odd: a\r\nContent-Length: 2\r\n\r\nok"


def send(method: str, url: str, **how: Any) -> connections.Answer:
    """Exchange once with whatever origin."""
    return Transport(url, user_agent="x", stop=StopSignal()).send(method, url, **how)


def exchanges_end() -> None:
    """Wait until nothing is under way any more, what nobody waits for included."""
    for thread in [one for one in threading.enumerate() if one.name == "exchange"]:
        thread.join(30)
        assert not thread.is_alive()


def test_an_answer_comes_back_whole(server: Any, transport: Transport) -> None:
    server.script = answering(OK)
    answer = transport.send("GET", server.url + "/x?a%5Bb%5D=1%2C2")
    assert (answer.status, answer.body, answer.headers["x-odd"]) == (200, b"ok", "a")
    assert answer.server_time // 1000 * 1000 == transport.server_time == parse_iso("2026-09-01T10:15:03Z")
    assert server.received[0].startswith(b"GET /x?a%5Bb%5D=1%2C2 HTTP/1.1\r\n")
    assert b"User-Agent: test agent\r\n" in server.received[0]
    server.script = answering(OK.replace(b"Date", b"X-Date"))
    assert transport.send("GET", server.url).server_time >= answer.server_time


def test_connections_are_kept_and_requests_of_several_threads_counted(server: Any, transport: Transport) -> None:
    for _ in range(5):
        transport.send("GET", server.url)
    assert (transport.requests, server.connections) == (5, 1)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: transport.send("GET", server.url), range(20)))
    assert (transport.requests, len(server.received), server.connections <= 4) == (25, 25, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x", "https://{host}/x", "http://localhost:{port}/x", "http://user@{host}/x",
        "http://{host}@evil.example/x", "http://evil.example/{host}", "//{host}/x", "ftp://{host}/x",
        "http://127.0.0.1:x/", "",
    ],
)  # fmt: skip
def test_no_request_leaves_for_another_origin(server: Any, transport: Transport, url: str) -> None:
    host = server.url.removeprefix("http://")
    with pytest.raises(UntrustedAnswerError):
        transport.send("GET", url.format(host=host, port=host.partition(":")[2]))
    assert (server.received, transport.requests) == ([], 0)


def test_the_default_port_makes_no_other_origin(stop: StopSignal) -> None:
    transport = Transport("https://api.outreach.io", user_agent="x", stop=stop)
    urls = ("https://api.outreach.io:443/api", "HTTPS://API.Outreach.IO/api", "https://api.outreach.io.evil.example/")
    assert [transport.trusts(url) for url in urls] == [True, True, False]


@pytest.mark.parametrize("location", [b"/elsewhere", b"http://[", b"ftp://x", b"\xff\xfe"])
def test_a_redirect_is_an_answer_like_any_other(server: Any, transport: Transport, location: bytes) -> None:
    server.script = answering(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 2\r\n\r\nok" % location)
    answer = transport.send("PUT", server.url, body="a=1")
    assert (answer.status, answer.body) == (302, b"ok")
    assert len(server.received) == 1


def test_neither_cookies_nor_netrc_nor_a_proxy_nor_a_ca_file_get_in_the_way_of_loopback(
    server: Any, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password planted\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    server.script = answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 0\r\n\r\n")
    for _ in range(2):
        transport.send("GET", server.url)
    assert b"Authorization" not in server.received[1]
    assert b"Cookie" not in server.received[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]", "sandbox.localhost"])
def test_no_proxy_applies_to_loopback_but_to_others_it_does(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert proxies(f"https://{host}:8443/x") == {}
    assert proxies("https://api.outreach.io/x") == {"https": "http://proxy.example:3128"}
    monkeypatch.setenv("no_proxy", "outreach.io")
    assert proxies("https://api.outreach.io/x") == {}


def test_a_proxy_of_the_environment_is_asked_with_the_login_that_it_is_named_with(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, server.url.replace("//", "//ada:se%20cret@"))
    assert send("GET", "http://api.example/x?a=1").body == b"ok"
    server.script = answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(NotSentError, match="the proxy that the environment names does not let us through"):
        send("GET", "https://api.example/x")
    for server.script in (lambda _connection: None, socket.socket.close):  # it says nothing, or hangs up
        with pytest.raises(NotSentError, match="the proxy that the environment names"):
            send("GET", "https://api.example/x", timeout_seconds=0.1)
    lines = [request.partition(b" HTTP")[0] for request in server.received[:2]]
    assert lines == [b"GET http://api.example/x?a=1", b"CONNECT api.example:443"]
    assert all(b"Basic YWRhOnNlIGNyZXQ=" in request for request in server.received)


@pytest.mark.parametrize(
    "value", ["http://", "http://proxy:99999999", "socks5://proxy:1080", "gopher://proxy", "http://[::"]
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_a_mistake_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, stop: StopSignal, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    transport = Transport("https://api.outreach.io", user_agent="x", stop=stop)
    with pytest.raises(ConfigError, match=variable) as raised:
        transport.send("GET", "https://api.outreach.io/x")
    assert (raised.value.exit_status, "\n" in str(raised.value), transport.requests) == (2, False, 0)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_mistake_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(ConfigError, match=f"{variable}.*ca.pem"):
        trusted_certificates()


def test_a_connection_that_is_refused_or_reset_or_has_no_address_was_certainly_not_sent() -> None:
    for url, why in (
        ("http://127.0.0.1:1", r"^127\.0\.0\.1 cannot be reached: it refuses the connection"),
        ("https://nowhere.invalid", r"there is no address for this name \(DNS\)"),
        (f"https://{'a' * 64}.example", r"there is no address for this name \(DNS\)"),
    ):
        with pytest.raises(NotSentError, match=why):
            send("PUT", url)
    reset = ConnectionResetError(errno.ECONNRESET, "reset")
    with (
        mock.patch("socket.socket.connect", side_effect=reset),
        pytest.raises(NotSentError, match="cannot be reached: Connection reset by peer"),
    ):
        send("GET", "http://127.0.0.1:9/x")


@pytest.mark.parametrize("proxy", ["", "http://proxy.invalid:1"])
def test_a_look_up_of_a_name_that_hangs_is_not_waited_for_and_nothing_is_sent_when_it_ends(
    server: Any, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    over, look_up, port = threading.Event(), socket.getaddrinfo, int(server.url.rpartition(":")[2])
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.1)

    def hang(*_: Any, **__: Any) -> Any:
        over.wait(10)
        return look_up("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("http_proxy", proxy)
    url = f"http://slow.invalid:{port}"
    with pytest.raises(NotSentError, match="the proxy that" if proxy else "does not answer"):
        send("PUT", url, timeout_seconds=60)
    over.set()
    exchanges_end()
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 10.0)
    send("GET", server.url)  # by then the late one was accepted
    assert (server.connections, len(server.received)) == (2, 1)


def test_an_answer_may_take_longer_than_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.0)
    reaching, asking, answered = (connections.Exchange(60) for _ in range(3))
    asking.line, answered.connected = connections._Watched(), True
    asking.line.sock = object()
    assert [one.is_late() for one in (reaching, asking, answered)] == [True, False, False]


def test_a_service_that_speaks_no_tls_gets_no_request(server: Any) -> None:
    with pytest.raises(NotSentError):
        send("PUT", server.url.replace("http", "https"), body="a=1", timeout_seconds=0.3)
    assert server.received == []


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def cut_after(answer: bytes) -> Script:
    return lambda connection: (connection.sendall(answer), connection.shutdown(socket.SHUT_RDWR))[1]


def packed(body: bytes, encoding: bytes = b"gzip") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (encoding, len(body)) + body


@pytest.mark.parametrize(
    "script",
    [
        reset, answering(packed(b"nope")), answering(packed(gzip.compress(b"a" * 1000)[:-9])),
        cut_after(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"),
        cut_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ],
)  # fmt: skip
def test_a_lost_answer_may_have_been_sent_and_tells_no_secret(server: Any, transport: Transport, script: Any) -> None:
    server.script = script
    secret = secrets.token_hex(8)  # a traceback quotes the source
    with pytest.raises(MaybeSentError) as raised:
        transport.send("PUT", f"{server.url}/x?key={secret}", body=secret, headers={"Authorization": secret})
    assert not raised.value.timed_out
    assert secret not in "".join(traceback.format_exception(raised.value))
    server.script = answering(OK)
    assert transport.send("GET", server.url).status == 200


@pytest.mark.parametrize(("parts", "content"), [((b"hello",), b"hello"), ((b"hel", b"lo"), b"hello"), ((), b"")])
def test_a_packed_answer_is_unpacked(server: Any, transport: Transport, parts: Any, content: bytes) -> None:
    server.script = answering(packed(b"".join(map(gzip.compress, parts)), b"GZip"))
    assert transport.send("GET", server.url).body == content


@pytest.mark.parametrize("kind", ["packed", "plain", "in many members"])
def test_an_answer_larger_than_makes_sense_is_refused_and_not_unpacked_to_its_end(
    server: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connections, "LONGEST_BODY", 2**20)
    large = b"0" * (2**20 + 1)
    answer = {
        "packed": packed(gzip.compress(large * 50)),
        "plain": b"HTTP/1.1 200 OK\r\n\r\n" + large * 2,
        "in many members": packed(gzip.compress(b"0" * 2**18) * 5),
    }[kind]
    server.script = answering(answer)
    tracemalloc.start()
    with pytest.raises(UntrustedAnswerError, match="more than 1 MB, unpacked"):
        transport.send("GET", server.url)
    assert tracemalloc.get_traced_memory()[1] < 2**23, "a bomb is not unpacked to its end"
    tracemalloc.stop()
    server.script = answering(OK)
    assert transport.send("GET", server.url).status == 200


def silence(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side has had enough


def trickle_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        connection.sendall(b"x")


def trickle_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(50):
        connection.sendall(b"X-%d: x\r\n" % number)
    silence(connection)


@pytest.mark.parametrize("script", [silence, trickle_body, trickle_headers])
def test_a_server_that_never_finishes_is_cut_off_once_its_time_is_over(
    server: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch, script: Any
) -> None:
    passed, exchange = [0.0], mock.Mock(wraps=connections.Exchange)
    monkeypatch.setattr(connections, "Exchange", exchange)
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))

    def let_time_pass(connection: socket.socket) -> None:
        passed[0] = 90.0
        script(connection)

    server.script = let_time_pass
    with pytest.raises(MaybeSentError, match="too long") as raised:
        transport.send("GET", server.url, timeout_seconds=90)
    assert raised.value.timed_out
    exchange.assert_called_once_with(90)


@pytest.mark.parametrize("grace", [0.0, 0.2])
def test_a_request_to_stop_cuts_what_is_silent_once_its_grace_is_over(
    server: Any, transport: Transport, stop: StopSignal, grace: float
) -> None:
    server.script = lambda connection: (stop.set(15), silence(connection))
    with pytest.raises(InterruptedByError):
        transport.send("PUT", server.url, timeout_seconds=60, grace_seconds=grace)
    assert (stop.is_set(grace), server.ended.wait(10), len(server.received)) == (True, True, 1)
    with pytest.raises(InterruptedByError):
        transport.send("GET", server.url)
    assert len(server.received) == 1


def test_a_write_in_flight_is_finished_within_its_grace(server: Any, transport: Transport, stop: StopSignal) -> None:
    server.script = lambda connection: (stop.set(15), connection.sendall(OK))
    assert transport.send("PUT", server.url, grace_seconds=60).body == b"ok"


def test_an_exchange_leaves_a_connection_alone_that_another_one_took(stop: StopSignal) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = connections._Watched()
        line.sock = ours
        earlier, later = (connections.Exchange(1) for _ in range(2))
        for exchange in (earlier, later):
            line.exchange, exchange.line = exchange, line
        earlier.give_up()
        ours.sendall(b"still there")
        assert theirs.recv(64) == b"still there"
        later.give_up()
        assert theirs.recv(64) == b""


def test_a_transport_that_nobody_needs_any_more_leaves_no_connection_behind(
    server: Any, stop: StopSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, made, carry = Transport(server.url, user_agent="x", stop=stop), set[Any](), connections._Watched._carry
    monkeypatch.setattr(connections._Watched, "_carry", lambda one: (made.add(weakref.ref(one)), carry(one))[1])
    gc.disable()
    try:
        transport.send("GET", server.url)
        exchanges_end()
        assert [one() is None for one in made] == [False]
        del transport
        assert [one() is None for one in made] == [True]
    finally:
        gc.enable()


def test_a_request_to_stop_is_remembered_with_its_first_signal_and_ends_a_pause(stop: StopSignal) -> None:
    assert not stop.wait(-0.5)
    assert not stop.is_set(0)
    ended: list[bool] = []
    waiting = threading.Thread(target=lambda: ended.append(stop.wait(60)))
    waiting.start()
    stop.set(15)
    stop.set(2)
    waiting.join(30)
    assert (ended, stop.signal_number) == ([True], 15)


def test_a_pause_that_is_over_before_it_begins_ends() -> None:
    """A process that is held up between reading the clock and waiting: a busy machine, a virtual one that sleeps."""
    pauses = [number * 1e-6 for number in (1, 2, 5, 20)] * 500
    pausing = threading.Thread(target=lambda: [StopSignal().wait(seconds) for seconds in pauses], daemon=True)
    pausing.start()
    pausing.join(30)
    assert not pausing.is_alive()
