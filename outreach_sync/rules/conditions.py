"""The form of `sync.tasks.skipped_when`: conditions, any of which makes a sequence task a skipped one.

Which tasks they match is decided elsewhere; this is only what they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outreach_sync.records import Scalar


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
