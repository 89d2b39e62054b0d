"""One exchange with one service over HTTP, and nothing but that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from outreach_sync.errors import InterruptedByError, UntrustedAnswerError
from outreach_sync.instants import Instant
from outreach_sync.transport.attempts import MaybeSentError, NotSentError
from outreach_sync.transport.limits import server_time
from outreach_sync.transport.watchdog import Exchange, Watchdog

if TYPE_CHECKING:
    from outreach_sync.transport.stopping import Stopping

_CONNECT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}
_current = threading.local()

Params = Iterable[tuple[str, str]]


class Answer(NamedTuple):
    """What came back. `headers` ignores case; `server_time` is its `Date`; `elapsed_ms` counts to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    server_time: Instant | None
    elapsed_ms: int


class Transport:
    """Exchanges with one origin (scheme, host, port); safe to be used by several threads.

    Redirects are not followed, cookies not kept, .netrc not read; proxies and CA bundles come from the environment;
    certificates are always verified.

    Attributes:
        requests: how many were sent so far.
        server_time: the last `Date` seen.
    """

    def __init__(self, origin: str, *, user_agent: str, stop: Stopping, connections: int = 4) -> None:
        """Open nothing yet. `origin` is a URL whose path does not matter; `connections`: exchanges at once."""
        self.requests = 0
        self.server_time: Instant | None = None
        self._seen_at = 0.0
        self._origin = _origin(origin)
        self._stop = stop
        self._watchdog = Watchdog(stop)
        self._counting = threading.Lock()
        self._room = threading.BoundedSemaphore(connections)
        self._session = _session(user_agent, connections)
        self._environment: Mapping[str, Any] | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        params: Params = (),
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
            UntrustedAnswerError: the URL is not on the configured origin; nothing was sent.
            InterruptedByError: asked to stop.
        """
        if not self.trusts(url):
            raise UntrustedAnswerError("a request to another host than the configured one was not sent.")
        prepared = self._prepare(method, url, params, body, headers)
        with self._room:
            exchange = Exchange(seconds=max(timeout_seconds, 0.01), grace_seconds=grace_seconds)
            if exchange.is_over(self._stop):
                raise InterruptedByError(self._stop.signal_number)
            with self._counting:
                self.requests += 1
            reply, content = self._exchange(prepared, exchange, timeout_seconds)
        at = server_time(reply.headers)
        if at is not None:
            self.server_time, self._seen_at = at, time.monotonic()
        return Answer(reply.status_code, reply.headers, content, at, exchange.elapsed_ms())

    def server_now(self) -> Instant | None:
        """Say what the service's clock reads: its last `Date` and the time since, None before the first answer."""
        if self.server_time is None:
            return None
        return Instant(self.server_time + round((time.monotonic() - self._seen_at) * 1000))

    def trusts(self, url: str) -> bool:
        """Say whether this URL is on the configured origin."""
        return _origin(url) == self._origin

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._session.close()

    def _prepare(
        self, method: str, url: str, params: Params, body: bytes | str | None, headers: Mapping[str, str] | None
    ) -> requests.PreparedRequest:
        query = list(params)
        whole = not query and url.isascii() and url.isprintable() and " " not in url
        address = url.partition("?")[0] if whole else url
        prepared = self._session.prepare_request(
            requests.Request(method, address, params=query, data=body, headers=dict(headers or {}))
        )
        if whole:
            prepared.url = url  # a followed link as it stands; looking for what to encode in it takes milliseconds
        return prepared

    def _exchange(
        self, prepared: requests.PreparedRequest, exchange: Exchange, seconds: float
    ) -> tuple[requests.Response, bytes]:
        settings = self._surroundings(prepared.url)
        timeout = (min(_CONNECT_SECONDS, max(seconds, 0.01)), max(seconds, 0.01))
        _current.exchange = exchange
        self._watchdog.watch(exchange)
        try:
            reply = self._session.send(prepared, timeout=timeout, allow_redirects=False, **settings)
            content = reply.raw.read(decode_content=True)  # requests itself would read it 10 kB at a time
        except (OSError, urllib3.exceptions.HTTPError) as failure:  # requests' own errors are OSErrors
            name = type(failure).__name__
        else:
            if not exchange.severed:
                return reply, content
            name = "Severed"
        finally:
            self._watchdog.release(exchange)
            _current.exchange = None
        raise self._lost(f"{prepared.method} {urlsplit(prepared.url or '').path}", name, exchange)

    def _surroundings(self, url: str | None) -> Mapping[str, Any]:
        """Return the proxies and certificates that the environment names: all URLs are on one origin, so once."""
        if self._environment is None:
            settings = self._session.merge_environment_settings(url, {}, True, None, None)
            self._environment = {**settings, "verify": settings["verify"] or True}
        return self._environment

    def _lost(self, what: str, name: str, exchange: Exchange) -> Exception:
        """Turn a failure into what may be done about it; its own text may hold the URL and is left out."""
        if exchange.interrupted:
            return InterruptedByError(self._stop.signal_number)
        host = self._origin[1]
        if not exchange.connected:
            return NotSentError(f"{host} cannot be reached ({what}: {name}).")
        timed_out = exchange.overdue or "Timeout" in name
        why = "it took too long" if timed_out else name
        return MaybeSentError(f"the answer of {host} was lost ({what}: {why}).", timed_out=timed_out)


def _origin(url: str) -> tuple[str, str, int]:
    """Split off scheme, host and port; user names in a URL belong to no origin of ours."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ("", "", 0)
    if "@" in parts.netloc or parts.scheme not in _PORTS:
        return ("", "", 0)
    return (parts.scheme, parts.hostname or "", port or _PORTS[parts.scheme])


def _session(user_agent: str, connections: int) -> requests.Session:
    session = requests.Session()
    session.auth = _as_it_is  # an empty auth would make requests read .netrc
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "gzip"})
    adapter = _Adapter(pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


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
            exchange.takes(self)
            exchange.connected = exchange.connected or self.sock is not None


class _HttpConnection(_Watched, urllib3.connection.HTTPConnection):
    """Plain HTTP, for loopback."""


class _HttpsConnection(_Watched, urllib3.connection.HTTPSConnection):
    """HTTPS."""


class _HttpPool(urllib3.HTTPConnectionPool):
    """A pool of watched connections."""

    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    """A pool of watched connections."""

    ConnectionCls = _HttpsConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Requests' adapter over watched connections, through a proxy too; it never retries by itself."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager
