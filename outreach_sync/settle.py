"""Settle: turn what became of an entry of the outbox into what the store says of it. No requests are made here.

Refused for a later attempt, or accepted: then the Person holds the values, and the history keeps them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.batches import Batch, witness, workbooks_fields
from outreach_sync.instants import Instant, to_date, to_iso
from outreach_sync.log import masked
from outreach_sync.records import Accepted, Date, DateTime, Rejected, Stale, Unknown, Write
from outreach_sync.rules.person import Held
from outreach_sync.store.history import Written
from outreach_sync.store.outbox import IMPLAUSIBLE_PAUSE_MS, RESOLVE, SOURCE, TASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.records import Verdict, WriteValue
    from outreach_sync.rules.person import RoleValue
    from outreach_sync.run import Run
    from outreach_sync.store.outbox import Entry

_FIRST_MS = 5 * 60_000
_LONGEST_MS = 24 * 3_600_000
_NO_EMAIL = "no_email"
_TASK_HISTORY = ("activity_status", "activity_type", "due_date", "primary_contact_id", "created_through_reference")
"""Fields of a Task that the history keeps: the others may name somebody."""


def is_due(next_attempt_at: Instant | None, now: Instant) -> bool:
    """Say whether a pause is over; one that is implausibly long was begun by a wrong clock."""
    return next_attempt_at is None or not now < next_attempt_at <= now + IMPLAUSIBLE_PAUSE_MS


def next_attempt(now: Instant, attempts: int) -> Instant:
    """Return when to try again after `attempts` refusals: 5 minutes, doubling, at most a day, give or take a tenth."""
    pause = min(_FIRST_MS * 2 ** (attempts - 1), _LONGEST_MS)
    return Instant(now + round(pause * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads load, guards no secret


def refuse(run: Run, entry: Entry, reason: str, *, in_doubt: bool = False) -> None:
    """Keep an entry for a later attempt, or park it once it has had `sync.max_attempts` (inside a transaction).

    `in_doubt`: it may have arrived all the same.
    """
    attempts, reason = entry.attempts + 1, masked(reason)
    parked = attempts >= run.config.sync.max_attempts
    again = None if parked else next_attempt(run.clock(), attempts)
    run.store.outbox.refused(entry, reason, next_attempt_at=again, in_doubt=in_doubt)
    run.log.warning(
        "record_refused", record=entry.record, prospect=entry.prospect_id, task=entry.task_id,
        workbooks_id=entry.person_id, reason=reason, attempts=attempts, parked=parked,
    )  # fmt: skip
    if entry.record == TASK or (entry.record == SOURCE and entry.task_id is not None):
        run.summary.tasks.rejected += 1
    else:
        run.summary.people.rejected += 1


def refuse_decision(run: Run, prospect_id: int, person_id: int | None, reason: str, *, action: str = RESOLVE) -> None:
    """Refuse a Person for which it cannot be decided what to write (inside a transaction).

    Looked at again before its pause is over (because a record changed), it keeps its attempts; discarded, it stays so.
    """
    outbox = run.store.outbox
    outbox.queue_person(prospect_id, person_id, action, {}, run_id=run.id, reason=reason)
    for entry in outbox.of_person([prospect_id]):
        if entry.state == "queued" and is_due(entry.next_attempt_at, run.clock()):
            refuse(run, entry, reason)


def wrote(run: Run, entry: Entry, workbooks_id: int, fields: Mapping[str, RoleValue]) -> None:
    """Record what Workbooks accepted of a Person, by role, for the history (inside a transaction)."""
    names = run.config.workbooks.fields
    run.store.history.wrote(
        Written(
            run.clock(), run.id, entry.record, "update" if entry.action == "update" else "create", entry.prospect_id,
            None, workbooks_id, getattr(names, role), _shown(role, entry.before.get(role)), _shown(role, value),
            entry.because,
        )
        for role, value in fields.items()
    )  # fmt: skip


def _shown(role: str, value: RoleValue) -> RoleValue:
    return to_iso(Instant(value)) if role == "state_updated_at" and isinstance(value, int) else value


@dataclass(slots=True)
class Settled:
    """What the verdicts of a round came to.

    Attributes:
        accepted: objects that were written.
        stale: entries whose record somebody else wrote meanwhile.
        unknown: entries of which it is not known what became of them, each with how many were sent together.
        rejected: refused updates, with Workbooks' reasons: to be read before the refusal stands; until then they
            count as being sent.
    """

    accepted: int = 0
    stale: list[Entry] = field(default_factory=list)
    unknown: list[tuple[Entry, int]] = field(default_factory=list)
    rejected: list[tuple[Entry, str]] = field(default_factory=list)


class Sent(NamedTuple):
    """One object as it was sent, in a request of `together` objects.

    `rescue`: it was the opt-out alone, after all of it had been refused.
    """

    entry: Entry
    write: Write
    rescue: bool
    together: int


def settle(run: Run, batch: Batch, verdicts: Sequence[Verdict], settled: Settled) -> Batch | None:
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

    Returns:
        The opt-outs to send once more alone, if there are any.
    """
    rescues: list[tuple[Entry, Write]] = []
    for position, (entry, write) in enumerate(zip(batch.entries, batch.writes, strict=True)):
        verdict = verdicts[position] if verdicts else Unknown("the request failed")
        sent = Sent(entry, write, rescue=batch.rescue, together=len(batch.entries))
        rescue = _settle_one(run, sent, verdict, settled)
        if rescue is not None:
            rescues.append(rescue)
    run.log.info(
        "batch_settled", record=batch.record, objects=len(batch.entries),
        accepted=sum(isinstance(verdict, Accepted) for verdict in verdicts),
        refused=sum(isinstance(verdict, Rejected) for verdict in verdicts),
    )  # fmt: skip
    if not rescues:
        return None
    entries, writes = zip(*rescues, strict=True)
    return Batch(batch.record, entries, writes, rescue=True)


def _settle_one(run: Run, sent: Sent, verdict: Verdict, settled: Settled) -> tuple[Entry, Write] | None:
    match verdict:
        case Accepted():
            settled.accepted += 1
            _accepted(run, sent, verdict, settled)
        case Stale():
            settled.stale.append(sent.entry)
            _look_again(run, sent.entry, in_doubt=False)
        case Unknown():
            settled.unknown.append((sent.entry, sent.together))
            _look_again(run, sent.entry, in_doubt=True)
        case Rejected(reasons):
            return _rejected(run, sent, "; ".join(reasons), settled)
    return None


def _accepted(run: Run, sent: Sent, verdict: Accepted, settled: Settled) -> None:
    entry, people, now = sent.entry, run.store.people, run.clock()
    lock_version = verdict.lock_version if verdict.lock_version >= 0 else None
    if entry.record == TASK:
        _task_created(run, entry, sent.write, verdict.id)
        return
    fields = {_NO_EMAIL: True} if sent.rescue else entry.fields
    if entry.person_id is None:
        people.created(verdict.id, lock_version, Held(**fields), now)  # type: ignore[arg-type]  # the roles are its names
        people.link(entry.pool, verdict.id)
        run.store.outbox.person_exists(entry.pool)
        run.summary.people.recreated += entry.action == "recreate"
        run.summary.people.created += entry.action == "create"
    else:
        people.accepted(verdict.id, lock_version, fields, now)
        run.summary.people.updated += not sent.rescue
    if fields.get(_NO_EMAIL):
        people.no_email_is_set(verdict.id)
    wrote(run, entry, verdict.id, fields)
    run.pilot.wrote(verdict.id)
    if sent.rescue:
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
    run.store.outbox.back_to_queue([entry.id], in_doubt=in_doubt)
    if entry.record != TASK:
        run.store.people.doubt([entry.person_id] if entry.person_id is not None else [])
        run.store.undecided.mark_again([entry.prospect_id or 0, *entry.pool])


def _rejected(run: Run, sent: Sent, reason: str, settled: Settled) -> tuple[Entry, Write] | None:
    """Keep a refusal; return the opt-out to be sent alone, where there is one among other fields."""
    entry, write = sent.entry, sent.write
    if entry.person_id is None:
        refuse(run, entry, reason)
        return None
    if not sent.rescue and entry.fields.get(_NO_EMAIL) is True and len(entry.fields) > 1:
        alone = Write(write.id, write.lock_version, workbooks_fields(run, {_NO_EMAIL: True}))
        return entry._replace(reason=reason), alone
    settled.rejected.append((entry, entry.reason if sent.rescue and entry.reason else reason))
    return None


def plain(value: WriteValue) -> Any:
    """Return a value as JSON shows it: times in ISO 8601."""
    if isinstance(value, DateTime):
        return to_iso(value.at)
    return to_date(value.at) if isinstance(value, Date) else value
