"""Reconcile: compare everything, and repair the difference.

What a cycle cannot see, since Outreach leaves no trace of it: sequence states that were deleted, people and tasks that
were edited, deleted or merged in Workbooks. Nothing is believed to be gone because a walk did not show it: it is asked
for by its id first. Nothing that was found is kept if the guard stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.cycle import (
    count_what_waits,
    first_load_is_done,
    notice_changed_rules,
    pull_streams,
    recover,
    release,
)
from outreach_sync.deliver import FIRST_LOAD_DONE, deliver
from outreach_sync.errors import GuardStoppedError, ServiceError
from outreach_sync.reconcile.people import compare_people
from outreach_sync.reconcile.states import (
    a_sample_is_absent,
    confirm_missing,
    end_walk,
    name_sequences,
    read_prospects,
    walk_all_states,
)
from outreach_sync.reconcile.tasks import find_deleted_tasks, find_vanished_tasks
from outreach_sync.records import Stream
from outreach_sync.rules import guard
from outreach_sync.state.survey import Survey

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Run


def reconcile(run: Run, *, allow_bulk: bool = False) -> None:
    """Read what changed, compare everything, repair what differs; what it did is in `run.tally`.

    Raises:
        ServiceError: a service was unavailable or out of quota, or its answer cannot be trusted. The walk through
            Outreach goes on where it stopped the next time.
        GuardStoppedError: it would change implausibly much; nothing was written, nothing that it found was kept.
        NotAuthenticatedError, NotAllowedError: a service refuses us.
        InterruptedByError: asked to stop; what was in flight is settled.
    """
    recover(run)
    notice_changed_rules(run)
    failure = pull_streams(run)
    would_stop = compared = False
    try:
        if failure is None and not run.state.progress.any_walk_open(run.all_streams):
            release(run)
            failure, would_stop = _compare(run, allow_bulk=allow_bulk)
            compared = failure is None
        deliver(run, complete=compared, allow_bulk=allow_bulk or compared)
        if compared:
            first_load_is_done(run)
    finally:
        count_what_waits(run)
    run.tally.guard_would_stop = run.tally.guard_would_stop or would_stop
    if failure is not None:
        raise failure


def _compare(run: Run, *, allow_bulk: bool) -> tuple[ServiceError | None, bool]:
    """Find everything out and put it into effect; return what kept it from that, and whether the guard would stop."""
    survey = Survey(run.state.connection)
    try:
        if Stream.SEQUENCE_STATES in run.all_streams:
            walk_all_states(run, survey)
            name_sequences(run, survey)
            if not allow_bulk and not run.dry:
                _stop_before_asking(run, survey)
            confirm_missing(run, survey)
        read_prospects(run, survey)
        release(run)
        compare_people(run, survey)
        asked = find_deleted_tasks(run, survey), find_vanished_tasks(run, survey)
    except ServiceError as error:
        run.log.warning("reconcile_incomplete", why=str(error))
        return error, False
    run.log.info("compared", **survey.counts())
    problem = None if allow_bulk else _guard_problem(run, survey, asked)
    if problem is not None and not run.dry:
        raise _stopped(run, survey, problem)
    _keep(run, survey)
    return None, problem is not None


def _stop_before_asking(run: Run, survey: Survey) -> None:
    """Stop at once where a user who may see nothing any more would have every state asked for, a hundred at a time.

    Raises:
        GuardStoppedError: more people than the guard allows miss states, and none of a few hundred that were asked for
            exists.
    """
    missing, known = survey.people_with_unseen(), run.state.people.known()
    limits = run.config.sync.guard
    too_many = guard.stops(missing, known, share=limits.share, count=limits.count)
    if too_many and run.state.facts.get(FIRST_LOAD_DONE) is not None and a_sample_is_absent(run, survey):
        raise _stopped(
            run, survey, f"Outreach no longer shows the sequence states of {missing} of {known} known people"
        )


def _stopped(run: Run, survey: Survey, problem: str) -> GuardStoppedError:
    with run.state.transaction():
        end_walk(run, survey)
    return GuardStoppedError(
        f"the guard stopped this reconcile before its first write: {problem}; nothing of it was kept.",
        advice="`reconcile --dry-run` shows the changes; `reconcile --allow-bulk` makes them.",
    )


def _guard_problem(run: Run, survey: Survey, asked: tuple[int, int]) -> str | None:
    """Say what is implausible about the findings, None where nothing is.

    Tasks are judged as people are: a user who may no longer see them finds all of them gone.
    """
    if run.state.facts.get(FIRST_LOAD_DONE) is None:
        return None
    found = survey.counts()
    judged = (
        ("change {} of {} known people", survey.people_to_change(), run.state.people.known()),
        ("create {} of {} tasks again", found["tasks_gone"], asked[0]),
        ("take {} of {} overtaken tasks as skipped", found["tasks_vanished"], asked[1]),
    )
    limits = run.config.sync.guard
    for text, changes, known in judged:
        if guard.stops(changes, known, share=limits.share, count=limits.count):
            return f"it would {text.format(changes, known)} (sync.guard)"
    return None


def _keep(run: Run, survey: Survey) -> None:
    """Put the findings into effect in one transaction; `deliver` does the rest."""
    outbox = run.state.outbox
    with run.state.transaction():
        survey.keep()
        for task_id, prospect_id in survey.tasks_to_send():
            outbox.queue_task(task_id, prospect_id, held=False, run_id=run.id)
        run.state.undecided.mark_unmatched_changed()
        end_walk(run, survey)
