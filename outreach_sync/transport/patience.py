"""Trying again, with growing pauses, for as long as one request is worth it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from outreach_sync.errors import PutOffError, UnavailableError, UntrustedAnswerError
from outreach_sync.transport.attempts import RetriableError
from outreach_sync.transport.stopping import Stopping, check, pause

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from outreach_sync.errors import ServiceError

T = TypeVar("T")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LAST_TRY = 10.0
"""Seconds a request is tried for while the one before it was given up."""

_FEW = 10


class RetryNote(NamedTuple):
    """One retry, for the log: what was tried, why it failed, which attempt that was, and the pause before the next."""

    what: str
    why: str
    attempt: int
    pause_seconds: float


OnRetry = Callable[[RetryNote], None]


class Left(float):
    """Seconds of patience that are left for a request; `whole` is all there was, which is what people know."""

    whole: float

    def __new__(cls, seconds: float, whole: float) -> Self:
        """Make a number of it."""
        left = super().__new__(cls, seconds)
        left.whole = whole
        return left


class Spent:
    """Remembers that patience with a service was spent: what follows is tried briefly, until it answers again.

    So one run waits for a service no longer than patience in all, and yet reads what can be read.
    """

    def __init__(self) -> None:
        """Begin with all of it."""
        self._spent = False
        self._whole = 0.0

    def left(self, seconds: float) -> Left:
        """Return how much of these seconds there still is; the most that were ever asked for are all there was."""
        self._whole = max(self._whole, seconds)
        return Left(min(seconds, LAST_TRY) if self._spent else seconds, self._whole)

    def give_up(self) -> None:
        """Note that patience was spent on something that is not watched."""
        self._spent = True

    def watch(self, call: Callable[[], T]) -> T:
        """Return what `call`, a request with its retries, returns; note whether it was given up."""
        try:
            result = call()
        except (UnavailableError, UntrustedAnswerError):
            self._spent = True
            raise
        self._spent = False
        return result


def with_patience(
    call: Callable[[float], T],
    *,
    patience_seconds: float,
    stop: Stopping,
    what: str,
    on_retry: OnRetry | None = None,
) -> T:
    """Return what `call` returns, trying again after each `RetriableError` with growing, jittered pauses.

    `call` is given the seconds of patience that are left and must not take longer, so that attempts that hang count
    too. `what` names the request for people.

    Raises:
        UnavailableError: it kept failing for as long as patience allows. QuotaSpentError, UntrustedAnswerError: so too,
            where the last failure stands for those.
        PutOffError: the service asks for a longer pause, which ends it at once.
        InterruptedByError: asked to stop.
    """
    check(stop)
    started = time.monotonic()
    try:
        return call(patience_seconds)
    except RetriableError as failure:
        first = failure
    left = patience_seconds - (time.monotonic() - started)
    try:
        return _again(call, first=first, left=left, stop=stop, what=what, on_retry=on_retry)
    except RetriableError as failure:
        raise _given_up(failure, what, patience_seconds) from None


def _again(
    call: Callable[[float], T],
    *,
    first: RetriableError,
    left: float,
    stop: Stopping,
    what: str,
    on_retry: OnRetry | None,
) -> T:
    """Try until it works or `left` seconds are over; `first` is how the attempt before failed."""
    import tenacity  # noqa: PLC0415 - costs 30 ms, and most runs never need it

    ends = time.monotonic() + left

    def attempt() -> T:
        if retrying.statistics["attempt_number"] == 1:
            raise first
        return call(max(ends - time.monotonic(), 0.0))

    def note(state: RetryCallState) -> None:
        if on_retry is not None:
            on_retry(RetryNote(what, str(_failure(state)), state.attempt_number, round(state.upcoming_sleep, 3)))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(RetriableError),
        wait=_next_pause,
        stop=tenacity.stop_before_delay(left),
        sleep=lambda seconds: pause(seconds, stop),
        before_sleep=note,
        reraise=True,
    )
    return retrying(attempt)


def _next_pause(state: RetryCallState) -> float:
    """Grow the pause with each attempt, never below what the service asked for."""
    import tenacity  # noqa: PLC0415 - see above

    growing = tenacity.wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)
    jitter = tenacity.wait_random(0, FIRST_PAUSE)  # wait_exponential_jitter spells its options by version
    return max(growing(state) + jitter(state), _failure(state).asked_seconds or 0.0)


def _failure(state: RetryCallState) -> RetriableError:
    failure = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(failure, RetriableError):
        raise TypeError("only retriable failures are tried again")
    return failure


def _given_up(failure: RetriableError, what: str, patience_seconds: float) -> ServiceError:
    """Say why it ends here, in the class that the last failure stands for."""
    kind = failure.gives_up_as
    whole = patience_seconds.whole if isinstance(patience_seconds, Left) else patience_seconds
    patience = round(whole, 1 if whole < _FEW else None)
    if failure.asked_seconds is not None and failure.asked_seconds > 0:
        kind = PutOffError if kind is UnavailableError else kind
        reason = f"it asks to wait {failure.asked_seconds:.0f} s, and patience is {patience:g} s in all"
    else:
        reason = f"its patience of {patience:g} s is spent"
    return kind(
        f"{what}: {failure.message.rstrip('.')} ({reason}).",
        advice="Nothing that was read is lost; the next run goes on from here.",
    )
