"""Connections that end in time, and are reached as the environment says.

urllib3 bounds each wait for a byte, not the whole: a server that trickles holds a reader for ever, a read that waits
does not notice a request to stop, and each address of a name is given the whole time anew. Here one exchange has one
limit for everything, looking its name up included.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from outreach_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CONNECT_SECONDS = 10.0
_TICK_SECONDS = 0.1
_IDLE_SECONDS = 1.0
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.ProxyError, "the proxy that the environment names does not let us through"),
    (socket.gaierror, "there is no address for this name (DNS)"),
    (ConnectionRefusedError, "it refuses the connection: nothing listens there, or a firewall is in the way"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted (REQUESTS_CA_BUNDLE can name one of your own)"),
    (ssl.SSLError, "it speaks no TLS that is understood here"),
)
_current = threading.local()


class Exchange:
    """One request and its answer, from the start of sending to the last byte.

    Attributes:
        connected: whether the connection stood, so that the request may have reached the service.
        severed: whether the watchdog cut the connection; what then seems to be an answer may be half of one.
        overdue, interrupted: why it did.
    """

    def __init__(self, seconds: float, is_interrupted: Callable[[], bool]) -> None:
        """Begin now, and allow `seconds` in all. `is_interrupted` says whether it must end before that."""
        self.seconds = seconds
        self.started = time.monotonic()
        self.connected = self.severed = self.overdue = self.interrupted = False
        self.line: _Watched | None = None
        self._is_interrupted = is_interrupted

    def elapsed_ms(self) -> int:
        """Say how long it has lasted."""
        return round((time.monotonic() - self.started) * 1000)

    def left(self) -> float:
        """Say for how many seconds it may go on."""
        return self.started + self.seconds - time.monotonic()

    def is_over(self) -> bool:
        """Say whether its time is over, or it is interrupted."""
        self.overdue = self.left() < 0
        self.interrupted = self._is_interrupted()
        return self.overdue or self.interrupted

    def cut(self) -> bool:
        """Shut its connection down; say whether there was one yet."""
        line = self.line
        connection = line.sock if line is not None and line.exchange is self else None
        if connection is None:
            return False
        self.severed = True
        with suppress(OSError):  # it may have ended by itself
            # not SSLSocket's own shutdown, which resets what the reading thread uses
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        return True


class _Watchdog:
    """One daemon thread for all exchanges of the process, which ends soon after the last of them.

    A socket timeout starts anew with each byte, so a server that trickles holds a reader for ever, and a read that
    waits does not notice a request to stop. The watchdog shuts such a connection down from outside.
    """

    def __init__(self) -> None:
        """Start no thread yet."""
        self._under_way: set[Exchange] = set()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, exchange: Exchange) -> None:
        """Keep an eye on what this thread sends, until `release`."""
        _current.exchange = exchange
        with self._change:
            self._under_way.add(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="exchange-watchdog", daemon=True)
                self._thread.start()
            self._change.notify()

    def release(self, exchange: Exchange) -> None:
        """Forget it: it has ended."""
        _current.exchange = None
        with self._change:
            self._under_way.discard(exchange)
        if exchange.line is not None:
            exchange.line.exchange = None  # a circle would keep the connection open for long
            exchange.line = None

    def _run(self) -> None:
        while True:
            with self._change:
                if not self._change.wait_for(lambda: self._under_way, _IDLE_SECONDS):
                    self._thread = None
                    return
                self._under_way -= {each for each in self._under_way if each.is_over() and each.cut()}
            time.sleep(_TICK_SECONDS)


watchdog = _Watchdog()


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

        urllib3 gives each address the whole time, and the look-up any.
        """
        whole = _CONNECT_SECONDS if self.exchange is None else self.exchange.left()
        ends = time.monotonic() + min(_CONNECT_SECONDS, whole)
        failure: OSError = TimeoutError("the look-up of the name took too long")
        for family, kind, protocol, _, address in _addresses(self._dns_host, self.port, ends):
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
        raise failure


def _addresses(host: str, port: int, ends: float) -> list[Any]:
    """Look a name up in a thread of its own, since nothing ends a look-up that hangs; [] where it takes too long."""
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as failure:
            found.append(failure)

    looking = threading.Thread(target=look_up, name="name-look-up", daemon=True)
    looking.start()
    looking.join(max(ends - time.monotonic(), 0.0))
    if not found:
        return []
    if isinstance(found[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "not a name that can be looked up")
    if isinstance(found[0], OSError):
        raise found[0]
    return list(found[0])


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


def session(user_agent: str, connections: int) -> requests.Session:
    """Return a session of watched connections, which keeps no cookies and reads no .netrc."""
    made = requests.Session()
    made.trust_env = False  # no .netrc; what else the environment says, `surroundings` reads
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    made.headers.update({"User-Agent": user_agent, "Accept-Encoding": "gzip"})
    adapter = _Adapter(pool_maxsize=connections)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    return made


def surroundings(url: str) -> dict[str, Any]:
    """Return what the environment says about reaching a URL, as arguments for a request: `proxies` and `verify`.

    A loopback address never goes through a proxy. The CA file is that of REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or
    SSL_CERT_FILE, the first that is set.

    Raises:
        ConfigError: a CA file is missing or holds no certificate; a proxy is not one that can be used.
    """
    parts = urlsplit(url)
    loopback = _is_loopback(parts.hostname or "")
    return {
        "proxies": {} if loopback else _proxies(url, parts.scheme),
        "verify": _ca_file() if parts.scheme == "https" else True,
    }


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _proxies(url: str, scheme: str) -> dict[str, str]:
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))
    if not proxy:
        return {}
    names = (f"{scheme}_proxy", "all_proxy")
    variable = next((name for name, value in os.environ.items() if name.lower() in names and value == proxy), names[0])
    try:
        parts = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    kind = parts.scheme or ""
    if not parts.host or kind not in ("http", "https"):
        what = "names a SOCKS proxy, which is not supported" if kind.startswith("socks") else "is not a proxy"
        raise ConfigError(
            f"{variable} in the environment {what}.",
            advice="It should look like http://proxy.example:3128; NO_PROXY names hosts to reach without it.",
        )
    return {scheme: proxy}


def _ca_file() -> bool | str:
    named = {variable: os.environ[variable] for variable in _CA_VARIABLES if os.environ.get(variable)}
    for variable, path in named.items():
        try:
            if not Path(path).is_dir():
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except (OSError, ValueError) as failure:  # a file without a certificate is an SSLError, which is an OSError
            why = "holds no certificate" if isinstance(failure, ssl.SSLError) else "cannot be read"
            raise ConfigError(
                f"{variable} in the environment names {path}, which {why}.", advice="Correct the variable or unset it."
            ) from None
    return next(iter(named.values()), True)


def reason(failure: Exception | None) -> str:
    """Say in a person's words why there was no connection."""
    causes = list(_causes(failure))
    for kind, reason in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    numbers = (cause.errno for cause in causes if isinstance(cause, OSError) and not isinstance(cause, TimeoutError))
    number = next((number for number in numbers if number), None)
    return os.strerror(number) if number else "it does not answer"


def _causes(failure: BaseException | None) -> Iterable[BaseException]:
    """Walk through what a failure wraps; requests and urllib3 keep it in different places."""
    seen: list[BaseException] = []
    waiting = [failure]
    while waiting:
        one = waiting.pop(0)
        if one is None or one in seen:
            continue
        seen.append(one)
        inner = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
        waiting += [each for each in inner if isinstance(each, BaseException)]
    return seen
