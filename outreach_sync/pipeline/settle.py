"""Settle: turn each object's verdict into what the state says of it. No requests are made here.

Accepted: the values are what Workbooks holds now, and the entry goes. Stale or unknown: the record is read before it is
written again, in the next round. Refused: read as well, since a record that is gone is also refused; if it is there,
the refusal stands. An opt-out that is refused together with other fields is sent once more alone: a picklist that lacks
a label must not keep No Email from being set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.pipeline.batches import Batch, workbooks_fields
from outreach_sync.pipeline.refuse import refuse
from outreach_sync.records import Accepted, Rejected, Stale, Unknown, Write
from outreach_sync.rules.differences import Held
from outreach_sync.state.outbox import TASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Verdict
    from outreach_sync.state.outbox import Entry

_NO_EMAIL = "no_email"


class Sent(NamedTuple):
    """One object as it was sent, in a request of `together` objects.

    `rescue`: it was the opt-out alone, after all of it had been refused.
    """

    entry: Entry
    write: Write
    rescue: bool
    together: int


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


def refused_whole(verdicts: Sequence[Verdict]) -> bool:
    """Say whether every object of a request was refused."""
    return bool(verdicts) and all(isinstance(verdict, Rejected) for verdict in verdicts)


def settle(run: Run, batch: Batch, verdicts: Sequence[Verdict], settled: Settled) -> Batch | None:
    """Record what became of each object of a batch (inside a transaction).

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
    settled.accepted += 1
    entry = sent.entry
    lock_version = verdict.lock_version if verdict.lock_version >= 0 else None
    now = run.clock()
    if entry.record == TASK:
        run.state.cache.task_was_sent(entry.task_id or 0, verdict.id, now)
        run.state.outbox.drop([entry.id])
        run.tally.tasks.created += 1
        return
    if sent.rescue:
        run.state.people.accepted(verdict.id, lock_version, {_NO_EMAIL: True}, now)
        settled.rejected.append((entry, entry.reason or ""))
        return
    if entry.person_id is None:
        _person_created(run, entry, verdict.id, lock_version)
    else:
        run.state.people.accepted(verdict.id, lock_version, entry.fields, now)
        run.tally.people.updated += 1
    run.state.outbox.drop([entry.id])
    if entry.reason is not None and entry.prospect_id is not None:
        run.state.undecided.mark_again([entry.prospect_id])  # part of it may still be undecided


def _person_created(run: Run, entry: Entry, person_id: int, lock_version: int | None) -> None:
    run.state.people.created(person_id, lock_version, Held(**entry.fields), run.clock())  # type: ignore[arg-type]
    run.state.people.link(entry.pool, person_id)
    run.state.outbox.person_exists(entry.pool)
    if entry.action == "recreate":
        run.tally.people.recreated += 1
    else:
        run.tally.people.created += 1


def _look_again(run: Run, entry: Entry, *, in_doubt: bool) -> None:
    """Have the record read before it is written again."""
    run.state.outbox.back_to_queue([entry.id], in_doubt=in_doubt)
    if entry.record != TASK:
        run.state.people.doubt([entry.person_id] if entry.person_id is not None else [])
        run.state.undecided.mark_again([entry.prospect_id or 0, *entry.pool])


def _rejected(run: Run, sent: Sent, reason: str, settled: Settled) -> tuple[Entry, Write] | None:
    """Keep a refusal; return the opt-out to be sent alone, where there is one among other fields."""
    entry, write = sent.entry, sent.write
    if entry.person_id is None:
        refuse(run, entry, reason)
        return None
    if not sent.rescue and entry.fields.get(_NO_EMAIL) is True and len(entry.fields) > 1:
        alone = Write(write.id, write.lock_version, workbooks_fields(run, {_NO_EMAIL: True}))
        return entry._replace(reason=reason), alone
    settled.rejected.append((entry, entry.reason or reason if sent.rescue else reason))
    return None
