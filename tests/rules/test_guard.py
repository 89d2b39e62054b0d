"""The guard stops what exceeds a limit of one of its three numbers, and nothing else."""

from __future__ import annotations

import pytest

from outreach_sync.config.model import Guard
from outreach_sync.rules.watermark import Watched, guard_problems, is_mass_change


@pytest.mark.parametrize(
    ("changes", "known", "stopped"),
    [
        (501, 1000, True),
        (500, 999, False),
        (501, 1002, False),
        (502, 1002, True),
        (10, 10, False),
        (0, 0, False),
        (501, 0, True),
    ],
)
def test_both_the_share_and_the_count_must_be_exceeded(changes: int, known: int, stopped: bool) -> None:
    assert is_mass_change(changes, known, share=0.5, count=500) is stopped


@pytest.mark.parametrize(
    ("updates", "losses", "creations", "linked", "found"),
    [
        (600, 0, 0, 1000, {Watched.UPDATES}),
        (0, 11, 0, 60, {Watched.LOSSES}),
        (60, 60, 0, 60, {Watched.LOSSES}),
        (0, 10, 0, 60, set()),
        (0, 11, 0, 110, set()),
        (0, 0, 501, 0, {Watched.CREATIONS}),
        (0, 0, 500, 0, set()),
        (600, 200, 600, 1000, set(Watched)),
    ],
)
def test_each_number_has_its_own_limit(updates: int, losses: int, creations: int, linked: int, found: set[str]) -> None:
    numbers = dict(zip(Watched, (updates, losses, creations), strict=True))
    assert set(guard_problems(numbers, linked, Guard(), loaded=True)) == found
    assert set(guard_problems(numbers, linked, Guard(), loaded=False)) == found - {Watched.UPDATES}
