"""Whether a task was skipped, by `sync.tasks.skipped_when`: any condition suffices, since there is no mark for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import parse_iso

if TYPE_CHECKING:
    from outreach_sync.records import Scalar, SourceTask

Condition = Mapping[str, Any]
"""Attribute, or to-one relationship (its value is an id), of a task -> what it must be, as it stands in the config.

A value; None for null or absent; a list for any of these; `{"not_after": OTHER}` for a time that is set and not after
the time in the attribute OTHER. All of them must hold.
"""


def named_attributes(conditions: Iterable[Condition]) -> frozenset[str]:
    """Collect every attribute and relationship that conditions look at, all of which have to be asked for."""
    clauses = [clause for condition in conditions for clause in condition.items()]
    others = (wanted["not_after"] for _, wanted in clauses if isinstance(wanted, Mapping))
    return frozenset((*(name for name, _ in clauses), *others))


def is_sequence_task(task: SourceTask) -> bool:
    """Say whether a task belongs to a sequence: by a relationship, or by its type."""
    marks = (task.sequence_id, task.sequence_state_id, task.sequence_step_id)
    return any(mark is not None for mark in marks) or task.task_type.startswith("sequence_")


def skipping_condition(attributes: Mapping[str, Scalar], conditions: Sequence[Condition]) -> int | None:
    """Return the position of the first condition that takes a task as skipped, None where none does."""
    for position, condition in enumerate(conditions):
        if all(_meets(attributes, name, wanted) for name, wanted in condition.items()):
            return position
    return None


def _meets(attributes: Mapping[str, Scalar], name: str, wanted: Any) -> bool:
    """Compare strictly: false is neither null nor 0; ids may be written as text or number."""
    actual = attributes.get(name)
    if isinstance(wanted, Mapping):
        other = attributes.get(wanted["not_after"])
        try:
            return isinstance(actual, str) and isinstance(other, str) and parse_iso(actual) <= parse_iso(other)
        except ValueError:
            return False
    any_of = wanted if isinstance(wanted, list) else [wanted]
    if actual is None or isinstance(actual, bool):
        return any(actual is one for one in any_of)
    return any(str(actual) == str(one) for one in any_of if one is not None and not isinstance(one, bool))
