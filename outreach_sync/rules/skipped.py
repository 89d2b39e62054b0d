"""Whether a task was skipped. Outreach documents no marker for it, so what counts is a rule in the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import parse_iso
from outreach_sync.rules.conditions import AnyOf, Equals, NotAfter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.records import Scalar, SourceTask
    from outreach_sync.rules.conditions import Condition, Requirement


def is_sequence_task(task: SourceTask) -> bool:
    """Say whether a task belongs to a sequence: by a relationship, or by its type."""
    return (
        task.sequence_id is not None
        or task.sequence_state_id is not None
        or task.sequence_step_id is not None
        or task.task_type.startswith("sequence_")
    )


def skipping_condition(attributes: Mapping[str, Scalar], conditions: Sequence[Condition]) -> int | None:
    """Return the position of the first condition that takes a task as skipped, None where none does."""
    for position, condition in enumerate(conditions):
        if all(_meets(attributes, clause.name, clause.requirement) for clause in condition):
            return position
    return None


def _meets(attributes: Mapping[str, Scalar], name: str, requirement: Requirement) -> bool:
    actual = attributes.get(name)
    match requirement:
        case Equals(value):
            return _equal(actual, value)
        case AnyOf(values):
            return any(_equal(actual, value) for value in values)
        case NotAfter(other):
            return _not_after(actual, attributes.get(other))


def _equal(actual: Scalar, expected: Scalar) -> bool:
    """Compare strictly: false is neither null nor 0; ids may be written as text or number."""
    if actual is None or expected is None:
        return actual is expected
    if isinstance(actual, bool) or isinstance(expected, bool):
        return actual is expected
    return str(actual) == str(expected)


def _not_after(actual: Scalar, other: Scalar) -> bool:
    try:
        return isinstance(actual, str) and isinstance(other, str) and parse_iso(actual) <= parse_iso(other)
    except ValueError:
        return False
