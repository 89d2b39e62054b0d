from __future__ import annotations

import pytest

from outreach_sync.config.model import Tasks
from outreach_sync.errors import (
    ConfigError,
    InterruptedByError,
    LockHeldError,
    NotAllowedError,
    OutreachSyncError,
    StateError,
    UnavailableError,
)
from outreach_sync.insight.check import TASK_FIELDS, Check, exit_status, looking
from outreach_sync.outreach.rows import Wanted, fields_of
from outreach_sync.records import Stream
from outreach_sync.rules.skipped import named_attributes
from outreach_sync.sandbox.outreach.schema import RESOURCES


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
    with looking("it") as found:
        raise error
    assert exit_status(found) == expected


def test_a_request_to_stop_is_no_finding() -> None:
    with pytest.raises(InterruptedByError), looking("it"):
        raise InterruptedByError(15)


def test_warnings_end_with_0_and_the_nearest_cause_wins() -> None:
    fine, warning, failure = (Check("it", status, "") for status in ("ok", "warn", "fail"))
    assert exit_status([warning, fine]) == 0
    assert exit_status([failure._replace(exit_status=4), failure, warning]) == 3


def test_the_known_attributes_are_those_of_the_published_reference() -> None:
    task = next(resource for resource in RESOURCES.values() if resource.type == "task")
    to_one = {name for name, one in task.relationships.items() if one.shape == "one"}
    assert task.attributes.keys() | to_one == TASK_FIELDS


def test_nothing_that_is_asked_for_or_in_the_default_rule_is_unknown() -> None:
    assert set(fields_of(Stream.TASKS, Wanted())) <= TASK_FIELDS
    assert named_attributes(Tasks().skipped_when) <= TASK_FIELDS
