"""What counts as skipped, by the default rule and by any rule."""

from typing import Any

import pytest

from outreach_sync.config.model import Tasks
from outreach_sync.records import Scalar, SourceTask
from outreach_sync.rules.skipped import is_sequence_task, named_attributes, skipping_condition

DONE: dict[str, Scalar] = {"state": "complete", "completed": True, "completedAt": "2026-09-01T10:00:00Z"}
PLAIN = SourceTask(1, 18, None, None, None, "manual", "email", None, None, None, {})
NOT_LATER = {"autoskipAt": {"not_after": "stateChangedAt"}}
AT = "2026-09-01T10:00:00Z"


@pytest.mark.parametrize(
    ("changes", "position"),
    [
        ({}, None), ({"state": "skipped"}, 0), ({"completed": False}, 1), ({"completedAt": None}, 2),
        ({"state": "incomplete", "completed": False, "completedAt": None}, None),
        ({"state": "pending", "completed": None, "completedAt": None}, None), ({"completed": None}, None),
        ({"completed": 0}, None), ({"state": "Skipped"}, None),
    ],
)  # fmt: skip
def test_the_default_rule(changes: dict[str, Scalar], position: int | None) -> None:
    assert skipping_condition({**DONE, **changes}, Tasks().skipped_when) == position


@pytest.mark.parametrize(
    ("wanted", "actual", "met"),
    [
        (None, None, True), (None, 7, False), (7, "7", True), (7, 8, False), (["skipped", None], "skipped", True),
        (["skipped", None], None, True), (["skipped", None], "None", False), (["None", "True"], True, False),
    ],
)  # fmt: skip
def test_a_value_null_or_any_of_several_is_met_and_an_id_may_be_text(wanted: Any, actual: Any, met: bool) -> None:
    assert (skipping_condition({"completer": actual}, [{"completer": wanted}]) == 0) is met


@pytest.mark.parametrize(
    ("autoskip", "changed", "met"),
    [
        (AT, "2026-09-01T10:00:00.000Z", True), ("2026-09-01T09:59:59Z", AT, True), (None, AT, False),
        ("2026-09-01T12:00:00+02:00", AT, True), ("2026-09-01T10:00:01Z", AT, False), (AT, None, False),
        ("soon", AT, False),
    ],
)  # fmt: skip
def test_two_times_are_compared_as_times(autoskip: Scalar, changed: Scalar, met: bool) -> None:
    assert (skipping_condition({"autoskipAt": autoskip, "stateChangedAt": changed}, [NOT_LATER]) == 0) is met


def test_a_task_belongs_to_a_sequence_by_any_of_its_marks() -> None:
    marks: list[dict[str, Any]] = [{"sequence_id": 1}, {"sequence_state_id": 1}, {"sequence_step_id": 1}]
    marks += [{"task_type": "sequence_step_call"}, {"task_type": "sequence_anything_new"}]
    assert not is_sequence_task(PLAIN)
    assert all(is_sequence_task(PLAIN._replace(**mark)) for mark in marks)


def test_everything_a_rule_looks_at_is_named_so_that_it_is_asked_for() -> None:
    assert named_attributes([{**NOT_LATER, "completer": None}]) == {"autoskipAt", "stateChangedAt", "completer"}
