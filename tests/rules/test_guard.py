"""The guard stops what exceeds both limits, and nothing else."""

from __future__ import annotations

import pytest

from outreach_sync.rules.guard import stops


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
    assert stops(changes, known, share=0.5, count=500) is stopped
