"""Ledger: what became of an entry of the outbox, kept: refused for a later attempt, or written for the history."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from outreach_sync.instants import Instant, to_iso
from outreach_sync.log import masked
from outreach_sync.state.history import Written
from outreach_sync.state.outbox import IMPLAUSIBLE_PAUSE_MS, RESOLVE, SOURCE, TASK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.pipeline.run import Run
    from outreach_sync.rules.differences import RoleValue
    from outreach_sync.state.outbox import Entry

_FIRST_MS = 5 * 60_000
_LONGEST_MS = 24 * 3_600_000


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
    run.state.outbox.refused(entry, reason, next_attempt_at=again, in_doubt=in_doubt)
    run.log.warning(
        "record_refused", record=entry.record, prospect=entry.prospect_id, task=entry.task_id,
        workbooks_id=entry.person_id, reason=reason, attempts=attempts, parked=parked,
    )  # fmt: skip
    if entry.record == TASK or (entry.record == SOURCE and entry.task_id is not None):
        run.tally.tasks.rejected += 1
    else:
        run.tally.people.rejected += 1


def refuse_decision(run: Run, prospect_id: int, person_id: int | None, reason: str, *, action: str = RESOLVE) -> None:
    """Refuse a Person for which it cannot be decided what to write (inside a transaction).

    Looked at again before its pause is over (because a record changed), it keeps its attempts; discarded, it stays so.
    """
    outbox = run.state.outbox
    outbox.queue_person(prospect_id, person_id, action, {}, run_id=run.id, reason=reason)
    for entry in outbox.of_person([prospect_id]):
        if entry.state == "queued" and is_due(entry.next_attempt_at, run.clock()):
            refuse(run, entry, reason)


def wrote(run: Run, entry: Entry, workbooks_id: int, fields: Mapping[str, RoleValue]) -> None:
    """Record what Workbooks accepted of a Person, by role, for the history (inside a transaction)."""
    names = run.config.workbooks.fields
    run.state.history.wrote(
        Written(
            run.clock(), run.id, entry.record, "update" if entry.action == "update" else "create", entry.prospect_id,
            None, workbooks_id, getattr(names, role), _shown(role, entry.before.get(role)), _shown(role, value),
            entry.because,
        )
        for role, value in fields.items()
    )  # fmt: skip


def _shown(role: str, value: RoleValue) -> RoleValue:
    return to_iso(Instant(value)) if role == "state_updated_at" and isinstance(value, int) else value
