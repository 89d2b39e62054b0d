"""Refuse: keep what could not be decided or was not accepted, for a later attempt or for somebody to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.pipeline.attempts import is_due, next_attempt
from outreach_sync.scrubbing import masked
from outreach_sync.state.outbox import SOURCE, TASK

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Run
    from outreach_sync.state.outbox import Entry


def refuse(run: Run, entry: Entry, reason: str, *, in_doubt: bool = False) -> None:
    """Keep an entry for a later attempt, or park it once it has had `sync.max_attempts` (inside a transaction).

    `in_doubt`: it may have arrived all the same.
    """
    attempts, reason = entry.attempts + 1, masked(reason)
    parked = attempts >= run.plan.max_attempts
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


def refuse_decision(run: Run, prospect_id: int, person_id: int | None, reason: str) -> None:
    """Refuse a Person for which it cannot be decided what to write (inside a transaction).

    Looked at again before its pause is over (because a record changed), it keeps its attempts.
    """
    outbox = run.state.outbox
    outbox.queue_person(prospect_id, person_id, "resolve", {}, run_id=run.id, reason=reason)
    for entry in outbox.of_person([prospect_id]):
        if entry.state == "queued" and is_due(entry.next_attempt_at, run.clock()):
            refuse(run, entry, reason)
