"""The hourly quota of requests, and every form in which the service has been seen to tell when it ends.

Facts: 10,000 requests an hour for a user; ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` on answers,
``Retry-After`` on 429 and 503. Times come as seconds, epoch seconds, ISO 8601 or HTTP date; Remaining may hold two.
"""

from __future__ import annotations

import threading
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.refusals import json_response

if TYPE_CHECKING:
    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.server import Response

HOURLY = 10_000
_HOUR_MS = 3_600_000

FORMS = ("seconds", "epoch", "iso", "iso_naive", "http_date", "none")
"""The forms of a time in Retry-After and X-RateLimit-Reset; ``none`` leaves the header out."""


class Quota(NamedTuple):
    """What is left: `remaining` after this request (negative: it was one too many), until `reset_at`."""

    limit: int
    remaining: int
    reset_at: Instant


class RateLimit:
    """Counts the requests of the hour. Thread-safe."""

    def __init__(self, clock: SandboxClock, limit: int = HOURLY) -> None:
        """Allow `limit` requests in each hour of the clock."""
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._hour = 0
        self._used = 0

    def use(self) -> Quota:
        """Count one request."""
        with self._lock:
            self._turn()
            self._used += 1
            return Quota(self.limit, self.limit - self._used, Instant((self._hour + 1) * _HOUR_MS))

    def leave(self, remaining: int) -> None:
        """Pretend that so many requests are left in this hour."""
        with self._lock:
            self._turn()
            self._used = self.limit - remaining

    def _turn(self) -> None:
        hour = self._clock.now() // _HOUR_MS
        if hour != self._hour:
            self._hour, self._used = hour, 0


def headers(quota: Quota, now: Instant, *, form: str = "epoch") -> dict[str, str]:
    """Write the quota as answers carry it, when it ends in one of `FORMS`."""
    told = {"X-RateLimit-Limit": str(quota.limit), "X-RateLimit-Remaining": str(max(0, quota.remaining))}
    return told if form == "none" else {**told, "X-RateLimit-Reset": written(quota.reset_at, form, now)}


def two_numbers(quota: Quota, *, swapped: bool = False) -> str:
    """Write what remains with a second, larger number, which comes first if `swapped`."""
    left = max(0, quota.remaining)
    numbers = (left, left + quota.limit)
    return ", ".join(map(str, reversed(numbers) if swapped else numbers))


def written(at: Instant, form: str, now: Instant) -> str:
    """Write a time in one of `FORMS`, rounded up to the second.

    Raises:
        ValueError: there is no such form, or it is ``none``.
    """
    whole = Instant(-(-at // 1000) * 1000)
    if form == "seconds":
        return str(max(0, -(-(at - now) // 1000)))
    if form == "epoch":
        return str(whole // 1000)
    if form == "iso":
        return instants.to_iso(whole)
    if form == "iso_naive":
        return instants.to_iso(whole).removesuffix("Z")
    if form == "http_date":
        return formatdate(whole / 1000, usegmt=True)
    raise ValueError(f"there is no form '{form}' of a time, only {', '.join(FORMS)}")


def refused(quota: Quota, *, until: Instant, form: str, now: Instant) -> Response:
    """Answer 429, telling in the given form how long."""
    again = written(until, "iso_naive", now)
    detail = f"You have exceeded your permitted rate limit of {quota.limit:,}; please try again at {again}."
    error = {"id": "rateLimitExceeded", "title": "Rate Limit Exceeded", "detail": detail}
    response = json_response(429, {"errors": [error]})
    response.headers.update({"X-RateLimit-Limit": str(quota.limit), "X-RateLimit-Remaining": "0"})
    if form != "none":
        response.headers["Retry-After"] = response.headers["X-RateLimit-Reset"] = written(until, form, now)
    return response
