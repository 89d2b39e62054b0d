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
from outreach_sync.insight.check import (
    TASK_ATTRIBUTES,
    TASK_RELATIONSHIPS,
    Check,
    exit_status,
    fail,
    guarded,
    ok,
    warn,
)
from outreach_sync.outreach.rows import Wanted, fields_of
from outreach_sync.records import Stream
from outreach_sync.rules.skipped import DEFAULT_SKIPPED_WHEN, named_attributes
from outreach_sync.sandbox.outreach.schema import RESOURCES

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


def test_the_known_attributes_are_those_of_the_published_reference() -> None:
    task = next(resource for resource in RESOURCES.values() if resource.type == "task")
    assert set(task.attributes) == TASK_ATTRIBUTES
    assert {name for name, one in task.relationships.items() if one.shape == "one"} == TASK_RELATIONSHIPS


def test_nothing_that_is_asked_for_or_in_the_default_rule_is_unknown() -> None:
    assert set(fields_of(Stream.TASKS, Wanted())) <= TASK_ATTRIBUTES | TASK_RELATIONSHIPS
    assert named_attributes(DEFAULT_SKIPPED_WHEN) <= TASK_ATTRIBUTES
