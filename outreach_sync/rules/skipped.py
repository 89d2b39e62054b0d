"""Whether a task was skipped. Outreach documents no marker for it, so what counts is a rule in the config."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import parse_iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.records import Scalar, SourceTask


class NotAfter(NamedTuple):
    """Demands a time that is set and not after the time in another attribute."""

    other: str


Expected = str | int | float | bool | None | tuple[str | int | float | bool | None, ...] | NotAfter
"""What one attribute must be: a value (None: absent or null), any of several, or a comparison of times."""

Condition = dict[str, Expected]
"""Attribute or to-one relationship -> what it must be; all must hold."""


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
        if all(_holds(attributes, name, expected) for name, expected in condition.items()):
            return position
    return None


def named_attributes(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return every attribute or relationship that a rule names: all of them must be asked for."""
    names: dict[str, None] = {}
    for condition in conditions:
        for name, expected in condition.items():
            names[name] = None
            if isinstance(expected, NotAfter):
                names[expected.other] = None
    return tuple(names)


def _holds(attributes: Mapping[str, Scalar], name: str, expected: Expected) -> bool:
    actual = attributes.get(name)
    if isinstance(expected, NotAfter):
        return _not_after(actual, attributes.get(expected.other))
    if isinstance(expected, tuple):
        return any(_equal(actual, one) for one in expected)
    return _equal(actual, expected)


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
