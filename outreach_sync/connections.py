"""One exchange with one origin: bounded in time and size, stoppable, and reached as the environment says.

urllib3 bounds each wait for a byte, not the whole: a server that trickles holds a reader for ever, a read that waits
does not notice a request to stop, and each address of a name is given the whole time anew. Here one exchange has one
limit for everything, looking its name up included, and a thread that watches cuts its connection.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection

from outreach_sync.errors import ConfigError, InterruptedByError, UntrustedAnswerError
from outreach_sync.http import MaybeSentError, NotSentError, ahead, server_time
from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from outreach_sync.http import StopSignal

LONGEST_BODY = 64 * 2**20
"""Bytes of an answer, unpacked: a page of a thousand rows has two million."""

_CONNECT_SECONDS = 10.0
_TICK_SECONDS = 0.1
_PIECE = 2**18
_NOWHERE = ("", "", 0)
_PORTS = {"http": 80, "https": 443}
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (urllib3.exceptions.ProxyError, "the proxy that the environment names does not let us through"),
    (socket.gaierror, "there is no address for this name (DNS)"),
    (ConnectionRefusedError, "it refuses the connection: nothing listens there, or a firewall is in the way"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted (REQUESTS_CA_BUNDLE can name one of your own)"),
    (ssl.SSLError, "it speaks no TLS that is understood here"),
)


class Answer(NamedTuple):
    """What came back. `headers` ignores case; `server_time` is its `Date`; `elapsed_ms` counts to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    server_time: Instant | None
    elapsed_ms: int


class Transport:
    """Exchanges with one origin (scheme, host, port); safe to be used by several threads.

    Redirects are not followed, cookies not kept, .netrc not read; certificates are always verified. Proxies and CA
    files come from the environment.

    Attributes:
        requests: how many were sent so far.
        server_time: the last `Date` seen.
    """

    def __init__(self, origin: str, *, user_agent: str, stop: StopSignal, connections: int = 4) -> None:
        """Open nothing yet. `origin` is a URL whose path does not matter; `connections`: exchanges at once."""
        self.requests = 0
        self.server_time: Instant | None = None
        self._seen_at = 0.0
        self._origin = _origin(origin)
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip", "Accept": "*/*"}
        self._stop = stop
        self._counting = threading.Lock()
        self._room = threading.BoundedSemaphore(connections)
        self._adapter = _Adapter(pool_maxsize=connections)
        self._surroundings: Mapping[str, Any] | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        params: Iterable[tuple[str, str]] = (),
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 60.0,
        grace_seconds: float = 0.0,
    ) -> Answer:
        """Send one request and read its answer to the end, whatever its status.

        It waits for its turn first. The whole exchange lasts at most `timeout_seconds`. After a request to stop it may
        begin or go on for `grace_seconds` (0 for reads, more for a write that should be finished).

        Raises:
            NotSentError: it did not reach the service.
            MaybeSentError: its answer was lost or too slow.
            UntrustedAnswerError: the URL is not on the configured origin, and nothing was sent; or the answer is larger
                than any that makes sense.
            ConfigError: a proxy or CA file that the environment names cannot be used.
            InterruptedByError: asked to stop.
        """
        if not self.trusts(url):
            raise UntrustedAnswerError("a request to another host than the configured one was not sent.")
        if self._surroundings is None:
            secure = self._origin[0] == "https"
            self._surroundings = {"proxies": proxies(url), "verify": trusted_certificates() if secure else True}
        prepared = _prepared(method, url, params, body, {**self._headers, **(headers or {})})
        with self._room:
            exchange = Exchange(max(timeout_seconds, 0.01), lambda: self._stop.is_over(grace_seconds))
            if exchange.is_over():
                raise InterruptedByError(self._stop.signal_number)
            with self._counting:
                self.requests += 1
            try:
                with _watched(exchange):
                    # not a session, which reads and parses redirects even where they are not to be followed
                    reply = self._adapter.send(prepared, timeout=exchange.seconds, stream=True, **self._surroundings)
                    content = _body(reply.raw, self._origin[1])
            except (OSError, urllib3.exceptions.HTTPError, zlib.error) as failure:  # those of requests are OSErrors
                lost: Exception | None = self._lost(exchange, failure)
            else:
                lost = self._lost(exchange, None) if exchange.severed else None
            if lost is not None:
                raise lost
        at = server_time(reply.headers)
        if at is not None:
            self.server_time, self._seen_at = at, time.monotonic()
        elapsed_ms = round((time.monotonic() - exchange.started) * 1000)
        return Answer(reply.status_code, reply.headers, content, at, elapsed_ms)

    def server_now(self) -> Instant | None:
        """Say what the service's clock reads: its last `Date` and the time since, None before the first answer."""
        if self.server_time is None:
            return None
        return Instant(self.server_time + round((time.monotonic() - self._seen_at) * 1000))

    def trusts(self, url: str) -> bool:
        """Say whether this URL is on the configured origin."""
        return _origin(url) == self._origin != _NOWHERE

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._adapter.close()

    def _lost(self, exchange: Exchange, failure: Exception | None) -> Exception:
        """Turn a failure into what may be done about it; its own text may hold the URL and is left out."""
        host, name = self._origin[1], type(failure).__name__
        if exchange.interrupted:
            return InterruptedByError(self._stop.signal_number)
        if not exchange.connected:
            return NotSentError(f"{host} cannot be reached: {_reason(failure)}.")
        timed_out = exchange.overdue or "Timeout" in name
        why = "it took too long" if timed_out else f"the connection broke, {name}"
        return MaybeSentError(f"the answer of {host} was lost ({why}).", timed_out=timed_out)


def _origin(url: str) -> tuple[str, str, int]:
    """Split off scheme, host and port; user names in a URL belong to no origin of ours."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return _NOWHERE
    if "@" in parts.netloc or parts.scheme not in _PORTS:
        return _NOWHERE
    return (parts.scheme, parts.hostname or "", port or _PORTS[parts.scheme])


def _prepared(
    method: str, url: str, params: Iterable[tuple[str, str]], body: bytes | str | None, headers: Mapping[str, str]
) -> requests.PreparedRequest:
    """Make a request; a link that is plain ASCII goes out as it stands."""
    query = urlencode(list(params))
    url = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
    plain = url.isascii() and url.isprintable() and " " not in url
    asked = requests.Request(method, url.partition("?")[0] if plain else url, data=body, headers=dict(headers))
    prepared = asked.prepare()
    if plain:
        prepared.url = url
    return prepared


def _body(reply: urllib3.BaseHTTPResponse, host: str) -> bytes:
    """Read and unpack a body: gzip, of one or more members. What cannot be unpacked raises `zlib.error`.

    Raises:
        UntrustedAnswerError: it is larger than any that makes sense.
    """
    content, unpacked = bytearray(), bytearray()
    too_large = f"an answer of {host} has more than {LONGEST_BODY // 2**20} MB, unpacked; it was not read."
    with reply:
        while piece := reply.read(_PIECE, decode_content=False):
            content += piece
            if len(content) > LONGEST_BODY:
                raise UntrustedAnswerError(too_large)
    packing = reply.headers.get("Content-Encoding", "").strip().lower()
    if packing in ("", "identity") or not content:
        return bytes(content)
    if packing not in ("gzip", "x-gzip"):
        raise zlib.error("another packing than was asked for")
    packed = bytes(content)
    while packed:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        unpacked += unpacker.decompress(packed, LONGEST_BODY + 1 - len(unpacked))
        if len(unpacked) > LONGEST_BODY:
            raise UntrustedAnswerError(too_large)
        if not unpacker.eof:
            raise zlib.error("cut short")
        packed = unpacker.unused_data.lstrip(b"\0")
    return bytes(unpacked)


def _reason(failure: BaseException | None) -> str:
    """Say in a person's words why there was no connection."""
    causes: list[BaseException] = []
    while failure is not None and failure not in causes:
        causes.append(failure)
        failure = failure.__cause__ or failure.__context__
    for kind, reason in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    numbers = (cause.errno for cause in causes if isinstance(cause, OSError) and not isinstance(cause, TimeoutError))
    number = next((number for number in numbers if number), None)
    return os.strerror(number) if number else "it does not answer"


# Watching


class Exchange:
    """One request and its answer, from the start of sending to the last byte.

    Attributes:
        connected: whether the connection stood, so that the request may have reached the service.
        severed: whether the connection was cut here; what then seems to be an answer may be half of one.
        overdue, interrupted: why it was.
        line: the connection that carries it.
    """

    def __init__(self, seconds: float, is_interrupted: Callable[[], bool]) -> None:
        """Begin now, and allow `seconds` in all. `is_interrupted` says whether it must end before that."""
        self.seconds = seconds
        self.started = time.monotonic()
        self.connected = self.severed = self.overdue = self.interrupted = False
        self.line: _Watched | None = None
        self._is_interrupted = is_interrupted

    def left(self) -> float:
        """Say for how many seconds it may go on."""
        return self.started + self.seconds - time.monotonic()

    def is_over(self) -> bool:
        """Say whether its time is over, or it is interrupted."""
        self.overdue = self.left() < 0
        self.interrupted = self._is_interrupted()
        return self.overdue or self.interrupted

    def cut(self) -> bool:
        """Shut its connection down; say whether there was one yet, and no other exchange has taken it."""
        line = self.line
        connection = line.sock if line is not None and line.exchange is self else None
        if connection is None:
            return False
        self.severed = True
        with suppress(OSError):  # it may have ended by itself
            # not SSLSocket's own shutdown, which resets what the reading thread uses
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        return True


_current = threading.local()
_under_way: set[Exchange] = set()
_change = threading.Condition()
_watchdog: threading.Thread | None = None


@contextmanager
def _watched(exchange: Exchange) -> Iterator[None]:
    """Have an exchange cut as soon as it is over, by one daemon thread for all exchanges of the process."""
    global _watchdog  # noqa: PLW0603 - begun with the first exchange
    _current.exchange = exchange
    with _change:
        _under_way.add(exchange)
        if _watchdog is None or not _watchdog.is_alive():
            _watchdog = threading.Thread(target=_watch, name="exchange-watchdog", daemon=True)
            _watchdog.start()
        _change.notify()
    try:
        yield
    finally:
        _current.exchange = None
        with _change:
            _under_way.discard(exchange)
        if exchange.line is not None:
            exchange.line.exchange = None  # a circle would keep the connection open for long
            exchange.line = None


def _watch() -> None:
    while True:
        with _change:
            _change.wait_for(lambda: _under_way)
            _under_way.difference_update({each for each in _under_way if each.is_over() and each.cut()})
        time.sleep(_TICK_SECONDS)


class _Watched:
    """What both kinds of connection add: the exchange that they carry knows them, and whether they stood."""

    exchange: Exchange | None = None
    sock: Any
    _dns_host: str
    port: int
    socket_options: Any

    def connect(self) -> None:
        self._carry()
        super().connect()  # type: ignore[misc]
        self._carry()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._carry()
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _carry(self) -> None:
        exchange: Exchange | None = getattr(_current, "exchange", None)
        if exchange is not None:
            self.exchange, exchange.line = exchange, self
            exchange.connected = exchange.connected or self.sock is not None

    def _new_conn(self) -> socket.socket:
        """Connect, with one limit for looking the name up and for all of its addresses together.

        urllib3 gives each address the whole time, and the look-up any. Nothing ends a look-up that hangs, so it has a
        thread of its own.
        """
        whole = _CONNECT_SECONDS if self.exchange is None else self.exchange.left()
        ends = time.monotonic() + min(_CONNECT_SECONDS, whole)
        host, kind = self._dns_host.strip("[]"), socket.SOCK_STREAM
        looking = ahead(lambda: socket.getaddrinfo(host, self.port, type=kind), name="name-look-up")
        try:
            addresses = looking.result(max(ends - time.monotonic(), 0.0))
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "not a name that can be looked up") from None
        failure: OSError = TimeoutError("the look-up of the name took too long")
        for family, kind, protocol, _, address in addresses:
            left = ends - time.monotonic()
            if left <= 0:
                break
            connection = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    connection.setsockopt(*option)
                connection.settimeout(left)
                connection.connect(address)
            except OSError as refused:
                connection.close()
                failure = refused
            else:
                connection.settimeout(max(whole, 0.01))
                return connection
        # not bare: urllib3 goes on after a reset, which it takes for one of a connection that stood
        raise urllib3.exceptions.NewConnectionError(self, "no connection") from failure  # type: ignore[arg-type]


class _HttpPool(urllib3.HTTPConnectionPool):
    class ConnectionCls(_Watched, urllib3.connection.HTTPConnection):
        """Plain HTTP, for loopback."""


class _HttpsPool(urllib3.HTTPSConnectionPool):
    class ConnectionCls(_Watched, urllib3.connection.HTTPSConnection):
        """HTTPS."""


class _Adapter(requests.adapters.HTTPAdapter):
    """Requests' adapter over watched connections, through a proxy too; it never retries by itself."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager


# What the environment says


def proxies(url: str) -> dict[str, str]:
    """Return the proxy that the environment names for a URL, by its scheme; a loopback address never has one.

    Raises:
        ConfigError: it is not one that can be used.
    """
    parts = urlsplit(url)
    host, scheme = parts.hostname or "", parts.scheme
    loopback = host == "localhost" or host.endswith(".localhost")
    with suppress(ValueError):
        loopback = ipaddress.ip_address(host).is_loopback
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))
    if loopback or not proxy:
        return {}
    names = (f"{scheme}_proxy", "all_proxy")
    variable = next((name for name, value in os.environ.items() if name.lower() in names and value == proxy), names[0])
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        usable = urllib3.util.parse_url(proxy)
    except urllib3.exceptions.LocationParseError:
        usable = urllib3.util.Url()
    if not usable.host or usable.scheme not in ("http", "https"):
        socks = (usable.scheme or "").startswith("socks")
        raise ConfigError(
            f"{variable} in the environment "
            f"{'names a SOCKS proxy, which is not supported' if socks else 'is not a proxy'}.",
            advice="It should look like http://proxy.example:3128; NO_PROXY names hosts to reach without it.",
        )
    return {scheme: proxy}


def trusted_certificates() -> str | bool:
    """Return what to verify a service by: the CA file of the first variable that is set, else True for `certifi`.

    Raises:
        ConfigError: it is missing or holds no certificate.
    """
    variable = next((one for one in _CA_VARIABLES if os.environ.get(one)), "")
    path = os.environ.get(variable, "")
    try:
        if path and not Path(path).is_dir():
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as failure:  # a file without a certificate is an SSLError, which is an OSError
        why = "holds no certificate" if isinstance(failure, ssl.SSLError) else "cannot be read"
        raise ConfigError(
            f"{variable} in the environment names {path}, which {why}.", advice="Correct the variable or unset it."
        ) from None
    return path or True
