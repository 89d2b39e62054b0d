"""Batches: what queued entries look like as objects of a write to Workbooks, and how many go together."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant, to_date, to_iso
from outreach_sync.records import DateTime, Write
from outreach_sync.rules.matching import task_reference
from outreach_sync.rules.person import base_fields
from outreach_sync.rules.skipped import plain_condition, skipping_condition
from outreach_sync.workbooks import records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.records import Prospect, WriteValue
    from outreach_sync.rules.person import RoleValue
    from outreach_sync.run import Run
    from outreach_sync.store import Store
    from outreach_sync.store.cache import CachedTask
    from outreach_sync.store.outbox import Entry

_SMALLER = 4
"""By how much a batch shrinks that was lost."""
_ENOUGH = 2
"""So often must an entry be lost alone, since any answer may be lost once."""


class Batch(NamedTuple):
    """Entries of one kind and, in the same order, what is sent for each.

    `rescue`: they are the opt-outs alone, after all of each had been refused.
    """

    record: str
    entries: tuple[Entry, ...]
    writes: tuple[Write, ...]
    rescue: bool = False


class Suspects:
    """Entries of which nothing was known after a write, since one of them may be what Workbooks fails at.

    They are sent again in ever smaller batches, in the end alone, and never together with others: so one record that
    Workbooks fails at is found out, and holds nobody else up.
    """

    def __init__(self, batch_size: int) -> None:
        """Suspect nobody yet."""
        self._batch_size = batch_size
        self._sizes: dict[int, int] = {}
        self._alone: Counter[int] = Counter()

    def lost(self, entry: Entry, together: int) -> None:
        """Note that nothing is known of an entry that was sent in a request of so many objects."""
        self._sizes[entry.id] = max(1, together // _SMALLER)
        if together == 1:
            self._alone[entry.id] += 1

    def is_suspected(self, entry: Entry) -> bool:
        """Say whether nothing was known of it before."""
        return entry.id in self._sizes

    def is_proven(self, entry: Entry) -> bool:
        """Say whether it was lost in requests of its own, often enough."""
        return self._alone[entry.id] >= _ENOUGH

    def all_were_alone(self) -> bool:
        """Say whether there is nobody left for whom a smaller batch could be tried."""
        return all(entry_id in self._alone for entry_id in self._sizes)

    def cut(self, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Cut entries, in their order, into what may go together."""
        for size, some in groupby(entries, lambda entry: self._sizes.get(entry.id, self._batch_size)):
            listed = list(some)
            for start in range(0, len(listed), size):
                yield listed[start : start + size]


def person_batch(run: Run, entries: Sequence[Entry]) -> Batch:
    """Make the writes of Person entries."""
    people = run.store.people.by_id({entry.person_id for entry in entries if entry.person_id is not None})
    created = creation_fields(run, [entry for entry in entries if entry.person_id is None])
    writes = []
    for entry in entries:
        fields = workbooks_fields(run, entry.fields)
        if entry.person_id is None:
            writes.append(Write(0, 0, {**created[entry.id], **fields}))
        else:
            writes.append(Write(entry.person_id, people[entry.person_id].lock_version or 0, fields))
    return Batch("person", tuple(entries), tuple(writes))


def creation_fields(run: Run, entries: Sequence[Entry]) -> dict[int, Mapping[str, WriteValue]]:
    """Return who each Person to be created is, by the id of its entry."""
    cached = run.store.cache.prospects([one for entry in entries for one in entry.pool])
    fields: dict[int, Mapping[str, WriteValue]] = {}
    for entry in entries:
        pool: list[Prospect] = [cached[one].prospect for one in entry.pool if one in cached and cached[one].known]
        fields[entry.id] = {
            field: value if isinstance(value, (str, int, bool)) else str(value)
            for field, value in base_fields(pool, run.config.sync.people.create_fields).items()
        }
    return fields


def workbooks_fields(run: Run, roles: Mapping[str, RoleValue]) -> dict[str, WriteValue]:
    """Translate roles into the configured fields."""
    return {getattr(run.config.workbooks.fields, role): _typed(role, value) for role, value in roles.items()}


def _typed(role: str, value: RoleValue) -> WriteValue:
    return DateTime(Instant(value)) if role == "state_updated_at" and isinstance(value, int) else value


def task_write(run: Run, task_id: int, person_id: int) -> Write:
    """Make the write that creates the Workbooks Task of a skipped task."""
    cached = run.store.cache.task(task_id)
    if cached is None:
        raise AssertionError(f"task {task_id} is queued and was never read")
    task, form = cached.task, run.config.sync.tasks
    places = _places(run, cached)
    return records.task_write(
        name=form.name.format(**places),
        activity_type=form.type.get(task.task_type) or form.type.get(task.action) or form.type["default"],
        activity_status=form.status,
        due=task.due_at if task.due_at is not None else task.updated_at,
        description=form.description.format(**places, note=task.note or "").strip(),
        person_id=person_id,
        reference=task_reference(task.id),
    )


def _places(run: Run, cached: CachedTask) -> dict[str, str]:
    task = cached.task
    sequence = run.store.cache.sequence_name(task.sequence_id)
    prospect = run.store.cache.prospects([task.prospect_id or 0]).get(task.prospect_id or 0)
    names = (prospect.prospect.first_name, prospect.prospect.last_name) if prospect else ()
    return {
        "action": task.action or task.task_type,
        "sequence": sequence or (f"sequence {task.sequence_id}" if task.sequence_id else "a sequence"),
        "step": str(task.attributes.get("sequenceStep") or ""),
        "task_type": task.task_type,
        "id": str(task.id),
        "prospect": " ".join(name for name in names if name) or f"prospect {task.prospect_id}",
        "due": to_date(task.due_at) if task.due_at is not None else "",
    }


def witness(state: Store, config: Config, cached: CachedTask) -> str:
    """Say what tells that a task was skipped: an event, a condition of the rule, its absence; or that nothing does."""
    tasks = config.sync.tasks
    event = state.events.skips_of([cached.task.id], tasks.skip_events).get(cached.task.id)
    if event is not None:
        at = event.event_at if event.event_at is not None else event.at
        return f"event {event.name} {event.id}" + ("" if at is None else f" of {to_iso(at)}")
    position = skipping_condition(cached.task.attributes, tasks.skipped_when)
    if position is not None:
        condition = json.dumps(plain_condition(tasks.skipped_when[position]))
        return f"condition {position + 1} of sync.tasks.skipped_when takes it: {condition}"
    if cached.skipped:
        return "its absence: it is gone although its sequence went on (sync.tasks.vanished_is_skipped)"
    return "no event of sync.tasks.skip_events names it, and no condition of sync.tasks.skipped_when takes it"
