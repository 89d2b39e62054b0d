"""What skips look like in this account: the three witnesses of a skip, compared task by task."""
# The event `skip_task` is Outreach's own word; attributes after a skip are documented nowhere, and absence is a guess.

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from outreach_sync.errors import NotAllowedError
from outreach_sync.insight.status import iso
from outreach_sync.instants import Instant, to_iso
from outreach_sync.records import Stream
from outreach_sync.rules.skipped import Condition, is_sequence_task, skipping_condition
from outreach_sync.store.progress import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.outreach.client import Outreach
    from outreach_sync.records import Event, SourceTask

_EXAMPLES = 5
_NAME_REQUESTS = 10  # for the count of all events by name: the stream is by far too large to be read whole
_DUE = {"autoskipAt": {"not_after": "stateChangedAt"}}
_NEVER_COMPLETED: tuple[Condition, ...] = (
    {"state": "complete", "completed": False},
    {"state": "complete", "completedAt": None},
)
# What a skipped task may look like by its attributes: never completed, or completed by nobody once due.
_BY_NOBODY: tuple[Condition, ...] = ({"state": "complete", "completer": None, **_DUE},)


@dataclass(slots=True)
class Evidence:
    """Everything that was read."""

    problem: str = ""  # why events could not be read
    names: Counter[str] = field(default_factory=Counter)  # how many events of each name, as far as they were read
    complete: bool = False  # all of these were
    examples: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # newest of each name
    skips: dict[int, Event] = field(default_factory=dict)  # the first event of each task that one names
    without_task: int = 0  # events that name none
    tasks: dict[int, SourceTask] = field(default_factory=dict)  # those that changed and those that events name
    ours: set[int] = field(default_factory=set)  # those of `skips` in a sequence; if it is gone, the event says it
    taken: set[int] = field(default_factory=set)  # those of `tasks` that the rule takes
    left_behind: list[int] = field(default_factory=list)  # held as open here although their sequence went on
    vanished: set[int] = field(default_factory=set)  # those of them that are gone


def probe(
    source: Outreach, since: Instant, days: int, config: Config, open_tasks: Sequence[SourceTask]
) -> dict[str, Any]:
    """Return what `probe-skips --json` prints; the source must ask for states' steps. NotAllowedError: no tasks."""
    found, rule = _collected(source, since, config, open_tasks), config.sync.tasks.skipped_when
    looks: dict[tuple[tuple[str, Any], ...], list[int]] = defaultdict(list)
    for task in found.tasks.values():
        looks[tuple(_looks(task).items())].append(task.id)
    words = config.sync.tasks.skip_events
    names = [
        {"name": name, "count": count, "means_skipped": name in words, "examples": found.examples[name]}
        for name, count in sorted(found.names.items(), key=lambda one: (-one[1], one[0]))
    ]
    lacking = [one for one in _lacking(found) if frozenset(one) not in set(map(frozenset, rule))]
    return {
        "days": days,
        "since": to_iso(since),
        "events": {
            "problem": found.problem or None,
            "read": found.names.total(),
            "complete": found.complete,
            "names": names,
            "skips": len(found.skips) + found.without_task,
            "skips_without_task": found.without_task,
        },
        "read": len(found.tasks),
        "sequence_tasks": sum(map(is_sequence_task, found.tasks.values())),
        "taken": len(found.taken),
        "skips": [_skip(found, task_id, event) for task_id, event in found.skips.items()],
        "combinations": [
            {
                **dict(one),
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
    found, rule = Evidence(), config.sync.tasks
    try:
        for page in islice(source.pages(Stream.EVENTS, source.newest_events_url(since)), _NAME_REQUESTS):
            found.complete = page.next_url is None
            found.names.update(event.name for event in page.events)
            for event in page.events:
                found.examples[event.name] += [event.id][: _EXAMPLES - len(found.examples[event.name])]
        for page in source.pages(Stream.EVENTS, source.first_url(Stream.EVENTS, since)):
            for event in page.events:
                if event.name in rule.skip_events and event.task_id is None:
                    found.without_task += 1
                elif event.name in rule.skip_events:
                    found.skips.setdefault(event.task_id or 0, event)
    except NotAllowedError as refusal:
        found.problem = str(refusal)
    for page in source.pages(Stream.TASKS, source.first_url(Stream.TASKS, since)):
        found.tasks |= {task.id: task for task in page.tasks}
    of_states = sorted({task.sequence_state_id for task in open_tasks if task.sequence_state_id is not None})
    steps = {  # those that did not end; an open task of a state at another step was left behind
        state.id: str(state.sequence_step_id)
        for page in (source.by_id(Stream.SEQUENCE_STATES, of_states) if of_states else ())
        for state in page.states
        if state.state not in ENDED and state.replied_at is None and state.sequence_step_id is not None
    }
    found.left_behind = [
        task.id
        for task in open_tasks
        if (step := steps.get(task.sequence_state_id or 0)) and str(task.attributes.get("sequenceStep")) != step
    ]
    asked = sorted({*found.skips, *found.left_behind} - found.tasks.keys())
    by_id = {task.id: task for page in source.by_id(Stream.TASKS, asked) for task in page.tasks} if asked else {}
    found.vanished = set(found.left_behind) - found.tasks.keys() - by_id.keys()
    found.tasks |= {one: by_id[one] for one in found.skips if one in by_id}
    in_sequence = {one for one, task in found.tasks.items() if is_sequence_task(task)}
    found.taken = {
        one for one in in_sequence if skipping_condition(found.tasks[one].attributes, rule.skipped_when) is not None
    }
    found.ours = (found.skips.keys() & in_sequence) | {
        one
        for one, event in found.skips.items()
        if one not in found.tasks and (event.sequence_id is not None or event.sequence_step_id is not None)
    }
    return found


def _skip(found: Evidence, task_id: int, event: Event) -> dict[str, Any]:
    task = found.tasks.get(task_id)
    return {
        "event_id": event.id,
        "at": iso(event.at),
        "task_id": task_id,
        "prospect_id": event.prospect_id,
        "gone": task is None,
        "in_sequence": task_id in found.ours,
        **{name: task and task.attributes.get(name) for name in ("state", "completed", "completer")},
        "rule_takes_it": task_id in found.taken,
        "absence_takes_it": task_id in found.vanished,
    }


def _looks(task: SourceTask) -> dict[str, Any]:
    """Say how a task looks; `autoskip` is null, due (not after stateChangedAt) or later."""
    seen = task.attributes
    due = "due" if skipping_condition(seen, [_DUE]) is not None else "later"
    return {
        "in_sequence": is_sequence_task(task),
        "state": str(seen.get("state") or ""),
        "completed": seen.get("completed"),
        "completed_at_null": seen.get("completedAt") is None,
        "completer_null": seen.get("completer") is None,
        "autoskip": due if isinstance(seen.get("autoskipAt"), str) else "null",
    }


def _disagreements(found: Evidence) -> Iterator[dict[str, Any]]:
    if found.problem:
        return
    pairs = (
        ("an event says skipped, the rule does not", found.ours & found.tasks.keys() - found.taken),
        ("an event says skipped, and the task is gone", found.ours - found.tasks.keys()),
        ("the rule says skipped, no event does", found.taken - found.skips.keys()),
        ("its absence says skipped, no event does", found.vanished - found.skips.keys()),
    )
    for says, tasks in pairs:
        if tasks:
            yield {"says": says, "tasks": len(tasks), "examples": sorted(tasks)[:_EXAMPLES]}


def _lacking(found: Evidence) -> Iterator[Condition]:
    """Yield conditions for what is likely skipped and left by the rule; where events tell, that fit skips only."""
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
    others = sorted(name for name in found.names if "skip" in name and name not in tasks.skip_events)
    if others:
        yield f"Other events speak of skips: {', '.join(others)}. Look at them, and add them to sync.tasks.skip_events."
    if lacking:
        yield "Look at the examples in Outreach; if they were skipped, set sync.tasks.skipped_when to the rule below."
    only_rule = found.taken - found.skips.keys()
    if not found.problem and found.skips and not only_rule and Stream.TASKS in config.sync.streams:
        suffice = f"Events suffice: each of the {len(found.skips):,} skips has one, and the rule finds no other."
        yield f"{suffice} Leave `tasks` out of sync.streams, and each run asks one request less."
    elif not found.problem and only_rule:
        keep = f"Keep `tasks` in sync.streams: the rule takes {len(only_rule):,} tasks that no event names."
        yield f"{keep} If they were not skipped, make the rule narrower."
    if found.vanished - found.skips.keys() and not tasks.vanished_is_skipped:
        gone = "Open tasks are gone although their sequence went on, and no event says why"
        yield f"{gone}: if they were skipped, set sync.tasks.vanished_is_skipped."
    if not found.skips and not found.taken and not lacking:
        yield "Nothing looks skipped. Skip a task in a test account and probe again."
