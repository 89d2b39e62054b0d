"""Whether a task was skipped, by the rule in `sync.tasks.skipped_when`: Outreach documents no mark for it.

The rule is a list of conditions, any of which suffices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import parse_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.records import Scalar, SourceTask


class Equals(NamedTuple):
    """The attribute has this value; None: it is null or absent."""

    value: Scalar


class AnyOf(NamedTuple):
    """The attribute has one of these values; None among them: or it is null or absent."""

    values: tuple[Scalar, ...]


class NotAfter(NamedTuple):
    """The attribute is a time that is set and is not after the time in the attribute `other`."""

    other: str


Requirement = Equals | AnyOf | NotAfter


class Clause(NamedTuple):
    """What one attribute, or to-one relationship (its value is an id), of a task must be."""

    name: str
    requirement: Requirement


Condition = tuple[Clause, ...]
"""All clauses must hold."""

DEFAULT_SKIPPED_WHEN: tuple[Condition, ...] = (
    (Clause("state", Equals("skipped")),),
    (Clause("state", Equals("complete")), Clause("completed", Equals(value=False))),
    (Clause("state", Equals("complete")), Clause("completedAt", Equals(None))),
)
"""Outreach's public API has no mark for a skipped task; these are the forms a skip most likely takes."""


def named_attributes(conditions: Iterable[Condition]) -> frozenset[str]:
    """Collect every attribute and relationship that conditions look at, all of which have to be asked for."""
    clauses = [clause for condition in conditions for clause in condition]
    others = (clause.requirement.other for clause in clauses if isinstance(clause.requirement, NotAfter))
    return frozenset({clause.name for clause in clauses} | set(others))


def plain_condition(condition: Condition) -> dict[str, Any]:
    """Write a condition as it stands in the config file."""
    return {clause.name: _plain(clause.requirement) for clause in condition}


def _plain(requirement: Requirement) -> Any:
    match requirement:
        case Equals(value):
            return value
        case AnyOf(values):
            return list(values)
        case NotAfter(other):
            return {"not_after": other}


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
