"""When what was refused is tried again: pauses that grow with each attempt and never fall together."""

from __future__ import annotations

import random

from outreach_sync.instants import Instant
from outreach_sync.state.outbox import IMPLAUSIBLE_PAUSE_MS

_FIRST_MS = 5 * 60_000
_LONGEST_MS = 24 * 3_600_000


def is_due(next_attempt_at: Instant | None, now: Instant) -> bool:
    """Say whether a pause is over; one that is implausibly long was begun by a wrong clock."""
    return next_attempt_at is None or not now < next_attempt_at <= now + IMPLAUSIBLE_PAUSE_MS


def next_attempt(now: Instant, attempts: int) -> Instant:
    """Return when to try again after `attempts` refusals: 5 minutes, doubling, at most a day, give or take a tenth."""
    pause = min(_FIRST_MS * 2 ** (attempts - 1), _LONGEST_MS)
    return Instant(now + round(pause * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads load, guards no secret
