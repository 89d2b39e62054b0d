"""Points in time as whole milliseconds since 1970-01-01T00:00:00Z, and the forms they come and go in.

An integer has no zone to get wrong and holds all that Outreach (milliseconds) and Workbooks (seconds) say.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, NewType

Instant = NewType("Instant", int)  # Whole milliseconds since the epoch, UTC.
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# A hundred years: no span of ours is longer, so that sums of a few stay within the years that a date can have.
LONGEST_MS = 36_525 * 86_400_000
# The times that somebody may name: from 1900 up to, and not including, 3000.
EARLIEST, LATEST = Instant(-2_208_988_800_000), Instant(32_503_680_000_000)


class Back(NamedTuple):
    """So many milliseconds before the server's clock."""

    ms: int


def now() -> Instant:
    """Say what this machine's clock reads. Only for pauses and records of our own doings, never for bounds."""
    return Instant(time.time_ns() // 1_000_000)


def from_datetime(moment: datetime) -> Instant:
    """Convert an aware datetime; a naive one is taken as UTC, which is what both services mean by it."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Instant(round(aware.timestamp() * 1000))


def to_datetime(instant: Instant) -> datetime:
    """Convert to an aware UTC datetime."""
    return datetime.fromtimestamp(instant / 1000, tz=UTC)


def parse_iso(text: str) -> Instant:
    """Parse ISO 8601 with or without zone (none: UTC); a ValueError says that it is none."""
    return from_datetime(datetime.fromisoformat(text))


def parse_http_date(text: str) -> Instant:
    """Parse an HTTP date such as ``Tue, 01 Sep 2026 10:15:03 GMT``; a ValueError says that it is none."""
    try:
        return from_datetime(parsedate_to_datetime(text))
    except (OverflowError, TypeError, IndexError) as error:  # the standard library fails in several ways
        raise ValueError("is not an HTTP date") from error


def to_iso(instant: Instant) -> str:
    """Write as ``2026-09-01T10:15:03Z``, with milliseconds only where there are any."""
    timespec = "milliseconds" if instant % 1000 else "seconds"
    return datetime.fromtimestamp(instant / 1000, tz=UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def to_date(instant: Instant) -> str:
    """Write the UTC day as ``2026-09-01``."""
    return to_iso(instant)[:10]


def parse_duration(text: str) -> int:
    """Parse ``90d``, ``10m``, ``1h30m``, ``250ms`` into milliseconds; a ValueError says why it cannot."""
    compact = text.strip().lower()
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise ValueError("is not a duration such as 10m, 24h or 90d")
    span = sum(float(amount) * _UNIT_MS[unit] for amount, unit in parts)
    if span > LONGEST_MS:
        raise ValueError("is longer than a hundred years")
    return round(span)


def parse_since(text: str) -> Back | Instant:
    """Parse what somebody names as a beginning: a time as `parse_iso` reads it, or a duration back; or a ValueError."""
    try:
        moment = parse_iso(text.strip())
    except ValueError:
        if not _DURATION.search(text.lower()):
            raise ValueError("is neither a time nor a duration") from None
        return Back(parse_duration(text))
    if not EARLIEST <= moment < LATEST:
        raise ValueError("is before 1900 or after 2999")
    return moment


def ago(span_ms: int) -> str:
    """Write a span as `40 s`, `12 min`, `3 h` or `5 days`; one that is not over is `0 s`."""
    seconds = max(span_ms, 0) // 1000
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
