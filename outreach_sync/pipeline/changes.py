"""Changes: what a dry run would have written, old and new, without writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.instants import to_date, to_iso
from outreach_sync.pipeline import tasks
from outreach_sync.pipeline.batches import creation_fields, task_write, workbooks_fields
from outreach_sync.pipeline.suspects import Suspects
from outreach_sync.records import Date, DateTime
from outreach_sync.rules.differences import Held
from outreach_sync.state.outbox import PERSON, TASK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import WriteValue
    from outreach_sync.state.outbox import Entry

_TOGETHER = 500


def list_changes(run: Run) -> None:
    """Fill the tally of a dry run with every change, and count what would be done."""
    for action in ("update", "create", "recreate"):
        after = 0
        while entries := run.state.outbox.due(PERSON, action, run.clock(), after=after, limit=_TOGETHER, run_id=run.id):
            after = entries[-1].id
            _list_people(run, action, entries)
    _list_tasks(run)


def _list_people(run: Run, action: str, entries: list[Entry]) -> None:
    people = run.state.people.by_id({entry.person_id for entry in entries if entry.person_id is not None})
    for entry in entries:
        held = people[entry.person_id].held if entry.person_id is not None else Held()
        old = {run.plan.fields.of(role): _shown(role, getattr(held, role)) for role in entry.fields}
        new = workbooks_fields(run, entry.fields)
        if entry.person_id is None:
            new = {**creation_fields(run, entry), **new}
        run.tally.changes.append(
            {
                "record": PERSON,
                "action": "update" if action == "update" else "create",
                "prospect_id": entry.prospect_id,
                "task_id": None,
                "workbooks_id": entry.person_id,
                "fields": {name: [old.get(name), _plain(value)] for name, value in new.items()},
            }
        )
    counter = {"update": "updated", "create": "created", "recreate": "recreated"}[action]
    setattr(run.tally.people, counter, getattr(run.tally.people, counter) + len(entries))


def _list_tasks(run: Run) -> None:
    for batch in tasks.batches(run, Suspects(run.plan.batch_size)):
        for entry, write in zip(batch.entries, batch.writes, strict=True):
            _list_task(run, entry, write.fields)
    to_be_created = run.state.outbox.to_be_created()
    for entry in run.state.outbox.due(TASK, "create", run.clock(), after=0, limit=-1):
        if entry.prospect_id in to_be_created:
            fields = task_write(run, entry.task_id or 0, 0).fields
            _list_task(run, entry, {name: value or None for name, value in fields.items()})


def _list_task(run: Run, entry: Entry, fields: Mapping[str, WriteValue]) -> None:
    run.tally.tasks.created += 1
    run.tally.changes.append(
        {
            "record": TASK,
            "action": "create",
            "prospect_id": entry.prospect_id,
            "task_id": entry.task_id,
            "workbooks_id": None,
            "fields": {name: [None, _plain(value)] for name, value in fields.items()},
        }
    )


def _plain(value: WriteValue) -> Any:
    if isinstance(value, DateTime):
        return to_iso(value.at)
    return to_date(value.at) if isinstance(value, Date) else value


def _shown(role: str, value: Any) -> Any:
    return to_iso(value) if role == "state_updated_at" and value is not None else value
