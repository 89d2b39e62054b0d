"""How bytes reach a service and come back: one origin, bounded in time and size, stoppable, with patience.

`Transport` makes one exchange, `Patience` repeats it, `retry_after` and `quota` read what a service says about waiting,
and `StopSignal` ends every pause.
"""

from __future__ import annotations

import random
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from outreach_sync.connections import Exchange, reason, session, surroundings, watchdog
from outreach_sync.errors import (
    InterruptedByError,
    PutOffError,
    QuotaSpentError,
    ServiceError,
    UnavailableError,
    UntrustedAnswerError,
)
from outreach_sync.instants import Instant, parse_http_date, parse_iso

T = TypeVar("T")
Params = Iterable[tuple[str, str]]

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_BODY = 64 * 2**20
"""Bytes of an answer, unpacked: a page of a thousand rows has two million."""

_LAST_TRY = (0.5, 10.0)
_PIECE = 2**18
_NOWHERE = ("", "", 0)
_PORTS = {"http": 80, "https": 443}
_FEW = 10
_CHANCE = random.SystemRandom()


# Asking to stop


class StopSignal:
    """The one request to stop of this process, safe to be set from a signal handler.

    A `threading.Event` is not: its lock is not reentrant, so a handler that interrupts `wait` in the main thread can
    deadlock. `queue.SimpleQueue` is, but the first `get` of one may wait for ever in Python 3.11: where the process is
    held up until its deadline has passed, it goes on without any. Hence a bare lock, held until someone asks.
    """

    def __init__(self) -> None:
        """Begin unset."""
        self.signal_number = 0
        self._asked_at: float | None = None
        self._gate = threading.Lock()
        self._gate.acquire()

    def set(self, signal_number: int) -> None:
        """Ask to stop; the first signal is the one that is remembered."""
        if self._asked_at is None:
            self.signal_number = signal_number
            self._asked_at = time.monotonic()
            with suppress(RuntimeError):  # a second signal in the midst of this
                self._gate.release()

    def is_set(self) -> bool:
        """Say whether a stop was asked for."""
        return self._asked_at is not None

    def seconds_since(self) -> float:
        """Say how long ago it was asked for; 0.0 while it was not."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def is_over(self, grace_seconds: float) -> bool:
        """Say whether a stop was asked for, so long ago or longer."""
        return self.is_set() and self.seconds_since() >= grace_seconds

    def clock(self) -> float:
        """Read the clock by which pauses are measured, in seconds since no particular moment."""
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Sleep until a stop is asked for, but no longer than `seconds`; say whether it was."""
        if self._asked_at is not None:
            return True
        if self._gate.acquire(timeout=max(seconds, 0.0)):
            self._gate.release()  # for others who wait
        return self.is_set()


def pause(seconds: float, stop: StopSignal) -> None:
    """Sleep unless asked to stop.

    Raises:
        InterruptedByError: a stop was asked for, before or meanwhile.
    """
    if stop.wait(seconds):
        raise InterruptedByError(stop.signal_number)


def check(stop: StopSignal) -> None:
    """Go on only if no stop was asked for.

    Raises:
        InterruptedByError: it was.
    """
    if stop.is_set():
        raise InterruptedByError(stop.signal_number)


# How an attempt can fail, named by what may be done about it


class RetriableError(ServiceError):
    """An attempt failed in a way that may pass.

    Attributes:
        gives_up_as: what a caller raises when patience is over.
        eagerness: by how much the pauses before trying again are shorter than usual.
        asked_seconds: the pause that the service asked for, None where it said nothing.
    """

    gives_up_as: ClassVar[type[ServiceError]] = UnavailableError
    eagerness: ClassVar[float] = 1.0

    def __init__(self, message: str, *, asked_seconds: float | None = None) -> None:
        """Keep the message (no secret, no URL with a query, no body) and the pause asked for."""
        super().__init__(message)
        self.asked_seconds = asked_seconds


class NotSentError(RetriableError):
    """The request certainly did not reach the service: no address, no connection, no TLS. A write may be repeated."""


class MaybeSentError(RetriableError):
    """The answer was lost: the request may have been carried out. Look before repeating a write.

    `timed_out` says that it took too long, rather than being cut off.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        """Keep how it was lost."""
        super().__init__(message)
        self.timed_out = timed_out


class ThrottledError(RetriableError):
    """The service answered that there were too many requests; this one was not carried out."""

    gives_up_as = QuotaSpentError


class BusyError(RetriableError):
    """The service answered that it cannot now; `status` is its 5xx."""

    def __init__(self, message: str, *, status: int, asked_seconds: float | None = None) -> None:
        """Keep the status beside what every failure has."""
        super().__init__(message, asked_seconds=asked_seconds)
        self.status = status


class GarbledError(RetriableError):
    """The answer arrived but is not what the service promises (no JSON, a page of HTML)."""

    gives_up_as = UntrustedAnswerError


# Patience


class RetryNote(NamedTuple):
    """One retry, for the log: what was tried, why it failed, which attempt that was, and the pause before the next."""

    what: str
    why: str
    attempt: int
    pause_seconds: float


OnRetry = Callable[[RetryNote], None]


class Patience:
    """How long one service may keep a run waiting, in all: attempts that fail, hang or do not connect, and pauses.

    It is whole again as soon as the service answers. Once it is spent, each further request is tried briefly, so that
    one request that always fails does not keep the others from being asked. Safe to be used by several threads, and
    within an attempt (a page that first needs a token).
    """

    def __init__(self, seconds: float, stop: StopSignal, *, on_retry: OnRetry | None = None) -> None:
        """Begin with all of it. `on_retry` is told of each repetition."""
        self.seconds = seconds
        self._stop = stop
        self._on_retry = on_retry
        self._spent = 0.0
        self._counted_to = stop.clock()
        self._lock = threading.Lock()

    def left(self) -> float:
        """Say for how many seconds a request that begins now may be tried."""
        left = self.seconds - self._spent
        shortest, longest = _LAST_TRY
        return left if left > 0 else min(max(self.seconds / 10, shortest), longest)

    def ask(
        self,
        what: str,
        attempt: Callable[[float], T],
        *,
        at_most: float | None = None,
        final: tuple[type[RetriableError], ...] = (),
    ) -> T:
        """Return what `attempt` returns, trying again after each `RetriableError` with growing, jittered pauses.

        `attempt` is given the seconds that are left and must not take longer. `what` names the request for people,
        `at_most` are the seconds for this request, where they are fewer than what is left. Failures of the kinds in
        `final` are raised as they are: a write whose answer was lost is not simply sent again.

        Raises:
            UnavailableError: it kept failing for as long as patience allows. QuotaSpentError, UntrustedAnswerError: so
                too, where the last failure stands for those.
            PutOffError: the service asks for a longer pause, which ends it at once.
            InterruptedByError: asked to stop.
        """
        check(self._stop)
        since = self._stop.clock()
        ends = since + (self.left() if at_most is None else min(self.left(), at_most))
        number = 1
        while True:
            try:
                result = attempt(max(ends - self._stop.clock(), 0.0))
            except RetriableError as failure:
                seconds = _pause_after(number, failure)
                since = self.spend(since)
                if isinstance(failure, final):
                    raise
                if since + seconds >= ends:
                    raise self.given_up(failure, what) from None
                if self._on_retry is not None:
                    self._on_retry(RetryNote(what, failure.message, number, round(seconds, 3)))
            else:
                self.answered()
                return result
            pause(seconds, self._stop)
            number += 1

    def spend(self, since: float) -> float:
        """Count the time since then, of several threads but once; return what the clock reads."""
        now = self._stop.clock()
        with self._lock:
            self._spent += max(now - max(since, self._counted_to), 0.0)
            self._counted_to = now
        return now

    def answered(self) -> None:
        """Take note that the service answered."""
        with self._lock:
            self._spent = 0.0

    def given_up(self, failure: RetriableError, what: str) -> ServiceError:
        """Spend what is left, and say why it ends here, in the class that the last failure stands for."""
        with self._lock:
            self._spent = max(self._spent, self.seconds)
        kind = failure.gives_up_as
        patience = round(self.seconds, 1 if self.seconds < _FEW else None)
        if failure.asked_seconds is not None and failure.asked_seconds > 0:
            kind = PutOffError if kind is UnavailableError else kind
            reason = f"it asks to wait {failure.asked_seconds:.0f} s, and patience is {patience:g} s in all"
        else:
            reason = f"its patience of {patience:g} s is spent"
        return kind(
            f"{what}: {failure.message.rstrip('.')} ({reason}).",
            advice="Nothing that was read is lost; the next run goes on from here.",
        )


def _pause_after(number: int, failure: RetriableError) -> float:
    """Grow the pause with each attempt, never below what the service asked for."""
    growing = min(FIRST_PAUSE * 2.0 ** min(number - 1, 20), LONGEST_PAUSE) + _CHANCE.uniform(0, FIRST_PAUSE)
    return max(growing / failure.eagerness, failure.asked_seconds or 0.0)


# What a service says about waiting

_NUMBERS = re.compile(r"\d{1,18}(?:\.\d{1,18})?(?:\s*,\s*\d{1,18}(?:\.\d{1,18})?)*", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_EPOCH_SECONDS = 1_000_000_000
_EPOCH_MILLISECONDS = 1_000_000_000_000
_LONGEST_ASKED = 366 * 86_400
_TOO_MANY_REQUESTS = 429


class Quota(NamedTuple):
    """The request quota as last told: per hour, what is left, and when it starts anew (by the service's clock)."""

    limit: int | None = None
    remaining: int | None = None
    resets_at: Instant | None = None


def server_time(headers: Mapping[str, str]) -> Instant | None:
    """Read the `Date` header; None where it is missing or not a date."""
    return _parsed(parse_http_date, headers.get("Date", ""))


def retry_after(headers: Mapping[str, str], status: int, at: Instant | None) -> float | None:
    """Say how many seconds the service asks to wait, at most a year; None where it does not say, or nonsense.

    Retry-After and X-RateLimit-Reset come as seconds, epoch seconds, ISO 8601 with or without zone, or an HTTP date.
    Absolute times are compared with `at`, the answer's own `Date`, never with the clock of this machine.
    X-RateLimit-Reset, which every answer has, counts only where the quota stops us.
    """
    seconds = _seconds_until(headers.get("Retry-After", ""), at)
    if seconds is None and status == _TOO_MANY_REQUESTS:
        seconds = _seconds_until(headers.get("X-RateLimit-Reset", ""), at)
    return seconds


def quota(headers: Mapping[str, str], at: Instant | None) -> Quota:
    """Read the three X-RateLimit headers of an answer whose `Date` is `at`.

    Of two numbers, `9999, 19988`, the smaller counts, since which is which is not documented.
    """
    seconds = _seconds_until(headers.get("X-RateLimit-Reset", ""), at)
    resets_at = None if seconds is None or at is None else Instant(at + round(seconds * 1000))
    limit, remaining = (_numbers(headers.get(f"X-RateLimit-{name}", "")) for name in ("Limit", "Remaining"))
    return Quota(int(min(limit)) if limit else None, int(min(remaining)) if remaining else None, resets_at)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)] if _NUMBERS.fullmatch(text.strip()) else []


def _seconds_until(text: str, at: Instant | None) -> float | None:
    numbers = _numbers(text)
    if numbers and max(numbers) < _EPOCH_SECONDS:
        seconds: float | None = max(numbers)
    else:
        moment = _moment(text.strip(), numbers)
        seconds = None if moment is None or at is None else max((moment - at) / 1000, 0.0)
    return seconds if seconds is not None and seconds <= _LONGEST_ASKED else None


def _moment(text: str, numbers: list[float]) -> Instant | None:
    if numbers:
        number = max(numbers)
        return Instant(round(number if number >= _EPOCH_MILLISECONDS else number * 1000))
    iso = _parsed(parse_iso, text.upper())
    return iso if iso is not None else _parsed(parse_http_date, text)


def _parsed(parse: Callable[[str], Instant], text: str) -> Instant | None:
    try:
        return parse(text)
    except (ValueError, OverflowError, TypeError, IndexError):  # the standard library's dates fail in several ways
        return None


# One exchange


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
    files come from the environment (`surroundings`).

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
        self._stop = stop
        self._counting = threading.Lock()
        self._room = threading.BoundedSemaphore(connections)
        self._session = session(user_agent, connections)
        self._surroundings: Mapping[str, Any] | None = None

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
            UntrustedAnswerError: the URL is not on the configured origin, and nothing was sent; or the answer is larger
                than any that makes sense.
            ConfigError: a proxy or CA file that the environment names cannot be used.
            InterruptedByError: asked to stop.
        """
        if not self.trusts(url):
            raise UntrustedAnswerError("a request to another host than the configured one was not sent.")
        if self._surroundings is None:
            self._surroundings = surroundings(url)
        prepared = self._prepare(method, url, params, body, headers)
        with self._room:
            exchange = Exchange(max(timeout_seconds, 0.01), lambda: self._stop.is_over(grace_seconds))
            if exchange.is_over():
                raise InterruptedByError(self._stop.signal_number)
            with self._counting:
                self.requests += 1
            reply, content = self._exchange(prepared, exchange)
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
        return _origin(url) == self._origin != _NOWHERE

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

    def _exchange(self, prepared: requests.PreparedRequest, exchange: Exchange) -> tuple[requests.Response, bytes]:
        watchdog.watch(exchange)
        try:
            # not Session.send, which reads and parses redirects even where they are not to be followed
            adapter = self._session.get_adapter(prepared.url or "")
            reply = adapter.send(prepared, timeout=exchange.seconds, stream=True, **self._surroundings or {})
            with reply:
                content = _body(reply)
        except (OSError, urllib3.exceptions.HTTPError, zlib.error) as failure:  # requests' own errors are OSErrors
            lost = self._lost(exchange, failure)
        except _TooLargeError:
            raise UntrustedAnswerError(
                f"an answer of {self._origin[1]} has more than {LONGEST_BODY // 2**20} MB, unpacked; it was not read."
            ) from None
        else:
            if not exchange.severed:
                return reply, content
            lost = self._lost(exchange, None)
        finally:
            watchdog.release(exchange)
        raise lost

    def _lost(self, exchange: Exchange, failure: Exception | None) -> Exception:
        """Turn a failure into what may be done about it; its own text may hold the URL and is left out."""
        if exchange.interrupted:
            return InterruptedByError(self._stop.signal_number)
        host = self._origin[1]
        name = type(failure).__name__
        timed_out = exchange.overdue or "Timeout" in name
        if not exchange.connected:
            return NotSentError(f"{host} cannot be reached: {reason(failure)}.")
        why = "it took too long" if timed_out else f"the connection broke, {name}"
        return MaybeSentError(f"the answer of {host} was lost ({why}).", timed_out=timed_out)


class _TooLargeError(Exception):
    """A body is larger than any that makes sense."""


def _body(reply: requests.Response) -> bytes:
    """Read and unpack a body. What cannot be unpacked raises `zlib.error`, what is too large `_TooLargeError`."""
    content = bytearray()
    while piece := reply.raw.read(_PIECE, decode_content=False):
        content += piece
        if len(content) > LONGEST_BODY:
            raise _TooLargeError
    packing = reply.headers.get("Content-Encoding", "").strip().lower()
    if packing in ("", "identity") or not content:
        return bytes(content)
    if packing not in ("gzip", "x-gzip"):
        raise zlib.error("another packing than was asked for")
    return _unpacked(bytes(content))


def _unpacked(packed: bytes) -> bytes:
    """Unpack gzip, of one or more members."""
    content = bytearray()
    while packed:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content += unpacker.decompress(packed, LONGEST_BODY + 1 - len(content))
        if len(content) > LONGEST_BODY:
            raise _TooLargeError
        if not unpacker.eof:
            raise zlib.error("cut short")
        packed = unpacker.unused_data.lstrip(b"\0")
    return bytes(content)


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


# Requests begun before their answers are needed


def ahead(call: Callable[[], T], *, name: str) -> Future[T]:
    """Begin a call in a thread of its own and return what holds its result, or what it raised.

    The thread, of that name, is a daemon: one that hangs must not hold up the end of the process.
    """
    future = Future[T]()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as failure:  # noqa: BLE001 - the outermost one of this thread; raised again in the caller's
            future.set_exception(failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def early(items: Iterator[T], count: int) -> Iterator[T]:
    """Yield the items, each taken from `items` so many others before it is its turn."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken
