from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import parse_iso
from outreach_sync.transport.limits import Quota, quota, remaining, retry_after, server_time

AT = parse_iso("2026-09-01T10:00:00Z")
EPOCH = AT // 1000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17),
        ("0", 0),
        ("1.5", 1.5),
        (str(EPOCH + 60), 60),
        (str((EPOCH + 60) * 1000), 60),
        ("2026-09-01T10:01:00Z", 60),
        ("2026-09-01T12:01:00+02:00", 60),
        ("2026-09-01T10:01:00", 60),
        ("2026-09-01T10:01:00.000Z", 60),
        ("Tue, 01 Sep 2026 10:01:00 GMT", 60),
    ],
)
def test_a_form_of_retry_after_is_misread(text: str, seconds: float) -> None:
    assert retry_after({"Retry-After": text}, 429, AT) == seconds


@pytest.mark.parametrize("text", ["2026-09-01T09:00:00Z", "Tue, 01 Sep 2026 09:00:00 GMT", str(EPOCH - 60)])
def test_a_time_that_has_passed_gives_a_negative_pause(text: str) -> None:
    assert retry_after({"Retry-After": text}, 503, AT) == 0


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "nan", "inf", "1e3", "9999-12-31T23:59:59Z", "99999999999999999999", "²"]
)
def test_nonsense_makes_a_pause(text: str) -> None:
    assert retry_after({"Retry-After": text}, 429, AT) is None


def test_an_absolute_time_is_never_compared_with_the_clock_of_this_machine() -> None:
    assert retry_after({"Retry-After": "2026-09-01T10:01:00Z"}, 429, None) is None
    assert retry_after({"Retry-After": "30"}, 429, None) == 30


def test_the_reset_counts_only_where_the_quota_stops_us() -> None:
    headers = {"X-RateLimit-Reset": str(EPOCH + 60)}
    assert retry_after(headers, 429, AT) == 60
    assert retry_after(headers, 503, AT) is None  # when the quota starts anew says nothing of an outage
    assert retry_after(headers, 500, AT) is None


def test_nonsense_in_retry_after_hides_no_sensible_reset() -> None:
    assert retry_after({"Retry-After": "later", "X-RateLimit-Reset": "20"}, 429, AT) == 20


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("9999", 9999),
        ("9999, 19988", 9999),
        ("19988,9999", 9999),
        ("0", 0),
        ("", None),
        ("many", None),
        ("-1", None),
        ("1, x", None),
    ],
)
def test_two_numbers_in_remaining_crash_or_the_larger_wins(text: str, left: int | None) -> None:
    assert remaining({"X-RateLimit-Remaining": text}) == left


def test_the_quota_is_not_told_as_it_was() -> None:
    headers = {"X-RateLimit-Limit": "10000", "X-RateLimit-Remaining": "9987, 19974", "X-RateLimit-Reset": "1800"}
    assert quota(headers, AT) == Quota(10000, 9987, parse_iso("2026-09-01T10:30:00Z"))
    assert quota({}, AT) == Quota(None, None, None)


def test_a_missing_or_senseless_date_raises() -> None:
    assert server_time({"Date": "Tue, 01 Sep 2026 10:00:00 GMT"}) == AT
    assert server_time({}) is None
    assert server_time({"Date": "yesterday"}) is None


@given(st.text(), st.one_of(st.none(), st.integers(0, 4_102_444_800_000)))
def test_some_header_text_raises_or_gives_a_negative_pause(text: str, at: int | None) -> None:
    headers = {"Retry-After": text, "X-RateLimit-Reset": text, "X-RateLimit-Remaining": text, "Date": text}
    seconds = retry_after(headers, 429, at)  # type: ignore[arg-type]
    assert seconds is None or seconds >= 0
    assert (remaining(headers) or 0) >= 0
    server_time(headers)
