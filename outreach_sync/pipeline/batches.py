"""Batches: what a queued entry looks like as an object of a write to Workbooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant, to_date
from outreach_sync.records import DateTime, Write
from outreach_sync.rules.creation import base_fields
from outreach_sync.rules.matching import task_reference
from outreach_sync.workbooks import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Prospect, WriteValue
    from outreach_sync.rules.differences import RoleValue
    from outreach_sync.state.cache import CachedTask
    from outreach_sync.state.outbox import Entry


class Batch(NamedTuple):
    """Entries of one kind and, in the same order, what is sent for each. `rescue`: see `settle`."""

    record: str
    entries: tuple[Entry, ...]
    writes: tuple[Write, ...]
    rescue: bool = False


def person_batch(run: Run, entries: Sequence[Entry]) -> Batch:
    """Make the writes of Person entries."""
    people = run.state.people.by_id({entry.person_id for entry in entries if entry.person_id is not None})
    writes = []
    for entry in entries:
        if entry.person_id is None:
            writes.append(Write(0, 0, {**creation_fields(run, entry), **workbooks_fields(run, entry.fields)}))
        else:
            lock_version = people[entry.person_id].lock_version
            writes.append(Write(entry.person_id, lock_version or 0, workbooks_fields(run, entry.fields)))
    return Batch("person", tuple(entries), tuple(writes))


def creation_fields(run: Run, entry: Entry) -> Mapping[str, WriteValue]:
    """Return who a Person to be created is."""
    cached = run.state.cache.prospects(entry.pool)
    pool: list[Prospect] = [cached[one].prospect for one in entry.pool if cached[one].known]
    return {
        field: value if isinstance(value, (str, int, bool)) else str(value)
        for field, value in base_fields(pool, run.plan.create_fields).items()
    }


def workbooks_fields(run: Run, roles: Mapping[str, RoleValue]) -> dict[str, WriteValue]:
    """Translate roles into the configured fields."""
    return {run.plan.fields.of(role): _typed(role, value) for role, value in roles.items()}


def _typed(role: str, value: RoleValue) -> WriteValue:
    return DateTime(Instant(value)) if role == "state_updated_at" and isinstance(value, int) else value


def task_write(run: Run, task_id: int, person_id: int) -> Write:
    """Make the write that creates the Workbooks Task of a skipped task."""
    cached = run.state.cache.task(task_id)
    if cached is None:
        raise AssertionError(f"task {task_id} is queued and was never read")
    task, form = cached.task, run.plan.task_form
    places = _places(run, cached)
    return tasks.task_write(
        name=form.name.format(**places),
        activity_type=form.types.get(task.task_type) or form.types.get(task.action) or form.types["default"],
        activity_status=form.status,
        due=task.due_at if task.due_at is not None else task.updated_at,
        description=form.description.format(**places, note=task.note or "").strip(),
        person_id=person_id,
        reference=task_reference(task.id),
    )


def _places(run: Run, cached: CachedTask) -> dict[str, str]:
    task = cached.task
    sequence = run.state.cache.sequence_name(task.sequence_id)
    prospect = run.state.cache.prospects([task.prospect_id or 0]).get(task.prospect_id or 0)
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
