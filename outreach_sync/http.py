"""How a service is waited for: what its headers say about it, with how much patience, and until a stop is asked for."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeVar

from outreach_sync import errors
from outreach_sync.instants import Instant, parse_http_date, parse_iso

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
_SHORTEST_TRY, _LONGEST_TRY = 0.5, 10.0
_FEW = 10
_CHANCE = random.SystemRandom()


class StopSignal:
    """The one request to stop of this process, safe to be set from a signal handler."""

    clock = staticmethod(time.monotonic)  # by which pauses are measured: seconds since no particular moment

    def __init__(self) -> None:
        """Begin unset."""
        self.signal_number = 0
        self._asked_at: float | None = None
        # Held until someone asks. Event.wait can deadlock with a handler; SimpleQueue's first get may hang (in 3.11).
        self._gate = threading.Lock()
        self._gate.acquire()

    def set(self, signal_number: int) -> None:
        """Ask to stop; the first signal is the one that is remembered."""
        if self._asked_at is None:
            self.signal_number = signal_number
            self._asked_at = time.monotonic()
            with suppress(RuntimeError):  # a second signal in the midst of this
                self._gate.release()

    def is_set(self, grace_seconds: float = 0.0) -> bool:
        """Say whether a stop was asked for, so long ago or longer."""
        return self._asked_at is not None and time.monotonic() - self._asked_at >= grace_seconds

    def wait(self, seconds: float) -> bool:
        """Sleep until a stop is asked for, but no longer than `seconds`; say whether it was."""
        if self._asked_at is None and self._gate.acquire(timeout=max(seconds, 0.0)):
            self._gate.release()  # for others who wait
        return self.is_set()


def pause(seconds: float, stop: StopSignal) -> None:
    """Sleep; raise InterruptedByError where a stop was asked for, before or meanwhile."""
    if stop.wait(seconds):
        raise errors.InterruptedByError(stop.signal_number)


def check(stop: StopSignal) -> None:
    """Go on; raise InterruptedByError where a stop was asked for."""
    if stop.is_set():
        raise errors.InterruptedByError(stop.signal_number)


class RetriableError(errors.ServiceError):
    """An attempt failed in a way that may pass. Its message holds no secret, no URL with a query and no body."""

    gives_up_as: ClassVar[type[errors.ServiceError]] = errors.UnavailableError  # when patience is over
    eagerness: ClassVar[float] = 1.0  # by how much the pauses before trying again are shorter than usual

    def __init__(
        self, message: str, *, asked_seconds: float | None = None, status: int = 0, timed_out: bool = False
    ) -> None:
        """Keep the pause asked for, a `BusyError`'s status, and whether the answer was too slow, not cut off."""
        super().__init__(message)
        self.asked_seconds, self.status, self.timed_out = asked_seconds, status, timed_out


class NotSentError(RetriableError):
    """The request certainly did not reach the service: no address, no connection, no TLS. A write may be repeated."""


class MaybeSentError(RetriableError):
    """The answer was lost: the request may have been carried out. Look before repeating a write."""


class ThrottledError(RetriableError):
    """The service answered that there were too many requests; this one was not carried out."""

    gives_up_as = errors.QuotaSpentError


class BusyError(RetriableError):
    """The service answered that it cannot now; `status` is its 5xx."""


class GarbledError(RetriableError):
    """The answer arrived but is not what the service promises (no JSON, a page of HTML)."""

    gives_up_as = errors.UntrustedAnswerError


class RetryNote(NamedTuple):
    """One retry, for the log."""

    what: str
    why: str
    attempt: int
    pause_seconds: float


OnRetry = Callable[[RetryNote], None]
Failures = tuple[type[RetriableError], ...]


@dataclass(eq=False)
class Patience:
    """How long one service may keep a run waiting, in all; whole again as soon as it answers. Safe between threads.

    Once it is spent, each request is tried briefly, so that one that always fails keeps no other from being asked.
    """

    seconds: float
    stop: StopSignal
    on_retry: OnRetry | None = None  # told of each repetition
    _spent: float = field(default=0.0, init=False)
    _counted_to: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def left(self) -> float:
        """Say for how many seconds a request that begins now may be tried."""
        left = self.seconds - self._spent
        return left if left > 0 else min(max(self.seconds / 10, _SHORTEST_TRY), _LONGEST_TRY)

    def ask(self, what: str, attempt: Callable[[float], T], *, at_most: float | None = None, final: Failures = ()) -> T:
        """Return what `attempt` returns, trying again after each `RetriableError` with growing, jittered pauses.

        `attempt` is given the seconds that are left, `at_most` if that is less, and must not take longer. `final` are
        raised as they are: a write whose answer was lost is not simply sent again. Raises the failure's `gives_up_as`
        when patience is over, PutOffError at once for a longer pause, InterruptedByError where asked to stop.
        """
        check(self.stop)
        since = self.stop.clock()
        ends = since + (self.left() if at_most is None else min(self.left(), at_most))
        number = 1
        while True:
            try:
                result = attempt(max(ends - self.stop.clock(), 0.0))
            except RetriableError as failure:
                now = self.stop.clock()
                with self._lock:  # the time of several threads counts but once
                    self._spent += max(now - max(since, self._counted_to), 0.0)
                    self._counted_to = since = now
                if isinstance(failure, final):
                    raise
                growing = min(FIRST_PAUSE * 2.0 ** min(number - 1, 20), LONGEST_PAUSE) + _CHANCE.uniform(0, FIRST_PAUSE)
                seconds = max(growing / failure.eagerness, failure.asked_seconds or 0.0)
                if now + seconds >= ends:
                    raise self._given_up(failure, what, seconds) from None
                if self.on_retry is not None:
                    self.on_retry(RetryNote(what, failure.message, number, round(seconds, 3)))
            else:
                with self._lock:
                    self._spent = 0.0
                return result
            pause(seconds, self.stop)
            number += 1

    def _given_up(self, failure: RetriableError, what: str, pause_seconds: float) -> errors.ServiceError:
        """Spend what is left unless it is more than the next pause, and say in the failure's class why it ends here."""
        with self._lock:
            self._spent = self.seconds if self.seconds - self._spent <= pause_seconds else self._spent
        kind = failure.gives_up_as
        patience = round(self.seconds, 1 if self.seconds < _FEW else None)
        if failure.asked_seconds:
            kind = errors.PutOffError if kind is errors.UnavailableError else kind
            reason = f"it asks to wait {failure.asked_seconds:.0f} s, and patience is {patience:g} s in all"
        else:
            reason = f"its patience of {patience:g} s is spent"
        advice = "Nothing that was read is lost; the next run goes on from here."
        return kind(f"{what}: {failure.message.rstrip('.')} ({reason}).", advice=advice)


_NUMBER = re.compile(r"\d{1,18}(?:\.\d{1,18})?", re.ASCII)
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1_000_000_000, 1_000_000_000_000
_LONGEST_ASKED = 366 * 86_400
_TOO_MANY_REQUESTS = 429


class Quota(NamedTuple):
    """The request quota as last told: per hour, what is left, and when it starts anew (by the service's clock)."""

    limit: int | None = None
    remaining: int | None = None
    resets_at: Instant | None = None


def retry_after(headers: Mapping[str, str], status: int, at: Instant | None) -> float | None:
    """Say how many seconds the service asks to wait, at most a year; None where it does not say, or nonsense.

    It says so in seconds, epoch seconds, ISO 8601 or as an HTTP date, to be compared with `at`, the answer's `Date`.
    """
    names = ("Retry-After", "X-RateLimit-Reset") if status == _TOO_MANY_REQUESTS else ("Retry-After",)
    found = (_seconds_until(headers.get(name, ""), at) for name in names)
    return next((seconds for seconds in found if seconds is not None), None)


def quota(headers: Mapping[str, str], at: Instant | None) -> Quota:
    """Read the X-RateLimit headers of an answer whose `Date` is `at`; of two numbers (not documented) the smaller."""
    seconds = _seconds_until(headers.get("X-RateLimit-Reset", ""), at)
    resets_at = None if seconds is None or at is None else Instant(at + round(seconds * 1000))
    limit, remaining = (_numbers(headers.get(f"X-RateLimit-{name}", "")) for name in ("Limit", "Remaining"))
    return Quota(int(min(limit)) if limit else None, int(min(remaining)) if remaining else None, resets_at)


def _numbers(text: str) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    return list(map(float, parts)) if all(map(_NUMBER.fullmatch, parts)) else []


def _seconds_until(text: str, at: Instant | None) -> float | None:
    seconds = max(_numbers(text), default=None)
    if seconds is None or seconds >= _EPOCH_SECONDS:
        if seconds is None:
            until = moment(text.strip().upper(), parse_iso, parse_http_date)
        else:
            until = Instant(round(seconds if seconds >= _EPOCH_MILLISECONDS else seconds * 1000))
        seconds = None if until is None or at is None else max((until - at) / 1000, 0.0)
    return seconds if seconds is not None and seconds <= _LONGEST_ASKED else None


def moment(text: str, *forms: Callable[[str], Instant]) -> Instant | None:
    """Read a time in the first of these forms that fits; None where none does."""
    for parse in forms:
        with suppress(ValueError):
            return parse(text)
    return None


def ahead(call: Callable[[], T], *, name: str) -> Future[T]:
    """Begin a call in a thread of that name, a daemon: it may hang. Return what holds its result, or what it raised."""
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
