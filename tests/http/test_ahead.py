"""What is begun early must come back whole: results, failures, order."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from outreach_sync.http import ahead, early

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_call_waits_until_its_result_is_asked_for() -> None:
    begun = threading.Event()
    ahead(begun.set, name="test")
    assert begun.wait(5)


def test_a_failure_ahead_is_lost() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ahead(fail, name="test").result()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_taking_items_early_loses_or_reorders_them(count: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for one in range(4):
            taken.append(one)
            yield one

    for place, one in enumerate(early(items(), count)):
        assert one == place
        assert len(taken) == min(place + 1 + count, 4)
