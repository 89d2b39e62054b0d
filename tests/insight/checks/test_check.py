from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.errors import (
    ConfigError,
    InterruptedByError,
    LockHeldError,
    NotAllowedError,
    OutreachSyncError,
    StateError,
    UnavailableError,
)
from outreach_sync.insight.checks.check import Check, exit_status, fail, guarded, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("wrong", problems=("line 3",)), 2),
        (StateError("damaged"), 2),
        (NotAllowedError("no"), 3),
        (UnavailableError("down"), 4),
        (LockHeldError("busy"), 0),
    ],
)
def test_each_error_becomes_a_check_and_ends_the_command_as_it_should(error: OutreachSyncError, expected: int) -> None:
    def look() -> Iterator[Check]:
        yield ok("before", "")
        raise error

    checks = list(guarded("it", look))
    assert [one.name for one in checks] == ["before", "it"]
    assert exit_status(checks) == expected


def test_a_request_to_stop_is_no_finding() -> None:
    def look() -> Iterator[Check]:
        yield ok("before", "")
        raise InterruptedByError(15)

    with pytest.raises(InterruptedByError):
        list(guarded("it", look))


def test_warnings_end_with_0_and_the_nearest_cause_wins() -> None:
    assert exit_status([warn("a", ""), ok("b", "")]) == 0
    assert exit_status([fail("a", "", exit_status=4), fail("b", ""), warn("c", "")]) == 3
