"""What skips look like in this account: the page on which the three witnesses of a skip are held against each other.

An event `skip_task` is Outreach's own word. What the task looks like after a skip is documented nowhere, so the rule on
its attributes and its absence are guesses; here they are compared with the events, task by task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import NotAllowedError
from outreach_sync.instants import Instant, parse_iso, to_iso
from outreach_sync.records import Event, Stream
from outreach_sync.rules.skipped import (
    Clause,
    Condition,
    Equals,
    NotAfter,
    is_sequence_task,
    plain_condition,
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
_GUESSES: tuple[tuple[Condition, ...], ...] = (
    (
        (Clause("state", Equals("complete")), Clause("completed", Equals(value=False))),
        (Clause("state", Equals("complete")), Clause("completedAt", Equals(None))),
    ),
    (
        (
            Clause("state", Equals("complete")),
            Clause("completer", Equals(None)),
            Clause("autoskipAt", NotAfter("stateChangedAt")),
        ),
    ),
)
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
class Counted:
    """How many tasks look alike, how many of them the rule takes and an event names, and some of their ids."""

    count: int = 0
    by_rule: int = 0
    by_event: int = 0
    examples: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read.

    `problem`: why events could not be read. `skips`: the first event of each task that one names. `without_task`:
    events that name none. `tasks`: those that changed and those that events name, by id. `left_behind`: tasks that the
    local database holds as open although their sequence went on; `vanished`: those of them that are gone.
    """

    since: Instant
    problem: str
    names: EventNames | None
    skips: Mapping[int, Event]
    without_task: int
    tasks: Mapping[int, SourceTask]
    left_behind: int
    vanished: frozenset[int]


def collect(source: Outreach, since: Instant, config: Config, open_tasks: Sequence[SourceTask]) -> Evidence:
    """Read the events and tasks since then, the tasks that events name, and those whose sequence went on without them.

    `open_tasks`: tasks that were open when they were last read. The source must ask for the steps of states.

    Raises:
        ServiceError: Outreach is not available.
        NotAllowedError: tasks may not be read.
    """
    problem, names, skips, without_task = "", None, dict[int, Event](), 0
    try:
        names = source.event_names(since, requests=_NAME_REQUESTS)
        for page in source.pages(Stream.EVENTS, source.first_url(Stream.EVENTS, since)):
            for event in page.events:
                if event.name in config.sync.tasks.skip_events and event.task_id is None:
                    without_task += 1
                elif event.name in config.sync.tasks.skip_events:
                    skips.setdefault(event.task_id or 0, event)
    except NotAllowedError as refusal:
        problem = str(refusal)
    tasks = {
        task.id: task
        for page in source.pages(Stream.TASKS, source.first_url(Stream.TASKS, since))
        for task in page.tasks
    }
    left_behind = _left_behind(source, open_tasks)
    asked = sorted({*skips, *left_behind} - tasks.keys())
    by_id = {task.id: task for page in source.by_id(Stream.TASKS, asked) for task in page.tasks} if asked else {}
    tasks |= {one: by_id[one] for one in skips if one in by_id}
    gone = frozenset(one for one in left_behind if one not in tasks and one not in by_id)
    return Evidence(since, problem, names, skips, without_task, tasks, len(left_behind), gone)


def _left_behind(source: Outreach, open_tasks: Sequence[SourceTask]) -> list[int]:
    """Return those of which the sequence state is there, has not ended and is at another step now."""
    ids = sorted({task.sequence_state_id for task in open_tasks if task.sequence_state_id is not None})
    pages = source.by_id(Stream.SEQUENCE_STATES, ids) if ids else iter(())
    steps = {
        state.id: state.sequence_step_id
        for page in pages
        for state in page.states
        if state.state not in ENDED and state.replied_at is None and state.sequence_step_id is not None
    }
    return [
        task.id
        for task in open_tasks
        if (step := steps.get(task.sequence_state_id or 0)) is not None
        and str(task.attributes.get("sequenceStep")) != str(step)
    ]


def probe_document(found: Evidence, days: int, config: Config) -> dict[str, Any]:
    """Return what `probe-skips --json` prints."""
    rule = config.sync.tasks.skipped_when
    taken = {
        task.id
        for task in found.tasks.values()
        if is_sequence_task(task) and skipping_condition(task.attributes, rule) is not None
    }
    better = (*rule, *(one for one in _lacking(found, taken) if frozenset(one) not in set(map(frozenset, rule))))
    return {
        "days": days,
        "since": to_iso(found.since),
        "events": _events(found, config),
        "read": len(found.tasks),
        "sequence_tasks": sum(map(is_sequence_task, found.tasks.values())),
        "taken": len(taken),
        "skips": [_skip(event, found, taken) for event in list(found.skips.values())],
        "combinations": [
            {
                **looks._asdict(),
                "count": one.count,
                "taken": one.by_rule,
                "skipped": one.by_event,
                "examples": one.examples,
            }
            for looks, one in _combinations(found, taken)
        ],
        "absence": {
            "asked_for": found.left_behind,
            "gone": len(found.vanished),
            "gone_without_event": len(found.vanished - found.skips.keys()),
            "examples": sorted(found.vanished)[:_EXAMPLES],
        },
        "disagreements": list(_disagreements(found, taken)),
        "rule": [plain_condition(condition) for condition in rule],
        "recommended": [plain_condition(condition) for condition in better],
        "recommendations": list(_recommendations(found, taken, config, lacking=len(better) > len(rule))),
    }


def _events(found: Evidence, config: Config) -> dict[str, Any]:
    names = found.names
    return {
        "problem": found.problem or None,
        "read": 0 if names is None else names.read,
        "complete": names is not None and names.complete,
        "names": []
        if names is None
        else [
            {
                "name": name,
                "count": count,
                "means_skipped": name in config.sync.tasks.skip_events,
                "examples": [event.id for event in names.examples.get(name, ())],
            }
            for name, count in sorted(names.counts.items(), key=lambda one: (-one[1], one[0]))
        ],
        "skips": len(found.skips) + found.without_task,
        "skips_without_task": found.without_task,
    }


def _skip(event: Event, found: Evidence, taken: set[int]) -> dict[str, Any]:
    """Say of a skip what its task looks like, and what the other witnesses say of it."""
    task_id = event.task_id or 0
    task = found.tasks.get(task_id)
    seen: Mapping[str, Scalar] = {} if task is None else task.attributes
    return {
        "event_id": event.id,
        "at": None if event.at is None else to_iso(event.at),
        "task_id": task_id,
        "prospect_id": event.prospect_id,
        "gone": task is None,
        "in_sequence": _is_ours(event, task),
        "state": seen.get("state"),
        "completed": seen.get("completed"),
        "completer": seen.get("completer"),
        "rule_takes_it": task_id in taken,
        "absence_takes_it": task_id in found.vanished,
    }


def _is_ours(event: Event, task: SourceTask | None) -> bool:
    """Say whether a skipped task belongs to a sequence; of one that is gone, the event says it."""
    return is_sequence_task(task) if task is not None else (event.sequence_id or event.sequence_step_id) is not None


def _combinations(found: Evidence, taken: set[int]) -> list[tuple[Looks, Counted]]:
    """Count every combination of the attributes that could mean skipped, the most frequent first."""
    counted: dict[Looks, Counted] = {}
    for task in found.tasks.values():
        one = counted.setdefault(_looks(task), Counted())
        one.count += 1
        one.by_rule += task.id in taken
        one.by_event += task.id in found.skips
        if len(one.examples) < _EXAMPLES:
            one.examples.append(task.id)
    return sorted(counted.items(), key=lambda item: -item[1].count)


def _looks(task: SourceTask) -> Looks:
    seen = task.attributes
    return Looks(
        is_sequence_task(task),
        str(seen.get("state") or ""),
        seen.get("completed"),
        seen.get("completedAt") is None,
        seen.get("completer") is None,
        _autoskip(seen.get("autoskipAt"), seen.get("stateChangedAt")),
    )


def _autoskip(at: Scalar, changed: Scalar) -> str:
    if not isinstance(at, str):
        return "null"
    try:
        return "due" if isinstance(changed, str) and parse_iso(at) <= parse_iso(changed) else "later"
    except ValueError:
        return "later"


def _disagreements(found: Evidence, taken: set[int]) -> Iterator[dict[str, Any]]:
    """Say where one witness tells of a skip that another one does not know of; without events there is one witness."""
    if found.problem:
        return
    ours = {one for one, event in found.skips.items() if _is_ours(event, found.tasks.get(one))}
    pairs = (
        ("an event says skipped, the rule does not", ours & found.tasks.keys() - taken),
        ("an event says skipped, and the task is gone", ours - found.tasks.keys()),
        ("the rule says skipped, no event does", taken - found.skips.keys()),
        ("its absence says skipped, no event does", found.vanished - found.skips.keys()),
    )
    for says, tasks in pairs:
        if tasks:
            yield {"says": says, "tasks": len(tasks), "examples": sorted(tasks)[:_EXAMPLES]}


def _lacking(found: Evidence, taken: set[int]) -> Iterator[Condition]:
    """Yield conditions that would take what is likely skipped and the rule leaves.

    Where events tell, a condition must take a skipped task and no other; else what looks like a skip is all there is.
    """
    ours = [task for task in found.tasks.values() if is_sequence_task(task) and task.id not in taken]
    words = {str(task.attributes.get("state")) for task in ours}
    guesses = (*_GUESSES, *(((Clause("state", Equals(word)),),) for word in sorted(words) if "skip" in word.lower()))
    done = any(task.attributes.get("completedAt") is not None for task in found.tasks.values())
    for guess in guesses:
        matching = {task.id for task in ours if skipping_condition(task.attributes, guess) is not None}
        proven = found.problem or not found.skips or matching <= found.skips.keys()
        never_completed = guess is _GUESSES[0]
        if matching and proven and (done or not never_completed):
            yield from guess


def _recommendations(found: Evidence, taken: set[int], config: Config, *, lacking: bool) -> Iterator[str]:
    tasks = config.sync.tasks
    if found.problem:
        yield f"Events could not be read, and they are the best witness there is: {found.problem}"
    names = () if found.names is None else found.names.counts
    others = sorted(name for name in names if "skip" in name and name not in tasks.skip_events)
    if others:
        yield f"Other events speak of skips: {', '.join(others)}. Look at them, and add them to sync.tasks.skip_events."
    if lacking:
        yield "Look at the examples in Outreach; if they were skipped, set sync.tasks.skipped_when to the rule below."
    only_rule = taken - found.skips.keys()
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
    if not found.skips and not taken and not lacking:
        yield "Nothing looks skipped. Skip a task in a test account and probe again."
