"""What a service says about waiting, in every form its headers are known to take.

Retry-After and X-RateLimit-Reset come as seconds, epoch seconds, ISO 8601 with or without zone, or an HTTP date; the
remaining requests sometimes as two numbers, `9999, 19988`. Absolute times are compared with the answer's own `Date`,
never with the clock of this machine. What makes no sense counts as not said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant, parse_http_date, parse_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBERS = re.compile(r"\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)*", re.ASCII)
_EPOCH_SECONDS = 1_000_000_000
_EPOCH_MILLISECONDS = 1_000_000_000_000
_LONGEST_PAUSE = 366 * 86_400
_TOO_MANY_REQUESTS = 429


class Quota(NamedTuple):
    """The request quota as last told: per hour, what is left, and when it starts anew (by the service's clock)."""

    limit: int | None = None
    remaining: int | None = None
    resets_at: Instant | None = None


def server_time(headers: Mapping[str, str]) -> Instant | None:
    """Read the `Date` header; None where it is missing or no date."""
    try:
        return parse_http_date(headers.get("Date", ""))
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str], status: int, at: Instant | None) -> float | None:
    """Say how many seconds the service asks to wait, None where it does not say, never negative.

    `at` is the answer's `Date`. X-RateLimit-Reset, which every answer has, counts only where the quota stops us.
    """
    seconds = _seconds_until(headers.get("Retry-After", ""), at)
    if seconds is None and status == _TOO_MANY_REQUESTS:
        seconds = _seconds_until(headers.get("X-RateLimit-Reset", ""), at)
    return seconds


def remaining(headers: Mapping[str, str]) -> int | None:
    """Say how many requests are left; of two numbers the smaller, since which is which is not documented."""
    return _smallest(headers.get("X-RateLimit-Remaining", ""))


def quota(headers: Mapping[str, str], at: Instant | None) -> Quota:
    """Read the three X-RateLimit headers of an answer whose `Date` is `at`."""
    seconds = _seconds_until(headers.get("X-RateLimit-Reset", ""), at)
    resets_at = None if seconds is None or at is None else Instant(at + round(seconds * 1000))
    return Quota(_smallest(headers.get("X-RateLimit-Limit", "")), remaining(headers), resets_at)


def _smallest(text: str) -> int | None:
    numbers = _numbers(text)
    return int(min(numbers)) if numbers else None


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")] if _NUMBERS.fullmatch(text.strip()) else []


def _seconds_until(text: str, at: Instant | None) -> float | None:
    numbers = _numbers(text)
    if numbers and max(numbers) < _EPOCH_SECONDS:
        seconds: float | None = max(numbers)
    else:
        moment = _moment(text.strip(), numbers)
        seconds = None if moment is None or at is None else max((moment - at) / 1000, 0.0)
    return seconds if seconds is not None and seconds <= _LONGEST_PAUSE else None


def _moment(text: str, numbers: list[float]) -> Instant | None:
    if numbers:
        number = max(numbers)
        return Instant(round(number if number >= _EPOCH_MILLISECONDS else number * 1000))
    for parse in (parse_iso, parse_http_date):
        try:
            return parse(text)
        except (ValueError, OverflowError):
            continue
    return None
