"""Settle: what a write to Workbooks looks like, and what became of it. No requests are made here.

Queued entries become the objects of a batch. Each object is judged by its own answer: refused for a later attempt, or
accepted; then the Person holds the values, and the history keeps them.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant, to_date
from outreach_sync.pull import witness
from outreach_sync.records import Accepted, Date, DateTime, Rejected, Stale, Unknown, Write, plain
from outreach_sync.rules.person import base_fields, task_reference
from outreach_sync.store.outbox import TASK
from outreach_sync.store.progress import Written
from outreach_sync.workbooks.wire import PERSON_CLASS, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.records import Verdict, WriteValue
    from outreach_sync.rules.person import RoleValue
    from outreach_sync.run import Run
    from outreach_sync.store.outbox import Entry

_NO_EMAIL = "no_email"
_TASK_HISTORY = ("activity_status", "activity_type", "due_date", "primary_contact_id", "created_through_reference")
"""Fields of a Task that the history keeps: the others may name somebody."""
_NAME_LENGTH = 255
_SMALLER = 4
"""By how much a batch shrinks that was lost."""
_ENOUGH = 2
"""So often must an entry be lost alone, since any answer may be lost once."""


# -- what a write looks like


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
        self.lost: dict[int, list[int]] = {}
        """Entry id -> with how many it was sent, each time that nothing was known of it afterwards."""

    def is_proven(self, entry: Entry) -> bool:
        """Say whether it was lost in requests of its own, often enough."""
        return self.lost.get(entry.id, []).count(1) >= _ENOUGH

    def all_were_alone(self) -> bool:
        """Say whether there is nobody left for whom a smaller batch could be tried."""
        return all(1 in sizes for sizes in self.lost.values())

    def cut(self, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Cut entries, in their order, into what may go together."""

        def size_for(entry: Entry) -> int:
            return max(1, self.lost[entry.id][-1] // _SMALLER) if entry.id in self.lost else self._batch_size

        for size, some in groupby(entries, size_for):
            listed = list(some)
            for start in range(0, len(listed), size):
                yield listed[start : start + size]


def person_batch(run: Run, entries: Sequence[Entry]) -> Batch:
    """Make the writes of Person entries; one to be created is told who they are."""
    people = run.store.people.by_id({entry.person_id for entry in entries if entry.person_id is not None})
    cached = run.store.cache.prospects([one for entry in entries if entry.person_id is None for one in entry.pool])
    writes = []
    for entry in entries:
        fields = workbooks_fields(run, entry.fields)
        if entry.person_id is None:
            pool = [cached[one].prospect for one in entry.pool if one in cached and cached[one].known]
            created = base_fields(pool, run.config.sync.people.create_fields).items()
            plain_enough = {
                name: value if isinstance(value, (str, int, bool)) else str(value) for name, value in created
            }
            writes.append(Write(0, 0, {**plain_enough, **fields}))
        else:
            writes.append(Write(entry.person_id, people[entry.person_id].lock_version or 0, fields))
    return Batch("person", tuple(entries), tuple(writes))


def workbooks_fields(run: Run, roles: Mapping[str, RoleValue]) -> dict[str, WriteValue]:
    """Translate roles into the configured fields."""
    names = run.config.workbooks.fields
    return {
        getattr(names, role): DateTime(Instant(value))
        if role == "state_updated_at" and isinstance(value, int)
        else value
        for role, value in roles.items()
    }


def task_write(run: Run, task_id: int, person_id: int) -> Write:
    """Make the write that creates the Workbooks Task of a skipped task.

    Its description is HTML. `due`, `due_date` and `due_datetime` are one value, of which only one may be set.
    """
    cached = run.store.cache.task(task_id)
    if cached is None:
        raise AssertionError(f"task {task_id} is queued and was never read")
    task, form = cached.task, run.config.sync.tasks
    sequence = run.store.cache.sequence_name(task.sequence_id)
    prospect = run.store.cache.prospects([task.prospect_id or 0]).get(task.prospect_id or 0)
    names = (prospect.prospect.first_name, prospect.prospect.last_name) if prospect else ()
    places = {
        "action": task.action or task.task_type,
        "sequence": sequence or (f"sequence {task.sequence_id}" if task.sequence_id else "a sequence"),
        "step": str(task.attributes.get("sequenceStep") or ""),
        "task_type": task.task_type,
        "id": str(task.id),
        "prospect": " ".join(name for name in names if name) or f"prospect {task.prospect_id}",
        "due": to_date(task.due_at) if task.due_at is not None else "",
    }
    description = html.escape(form.description.format(**places, note=task.note or "").strip())
    fields: dict[str, WriteValue] = {
        "name": form.name.format(**places)[:_NAME_LENGTH],
        "activity_type": form.type.get(task.task_type) or form.type.get(task.action) or form.type["default"],
        "activity_status": form.status,
        "description": description.replace("\r\n", "\n").replace("\n", "<br>"),
        "primary_contact_id": person_id,
        "primary_contact_type": PERSON_CLASS,
        REFERENCE: task_reference(task.id),
    }
    due = task.due_at if task.due_at is not None else task.updated_at
    return Write(0, 0, fields if due is None else {**fields, "due_date": Date(due)})


# -- what became of it


@dataclass(slots=True)
class Settled:
    """What the verdicts of a round came to.

    Attributes:
        accepted: objects that were written.
        stale: entries whose record somebody else wrote meanwhile.
        unknown: entries of which it is not known what became of them.
        rejected: refused updates, with Workbooks' reasons: to be read before the refusal stands; until then they
            count as being sent.
    """

    accepted: int = 0
    stale: list[Entry] = field(default_factory=list)
    unknown: list[Entry] = field(default_factory=list)
    rejected: list[tuple[Entry, str]] = field(default_factory=list)


def settle(run: Run, batch: Batch, verdicts: Sequence[Verdict], settled: Settled, suspects: Suspects) -> Batch | None:
    """Record what became of each object of a batch (inside a transaction).

    Accepted: the values are what Workbooks holds now, and the entry goes. Stale or unknown: the record is read before
    it is written again, in the next round. Refused: read as well, since a record that is gone is also refused; if it is
    there, the refusal stands. An opt-out that is refused together with other fields is sent once more alone: a
    picklist that lacks a label must not keep No Email from being set.

    Args:
        run: the run.
        batch: what was sent.
        verdicts: one for each object; none at all: the request failed, and nothing is known.
        settled: where the outcome is counted.
        suspects: where those are noted of which nothing is known.

    Returns:
        The opt-outs to send once more alone, if there are any.
    """
    rescues: list[tuple[Entry, Write]] = []
    for position, (entry, write) in enumerate(zip(batch.entries, batch.writes, strict=True)):
        verdict = verdicts[position] if verdicts else Unknown("the request failed")
        match verdict:
            case Accepted():
                settled.accepted += 1
                if entry.record == TASK:
                    _task_created(run, entry, write, verdict.id)
                else:
                    _person_written(run, entry, verdict, settled, rescue=batch.rescue)
            case Stale():
                settled.stale.append(entry)
                _look_again(run, entry, in_doubt=False)
            case Unknown():
                settled.unknown.append(entry)
                suspects.lost.setdefault(entry.id, []).append(len(batch.entries))
                _look_again(run, entry, in_doubt=True)
            case Rejected(reasons):
                reason = "; ".join(reasons)
                if entry.person_id is None:
                    run.refuse(entry, reason)
                elif not batch.rescue and entry.fields.get(_NO_EMAIL) is True and len(entry.fields) > 1:
                    alone = write._replace(fields=workbooks_fields(run, {_NO_EMAIL: True}))
                    rescues.append((entry._replace(reason=reason), alone))
                else:
                    settled.rejected.append((entry, entry.reason if batch.rescue and entry.reason else reason))
    run.log.info(
        "batch_settled", record=batch.record, objects=len(batch.entries),
        accepted=sum(isinstance(verdict, Accepted) for verdict in verdicts),
        refused=sum(isinstance(verdict, Rejected) for verdict in verdicts),
    )  # fmt: skip
    if not rescues:
        return None
    entries, writes = zip(*rescues, strict=True)
    return Batch(batch.record, entries, writes, rescue=True)


def _person_written(run: Run, entry: Entry, verdict: Accepted, settled: Settled, *, rescue: bool) -> None:
    people, now = run.store.people, run.clock()
    lock_version = verdict.lock_version if verdict.lock_version >= 0 else None
    fields = {_NO_EMAIL: True} if rescue else entry.fields
    if entry.person_id is None:
        people.created(verdict.id, lock_version, fields, entry.pool, now)
        run.store.outbox.person_exists(entry.pool)
        run.summary.people.recreated += entry.action == "recreate"
        run.summary.people.created += entry.action == "create"
    else:
        people.accepted(verdict.id, lock_version, fields, now)
        run.summary.people.updated += not rescue
    run.wrote(entry, verdict.id, fields)
    if run.pilot.limit is not None:
        run.pilot.wrote.add(verdict.id)
    if rescue:
        settled.rejected.append((entry, entry.reason or ""))
        return
    run.store.outbox.drop([entry.id])
    if entry.reason is not None and entry.prospect_id is not None:
        run.store.undecided.mark_again([entry.prospect_id])  # part of it may still be undecided


def _task_created(run: Run, entry: Entry, write: Write, workbooks_id: int) -> None:
    now = run.clock()
    cached = run.store.cache.task(entry.task_id or 0)
    because = None if cached is None else witness(run.store, run.config, cached)
    run.store.cache.task_was_sent(entry.task_id or 0, workbooks_id, now)
    run.store.outbox.drop([entry.id])
    run.summary.tasks.created += 1
    run.store.history.wrote(
        Written(
            now, run.id, TASK, "create", entry.prospect_id, entry.task_id, workbooks_id, name, None,
            plain(write.fields[name]), because,
        )
        for name in _TASK_HISTORY
        if name in write.fields
    )  # fmt: skip


def _look_again(run: Run, entry: Entry, *, in_doubt: bool) -> None:
    """Have the record read before it is written again."""
    run.store.outbox.mark([entry.id], state="queued", in_doubt=in_doubt, next_attempt_at=None)
    if entry.record != TASK:
        run.store.people.doubt([entry.person_id] if entry.person_id is not None else [])
        run.store.undecided.mark_again([entry.prospect_id or 0, *entry.pool])
