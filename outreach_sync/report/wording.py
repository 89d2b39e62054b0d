"""Numbers and times as the report words them. All times are UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import to_date, to_datetime, to_iso
from outreach_sync.report.markup import element

if TYPE_CHECKING:
    from outreach_sync.instants import Instant
    from outreach_sync.report.markup import Markup

_SPANS = ((86_400_000, "day", "days"), (3_600_000, "hour", "hours"), (60_000, "min", "min"))
_SECOND_MS = 1_000
_MINUTE_MS = 60_000
_MINUTE_S = 60
_TENTHS_BELOW_MS = 10_000


def number(count: int) -> str:
    """Write 12345 as `12,345`."""
    return f"{count:,}"


def counted(count: int, one: str, many: str) -> str:
    """Write `1 run` or `2 runs`."""
    return f"{count:,} {one if count == 1 else many}"


def share(part: int, whole: int) -> str:
    """Write a part of a whole in percent; what is there at all is never `0%`."""
    return "<1%" if 0 < part * 200 < whole else f"{part / (whole or 1):.0%}"


def change(count: int) -> str:
    """Write a difference with its sign, a real minus for less."""
    return "no change" if count == 0 else f"{'+' if count > 0 else '−'}{abs(count):,}"  # noqa: RUF001 - meant


def duration(span_ms: int) -> str:
    """Write a duration as `340 ms`, `4.2 s`, `42 s` or `3 min 20 s`."""
    if span_ms < _SECOND_MS:
        return f"{span_ms} ms"
    if span_ms < _TENTHS_BELOW_MS:
        return f"{span_ms / _SECOND_MS:.1f} s"
    seconds = round(span_ms / _SECOND_MS)
    return f"{seconds} s" if seconds < _MINUTE_S else f"{seconds // 60} min {seconds % 60} s"


def age(span_ms: int) -> str:
    """Write how long ago something was, by the largest unit of which there are two; the future is `just now`."""
    for size, one, many in _SPANS:
        if span_ms >= 2 * size or (span_ms >= size and size == _MINUTE_MS):
            return f"{counted(span_ms // size, one, many)} ago"
    return "just now"


def moment(at: Instant) -> Markup:
    """Write a time as `2026-09-01 10:15`, machine-readable."""
    return element("time", f"{to_datetime(at):%Y-%m-%d %H:%M}", datetime=to_iso(at))


def day(at: Instant) -> Markup:
    """Write a day as `2026-09-01`, machine-readable."""
    return element("time", to_date(at), datetime=to_date(at))


def short_day(at: Instant) -> str:
    """Write a day as `1 Sep`."""
    return f"{to_datetime(at).day} {to_datetime(at):%b}"
