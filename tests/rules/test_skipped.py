"""What counts as skipped, by the default rule and by any rule."""

from __future__ import annotations

import pytest

from outreach_sync.config.model import Tasks
from outreach_sync.records import Scalar, SourceTask
from outreach_sync.rules.skipped import is_sequence_task, named_attributes, skipping_condition

DONE: dict[str, Scalar] = {"state": "complete", "completed": True, "completedAt": "2026-09-01T10:00:00Z"}
PLAIN = SourceTask(1, 18, None, None, None, "manual", "email", None, None, None, {})


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
    ("actual", "taken"), [(None, True), (7, False), ("7", False)], ids=["nobody", "somebody", "somebody as text"]
)
def test_a_relationship_is_compared_by_its_id(actual: Scalar, taken: bool) -> None:
    rule = [{"completer": None}]
    assert (skipping_condition({"completer": actual}, rule) == 0) is taken


def test_any_of_several_values_suffices() -> None:
    rule = [{"state": ["skipped", None]}]
    assert [skipping_condition({"state": word}, rule) for word in ("skipped", None, "complete")] == [0, 0, None]


@pytest.mark.parametrize(
    ("autoskip", "changed", "position"),
    [
        ("2026-09-01T10:00:00Z", "2026-09-01T10:00:00.000Z", 0), ("2026-09-01T09:59:59Z", "2026-09-01T10:00:00Z", 0),
        ("2026-09-01T12:00:00+02:00", "2026-09-01T10:00:00Z", 0),
        ("2026-09-01T10:00:01Z", "2026-09-01T10:00:00Z", None), (None, "2026-09-01T10:00:00Z", None),
        ("2026-09-01T10:00:00Z", None, None), ("soon", "2026-09-01T10:00:00Z", None),
    ],
)  # fmt: skip
def test_two_times_are_compared_as_times(autoskip: Scalar, changed: Scalar, position: int | None) -> None:
    rule = [{"autoskipAt": {"not_after": "stateChangedAt"}}]
    assert skipping_condition({"autoskipAt": autoskip, "stateChangedAt": changed}, rule) == position


@pytest.mark.parametrize(
    ("task", "belongs"),
    [
        (PLAIN, False), (PLAIN._replace(sequence_id=1), True), (PLAIN._replace(sequence_state_id=1), True),
        (PLAIN._replace(sequence_step_id=1), True), (PLAIN._replace(task_type="sequence_step_call"), True),
        (PLAIN._replace(task_type="sequence_anything_new"), True),
    ],
)  # fmt: skip
def test_a_task_belongs_to_a_sequence_by_any_of_its_marks(task: SourceTask, belongs: bool) -> None:
    assert is_sequence_task(task) is belongs


def test_everything_a_rule_looks_at_is_named_so_that_it_is_asked_for() -> None:
    rule = [{"autoskipAt": {"not_after": "stateChangedAt"}, "completer": None}]
    assert named_attributes(rule) == {"autoskipAt", "stateChangedAt", "completer"}
