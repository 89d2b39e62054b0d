"""Tasks: one Workbooks Task for each skipped task, for ever.

Before any is created it is looked for by its reference, deleted ones included: the state may have been lost since it
was sent. One whose creation was sent without an answer is looked for twice, since created records may appear late.
No Task is tied to a Person that is gone: whoever it was is decided anew first, and the task follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.batches import Batch, task_write
from outreach_sync.http import pause
from outreach_sync.match import read_people
from outreach_sync.rules.matching import task_reference
from outreach_sync.store.outbox import DISCARDED, TASK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from outreach_sync.batches import Suspects
    from outreach_sync.records import TaskRow
    from outreach_sync.run import Run
    from outreach_sync.store.outbox import Entry


_TOGETHER = 400
"""Tasks whose Persons are read together: at most four requests."""


def hidden_task(workbooks_id: int) -> str:
    """Say why a Task that Workbooks does not show is not made again."""
    return (
        f"Task {workbooks_id} does not come back from Workbooks, neither alive nor deleted: the API key's user may not "
        f"see it, or it was removed for good. It is not created again by itself: `failures retry ID --recreate` does"
    )


class Creatable(NamedTuple):
    """A queued task that is to be created, and its Person."""

    entry: Entry
    person_id: int


def doubt_people(run: Run, *, held: bool) -> None:
    """Read the Persons that the due tasks will be tied to; those that are gone are to be decided anew.

    Persons that this run found or wrote were just there. `held`: nothing may be decided yet.
    """
    after = 0
    while entries := run.store.outbox.due(TASK, "create", run.clock(), after=after, limit=_TOGETHER):
        after = entries[-1].id
        gone = _gone(run, {entry.prospect_id for entry in entries if entry.prospect_id is not None})
        if gone:
            pools = run.store.people.prospects_of(gone)
            with run.store.transaction():
                run.store.people.doubt(gone)
                run.store.undecided.mark_again((one for pool in pools.values() for one in pool), held=held)


def _gone(run: Run, prospect_ids: Collection[int]) -> list[int]:
    people = run.store.people.by_id(set(run.store.people.of_prospects(prospect_ids).values()))
    unread = [
        person
        for person in people.values()
        if not (person.deleted or person.hidden or person.untouched)
        and max(person.linked_at, person.written_at or 0) < run.summary.started_at
    ]
    if not unread:
        return []
    rows = read_people(run, unread)
    return [person.id for person in unread if person.id not in rows or rows[person.id].is_deleted]


def batches(run: Run, suspects: Suspects) -> Iterator[Batch]:
    """Yield what is to be created, a request at a time; adopt what exists, let wait what has no Person."""
    after = 0
    while entries := run.store.outbox.due(
        TASK, "create", run.clock(), after=after, limit=run.config.workbooks.batch_size
    ):
        after = entries[-1].id
        creatable = {one.entry.id: one for one in _to_be_created(run, _with_person(run, entries))}
        for together in suspects.cut([one.entry for one in creatable.values()]):
            writes = tuple(task_write(run, entry.task_id or 0, creatable[entry.id].person_id) for entry in together)
            yield Batch(TASK, tuple(together), writes)


def _with_person(run: Run, entries: Sequence[Entry]) -> list[Creatable]:
    """Keep the tasks whose Person exists; the others wait, without being a failure, unless that Person is queued.

    A Person that has to be read and decided again may be gone: its tasks stay due until that is done.
    """
    prospects = {entry.prospect_id for entry in entries if entry.prospect_id is not None}
    links = run.store.people.of_prospects(prospects)
    people = run.store.people.by_id(set(links.values()))
    queued = [entry for entry in run.store.outbox.of_person(prospects) if entry.state != DISCARDED]
    coming = {one for entry in queued for one in (*entry.pool, entry.prospect_id)}
    unsure = run.store.undecided.people_to_decide(one.id for one in people.values() if one.lock_version is None)
    ready, waiting = [], []
    for entry in entries:
        person_id = links.get(entry.prospect_id or 0)
        if person_id in unsure or not run.pilot.covers(entry.prospect_id, person_id):
            continue
        if person_id is None:
            waiting += [] if entry.prospect_id in coming else [entry.id]
        elif people[person_id].deleted or people[person_id].hidden or people[person_id].untouched:
            waiting.append(entry.id)
        else:
            ready.append(Creatable(entry, person_id))
    if waiting:
        with run.store.transaction():
            run.store.outbox.wait_for_person(waiting)
    return ready


def _to_be_created(run: Run, tasks: Sequence[Creatable]) -> list[Creatable]:
    missing = _not_there(run, tasks)
    in_doubt = [one for one in missing if one.entry.in_doubt]
    if in_doubt:
        pause(run.look_again_seconds, run.stop)
        still_missing = _not_there(run, in_doubt)
        missing = [one for one in missing if not one.entry.in_doubt or one in still_missing]
    return missing


def _not_there(run: Run, tasks: Sequence[Creatable]) -> list[Creatable]:
    """Look for Tasks by reference; record those that exist, return those that do not."""
    if not tasks:
        return []
    found = run.target.tasks_by_reference([task_reference(one.entry.task_id or 0) for one in tasks])
    missing = []
    with run.store.transaction():
        for one in tasks:
            existing = _existing(found, one.entry.task_id or 0, recreates=run.config.sync.when_deleted == "recreate")
            if existing is None:
                missing.append(one)
            else:
                run.store.cache.task_was_sent(one.entry.task_id or 0, existing.id, None)
                run.store.outbox.drop([one.entry.id])
                run.summary.tasks.created += one.entry.in_doubt  # it was ours, and its answer was lost
    return missing


def _existing(found: Mapping[str, Sequence[TaskRow]], task_id: int, *, recreates: bool) -> TaskRow | None:
    """Pick the Task that stands for a skipped task: a live one, else a deleted one that is to stay deleted."""
    rows = found.get(task_reference(task_id), ())
    live = [row for row in rows if not row.is_deleted]
    candidates = live or ([] if recreates else list(rows))
    return min(candidates, key=lambda row: row.id, default=None)
