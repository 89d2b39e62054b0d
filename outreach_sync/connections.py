"""One exchange with one origin: bounded in time and size, stoppable, and reached as the environment says.

urllib3 bounds each wait for a byte or an address, not the whole, nor looking a name up, and notices no request to stop.
So each exchange has a thread of its own: the caller waits as long as it may, then cuts its connection and goes on.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection

from outreach_sync.errors import ConfigError, InterruptedByError, UntrustedAnswerError
from outreach_sync.http import MaybeSentError, NotSentError, RetriableError, StopSignal, ahead
from outreach_sync.instants import Instant, parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_BODY = 64 * 2**20  # bytes of an answer, unpacked: a page of a thousand rows has two million
_CONNECT_SECONDS, _TICK_SECONDS = 10.0, 0.1
_NOWHERE = ("", "", 0)
_PORTS = {"http": 80, "https": 443}
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_REASONS = (
    (urllib3.exceptions.ProxyError, "the proxy that the environment names does not let us through"),
    ((socket.gaierror, urllib3.exceptions.LocationParseError), "there is no address for this name (DNS)"),
    (ConnectionRefusedError, "it refuses the connection: nothing listens there, or a firewall is in the way"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted (REQUESTS_CA_BUNDLE can name one of your own)"),
    (ssl.SSLError, "it speaks no TLS that is understood here"),
)


class Answer(NamedTuple):
    """What came back. `headers` ignores case; `server_time` is its `Date`, else what an earlier one makes it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    server_time: Instant | None


class Transport:
    """Exchanges with one origin, safe between threads; follows no redirects, keeps no cookies, reads no .netrc."""

    def __init__(self, origin: str, *, user_agent: str, stop: StopSignal, connections: int = 4) -> None:
        """Open nothing yet. `origin` is a URL whose path does not matter; `connections`: exchanges at once."""
        self.requests, self._counting = 0, threading.Lock()  # those sent
        self.server_time: Instant | None = None  # the last `Date` seen
        self._seen_at = 0.0
        self._origin, self._stop = _origin(origin), stop
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip", "Accept": "*/*"}
        self._room = threading.BoundedSemaphore(connections)
        self._adapter = _Adapter(pool_maxsize=connections)
        self._surroundings: Mapping[str, Any] | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 60.0,
        grace_seconds: float = 0.0,
    ) -> Answer:
        """Send one request, in its turn, and read its answer to the end, whatever its status.

        After a request to stop (InterruptedByError) it may begin or go on for `grace_seconds`, more for a write. Raises
        NotSentError, MaybeSentError for an answer that is lost or too slow, UntrustedAnswerError for another origin or
        an answer far too large, ConfigError for a proxy or CA file that cannot be used.
        """
        if not self.trusts(url):
            raise UntrustedAnswerError("a request to another host than the configured one was not sent.")
        if self._surroundings is None:
            secure = self._origin[0] == "https"
            self._surroundings = {"proxies": proxies(url), "verify": trusted_certificates() if secure else True}
        plain = url.isascii() and url.isprintable() and " " not in url
        asked = requests.Request(method, url.partition("?")[0] if plain else url, data=body)
        asked.headers = {**self._headers, **(headers or {})}
        prepared = asked.prepare()
        if plain:
            prepared.url = url  # a link goes out as it stands
        with self._room:
            exchange = Exchange(max(timeout_seconds, 0.01))
            if self._stop.is_set(grace_seconds):
                raise InterruptedByError(self._stop.signal_number)
            with self._counting:
                self.requests += 1
            carried = ahead(partial(self._carry_out, exchange, prepared), name="exchange")
            ends = exchange.began + exchange.seconds
            while not wait((carried,), min(max(ends - time.monotonic(), 0.0), _TICK_SECONDS)).done:
                if self._stop.is_set(grace_seconds):
                    exchange.give_up()
                    raise InterruptedByError(self._stop.signal_number)
                if exchange.is_late():
                    exchange.give_up()
                    raise self._lost(exchange, None)
        failure = carried.exception()
        if isinstance(failure, (OSError, urllib3.exceptions.HTTPError, zlib.error)):  # those of requests are OSErrors
            raise self._lost(exchange, failure)
        reply, content = carried.result()
        with suppress(ValueError):
            self.server_time, self._seen_at = parse_http_date(reply.headers.get("Date", "")), time.monotonic()
        return Answer(reply.status_code, reply.headers, content, self.server_now())

    def _carry_out(self, exchange: Exchange, prepared: requests.PreparedRequest) -> tuple[requests.Response, bytes]:
        _current.exchange = exchange
        try:
            # not a session, which reads and parses redirects even where they are not to be followed
            reply = self._adapter.send(prepared, timeout=exchange.seconds, stream=True, **(self._surroundings or {}))
            return reply, _body(reply.raw, self._origin[1])
        finally:
            exchange.line = None  # a circle would keep the connection open for long

    def _lost(self, exchange: Exchange, failure: BaseException | None) -> RetriableError:
        """Turn a failure into what may be done about it; its own text may hold the URL and is left out."""
        host, name = self._origin[1], type(failure).__name__
        if exchange.connected:
            timed_out = exchange.given_up or "Timeout" in name
            why = "it took too long" if timed_out else f"the connection broke, {name}"
            return MaybeSentError(f"the answer of {host} was lost ({why}).", timed_out=timed_out)
        causes: list[BaseException] = []
        while failure is not None and failure not in causes:
            causes.append(failure)
            failure = failure.__cause__ or failure.__context__
        numbers = [one.errno for one in causes if isinstance(one, OSError) and not isinstance(one, TimeoutError)]
        known = (reason for kind, reason in _REASONS if any(isinstance(cause, kind) for cause in causes))
        said = (os.strerror(number) for number in numbers if number)
        why = next(chain(known, said), "it does not answer")
        if (self._surroundings or {}).get("proxies") and "proxy" not in why:
            why += ", by way of the proxy that the environment names"
        return NotSentError(f"{host} cannot be reached: {why}.")

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


@dataclass(eq=False)
class Exchange:
    """One request and its answer, on the connection `line`, from the start of sending to the last byte.

    `given_up`, when nobody waits any more, is set before `connected` (the request may have reached the service) is
    read, and looked at after that is set: one that stands too late sends nothing, or it is known that it may have.
    """

    seconds: float  # how long it may take in all
    began: float = field(default_factory=time.monotonic)
    connected: bool = False
    given_up: bool = False
    line: _Watched | None = None

    def is_late(self) -> bool:
        """Say whether its time is over, or that for finding and reaching the service, all of its addresses together."""
        lasted, line = time.monotonic() - self.began, self.line
        reached = self.connected or (line is not None and line.sock is not None)  # the service, or a proxy before it
        return lasted >= self.seconds or (lasted >= _CONNECT_SECONDS and not reached)

    def give_up(self) -> None:
        """Shut its connection down, unless another exchange has taken it."""
        self.given_up = True
        line = self.line  # not before: a connection that stands from now on cuts itself
        connection = line.sock if line is not None and line.exchange is self else None
        if connection is not None:
            with suppress(OSError):  # it may have ended by itself
                # not SSLSocket's own shutdown, which resets what the reading thread uses
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


_current = threading.local()


class _Watched:
    """What both kinds of connection add: the exchange that they carry knows them, and whether they stood."""

    exchange: Exchange | None = None
    sock: Any

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
            if exchange.given_up:
                raise TimeoutError


class _Adapter(requests.adapters.HTTPAdapter):
    """Requests' adapter over watched connections, through a proxy too; it never retries by itself."""

    class _Http(_Watched, urllib3.connection.HTTPConnection): ...

    class _Https(_Watched, urllib3.connection.HTTPSConnection): ...

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = self._Https if pool.scheme == "https" else self._Http
        return pool


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


def _body(reply: urllib3.BaseHTTPResponse, host: str) -> bytes:
    """Read and unpack a body, gzip of one or more members; raise zlib.error where it cannot be unpacked."""
    content, unpacked = bytearray(), bytearray()
    too_large = f"an answer of {host} has more than {LONGEST_BODY // 2**20} MB, unpacked; it was not read."
    with reply:
        while piece := reply.read(2**18, decode_content=False):
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


def proxies(url: str) -> dict[str, str]:
    """Return the proxy the environment names for a URL, by scheme, none for loopback; raise ConfigError if unusable."""
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
    usable = urllib3.util.Url()
    with suppress(urllib3.exceptions.LocationParseError):
        usable = urllib3.util.parse_url(proxy)
    if not usable.host or usable.scheme not in ("http", "https"):
        socks = (usable.scheme or "").startswith("socks")
        why = "names a SOCKS proxy, which is not supported" if socks else "is not a proxy"
        advice = "It should look like http://proxy.example:3128; NO_PROXY names hosts to reach without it."
        raise ConfigError(f"{variable} in the environment {why}.", advice=advice)
    return {scheme: proxy}


def trusted_certificates() -> str | bool:
    """Return the CA file of the first variable that is set, else True for `certifi`; raise ConfigError if unusable."""
    variable = next((one for one in _CA_VARIABLES if os.environ.get(one)), "")
    path = os.environ.get(variable, "")
    try:
        if path and not Path(path).is_dir():
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as failure:  # a file without a certificate is an SSLError, which is an OSError
        why = "holds no certificate" if isinstance(failure, ssl.SSLError) else "cannot be read"
        said = f"{variable} in the environment names {path}, which {why}."
        raise ConfigError(said, advice="Correct the variable or unset it.") from None
    return path or True
