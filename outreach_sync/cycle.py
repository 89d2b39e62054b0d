"""One cycle, from Outreach to Workbooks: pull, match, decide, deliver.

Read this first. Everything it does is resumable: a page is stored with its consequences or not at all, what is queued
is marked as being sent before it leaves, and what was in doubt is looked up before it is sent again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from outreach_sync import errors
from outreach_sync.config.model import fingerprints
from outreach_sync.deliver import FIRST_LOAD_DONE, deliver
from outreach_sync.pull import pull, read_concerned, reread_refused
from outreach_sync.records import Stream
from outreach_sync.store.people import EVERYBODY, WITHOUT_PERSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from outreach_sync.run import Run

    # Returns what kept it from comparing everything, and whether the guard would stop a run that is not dry.
    Compare = Callable[[Run], tuple[errors.OutreachSyncError | None, bool]]

_CUT_OFF = "cut_off"  # fact: the stream that the last run did not get to the end of, because a quota was spent


def run_cycle(run: Run, *, allow_bulk: bool = False, compare: Compare | None = None) -> None:
    """Run one cycle; what it did is in `run.summary`. `compare`: what `reconcile` does once everything was read.

    Once everything was read and delivered for the first time, the guard watches from then on.

    Raises:
        ServiceError: a service was unavailable or out of quota, or its answer cannot be trusted. What was read is kept,
            what was queued is sent where possible, and the next run goes on.
        GuardStoppedError: the cycle would change implausibly much; nothing was written.
        NotAuthenticatedError, NotAllowedError: a service refuses us.
        InterruptedByError: asked to stop; what was in flight is settled.
    """
    failure, complete = begin(run)
    would_stop, summary, store = False, run.summary, run.store
    if complete and compare is not None:
        failure, would_stop = compare(run)
        complete = failure is None
    stopped = failure if isinstance(failure, errors.GuardStoppedError) else None
    deliver(run, complete=complete, allow_bulk=allow_bulk, stopped=stopped)
    summary.guard_would_stop |= would_stop
    if complete and store.facts.get(FIRST_LOAD_DONE) is None:
        unread = {*run.config.sync.streams} - {*store.progress.watermarks()}
        if summary.warnings:
            unread.discard("events")  # they may not be read
        if not unread and not store.undecided.count():
            with store.transaction():
                store.facts.put(FIRST_LOAD_DONE, run.id)
    failure = failure or run.source_failure
    if failure is None and not complete:
        failure = errors.ServiceError(
            "a walk that began earlier is not complete, so nothing but opt-outs was written.",
            advice="Run without --stream and --since, and it goes on where it stopped.",
        )
    if failure is not None:
        raise failure


def begin(run: Run) -> tuple[errors.OutreachSyncError | None, bool]:
    """Put in doubt what was being sent, and read every stream; return what failed, and if every walk is complete.

    Before that everybody is to be decided again where a label or field changed, and the tasks to be read again where
    the skip rule did.
    """
    facts, config = run.store.facts, run.config
    now = {**fingerprints(config), "skip_events": json.dumps(sorted(config.sync.tasks.skip_events))}
    before = {name: facts.get(name) for name in now}
    changed = {name for name, mark in now.items() if before[name] not in (None, mark)}
    with run.store.transaction():
        in_doubt = run.store.outbox.recover()
        if "decision_fingerprint" in changed:
            run.store.undecided.mark_again(EVERYBODY)
            run.log.info("rules_changed", what="labels or fields")
        if "field_fingerprint" in changed:
            run.store.people.doubt(None)
        for mark, stream, what in (
            ("task_fingerprint", Stream.TASKS, "the skip rule: tasks are read again from sync.start"),
            ("skip_events", Stream.EVENTS, "the events of skips: events are read again from sync.start"),
        ):
            if mark in changed:
                run.store.progress.reset(stream)
                run.log.info("rules_changed", what=what)
        if run.reading.full:
            run.store.undecided.mark_again(WITHOUT_PERSON)
        for name, mark in now.items():
            if before[name] != mark:
                facts.put(name, mark)
    if in_doubt:
        run.log.warning("writes_in_doubt", entries=in_doubt)
    failure = pull_streams(run)
    open_walks = [one for one in run.config.sync.streams if run.store.progress.of(one).walk is not None]
    complete = failure is None and not open_walks
    if complete:
        with run.store.transaction():
            run.store.undecided.release()
    return failure, complete


def pull_streams(run: Run) -> errors.OutreachSyncError | None:
    """Read every stream, and what events say something of; return what kept it from being completed, if anything did.

    Prospects come first, who may have opted out, then the others in turn: the one after that at which the last run was
    cut off begins, so that none is read on and on while others wait. Events are the last otherwise, since what they say
    something of may be read by then.

    What fails one stream spoils that one only: the others are tried, briefly where patience is spent, since an opt-out
    may be in any of them. Being told to wait, or refused, spoils all. What was queued before is delivered all the same.
    """
    failure: errors.OutreachSyncError | None = None
    others: list[Stream] = [stream for stream in run.streams if stream is not Stream.PROSPECTS]
    cut_off = run.store.facts.get(_CUT_OFF)
    turn = others.index(Stream(cut_off)) + 1 if cut_off in others else 0
    for stream in (*({*run.streams} - {*others}), *others[turn:], *others[:turn]):
        try:
            reread_refused(run, stream)
            pull(run, stream)
            if stream is Stream.EVENTS:
                read_concerned(run)
                if run.source.refused_names:
                    names = ", ".join(sorted(run.source.refused_names))
                    run.summary.warnings.append(f"Outreach refuses to list events of these names: {names}.")
        except (errors.ServiceError, errors.NotAuthenticatedError, errors.NotAllowedError) as error:
            _ = run.summary.streams[stream]  # it is in the summary, if with zeros
            run.log.warning("stream_incomplete", stream=stream.value, why=str(error))
            if stream is Stream.EVENTS and isinstance(error, errors.NotAllowedError):
                run.summary.warnings.append(str(error))  # and that holds nothing up: the other streams go on
                if run.store.progress.of(stream).walk is not None:
                    with run.store.transaction():
                        run.store.progress.keep_walk(stream, None)
                continue
            failure = failure or error
            run.source_is_down |= not isinstance(error, (errors.UntrustedAnswerError, errors.NotAllowedError))
            if isinstance(error, (errors.PutOffError, errors.QuotaSpentError, errors.NotAuthenticatedError)):
                with run.store.transaction():
                    run.store.facts.put(_CUT_OFF, stream.value)
                return error
    return failure
