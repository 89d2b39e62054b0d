"""What skipped tasks look like: Outreach documents no mark for them, so every combination of attributes is counted.

The hypotheses are H1 (complete, but never completed), H2 (complete like a done task, but by nobody), H3 (a state that
no list has) and H4 (the task is gone). None can be proved by looking; what is found is evidence, no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import parse_iso
from outreach_sync.rules.conditions import Clause, Equals, NotAfter, plain_condition
from outreach_sync.rules.skipped import is_sequence_task, skipping_condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outreach_sync.records import Scalar, SourceTask
    from outreach_sync.rules.conditions import Condition

DOCUMENTED_STATES = ("pending", "incomplete", "complete")
"""All states of a task in Outreach's published OpenAPI."""

_EXAMPLES = 5
_NEVER_COMPLETED: tuple[Condition, ...] = (
    (Clause("state", Equals("complete")), Clause("completed", Equals(value=False))),
    (Clause("state", Equals("complete")), Clause("completedAt", Equals(None))),
)
_BY_ITSELF: Condition = (
    Clause("state", Equals("complete")),
    Clause("completer", Equals(None)),
    Clause("autoskipAt", NotAfter("stateChangedAt")),
)


class Looks(NamedTuple):
    """How a task looks. `autoskip` is null, due (not after stateChangedAt) or later."""

    in_sequence: bool
    state: str
    completed: Scalar
    completed_at_null: bool
    completer_null: bool
    autoskip: str

    @property
    def never_completed(self) -> bool:
        """Whether it is complete without having been completed (H1)."""
        return self.state == "complete" and (self.completed is False or self.completed_at_null)

    @property
    def by_nobody(self) -> bool:
        """Whether it was completed, by nobody (H2)."""
        return self.state == "complete" and not self.never_completed and self.completer_null


@dataclass(slots=True)
class Counted:
    """How many tasks look alike, how many of them today's rule takes, and some of their ids."""

    count: int = 0
    taken: int = 0
    examples: list[int] = field(default_factory=list)


class Hypothesis(NamedTuple):
    """What was found for one hypothesis, and the conditions that would take it; none: it is not to be recommended."""

    name: str
    tasks: int
    examples: tuple[int, ...]
    says: str
    conditions: tuple[Condition, ...]


def looks_of(task: SourceTask) -> Looks:
    """Say how a task looks."""
    seen = task.attributes
    return Looks(
        is_sequence_task(task),
        str(seen.get("state") or ""),
        seen.get("completed"),
        seen.get("completedAt") is None,
        seen.get("completer") is None,
        _autoskip(seen.get("autoskipAt"), seen.get("stateChangedAt")),
    )


def count_looks(tasks: Iterable[SourceTask], rule: Sequence[Condition]) -> dict[Looks, Counted]:
    """Count every combination, the most frequent first."""
    counted: dict[Looks, Counted] = {}
    for task in tasks:
        looks = looks_of(task)
        one = counted.setdefault(looks, Counted())
        one.count += 1
        one.taken += looks.in_sequence and skipping_condition(task.attributes, rule) is not None
        if len(one.examples) < _EXAMPLES:
            one.examples.append(task.id)
    return dict(sorted(counted.items(), key=lambda item: -item[1].count))


def hypotheses(counted: dict[Looks, Counted]) -> list[Hypothesis]:
    """Judge what the combinations of sequence tasks speak for."""
    ours = {looks: one for looks, one in counted.items() if looks.in_sequence}
    strange = {looks: one for looks, one in ours.items() if looks.state not in DOCUMENTED_STATES}
    early = {looks: one for looks, one in ours.items() if looks.never_completed}
    late = {looks: one for looks, one in ours.items() if looks.by_nobody}
    due = {looks: one for looks, one in late.items() if looks.autoskip == "due"}
    done = any(looks.state == "complete" and not looks.never_completed for looks in counted)
    return [
        _early(early, done=done),
        _hypothesis(
            "H2, by itself", due, _H2_DUE if due else "no task was completed by nobody once due", (_BY_ITSELF,)
        ),
        _hypothesis("H2, other", {one: late[one] for one in late.keys() - due.keys()}, _H2_OTHER, ()),
        _hypothesis("H3", strange, _states(strange), _state_conditions(strange)),
        _hypothesis("H4", {}, _h4(bool(early or late or strange)), ()),
    ]


def _early(early: dict[Looks, Counted], *, done: bool) -> Hypothesis:
    """Judge H1; where no task at all looks done, it is the attribute that is missing, not the doing."""
    if not early:
        return _hypothesis("H1", early, "no task is complete without having been completed", ())
    return _hypothesis("H1", early, _H1 if done else _H1_ALL, _NEVER_COMPLETED if done else ())


_H1 = "complete, but never completed: skipping is the likeliest reason"
_H1_ALL = "every complete task looks never completed: perhaps we are not shown completedAt; do not trust it yet"
_H2_DUE = "completed by nobody, once due to be skipped by itself: likely skipped by itself"
_H2_OTHER = "completed by nobody, for no visible reason: automatic steps look so too; look at the examples first"


def recommended(found: Sequence[Hypothesis], rule: Sequence[Condition]) -> tuple[Condition, ...]:
    """Add to a rule what something speaks for and it lacks; the order of a condition's clauses does not count."""
    there = {frozenset(condition) for condition in rule}
    wanted = (condition for one in found if one.tasks for condition in one.conditions)
    return (*rule, *(condition for condition in wanted if frozenset(condition) not in there))


def probe_document(counted: dict[Looks, Counted], rule: Sequence[Condition]) -> dict[str, Any]:
    """Return what `probe-skips --json` prints, without when it was read."""
    found = hypotheses(counted)
    better = recommended(found, rule)
    return {
        "read": sum(one.count for one in counted.values()),
        "sequence_tasks": sum(one.count for looks, one in counted.items() if looks.in_sequence),
        "taken": sum(one.taken for one in counted.values()),
        "combinations": [_combination(looks, one) for looks, one in counted.items()],
        "hypotheses": [_plain(one) for one in found],
        "rule": [plain_condition(condition) for condition in rule],
        "recommended": [plain_condition(condition) for condition in better],
        "recommendation": _recommendation(better, rule, counted),
    }


def _recommendation(better: Sequence[Condition], rule: Sequence[Condition], counted: dict[Looks, Counted]) -> str:
    taken = sum(one.taken for one in counted.values())
    if len(better) > len(rule):
        return "Look at the examples in Outreach; if they were skipped, set sync.tasks.skipped_when to the rule below."
    if taken:
        return f"Keep the rule: it takes {taken:,} of these tasks, and nothing that it leaves looks skipped."
    return "Nothing looks skipped. Keep the rule, and probe again after somebody skipped a task."


def _autoskip(at: Scalar, changed: Scalar) -> str:
    if not isinstance(at, str):
        return "null"
    try:
        return "due" if isinstance(changed, str) and parse_iso(at) <= parse_iso(changed) else "later"
    except ValueError:
        return "later"


def _hypothesis(name: str, counted: dict[Looks, Counted], says: str, conditions: tuple[Condition, ...]) -> Hypothesis:
    examples = [example for one in counted.values() for example in one.examples]
    return Hypothesis(
        name, sum(one.count for one in counted.values()), tuple(sorted(examples)[:_EXAMPLES]), says, conditions
    )


def _states(strange: dict[Looks, Counted]) -> str:
    words = sorted({looks.state or "(none)" for looks in strange})
    if not words:
        return "no task is in a state that no list has"
    listed = ", ".join(f"'{word}'" for word in words)
    return f"undocumented states: {listed}; a word that says skipped is as good as certain, others are not"


def _state_conditions(strange: dict[Looks, Counted]) -> tuple[Condition, ...]:
    words = sorted({looks.state for looks in strange if "skip" in looks.state.lower()})
    return tuple((Clause("state", Equals(word)),) for word in words)


def _h4(anything_else: bool) -> str:  # noqa: FBT001 - one question
    if anything_else:
        return "tasks that vanish cannot be seen by reading tasks; there is other evidence above"
    return (
        "nothing above speaks for skipped tasks: either none was skipped in this time, or they vanish; then "
        "`sync.tasks.vanished_is_skipped: true` lets `reconcile` notice them"
    )


def _combination(looks: Looks, one: Counted) -> dict[str, Any]:
    return {**looks._asdict(), "count": one.count, "taken": one.taken, "examples": one.examples}


def _plain(one: Hypothesis) -> dict[str, Any]:
    conditions = [plain_condition(condition) for condition in one.conditions] if one.tasks else []
    return {**one._asdict(), "examples": list(one.examples), "conditions": conditions}
