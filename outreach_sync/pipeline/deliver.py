"""Deliver: plan and push, in rounds, until everything is settled or something stands in the way.

A second round is for records that somebody else wrote meanwhile, or of which no answer came: they are read, decided
anew and sent again if they still differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.errors import GuardStoppedError, UnavailableError
from outreach_sync.http import pause
from outreach_sync.pipeline import plan, tasks
from outreach_sync.pipeline.changes import list_changes
from outreach_sync.pipeline.create import plan_creations
from outreach_sync.pipeline.push import Pusher
from outreach_sync.pipeline.refuse import refuse
from outreach_sync.pipeline.resolve import refresh_doubtful
from outreach_sync.pipeline.suspects import Suspects
from outreach_sync.rules import guard
from outreach_sync.state.candidates import Candidates
from outreach_sync.state.outbox import PERSON

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Run
    from outreach_sync.pipeline.settle import Settled

FIRST_LOAD_DONE = "first_load_done"
_FRUITLESS_ROUNDS = 3
_FRUITLESS_WITH_SUSPECTS = 6
"""So many rounds may come to nothing while smaller batches can be tried: 100 objects are alone after four."""
_FAILS_AT = "Workbooks fails whenever this record is written"
_GUARD_ADVICE = "`run --dry-run` shows the changes; `run --allow-bulk` makes them."
_LONGEST_PAUSE_S = 10.0


def deliver(run: Run, *, complete: bool, allow_bulk: bool) -> None:
    """Bring Workbooks to say what it should.

    Args:
        run: the run.
        complete: whether every walk is complete; if not, of what is held back only opt-outs are written.
        allow_bulk: whether the guard is lifted.

    Raises:
        GuardStoppedError: the cycle would change too much; nothing was written.
        ServiceError: a service became unavailable; the rest stays queued.
        NotAuthenticatedError, NotAllowedError: Workbooks refuses the key, or refuses everything.
        InterruptedByError: asked to stop; what was in flight is settled.
    """
    with run.state.transaction():
        run.state.undecided.revisit_due(run.clock())
    tasks.doubt_people(run, held=not complete)
    guarded = not allow_bulk and run.state.facts.get(FIRST_LOAD_DONE) is not None
    if run.dry:
        _plan(run, None, complete=complete)
        run.tally.guard_would_stop = guarded and _guard_stops(run)
        list_changes(run)
        return
    suspects, accepted, fruitless, rounds = Suspects(run.plan.batch_size), 0, 0, 0
    while fruitless < (_FRUITLESS_ROUNDS if suspects.all_were_alone() else _FRUITLESS_WITH_SUSPECTS):
        settled, again = _round(run, suspects, complete=complete, guarded=guarded and rounds == 0)
        accepted += settled.accepted
        for entry, together in settled.unknown:
            suspects.lost(entry, together)
        again = bool(accepted and _blame(run, settled, suspects)) or again
        if not (settled.stale or settled.unknown or again or run.state.undecided.ready(0, 1)):
            return
        fruitless = 0 if settled.accepted else fruitless + 1
        rounds += 1
        if settled.unknown:
            pause(min(2.0**fruitless, _LONGEST_PAUSE_S) if fruitless else 0.0, run.stop)
    _give_up(run, settled, suspects)


def _blame(run: Run, settled: Settled, suspects: Suspects) -> bool:
    """Refuse what Workbooks failed at alone, so that it holds nobody up; say whether there was any.

    It may have been written all the same, and is looked for before it is tried again.
    """
    blamed = [entry for entry, _ in settled.unknown if suspects.is_proven(entry)]
    with run.state.transaction():
        for entry in blamed:
            refuse(run, entry, _FAILS_AT, in_doubt=True)
        run.state.undecided.decided(entry.prospect_id or 0 for entry in blamed if entry.record == PERSON)
    settled.unknown = [(entry, together) for entry, together in settled.unknown if entry not in blamed]
    return bool(blamed)


def _round(run: Run, suspects: Suspects, *, complete: bool, guarded: bool) -> tuple[Settled, bool]:
    """Plan and push once; return what it came to, and whether a refused Person turned out to be gone."""
    guarded = guarded and _could_stop(run)
    with Pusher(run, suspects) as pusher:
        _plan(run, None if guarded else pusher, complete=complete)
        if guarded and _guard_stops(run):
            raise GuardStoppedError(_guard_message(run), advice=_GUARD_ADVICE)
        with run.state.transaction():
            run.state.outbox.admit_all()
        pusher.push_all()
        again = _confirm_refusals(run, pusher.settled)
        for batch in tasks.batches(run, suspects):
            pusher.send(batch)
        pusher.push_all()
        return pusher.settled, again


def _plan(run: Run, pusher: Pusher | None, *, complete: bool) -> None:
    """Plan everything that is ready; with a pusher, what is planned leaves meanwhile."""
    for only_opt_outs in (False,) if complete else (False, True):
        while _plan_once(run, pusher, only_opt_outs=only_opt_outs):
            pass  # somebody to be created turned out to share an address with a Person


def _plan_once(run: Run, pusher: Pusher | None, *, only_opt_outs: bool) -> bool:
    candidates = Candidates(run.state.connection)
    for count, unmatched in plan.plan_all(run, only_opt_outs=only_opt_outs):
        candidates.add(unmatched)
        run.on_progress("planned", count)
        if pusher is not None:
            pusher.pump()
    return plan_creations(run, candidates, only_opt_outs=only_opt_outs)


def _could_stop(run: Run) -> bool:
    """Say whether the guard could stop this cycle at all: if not, nothing has to be planned to its end first."""
    return _is_too_much(run, run.state.undecided.count() + run.state.outbox.updates_to_admit(run.tally.started_at))


def _guard_stops(run: Run) -> bool:
    return _is_too_much(run, run.state.outbox.updates_to_admit(run.tally.started_at))


def _is_too_much(run: Run, changes: int) -> bool:
    if changes <= run.plan.guard_count:
        return False  # without counting everybody, which takes longer than a small cycle
    return guard.stops(changes, run.state.people.known(), share=run.plan.guard_share, count=run.plan.guard_count)


def _guard_message(run: Run) -> str:
    changes = run.state.outbox.updates_to_admit(run.tally.started_at)
    return (
        f"the guard stopped this cycle before its first write: it would change {changes} of {run.state.people.known()} "
        f"known people (sync.guard allows {run.plan.guard_count}, or a share of {run.plan.guard_share:g})."
    )


def _confirm_refusals(run: Run, settled: Settled) -> bool:
    """Read what was refused: a refusal stands if the record is there; return whether any has to be decided anew."""
    if not settled.rejected:
        return False
    with run.state.transaction():
        run.state.people.doubt(entry.person_id for entry, _ in settled.rejected if entry.person_id is not None)
    people = run.state.people.by_id({entry.person_id for entry, _ in settled.rejected if entry.person_id is not None})
    gone = refresh_doubtful(run, people)
    with run.state.transaction():
        for entry, reason in settled.rejected:
            if entry.person_id in gone:
                run.state.outbox.back_to_queue([entry.id], in_doubt=False)
                run.state.undecided.mark_again([entry.prospect_id or 0])
            else:
                refuse(run, entry, reason)
    settled.rejected.clear()
    return bool(gone)


def _give_up(run: Run, settled: Settled, suspects: Suspects) -> None:
    """Leave for later what does not settle: somebody keeps writing it, or answers keep being lost.

    What was lost alone counts an attempt, whether Workbooks is down or fails at this record: it must not be what every
    run begins with, for ever.
    """
    lost = len(settled.unknown)
    _blame(run, settled, suspects)
    with run.state.transaction():
        for entry in settled.stale:
            refuse(run, entry, "somebody else keeps changing this record while it is written")
        run.state.undecided.decided(entry.prospect_id or 0 for entry in settled.stale)
    if lost:
        raise UnavailableError(
            f"Workbooks: the answers to writes keep being lost ({lost} in doubt).",
            advice="They stay queued; the next run looks what became of them.",
        )
