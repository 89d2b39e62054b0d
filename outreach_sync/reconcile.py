"""Reconcile: compare everything, and repair the difference.

Outreach leaves no trace of what was deleted, so the ids of a complete walk are compared with the cache; there is no
snapshot behind a walk, so only what is absent when asked for by its id is gone. Nothing that was found missing is kept
if the guard stops.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from outreach_sync import errors
from outreach_sync.cycle import run_cycle
from outreach_sync.decide import Decision, decisions
from outreach_sync.deliver import FIRST_LOAD_DONE
from outreach_sync.http import ahead, check, early, pause
from outreach_sync.instants import parse_duration
from outreach_sync.match import has_values, keep_read as keep_person, read_people, until_shown
from outreach_sync.pull import absent_among, keep_read, pull
from outreach_sync.records import PersonRow, Stream
from outreach_sync.rules.person import NOT_ACTIVE, RoleValue
from outreach_sync.rules.watermark import Walk, Watched, guard_problems, is_mass_change
from outreach_sync.store.outbox import HIDDEN
from outreach_sync.store.people import WITHOUT_PERSON, LinkedPerson
from outreach_sync.store.progress import LINKED_PEOPLE, LINKED_PROSPECTS, SURVEY, UNSEEN, Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from outreach_sync.run import Run

T = TypeVar("T", bound="Collection[Any]")

_STALE_MS = parse_duration("24h")
_BY_ID = 1_000  # records asked for by id between two commits: ten requests
_SAMPLE = 300
_TOGETHER = 400  # people or tasks compared together: four requests


def reconcile(run: Run, *, allow_bulk: bool = False) -> None:
    """Read what changed, compare everything, repair what differs. Raises as `run_cycle`."""
    run_cycle(run, allow_bulk=allow_bulk, compare=partial(_compare_all, allow_bulk=allow_bulk))


def _compare_all(run: Run, *, allow_bulk: bool) -> tuple[errors.OutreachSyncError | None, bool]:
    """Find everything out and put it into effect; return what kept it from that, and whether the guard would stop."""
    survey, stops = Survey(run.store.connection), not allow_bulk and not run.summary.dry_run
    try:
        if Stream.SEQUENCE_STATES in run.config.sync.streams:
            _survey_states(run, survey, stops=stops)
        for linked in _through(run, partial(survey.following, LINKED_PROSPECTS), _BY_ID):
            absent = absent_among(run, Stream.PROSPECTS, linked)
            with run.store.transaction():
                survey.note("prospects_gone", ((one,) for one in absent))
            run.on_progress(Stream.PROSPECTS.value, len(linked))
        with run.store.transaction():
            run.store.undecided.release()
        _compare_people(run, survey)
        sent, overtaken = _find_tasks(run, survey)
    except (errors.ServiceError, errors.GuardStoppedError, errors.NotAllowedError, errors.NotAuthenticatedError) as why:
        run.log.warning("reconcile_incomplete", why=str(why))
        return why, False
    found = survey.counts()
    run.log.info("compared", **found)
    # Tasks are judged as people are: a user who may no longer see them finds all of them gone. People to be created
    # are counted when that is decided.
    loaded = run.store.facts.get(FIRST_LOAD_DONE) is not None
    numbers, limits = {**survey.people_to_change(), Watched.CREATIONS: 0}, run.config.sync.guard
    problems = list(guard_problems(numbers, run.store.people.known(or_lost=True), limits, loaded=loaded).values())
    for text, changes, known in (
        ("create again, or no longer see, {} of {} tasks", found["tasks_gone"] + found["tasks_hidden"], sent),
        ("take {} of {} overtaken tasks as skipped", found["tasks_vanished"], overtaken),
    ):
        if loaded and is_mass_change(changes, known, share=limits.share, count=limits.count):
            problems.append(f"it would {text.format(changes, known)} (sync.guard)")
    if problems and stops:
        return _stopped(run, survey, "; ".join(problems)), True
    with run.store.transaction():  # the findings take effect; `deliver` does the rest
        survey.keep()
        for task_id, prospect_id, _ in survey.tasks("tasks_gone", "tasks_vanished"):
            run.store.outbox.queue_task(task_id, prospect_id, held=False, run_id=run.id)
        for task_id, prospect_id, workbooks_id in survey.tasks("tasks_hidden"):
            reason = (
                f"Task {workbooks_id} does not come back from Workbooks, neither alive nor deleted: the API key's user "
                "may not see it, or it was removed for good. It is not created again by itself: "
                "`failures retry ID --recreate` does"
            )
            run.store.outbox.task_not_seen(task_id, prospect_id, reason, run_id=run.id)
            run.summary.tasks.rejected += 1
        run.store.undecided.mark_again(WITHOUT_PERSON)
        survey.begin()
    return None, bool(problems) and not allow_bulk


def _through(run: Run, following: Callable[[int, int], T], together: int) -> Iterator[T]:
    """Yield what a query returns after each id, so many at a time, until nothing follows."""
    after = 0
    while some := following(after, together):
        check(run.stop)
        yield some
        *_, last = some
        after = last if isinstance(last, int) else last.id


def _stopped(run: Run, survey: Survey, problem: str) -> errors.GuardStoppedError:
    with run.store.transaction():
        survey.begin()
    return errors.GuardStoppedError(
        f"the guard stopped this reconcile before its first write, opt-outs excepted: {problem}; nothing was kept.",
        advice="`reconcile --dry-run` shows the changes; `reconcile --allow-bulk` makes them.",
    )


def _survey_states(run: Run, survey: Survey, *, stops: bool) -> None:
    """Go through all sequence states, store what was never seen, and ask by id for every cached one not shown.

    The walk goes on from where an earlier one stopped. One that began a day ago or longer, by the service's clock,
    proves too little about what it saw first; one that was completed, and what followed was not, need not be made.

    Where the guard `stops` it, it stops here if more people than that allows miss states and none of a few hundred that
    were asked for exists: a user who may see nothing any more would have every state asked for.
    """
    done, now = run.store.progress.of(SURVEY), run.source.transport.server_now()
    began_at = done.watermark if done.walk is None else done.walk.began_at
    is_stale = now is None or began_at is None or not 0 <= now - began_at < _STALE_MS
    if is_stale:
        with run.store.transaction():
            survey.begin()
            walk = Walk(None, moves_watermark=False, counts_as_sweep=False, as_is=True)
            run.store.progress.keep_walk(SURVEY, walk)
    if is_stale or done.walk is not None:
        pull(run, Stream.SEQUENCE_STATES, survey)
    named = survey.one_of_each_sequence() if run.config.workbooks.fields.sequences else []
    for page in run.source.by_id(Stream.SEQUENCE_STATES, named) if named else ():
        keep_read(run, page)  # the walk's own pages include no sequence, whose name may be unknown, or another by now
    missing, limits = survey.people_with_unseen() if stops else 0, run.config.sync.guard
    known = run.store.people.known(or_lost=True)
    if is_mass_change(missing, known, share=limits.lost_share, count=limits.lost_count):
        sample = survey.following(UNSEEN, 0, _SAMPLE)
        if sample and len(absent_among(run, Stream.SEQUENCE_STATES, sample)) == len(sample):
            what = f"Outreach no longer shows the sequence states of {missing} of {known} known people"
            raise _stopped(run, survey, what)
    for unseen in _through(run, partial(survey.following, UNSEEN), _BY_ID):
        absent = absent_among(run, Stream.SEQUENCE_STATES, unseen)
        with run.store.transaction():
            survey.note("states_missing", ((one,) for one in absent))


def _compare_people(run: Run, survey: Survey) -> None:
    """Compare every linked Person with what it should say, missing states left out; keep what it was read to hold."""
    asked = (
        (ids, ahead(partial(run.target.people_by_ids, ids), name="people-ahead"))
        for ids in _through(run, partial(survey.following, LINKED_PEOPLE), _TOGETHER)
    )
    for ids, coming in early(asked, run.config.workbooks.concurrency):
        people = run.store.people.by_id(ids)
        rows = read_people(run, people.values(), coming.result())
        pools = run.store.people.prospects_of(ids)
        decided = decisions(run.store, run.config, pools, people, without=survey.missing_among)
        with run.store.transaction():
            for person_id, decision in decided.items():
                _compare(run, survey, decision, people[person_id], rows.get(person_id), pool=pools[person_id])
        run.on_progress("compared", len(ids))


def _compare(
    run: Run, survey: Survey, decision: Decision, person: LinkedPerson, row: PersonRow | None, *, pool: Sequence[int]
) -> None:
    """Note what is to be done about a Person; the guard does not count what waits so already and was let pass."""

    def was_admitted(changes: Mapping[str, RoleValue]) -> bool:
        return any(entry.admitted and entry.fields == changes for entry in run.store.outbox.of_person(pool))

    if row is None or row.is_deleted:
        recreates = run.config.sync.when_deleted == "recreate"
        if recreates or not person.deleted:
            hidden_before = row is None and person.hidden and was_admitted({})
            counts = (recreates or row is None) and not hidden_before
            survey.note("people_gone", [(person.id, None, None, Watched.LOSSES if counts else None)])
        return
    changes = decision._replace(held=keep_person(run, row, person, person.rule)).changes()
    if not changes:
        run.summary.people.unchanged += 1
    elif has_values(row.fields, run.config.sync.people.only_where):
        is_loss = changes.get("sequence_state") == run.config.sync.labels[NOT_ACTIVE]
        watched = Watched.LOSSES if is_loss else Watched.UPDATES
        counts = not decision.wanted.opted_out and not was_admitted(changes)
        survey.note("people_differ", [(person.id, None, None, watched if counts else None)])


def _find_tasks(run: Run, survey: Survey) -> tuple[int, int]:
    """Find Tasks that were deleted in Workbooks, and open tasks that are gone although their state is at another step.

    Deleted ones are looked up by reference once more before they are created again, as every task is. One that does not
    come back at all may only be hidden: it is refused. Returns how many of either kind were looked at; none where the
    config leaves what was deleted, or does not take what vanished for skipped.
    """
    looked_at, asked_for, read = 0, 0, run.target.tasks_by_ids
    for sent in _through(run, survey.sent_tasks, _TOGETHER) if run.config.sync.when_deleted == "recreate" else ():
        looked_at += len(sent)
        made = {task.workbooks_id: task.sent_at for task in sent}
        rows = until_shown(run, made, read)
        if absent := [one for one in made if one not in rows]:  # one look is little to refuse them by
            pause(run.look_again_seconds, run.stop)
            rows |= read(absent)
        deleted = {row.id for row in rows.values() if row.is_deleted}
        with run.store.transaction():
            survey.note("tasks_gone", (task[:3] for task in sent if task.workbooks_id in deleted))
            survey.note("tasks_hidden", (task[:3] for task in sent if task.workbooks_id not in rows))
            run.store.outbox.drop((task.id for task in sent if task.workbooks_id in rows), HIDDEN)
    vanishing = run.config.sync.tasks.vanished_is_skipped
    for overtaken in _through(run, survey.overtaken_tasks, _TOGETHER) if vanishing else ():
        asked_for += len(overtaken)
        gone = absent_among(run, Stream.TASKS, list(overtaken))
        with run.store.transaction():
            survey.note("tasks_vanished", [(one, overtaken[one], None) for one in gone])
    return looked_at, asked_for
