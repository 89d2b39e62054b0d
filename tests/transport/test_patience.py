from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from outreach_sync.errors import (
    InterruptedByError,
    PutOffError,
    QuotaSpentError,
    UnavailableError,
    UntrustedAnswerError,
)
from outreach_sync.transport import patience
from outreach_sync.transport.attempts import (
    BusyError,
    GarbledError,
    MaybeSentError,
    NotSentError,
    RetriableError,
    ThrottledError,
)
from outreach_sync.transport.patience import RetryNote, Spent, with_patience
from outreach_sync.transport.stopping import StopSignal


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)


class Flaky:
    """Fails with each of `failures`, then returns 42; keeps the seconds that it was given."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.given: list[float] = []

    def __call__(self, left: float) -> int:
        self.given.append(left)
        if self.failures:
            raise self.failures.pop(0)
        return 42


def test_what_may_pass_is_not_tried_again() -> None:
    notes: list[RetryNote] = []
    call = Flaky(NotSentError("refused"), BusyError("busy", status=502), MaybeSentError("cut"))
    result = with_patience(call, patience_seconds=5, stop=StopSignal(), what="reading", on_retry=notes.append)
    assert result == 42
    assert [(note.attempt, note.what, note.why) for note in notes] == [
        (1, "reading", "refused"),
        (2, "reading", "busy"),
        (3, "reading", "cut"),
    ]


def test_an_attempt_is_not_told_how_much_patience_is_left() -> None:
    call = Flaky(NotSentError("refused"), NotSentError("refused"))
    with_patience(call, patience_seconds=5, stop=StopSignal(), what="reading")
    assert call.given[0] == 5
    assert call.given[0] > call.given[1] > call.given[2] > 4


def test_what_cannot_pass_is_tried_again() -> None:
    call = Flaky(NotSentError("refused"), ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        with_patience(call, patience_seconds=5, stop=StopSignal(), what="reading")
    assert len(call.given) == 2


@pytest.mark.parametrize(
    ("failure", "given_up"),
    [
        (NotSentError("it is down"), UnavailableError),
        (MaybeSentError("it is down"), UnavailableError),
        (BusyError("it is down", status=500), UnavailableError),
        (ThrottledError("it is down"), QuotaSpentError),
        (GarbledError("it is down"), UntrustedAnswerError),
    ],
)
def test_giving_up_does_not_say_why(failure: RetriableError, given_up: type[Exception]) -> None:
    started = time.monotonic()
    with pytest.raises(given_up, match="reading: it is down") as raised:
        with_patience(Flaky(*[failure] * 500), patience_seconds=0.2, stop=StopSignal(), what="reading")
    assert time.monotonic() - started < 1
    assert type(raised.value) is given_up
    assert raised.value.__cause__ is None


def test_attempts_that_hang_are_not_counted_as_patience() -> None:
    given: list[float] = []

    def hang(left: float) -> None:
        given.append(left)
        time.sleep(min(left, 0.15))
        raise MaybeSentError("too slow", timed_out=True)

    started = time.monotonic()
    with pytest.raises(UnavailableError):
        with_patience(hang, patience_seconds=0.3, stop=StopSignal(), what="reading")
    assert time.monotonic() - started < 0.6
    assert len(given) <= 3


def test_a_short_pause_that_was_asked_for_is_not_kept() -> None:
    started = time.monotonic()
    with_patience(
        Flaky(ThrottledError("slow down", asked_seconds=0.2)), patience_seconds=5, stop=StopSignal(), what="reading"
    )
    assert time.monotonic() - started >= 0.2


def test_a_pause_longer_than_patience_is_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(QuotaSpentError, match="asks to wait 3600 s"):
        with_patience(
            Flaky(ThrottledError("slow down", asked_seconds=3600)),
            patience_seconds=60,
            stop=StopSignal(),
            what="reading",
        )
    assert time.monotonic() - started < 1


def test_a_request_to_stop_waits_for_a_pause() -> None:
    stop = StopSignal()
    threading.Timer(0.05, stop.set, (15,)).start()
    with pytest.raises(InterruptedByError):
        with_patience(
            Flaky(ThrottledError("slow down", asked_seconds=20)), patience_seconds=60, stop=stop, what="reading"
        )


def test_a_request_to_stop_begins_another_request() -> None:
    stop = StopSignal()
    stop.set(15)
    call = Flaky()
    with pytest.raises(InterruptedByError):
        with_patience(call, patience_seconds=60, stop=stop, what="reading")
    assert call.given == []


def test_the_library_for_retries_is_loaded_although_nothing_fails() -> None:
    program = "import sys, outreach_sync.transport.patience; print('tenacity' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"


def test_once_patience_was_spent_what_follows_is_tried_briefly_until_the_service_answers() -> None:
    spent = Spent()
    assert spent.left(120) == 120

    def given_up() -> int:
        raise UnavailableError("down")

    with pytest.raises(UnavailableError):
        spent.watch(given_up)
    assert (spent.left(120), spent.left(5)) == (10, 5)
    assert spent.watch(lambda: 42) == 42
    assert spent.left(120) == 120


def test_being_asked_to_wait_longer_than_patience_is_told_from_being_down() -> None:
    busy = BusyError("maintenance", status=503, asked_seconds=3600)
    with pytest.raises(PutOffError):
        with_patience(Flaky(busy), patience_seconds=5, stop=StopSignal(), what="reading")
    with pytest.raises(UnavailableError) as down:
        with_patience(Flaky(*[NotSentError("no")] * 99), patience_seconds=0.05, stop=StopSignal(), what="reading")
    assert not isinstance(down.value, PutOffError)


@pytest.mark.parametrize(
    ("asked", "said"), [((1.99999, 0.165144), "2 s"), ((119.98, 37.2), "120 s"), ((0.5, 0.2), "0.5 s")]
)
def test_the_patience_that_is_quoted_is_the_one_that_was_configured(asked: tuple[float, ...], said: str) -> None:
    """What is left of it for one page of a walk, or for a last try, says nothing to anybody."""
    spent = Spent()
    left = [spent.left(seconds) for seconds in asked][-1]
    assert left == asked[-1]
    with pytest.raises(UnavailableError, match=rf"its patience of {said} is spent"):
        raise patience._given_up(NotSentError("down"), "a page", left)
