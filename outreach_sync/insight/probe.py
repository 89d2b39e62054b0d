"""What skips look like in this account: the page on which the three witnesses of a skip are held against each other.

An event `skip_task` is Outreach's own word. What the task looks like after a skip is documented nowhere, so the rule on
its attributes and its absence are guesses; here they are compared with the events, task by task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import NotAllowedError
from outreach_sync.insight.status import iso
from outreach_sync.instants import Instant, to_iso
from outreach_sync.records import Event, Stream
from outreach_sync.rules.skipped import (
    Condition,
    is_sequence_task,
    skipping_condition,
)
from outreach_sync.store.progress import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.outreach.client import EventNames, Outreach
    from outreach_sync.records import Scalar, SourceTask

_EXAMPLES = 5
_NAME_REQUESTS = 10
"""Requests for the count of all events by name: the stream is by far too large to be read whole."""

_DUE = {"autoskipAt": {"not_after": "stateChangedAt"}}
_NEVER_COMPLETED: tuple[Condition, ...] = (
    {"state": "complete", "completed": False},
    {"state": "complete", "completedAt": None},
)
_BY_NOBODY: tuple[Condition, ...] = ({"state": "complete", "completer": None, **_DUE},)
"""What a skipped task may look like by its attributes: never completed, or completed by nobody once due."""


class Looks(NamedTuple):
    """How a task looks. `autoskip` is null, due (not after stateChangedAt) or later."""

    in_sequence: bool
    state: str
    completed: Scalar
    completed_at_null: bool
    completer_null: bool
    autoskip: str


@dataclass(slots=True)
class Evidence:
    """Everything that was read.

    Attributes:
        problem: why events could not be read.
        names: the events of the time by their names.
        skips: the first event of each task that one names.
        without_task: how many events name none.
        tasks: those that changed and those that events name, by id.
        taken: those of them that the rule takes.
        left_behind: tasks that the local database holds as open although their sequence went on.
        vanished: those of them that are gone.
    """

    problem: str = ""
    names: EventNames | None = None
    skips: dict[int, Event] = field(default_factory=dict)
    without_task: int = 0
    tasks: dict[int, SourceTask] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    left_behind: list[int] = field(default_factory=list)
    vanished: set[int] = field(default_factory=set)

    def is_ours(self, task_id: int) -> bool:
        """Say whether a skipped task belongs to a sequence; of one that is gone, the event says it."""
        task, event = self.tasks.get(task_id), self.skips[task_id]
        if task is not None:
            return is_sequence_task(task)
        return event.sequence_id is not None or event.sequence_step_id is not None


def probe(
    source: Outreach, since: Instant, days: int, config: Config, open_tasks: Sequence[SourceTask]
) -> dict[str, Any]:
    """Read the events and tasks since then, and return what `probe-skips --json` prints.

    Args:
        source: must ask for the steps of states.
        since: from when on to read.
        days: how many days that is.
        config: the config with the rule.
        open_tasks: tasks that were open when they were last read.

    Raises:
        ServiceError: Outreach is not available.
        NotAllowedError: tasks may not be read.
    """
    found, rule = _collected(source, since, config, open_tasks), config.sync.tasks.skipped_when
    looks: dict[Looks, list[int]] = {}
    for task in found.tasks.values():
        looks.setdefault(_looks(task), []).append(task.id)
    lacking = [one for one in _lacking(found) if frozenset(one) not in set(map(frozenset, rule))]
    return {
        "days": days,
        "since": to_iso(since),
        "events": _events(found, config),
        "read": len(found.tasks),
        "sequence_tasks": sum(map(is_sequence_task, found.tasks.values())),
        "taken": len(found.taken),
        "skips": [_skip(found, task_id, event) for task_id, event in found.skips.items()],
        "combinations": [
            {
                **one._asdict(),
                "count": len(ids),
                "taken": len(found.taken.intersection(ids)),
                "skipped": len(found.skips.keys() & ids),
                "examples": ids[:_EXAMPLES],
            }
            for one, ids in sorted(looks.items(), key=lambda item: -len(item[1]))
        ],
        "absence": {
            "asked_for": len(found.left_behind),
            "gone": len(found.vanished),
            "gone_without_event": len(found.vanished - found.skips.keys()),
            "examples": sorted(found.vanished)[:_EXAMPLES],
        },
        "disagreements": list(_disagreements(found)),
        "rule": list(rule),
        "recommended": [*rule, *lacking],
        "recommendations": list(_recommendations(found, config, lacking=bool(lacking))),
    }


def _collected(source: Outreach, since: Instant, config: Config, open_tasks: Sequence[SourceTask]) -> Evidence:
    """Read events and tasks, the tasks that events name, and those whose sequence went on without them."""
    found = Evidence()
    try:
        found.names = source.event_names(since, requests=_NAME_REQUESTS)
        for page in source.pages(Stream.EVENTS, source.first_url(Stream.EVENTS, since)):
            for event in page.events:
                if event.name in config.sync.tasks.skip_events and event.task_id is None:
                    found.without_task += 1
                elif event.name in config.sync.tasks.skip_events:
                    found.skips.setdefault(event.task_id or 0, event)
    except NotAllowedError as refusal:
        found.problem = str(refusal)
    for page in source.pages(Stream.TASKS, source.first_url(Stream.TASKS, since)):
        found.tasks |= {task.id: task for task in page.tasks}
    found.left_behind = _left_behind(source, open_tasks)
    asked = sorted({*found.skips, *found.left_behind} - found.tasks.keys())
    by_id = {task.id: task for page in source.by_id(Stream.TASKS, asked) for task in page.tasks} if asked else {}
    found.vanished = set(found.left_behind) - found.tasks.keys() - by_id.keys()
    found.tasks |= {one: by_id[one] for one in found.skips if one in by_id}
    found.taken = {
        task.id
        for task in found.tasks.values()
        if is_sequence_task(task) and skipping_condition(task.attributes, config.sync.tasks.skipped_when) is not None
    }
    return found


def _left_behind(source: Outreach, open_tasks: Sequence[SourceTask]) -> list[int]:
    """Return those of which the sequence state is there, has not ended and is at another step now."""
    ids = sorted({task.sequence_state_id for task in open_tasks if task.sequence_state_id is not None})
    steps = {
        state.id: state.sequence_step_id
        for page in (source.by_id(Stream.SEQUENCE_STATES, ids) if ids else ())
        for state in page.states
        if state.state not in ENDED and state.replied_at is None and state.sequence_step_id is not None
    }
    return [
        task.id
        for task in open_tasks
        if (step := steps.get(task.sequence_state_id or 0)) is not None
        and str(task.attributes.get("sequenceStep")) != str(step)
    ]


def _events(found: Evidence, config: Config) -> dict[str, Any]:
    names = found.names
    by_count = [] if names is None else sorted(names.counts.items(), key=lambda one: (-one[1], one[0]))
    return {
        "problem": found.problem or None,
        "read": 0 if names is None else names.read,
        "complete": names is not None and names.complete,
        "names": [
            {
                "name": name,
                "count": count,
                "means_skipped": name in config.sync.tasks.skip_events,
                "examples": [event.id for event in (names.examples.get(name, ()) if names is not None else ())],
            }
            for name, count in by_count
        ],
        "skips": len(found.skips) + found.without_task,
        "skips_without_task": found.without_task,
    }


def _skip(found: Evidence, task_id: int, event: Event) -> dict[str, Any]:
    """Say of a skip what its task looks like, and what the other witnesses say of it."""
    task = found.tasks.get(task_id)
    seen: Mapping[str, Scalar] = {} if task is None else task.attributes
    return {
        "event_id": event.id,
        "at": iso(event.at),
        "task_id": task_id,
        "prospect_id": event.prospect_id,
        "gone": task is None,
        "in_sequence": found.is_ours(task_id),
        **{name: seen.get(name) for name in ("state", "completed", "completer")},
        "rule_takes_it": task_id in found.taken,
        "absence_takes_it": task_id in found.vanished,
    }


def _looks(task: SourceTask) -> Looks:
    seen = task.attributes
    due = "due" if skipping_condition(seen, [_DUE]) is not None else "later"
    return Looks(
        is_sequence_task(task),
        str(seen.get("state") or ""),
        seen.get("completed"),
        seen.get("completedAt") is None,
        seen.get("completer") is None,
        due if isinstance(seen.get("autoskipAt"), str) else "null",
    )


def _disagreements(found: Evidence) -> Iterator[dict[str, Any]]:
    """Say where one witness tells of a skip that another one does not know of; without events there is one witness."""
    if found.problem:
        return
    ours = {one for one in found.skips if found.is_ours(one)}
    pairs = (
        ("an event says skipped, the rule does not", ours & found.tasks.keys() - found.taken),
        ("an event says skipped, and the task is gone", ours - found.tasks.keys()),
        ("the rule says skipped, no event does", found.taken - found.skips.keys()),
        ("its absence says skipped, no event does", found.vanished - found.skips.keys()),
    )
    for says, tasks in pairs:
        if tasks:
            yield {"says": says, "tasks": len(tasks), "examples": sorted(tasks)[:_EXAMPLES]}


def _lacking(found: Evidence) -> Iterator[Condition]:
    """Yield conditions that would take what is likely skipped and the rule leaves.

    Where events tell, a condition must take a skipped task and no other; else what looks like a skip is all there is.
    """
    ours = [task for task in found.tasks.values() if is_sequence_task(task) and task.id not in found.taken]
    words = {str(task.attributes.get("state")) for task in ours}
    any_done = any(task.attributes.get("completedAt") is not None for task in found.tasks.values())
    guesses = [
        *([_NEVER_COMPLETED] if any_done else []),
        _BY_NOBODY,
        *(({"state": word},) for word in sorted(words) if "skip" in word.lower()),
    ]
    for guess in guesses:
        matching = {task.id for task in ours if skipping_condition(task.attributes, guess) is not None}
        if matching and (found.problem or not found.skips or matching <= found.skips.keys()):
            yield from guess


def _recommendations(found: Evidence, config: Config, *, lacking: bool) -> Iterator[str]:
    tasks = config.sync.tasks
    if found.problem:
        yield f"Events could not be read, and they are the best witness there is: {found.problem}"
    names = () if found.names is None else found.names.counts
    others = sorted(name for name in names if "skip" in name and name not in tasks.skip_events)
    if others:
        yield f"Other events speak of skips: {', '.join(others)}. Look at them, and add them to sync.tasks.skip_events."
    if lacking:
        yield "Look at the examples in Outreach; if they were skipped, set sync.tasks.skipped_when to the rule below."
    only_rule = found.taken - found.skips.keys()
    if not found.problem and found.skips and not only_rule and Stream.TASKS in config.sync.streams:
        yield (
            f"Events suffice: each of the {len(found.skips):,} skips has one, and the rule finds no other. Leave "
            f"`tasks` out of sync.streams, and each run asks one request less."
        )
    elif not found.problem and only_rule:
        yield (
            f"Keep `tasks` in sync.streams: the rule takes {len(only_rule):,} tasks that no event names. If they were "
            f"not skipped, make the rule narrower."
        )
    if found.vanished - found.skips.keys() and not tasks.vanished_is_skipped:
        yield (
            "Open tasks are gone although their sequence went on, and no event says why: if they were skipped, set "
            "sync.tasks.vanished_is_skipped."
        )
    if not found.skips and not found.taken and not lacking:
        yield "Nothing looks skipped. Skip a task in a test account and probe again."
