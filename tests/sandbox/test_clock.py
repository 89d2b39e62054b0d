from __future__ import annotations

from outreach_sync import instants
from outreach_sync.sandbox.clock import SandboxClock

NOON = instants.parse_iso("2026-09-01T12:00:00Z")


def test_the_clock_runs_on_from_where_it_is_set() -> None:
    clock = SandboxClock(NOON)
    assert 0 <= clock.now() - NOON < 2000
    clock.advance(-60_000)
    assert -60_000 <= clock.now() - NOON < -58_000
    clock.set(NOON)
    assert 0 <= clock.now() - NOON < 2000


def test_without_a_start_it_is_real_time() -> None:
    assert abs(SandboxClock().now() - instants.now()) < 1000


def test_the_skew_leaves_the_stamps_alone() -> None:
    clock = SandboxClock(NOON)
    clock.header_skew = -5000
    assert 0 <= clock.now() - NOON < 2000
    assert -5000 <= clock.header_now() - NOON < -3000
