"""What a service says about waiting, and how long it is waited for."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync import errors, http
from outreach_sync.http import MaybeSentError, NotSentError, Patience, Quota, quota, retry_after
from outreach_sync.instants import parse_http_date, parse_iso

AT = parse_iso("2026-09-01T10:00:00Z")
EPOCH = AT // 1000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17), ("0", 0), ("0\x1f", 0), ("\x1c 1.5 \x0b", 1.5), ("9, 17", 17), (str(EPOCH + 60), 60),
        (str((EPOCH + 60) * 1000), 60), ("2026-09-01T10:01:00Z", 60), ("2026-09-01t10:01:00z", 60),
        ("2026-09-01T12:01:00+02:00", 60), ("2026-09-01T10:01:00", 60), ("2026-09-01T10:01:00.000Z", 60),
        ("Tue, 01 Sep 2026 10:01:00 GMT", 60), ("2026-09-01T09:00:00Z", 0),
        ("Tue, 01 Sep 2026 09:00:00 GMT", 0), (str(EPOCH - 60), 0), ("0001-01-01T00:00:00+14:00", 0),
    ],
)  # fmt: skip
def test_each_form_of_retry_after_is_read(text: str, seconds: float) -> None:
    assert retry_after({"Retry-After": text}, 429, AT) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "nan", "inf", "1e3", "9999-12-31T23:59:59Z", "9" * 20, "9" * 5000, "²", "٣", "1_000"]
)
def test_nonsense_counts_as_nothing_said(text: str) -> None:
    assert retry_after({"Retry-After": text}, 429, AT) is None
    assert retry_after({"Retry-After": text, "X-RateLimit-Reset": "20"}, 429, AT) == 20
    assert quota({"X-RateLimit-Remaining": text, "X-RateLimit-Limit": text}, AT) == Quota()


def test_the_reset_counts_only_where_the_quota_stops_us() -> None:
    headers = {"X-RateLimit-Reset": str(EPOCH + 60)}
    assert [retry_after(headers, status, AT) for status in (429, 503, 500)] == [60, None, None]


@pytest.mark.parametrize(
    ("text", "left"),
    [("9999", 9999), ("9999, 19988", 9999), ("19988,9999", 9999), ("0", 0), ("-1", None), ("1, x", None)],
)
def test_of_two_numbers_of_requests_left_the_smaller_counts(text: str, left: int | None) -> None:
    assert quota({"X-RateLimit-Remaining": text}, AT).remaining == left


@given(st.text() | st.from_regex(r"\s*[0-9., ]{1,40}\s*"), st.none() | st.integers(0, 4_102_444_800_000))
def test_no_header_raises_or_gives_a_negative_pause(text: str, at: Any) -> None:
    headers = dict.fromkeys(("Retry-After", "X-RateLimit-Reset", "X-RateLimit-Remaining", "Date"), text)
    seconds = retry_after(headers, 429, at)
    assert seconds is None or 0 <= seconds <= 366 * 86_400
    assert (quota(headers, at).remaining or 0) >= 0
    http.moment(text, parse_http_date)


class Flaky:
    """Takes `lasting` seconds and fails with each of `failures`, then returns 42; keeps the seconds it was given."""

    def __init__(self, fake: Any, *failures: Exception, lasting: float = 0.0) -> None:
        self.fake = fake
        self.failures = list(failures)
        self.lasting = lasting
        self.given: list[float] = []

    def __call__(self, left: float) -> int:
        self.given.append(left)
        if self.failures:
            self.fake.now += min(self.lasting, left)
            raise self.failures.pop(0)
        return 42


def test_what_may_pass_is_tried_again_with_growing_pauses_and_noted(fake: Any) -> None:
    notes: list[http.RetryNote] = []
    call = Flaky(fake, NotSentError("refused"), http.BusyError("busy", status=502), MaybeSentError("cut"))
    assert Patience(60, fake, on_retry=notes.append).ask("reading", call) == 42
    assert {note.what for note in notes} == {"reading"}
    assert [(note.attempt, note.why) for note in notes] == [(1, "refused"), (2, "busy"), (3, "cut")]
    first, second, third = fake.pauses
    assert 0.5 <= first <= 1 <= second <= 1.5
    assert 2 <= third <= 2.5
    assert call.given == pytest.approx([60, 60 - first, 60 - first - second, 1060 - fake.now])


@pytest.mark.parametrize(
    ("failure", "given_up"),
    [
        (NotSentError("it is down"), errors.UnavailableError),
        (MaybeSentError("it is down"), errors.UnavailableError),
        (http.BusyError("it is down", status=500), errors.UnavailableError),
        (http.ThrottledError("it is down"), errors.QuotaSpentError),
        (http.GarbledError("it is down"), errors.UntrustedAnswerError),
    ],
)
def test_giving_up_says_why_and_within_patience(
    fake: Any, failure: http.RetriableError, given_up: type[Exception]
) -> None:
    with pytest.raises(given_up, match=r"reading: it is down \(its patience of 5 s is spent\)") as raised:
        Patience(5, fake).ask("reading", Flaky(fake, *[failure] * 500))
    assert type(raised.value) is given_up
    assert raised.value.__cause__ is None
    assert fake.now <= 1005


def test_attempts_that_hang_count_as_patience_for_all_requests_together(fake: Any) -> None:
    asked, call = Patience(4, fake), Flaky(fake, *[MaybeSentError("too slow", timed_out=True)] * 99, lasting=60)
    for _ in range(4):
        with pytest.raises(errors.UnavailableError, match="patience of 4 s"):
            asked.ask("reading", call)
    assert call.given == [4, 0.5, 0.5, 0.5]
    assert fake.now == 1005.5


def test_a_service_that_answers_again_has_all_of_the_patience_again(fake: Any) -> None:
    asked = Patience(120, fake)
    with pytest.raises(errors.UnavailableError):
        asked.ask("looking briefly", Flaky(fake, *[NotSentError("down")] * 99), at_most=10)
    assert asked.left() > 109, "a brief try spends no more than it took"
    with pytest.raises(errors.UnavailableError):
        asked.ask("reading", Flaky(fake, *[NotSentError("down")] * 99))
    assert asked.left() == 10
    assert asked.ask("reading", Flaky(fake)) == 42
    assert asked.left() == 120


def test_an_attempt_within_an_attempt_is_counted_once(fake: Any) -> None:
    asked, inner, lost = Patience(100, fake), Flaky(fake, MaybeSentError("slow"), lasting=30), (MaybeSentError,)
    with pytest.raises(MaybeSentError):
        asked.ask("a page", lambda _: asked.ask("a token", inner, final=lost), final=lost)
    assert asked.left() == 70


def test_a_bug_and_a_final_failure_are_raised_as_they_are_and_the_failure_counts(fake: Any) -> None:
    asked, call = Patience(100, fake), Flaky(fake, NotSentError("down"), MaybeSentError("lost"), lasting=30)
    with pytest.raises(MaybeSentError, match=r"^lost$"):
        asked.ask("writing", call, final=(MaybeSentError,))
    assert len(call.given) == 2
    assert asked.left() == pytest.approx(1100 - fake.now)
    bug = Flaky(fake, ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        asked.ask("reading", bug)
    assert len(bug.given) == 1


def test_a_short_pause_that_is_asked_for_is_kept_and_a_long_one_ends_it_at_once(fake: Any) -> None:
    assert Patience(60, fake).ask("reading", Flaky(fake, http.ThrottledError("slow down", asked_seconds=20))) == 42
    assert fake.pauses == [20]
    with pytest.raises(errors.QuotaSpentError, match="asks to wait 3600 s"):
        Patience(60, fake).ask("reading", Flaky(fake, http.ThrottledError("slow down", asked_seconds=3600)))
    with pytest.raises(errors.PutOffError):
        Patience(60, fake).ask("reading", Flaky(fake, http.BusyError("maintenance", status=503, asked_seconds=3600)))
    assert fake.pauses == [20]


def test_a_request_to_stop_ends_a_pause_and_begins_no_request(fake: Any) -> None:
    def stopped(_: float) -> int:
        fake.set(15)
        raise NotSentError("down")

    with pytest.raises(errors.InterruptedByError):
        Patience(60, fake).ask("reading", stopped)
    call = Flaky(fake)
    with pytest.raises(errors.InterruptedByError):
        Patience(60, fake).ask("reading", call)
    assert call.given == []


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_items_are_taken_early_whole_and_in_order(count: int) -> None:
    taken: list[int] = []
    items = (taken.append(one) or one for one in range(4))  # type: ignore[func-returns-value]
    for place, one in enumerate(http.early(items, count)):
        assert one == place
        assert len(taken) == min(place + 1 + count, 4)
