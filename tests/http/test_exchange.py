"""One exchange: what comes back, what is lost, where it may go, how long it may last and how large it may be."""

from __future__ import annotations

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
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync import connections
from outreach_sync.connections import Transport, proxies, trusted_certificates
from outreach_sync.errors import ConfigError, InterruptedByError, UntrustedAnswerError
from outreach_sync.http import MaybeSentError, NotSentError, StopSignal
from outreach_sync.instants import parse_iso
from tests.http.conftest import answering

if TYPE_CHECKING:
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Sep 2026 10:15:03 GMT\r\nX-Odd: a\r\nContent-Length: 2\r\n\r\nok"
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def test_an_answer_comes_back_whole(server: Any, transport: Transport) -> None:
    server.script = answering(OK)
    answer = transport.send("GET", server.url + "/x?a%5Bb%5D=1%2C2")
    assert (answer.status, answer.body, answer.headers["x-odd"]) == (200, b"ok", "a")
    assert answer.server_time == transport.server_time == parse_iso("2026-09-01T10:15:03Z")
    assert server.received[0].startswith(b"GET /x?a%5Bb%5D=1%2C2 HTTP/1.1\r\n")
    assert b"User-Agent: test agent\r\n" in server.received[0]


def test_connections_are_kept_and_requests_of_several_threads_counted(server: Any, transport: Transport) -> None:
    for _ in range(5):
        transport.send("GET", server.url)
    assert (transport.requests, server.connections) == (5, 1)
    threads = [threading.Thread(target=lambda: transport.send("GET", server.url)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
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
    assert transport.trusts("https://api.outreach.io:443/api/v2/tasks")
    assert transport.trusts("HTTPS://API.Outreach.IO/api/v2/tasks")
    assert not transport.trusts("https://api.outreach.io.evil.example/")


@pytest.mark.parametrize("location", [b"/elsewhere", b"http://[", b"ftp://x", b"\xff\xfe"])
def test_a_redirect_is_an_answer_like_any_other(server: Any, transport: Transport, location: bytes) -> None:
    server.script = answering(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 2\r\n\r\nok" % location)
    answer = transport.send("PUT", server.url, body="a=1")
    assert (answer.status, answer.body) == (302, b"ok")
    assert len(server.received) == 1


def test_neither_cookies_nor_netrc_nor_a_proxy_nor_a_ca_file_get_in_the_way_of_loopback(
    server: Any, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password planted\n")
    monkeypatch.setenv("NETRC", str(netrc))
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
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert proxies(f"https://{host}:8443/x") == {}
    assert proxies("https://api.outreach.io/x") == {"https": "http://proxy.example:3128"}
    monkeypatch.setenv("no_proxy", "outreach.io")
    assert proxies("https://api.outreach.io/x") == {}


def test_a_proxy_of_the_environment_is_asked_with_the_login_that_it_is_named_with(
    server: Any, monkeypatch: pytest.MonkeyPatch, stop: StopSignal
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, server.url.replace("//", "//ada:se%20cret@"))
    plain = Transport("http://api.example", user_agent="x", stop=stop)
    assert plain.send("GET", "http://api.example/x?a=1").body == b"ok"
    server.script = answering(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(NotSentError, match="the proxy that the environment names does not let us through"):
        Transport("https://api.example", user_agent="x", stop=stop).send("GET", "https://api.example/x")
    lines = [request.partition(b" HTTP")[0] for request in server.received]
    assert lines == [b"GET http://api.example/x?a=1", b"CONNECT api.example:443"]
    assert all(b"Basic YWRhOnNlIGNyZXQ=" in request for request in server.received)


@pytest.mark.parametrize(
    "value", ["http://", "http://proxy:99999999", "socks5://proxy:1080", "gopher://proxy", "http://[::"]
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_a_mistake_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, stop: StopSignal, variable: str, value: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    transport = Transport("https://api.outreach.io", user_agent="x", stop=stop)
    with pytest.raises(ConfigError, match=variable) as raised:
        transport.send("GET", "https://api.outreach.io/x")
    assert raised.value.exit_status == 2
    assert "\n" not in str(raised.value)
    assert transport.requests == 0


@pytest.mark.parametrize("variable", CA_VARIABLES)
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_mistake_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: str | None
) -> None:
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(ConfigError, match=f"{variable}.*ca.pem"):
        trusted_certificates()


def test_a_connection_that_is_refused_or_has_no_address_was_certainly_not_sent(stop: StopSignal) -> None:
    for url, why in (
        ("http://127.0.0.1:1", r"^127\.0\.0\.1 cannot be reached: it refuses the connection"),
        ("https://nowhere.invalid", r"there is no address for this name \(DNS\)"),
        (f"https://{'a' * 64}.example", r"there is no address for this name \(DNS\)"),
    ):
        with pytest.raises(NotSentError, match=why):
            Transport(url, user_agent="x", stop=stop).send("PUT", url)


@pytest.mark.parametrize("proxy", ["", "http://proxy.invalid:1"])
def test_a_look_up_of_a_name_that_hangs_is_not_waited_for_and_nothing_is_sent_when_it_ends(
    server: Any, monkeypatch: pytest.MonkeyPatch, stop: StopSignal, proxy: str
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
        Transport(url, user_agent="x", stop=stop).send("PUT", url, timeout_seconds=60)
    over.set()
    for thread in threading.enumerate():
        if thread.name == "exchange":
            thread.join(30)
    monkeypatch.setattr(connections, "_CONNECT_SECONDS", 10.0)
    Transport(server.url, user_agent="x", stop=stop).send("GET", server.url)  # by then the late one was accepted
    assert (server.connections, len(server.received)) == (2, 1)


def test_an_answer_may_take_longer_than_connecting(
    server: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, is_late = threading.Semaphore(0), connections.Exchange.is_late
    monkeypatch.setattr(connections, "_TICK_SECONDS", 0.001)
    monkeypatch.setattr(connections.Exchange, "is_late", lambda self: (looks.release(), is_late(self))[1])

    def answer_after_a_few_looks(connection: socket.socket) -> None:
        monkeypatch.setattr(connections, "_CONNECT_SECONDS", 0.0)
        while looks.acquire(blocking=False):
            pass
        for _ in range(3):
            looks.acquire(timeout=30)
        connection.sendall(OK)

    server.script = answer_after_a_few_looks
    assert transport.send("GET", server.url).body == b"ok"


def test_a_service_that_speaks_no_tls_gets_no_request(server: Any, stop: StopSignal) -> None:
    url = server.url.replace("http", "https")
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


def packed(body: bytes, encoding: bytes = b"gzip") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (encoding, len(body)) + body


@pytest.mark.parametrize(
    "script",
    [reset, cut, cut_chunks, answering(packed(b"nope")), answering(packed(gzip.compress(b"a" * 1000)[:-9]))],
)
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
    with pytest.raises(UntrustedAnswerError, match="more than 1 MB, unpacked") as raised:
        transport.send("GET", server.url)
    assert tracemalloc.get_traced_memory()[1] < 2**23, "a bomb is not unpacked to its end"
    tracemalloc.stop()
    assert raised.value.exit_status == 4
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
    passed, given, real = [0.0], list[float](), connections.Exchange
    monkeypatch.setattr(connections, "Exchange", lambda seconds: (given.append(seconds), real(seconds))[1])
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))

    def let_time_pass(connection: socket.socket) -> None:
        passed[0] = 90.0
        script(connection)

    server.script = let_time_pass
    with pytest.raises(MaybeSentError, match="too long") as raised:
        transport.send("GET", server.url, timeout_seconds=90)
    assert (raised.value.timed_out, given) == (True, [90])


@pytest.mark.parametrize("grace", [0.0, 0.2])
def test_a_request_to_stop_cuts_what_is_silent_once_its_grace_is_over(
    server: Any, transport: Transport, stop: StopSignal, grace: float
) -> None:
    cut_off = threading.Event()

    def stop_and_say_nothing(connection: socket.socket) -> None:
        stop.set(15)
        connection.recv(1)  # until the other end is cut off
        cut_off.set()

    server.script = stop_and_say_nothing
    with pytest.raises(InterruptedByError):
        transport.send("PUT", server.url, timeout_seconds=60, grace_seconds=grace)
    assert (stop.is_set(grace), cut_off.wait(10), len(server.received)) == (True, True, 1)
    with pytest.raises(InterruptedByError):
        transport.send("GET", server.url)
    assert len(server.received) == 1


def test_a_write_in_flight_is_finished_within_its_grace(server: Any, transport: Transport, stop: StopSignal) -> None:
    def stop_and_answer(connection: socket.socket) -> None:
        stop.set(15)
        connection.sendall(OK)

    server.script = stop_and_answer
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


def test_a_transport_that_nobody_needs_any_more_leaves_no_connection_behind(server: Any, stop: StopSignal) -> None:
    transport = Transport(server.url, user_agent="a cycle", stop=stop)
    made: list[weakref.ref[Any]] = []
    real = connections._Watched.connect

    def connect(self: Any) -> None:
        made.append(weakref.ref(self))
        real(self)

    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connections._Watched, "connect", connect)
            transport.send("GET", server.url)
        for thread in threading.enumerate():
            if thread.name == "exchange":
                thread.join(30)
        assert made[0]() is not None
        del transport
        assert made[0]() is None
    finally:
        gc.enable()


def test_a_request_to_stop_is_remembered_with_its_first_signal_and_ends_a_pause(stop: StopSignal) -> None:
    assert not stop.wait(0.0)
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

    def many() -> None:
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            for microseconds in (1, 2, 5, 20):
                StopSignal().wait(microseconds * 1e-6)

    pausing = threading.Thread(target=many, daemon=True)
    pausing.start()
    pausing.join(30)
    assert not pausing.is_alive()


def test_a_reset_while_connecting_means_that_nothing_was_sent(
    stop: StopSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: Any) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    monkeypatch.setattr("socket.socket.connect", reset)
    with pytest.raises(NotSentError, match="cannot be reached: Connection reset by peer"):
        Transport("http://127.0.0.1:9", user_agent="x", stop=stop).send("GET", "http://127.0.0.1:9/x")
