"""Deliver: send what is queued, settle each object by its own answer, in rounds, with the guard before the first write.

The last step. A round decides everybody who is ready and sends what differs. Another one is for records that somebody
else wrote meanwhile, or of which no answer came: they are read, decided anew and sent again if they still differ. The
states of an entry on its way are drawn in `state.outbox`.

Only this thread touches the state. Before a request leaves, its entries are durably marked as being sent, in the same
transaction that settles the answers which have come meanwhile; worker threads do nothing but the exchange.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from outreach_sync.decide import decide_all
from outreach_sync.errors import (
    GuardStoppedError,
    InterruptedByError,
    NotAllowedError,
    OutreachSyncError,
    UnavailableError,
)
from outreach_sync.http import pause
from outreach_sync.match import read_people, refresh
from outreach_sync.records import Rejected, Unknown
from outreach_sync.rules.person import NOT_ACTIVE, task_reference
from outreach_sync.rules.watermark import Watched, guard_problems
from outreach_sync.settle import Batch, Settled, Suspects, person_batch, settle, task_write, workbooks_fields
from outreach_sync.store.outbox import DISCARDED, HIDDEN, PERSON, SENDING, TASK, Guarded
from outreach_sync.workbooks.wire import PEOPLE, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from outreach_sync.records import Verdict
    from outreach_sync.run import Run
    from outreach_sync.store.outbox import Entry

FIRST_LOAD_DONE = "first_load_done"
_FRUITLESS_ROUNDS = 3
_FRUITLESS_WITH_SUSPECTS = 6
"""So many rounds may come to nothing while smaller batches can be tried: 100 objects are alone after four."""
_LOST_IN_A_ROW = 3
"""So many requests in a row with suspects may get no answer before Workbooks counts as down; of others, one."""
_LONGEST_PAUSE_S = 10.0
_TOGETHER = 500
_TASKS_TOGETHER = 400
"""Tasks whose People are read together: at most four requests."""
_ACTIONS = ("update", "create", "recreate")
_FAILS_AT = "Workbooks fails whenever this record is written"
_SOMEBODY_ELSE = "somebody else keeps changing this record while it is written"
_GUARD_ADVICE = "`run --dry-run` shows the changes; `run --allow-bulk` makes them."


def deliver(run: Run, *, complete: bool, allow_bulk: bool) -> None:
    """Bring Workbooks to say what it should.

    Args:
        run: the run.
        complete: whether every walk is complete; if not, of what is held back only opt-outs are written.
        allow_bulk: whether the guard is lifted.

    Raises:
        GuardStoppedError: the cycle would change too much; nothing but opt-outs was written.
        ServiceError: a service became unavailable; the rest stays queued.
        NotAuthenticatedError, NotAllowedError: Workbooks refuses the key, or refuses everything.
        InterruptedByError: asked to stop; what was in flight is settled.
    """
    with run.store.transaction():
        run.store.undecided.revisit_due(run.clock())
        run.pilot.begin(run.store)
    _look_for_hidden_tasks(run)
    _doubt_people_of_tasks(run, held=not complete)
    watch = _Guard(run, lifted=allow_bulk)
    if run.summary.dry_run:
        _decide(run, None, complete=complete)
        run.summary.guard_would_stop = bool(watch.problems())
        _list_changes(run)
        return
    suspects, accepted, fruitless = Suspects(run.config.workbooks.batch_size), 0, 0
    while fruitless < (_FRUITLESS_ROUNDS if suspects.all_were_alone() else _FRUITLESS_WITH_SUSPECTS):
        settled, again = _round(run, suspects, watch, complete=complete)
        accepted += settled.accepted
        again = bool(accepted and _blame(run, settled, suspects)) or again
        if not (settled.stale or settled.unknown or again or _anybody_is_ready(run)):
            return
        fruitless = 0 if settled.accepted or run.pilot.limit else fruitless + 1
        if settled.unknown:
            pause(min(2.0**fruitless, _LONGEST_PAUSE_S) if fruitless else 0.0, run.stop)
    _give_up(run, settled, suspects)


def _anybody_is_ready(run: Run) -> bool:
    """Say whether there is somebody left to decide: not those who wait for Outreach, nor those beyond a pilot."""
    if run.source_is_down or (run.pilot.limit is not None and len(run.pilot.taken) >= run.pilot.limit):
        return False
    if run.pilot.prospects is not None:
        return bool(run.store.undecided.ready(among=run.pilot.prospects))
    return bool(run.store.undecided.ready(limit=1))


def _round(run: Run, suspects: Suspects, watch: _Guard, *, complete: bool) -> tuple[Settled, bool]:
    """Decide and push once; return what it came to, and whether a refused Person turned out to be gone.

    Where the guard may stop the cycle, everything is decided before the first write.
    """
    streams = not watch.could_stop()
    with Pusher(run, suspects) as pusher:
        _decide(run, pusher if streams else None, complete=complete)
        problems = watch.problems()
        if problems:
            # Opt-outs are safe and must not wait. Those of people that would be created only if that is not what there
            # is too much of: nobody writes to a Person that does not exist.
            watched = (None, Watched.CREATIONS, Watched.LOSSES)
            with run.store.transaction():
                run.store.outbox.admit_opt_outs(
                    [action for action, kind in zip(_ACTIONS, watched, strict=True) if kind not in problems]
                )
            pusher.push_all(only_admitted=True)
            raise GuardStoppedError(
                "the guard stopped this cycle before its first write, opt-outs excepted: "
                f"{'; '.join(problems.values())}.",
                advice=_GUARD_ADVICE,
            )
        watch.admit()
        pusher.push_all()
        again = _confirm_refusals(run, pusher.settled)
        for batch in _task_batches(run, suspects):
            pusher.send(batch)
        pusher.push_all()
        return pusher.settled, again


def _decide(run: Run, pusher: Pusher | None, *, complete: bool) -> None:
    """Decide everything that is ready; with a pusher, what is queued leaves meanwhile."""
    run.pilot.expected = len(run.pilot.taken)
    for only_opt_outs in (False,) if complete else (False, True):
        decide_all(run, pusher.pump if pusher is not None else lambda: None, only_opt_outs=only_opt_outs)


# -- the guard


class _Guard:
    """What the guard has counted in this cycle. Each round counts what no guard has counted before."""

    def __init__(self, run: Run, *, lifted: bool) -> None:
        self._run = run
        self._lifted = lifted
        self._loaded = run.store.facts.get(FIRST_LOAD_DONE) is not None
        self._passed = Guarded(0, 0, 0)

    def could_stop(self) -> bool:
        """Say whether the guard could stop this cycle at all, whatever it will decide."""
        waiting = self._run.store.undecided.count() + sum(self._total()) - sum(self._passed)
        return bool(self.problems(Guarded(*(one + waiting for one in self._passed))))

    def problems(self, numbers: Guarded | None = None) -> dict[Watched, str]:
        """Return what this cycle would change too much of, in words; `numbers`: in place of what it counted."""
        numbers = numbers or self._total()
        limits, most = self._run.config.sync.guard, self._run.pilot.limit
        if most is not None:
            numbers = Guarded(*(min(one, most) for one in numbers))
        if self._lifted or max(numbers) <= min(limits.count, limits.lost_count, limits.create):
            return {}  # without counting everybody, which takes longer than a small cycle
        counts = dict(zip(Watched, numbers, strict=True))
        return guard_problems(counts, self._run.store.people.known(or_lost=True), limits, loaded=self._loaded)

    def admit(self) -> None:
        """Note that what is queued now has been counted and may be written; of a pilot with a limit, nothing is."""
        if self._run.pilot.limit is not None:
            return
        self._passed = self._total()
        with self._run.store.transaction():
            self._run.store.outbox.admit_all()

    def _total(self) -> Guarded:
        new = self._run.store.outbox.guarded(self._run.config.sync.labels[NOT_ACTIVE])
        return Guarded(*map(sum, zip(self._passed, new, strict=True)))


# -- what does not settle


def _blame(run: Run, settled: Settled, suspects: Suspects) -> bool:
    """Refuse what Workbooks failed at alone, so that it holds nobody up; say whether there was any.

    It may have been written all the same, and is looked for before it is tried again.
    """
    blamed = [entry for entry in settled.unknown if suspects.is_proven(entry)]
    with run.store.transaction():
        for entry in blamed:
            run.refuse(entry, _FAILS_AT, in_doubt=True)
        run.store.undecided.decided(entry.prospect_id or 0 for entry in blamed if entry.record == PERSON)
    settled.unknown = [entry for entry in settled.unknown if entry not in blamed]
    return bool(blamed)


def _confirm_refusals(run: Run, settled: Settled) -> bool:
    """Read what was refused: a refusal stands if the record is there; return whether any has to be decided anew."""
    if not settled.rejected:
        return False
    refused = {entry.person_id for entry, _ in settled.rejected if entry.person_id is not None}
    with run.store.transaction():
        run.store.people.doubt(refused)
    absent = refresh(run, run.store.people.by_id(refused))
    with run.store.transaction():
        for entry, reason in settled.rejected:
            if entry.person_id in absent:
                run.store.outbox.mark([entry.id], state="queued", in_doubt=False, next_attempt_at=None)
                run.store.undecided.mark_again([entry.prospect_id or 0])
            else:
                run.refuse(entry, reason)
    settled.rejected.clear()
    return bool(absent)


def _give_up(run: Run, settled: Settled, suspects: Suspects) -> None:
    """Leave for later what does not settle: somebody keeps writing it, or answers keep being lost.

    What was lost alone counts an attempt, whether Workbooks is down or fails at this record: it must not be what every
    run begins with, for ever.
    """
    lost = len(settled.unknown)
    _blame(run, settled, suspects)
    with run.store.transaction():
        for entry in settled.stale:
            run.refuse(entry, _SOMEBODY_ELSE)
        run.store.undecided.decided(entry.prospect_id or 0 for entry in settled.stale)
    if lost:
        raise UnavailableError(
            f"Workbooks: the answers to writes keep being lost ({lost} in doubt).",
            advice="They stay queued; the next run looks what became of them.",
        )


# -- sending


class Pusher:
    """Sends what is due, at most `concurrency` requests at once and one more batch ready behind them.

    Use it as a context manager: leaving the block waits for what is in flight and settles it.
    """

    def __init__(self, run: Run, suspects: Suspects) -> None:
        """Prepare the worker threads; none starts before it is needed."""
        self._run = run
        self._suspects = suspects
        self._concurrency = run.config.workbooks.concurrency
        self._workers = ThreadPoolExecutor(self._concurrency, thread_name_prefix="push")
        self._in_flight: dict[Future[Sequence[Verdict]], Batch] = {}
        self._next = dict.fromkeys(_ACTIONS, 0)
        self._only_admitted = False
        self._failure: OutreachSyncError | None = None
        self._checked_systemic = False
        self.settled = Settled()
        self._lost_in_a_row = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Wait for the answers in flight and settle them, also when something went wrong elsewhere."""
        while self._in_flight:
            self._collect(block=True)
        self._workers.shutdown()
        if self.settled.rejected:
            with self._run.store.transaction():
                entries = [entry.id for entry, _ in self.settled.rejected]
                self._run.store.outbox.mark(entries, state="queued", in_doubt=False, next_attempt_at=None)
        if kind is None and self._failure is not None:
            raise self._failure

    def pump(self) -> None:
        """Settle what has been answered and send the updates that are due, without waiting.

        Creations wait for `push_all`: until all are decided, two of them may be one person.
        """
        self._collect(block=False)
        self._fill(("update",))

    def push_all(self, *, only_admitted: bool = False) -> None:
        """Send everything that is due, until it is settled or something stands in the way.

        Args:
            only_admitted: send only what a guard has let pass.

        Raises:
            OutreachSyncError: Workbooks refused the key, or refuses everything; the rest stays queued.
            InterruptedByError: asked to stop; what was in flight is settled.
        """
        self._only_admitted = only_admitted
        self._next = dict.fromkeys(_ACTIONS, 0)  # what waited while it was decided is due now
        self._fill(_ACTIONS)
        while self._in_flight:
            self._collect(block=True)
            self._fill(_ACTIONS)
        if self._failure is not None:
            raise self._failure
        if self._run.stop.is_set():
            raise InterruptedByError(self._run.stop.signal_number)

    def send(self, batch: Batch) -> None:
        """Send one batch as soon as there is room for it, marked as being sent before it leaves."""
        while len(self._in_flight) > self._concurrency:
            self._collect(block=True)
        if self._may_send():
            with self._run.store.transaction():
                self._run.store.outbox.mark((entry.id for entry in batch.entries), state=SENDING)
            self._start(batch)

    def _may_send(self) -> bool:
        return self._failure is None and self._lost_in_a_row < _LOST_IN_A_ROW and not self._run.stop.is_set()

    def _fill(self, actions: Sequence[str]) -> None:
        while self._may_send() and len(self._in_flight) <= self._concurrency:
            batch = self._next_batch(actions)
            if batch is None:
                return
            self.send(batch)

    def _next_batch(self, actions: Sequence[str]) -> Batch | None:
        """Take the next entries of one of the actions that are due."""
        run = self._run
        for action in actions:
            while entries := run.store.outbox.due(
                PERSON, action, run.clock(), after=self._next[action], limit=run.config.workbooks.batch_size,
                run_id=run.id,
            ):  # fmt: skip
                together = next(self._suspects.cut(entries))
                self._next[action] = together[-1].id
                chosen = [entry for entry in together if entry.admitted or not self._only_admitted]
                chosen = run.pilot.take(chosen)
                if chosen:
                    return person_batch(run, chosen)
        return None

    def _start(self, batch: Batch) -> None:
        controller = TASKS if batch.record == TASK else PEOPLE
        self._in_flight[self._workers.submit(self._run.target.write, controller, batch.writes)] = batch

    def _collect(self, *, block: bool) -> None:
        """Settle the answers there are (one at least, if `block`), and send what follows from them."""
        done, _ = wait(self._in_flight, None if block else 0, FIRST_COMPLETED)
        if not done:
            return
        answered = [(batch := self._in_flight.pop(future), self._verdicts(future, batch)) for future in done]
        rescues: list[Batch] = []
        with self._run.store.transaction():
            for batch, verdicts in answered:
                rescue = settle(self._run, batch, verdicts, self.settled, self._suspects)
                if rescue is not None:
                    rescues.append(rescue)
                    self._run.store.outbox.mark((entry.id for entry in rescue.entries), state=SENDING)
        for rescue in rescues:
            self._start(rescue)
        for batch, verdicts in answered:
            self._run.on_progress("written", len(batch.entries))
            self._look_for_a_systemic_cause(verdicts)

    def _verdicts(self, future: Future[Sequence[Verdict]], batch: Batch) -> Sequence[Verdict]:
        """Return the verdicts of a request; of one that failed altogether, that nothing is known."""
        try:
            verdicts = future.result()
        except OutreachSyncError as error:
            self._failure = self._failure or error
            return ()
        if verdicts and all(isinstance(verdict, Unknown) for verdict in verdicts):
            self._lost_in_a_row += 1 if batch.entries[0].id in self._suspects.lost else _LOST_IN_A_ROW
        else:
            self._lost_in_a_row = 0
        return verdicts

    def _look_for_a_systemic_cause(self, verdicts: Sequence[Verdict]) -> None:
        """Where a whole batch was refused, find out once whether everything would be."""
        refused_whole = bool(verdicts) and all(isinstance(verdict, Rejected) for verdict in verdicts)
        if self._checked_systemic or not refused_whole:
            return
        self._checked_systemic = True
        try:
            problem = self._run.target.systemic_problem()
        except OutreachSyncError as error:
            self._failure = self._failure or error
            return
        if problem is not None:
            self._failure = self._failure or NotAllowedError(
                f"Workbooks refuses what is written: {problem}.",
                advice="Run `outreach-sync check`; everything stays queued.",
            )


def _list_changes(run: Run) -> None:
    """List and count in the summary of a dry run what would be sent."""
    summary = run.summary
    for action in _ACTIONS:
        after = 0
        while entries := run.store.outbox.due(PERSON, action, run.clock(), after=after, limit=_TOGETHER, run_id=run.id):
            after = entries[-1].id
            batch = person_batch(run, run.pilot.take(entries))
            for entry, write in zip(batch.entries, batch.writes, strict=True):
                summary.would_write(entry, workbooks_fields(run, entry.before), write.fields)
    for batch in _task_batches(run, Suspects(run.config.workbooks.batch_size)):
        for entry, write in zip(batch.entries, batch.writes, strict=True):
            summary.would_write(entry, {}, write.fields)
    to_be_created = run.store.outbox.to_be_created()
    for entry in run.store.outbox.due(TASK, "create", run.clock(), after=0, limit=-1):
        if entry.prospect_id in to_be_created and run.pilot.covers(entry.prospect_id, None):
            fields = task_write(run, entry.task_id or 0, 0).fields
            summary.would_write(entry, {}, {name: value or None for name, value in fields.items()})


# -- skipped tasks: one Workbooks Task for each, for ever
#
# Before any is created it is looked for by its reference, deleted ones included: the state may have been lost since it
# was sent. One whose creation was sent without an answer is looked for twice, since created records may appear late.
# No Task is tied to a Person that is gone: whose Person it is gets decided anew first, and the task follows.


def _look_for_hidden_tasks(run: Run) -> None:
    """Ask for Tasks that did not come back when they were last looked for, and are due since they are to be retried."""
    after = 0
    while entries := run.store.outbox.due(TASK, HIDDEN, run.clock(), after=after, limit=_TASKS_TOGETHER):
        after = entries[-1].id
        made = {entry.key: run.store.cache.task(entry.key) for entry in entries}
        rows = run.target.tasks_by_ids(one.workbooks_id for one in made.values() if one and one.workbooks_id)
        with run.store.transaction():
            for entry in entries:
                task = made[entry.key]
                row = rows.get(task.workbooks_id or 0) if task is not None else None
                if row is None:
                    run.store.outbox.refused(entry, entry.reason or "", next_attempt_at=None)
                    run.summary.tasks.rejected += 1
                    continue
                run.store.outbox.tasks_are_seen([entry.key])
                if row.is_deleted and run.config.sync.when_deleted == "recreate":
                    run.store.cache.task_is_gone(entry.key)
                    run.store.outbox.queue_task(entry.key, entry.prospect_id or 0, held=False, run_id=run.id)


def _doubt_people_of_tasks(run: Run, *, held: bool) -> None:
    """Read the People that the due tasks will be tied to; those that are gone are to be decided anew.

    People that this run found or wrote were just there. `held`: nothing may be decided yet.
    """
    after = 0
    while entries := run.store.outbox.due(TASK, "create", run.clock(), after=after, limit=_TASKS_TOGETHER):
        after = entries[-1].id
        links = run.store.people.of_prospects({one.prospect_id for one in entries if one.prospect_id is not None})
        unread = [
            person
            for person in run.store.people.by_id(set(links.values())).values()
            if not (person.deleted or person.hidden or person.untouched)
            and max(person.linked_at, person.written_at or 0) < run.summary.started_at
        ]
        rows = read_people(run, unread) if unread else {}
        gone = [one.id for one in unread if one.id not in rows or rows[one.id].is_deleted]
        if gone:
            pools = run.store.people.prospects_of(gone)
            with run.store.transaction():
                run.store.people.doubt(gone)
                run.store.undecided.mark_again((one for pool in pools.values() for one in pool), held=held)


def _task_batches(run: Run, suspects: Suspects) -> Iterator[Batch]:
    """Yield what is to be created, a request at a time; adopt what exists, let wait what has no Person."""
    after = 0
    while entries := run.store.outbox.due(
        TASK, "create", run.clock(), after=after, limit=run.config.workbooks.batch_size
    ):
        after = entries[-1].id
        persons = _persons_of_tasks(run, entries)
        missing = _not_there(run, [entry for entry in entries if entry.id in persons])
        in_doubt = [one for one in missing if one.in_doubt]
        if in_doubt:
            pause(run.look_again_seconds, run.stop)
            still_missing = _not_there(run, in_doubt)
            missing = [one for one in missing if not one.in_doubt or one in still_missing]
        for together in suspects.cut(missing):
            writes = tuple(task_write(run, entry.task_id or 0, persons[entry.id]) for entry in together)
            yield Batch(TASK, tuple(together), writes)


def _persons_of_tasks(run: Run, entries: Sequence[Entry]) -> dict[int, int]:
    """Return entry id -> Person for the tasks whose Person exists.

    The others wait, without being a failure, unless that Person is queued.
    A Person that has to be read and decided again may be gone: its tasks stay due until that is done.
    """
    prospects = {entry.prospect_id for entry in entries if entry.prospect_id is not None}
    links = run.store.people.of_prospects(prospects)
    people = run.store.people.by_id(set(links.values()))
    queued = [entry for entry in run.store.outbox.of_person(prospects) if entry.state != DISCARDED]
    coming = {one for entry in queued for one in (*entry.pool, entry.prospect_id)}
    unsure = run.store.undecided.people_to_decide(one.id for one in people.values() if one.lock_version is None)
    ready: dict[int, int] = {}
    waiting: list[int] = []
    for entry in entries:
        person_id = links.get(entry.prospect_id or 0)
        if person_id in unsure or not run.pilot.covers(entry.prospect_id, person_id):
            continue
        if person_id is None:
            waiting += [] if entry.prospect_id in coming else [entry.id]
        elif people[person_id].deleted or people[person_id].hidden or people[person_id].untouched:
            waiting.append(entry.id)
        else:
            ready[entry.id] = person_id
    if waiting:
        with run.store.transaction():
            run.store.outbox.mark(waiting, state="waiting", reason=None)
    return ready


def _not_there(run: Run, tasks: Sequence[Entry]) -> list[Entry]:
    """Look for Tasks by reference; record those that exist, return those that do not.

    A live one stands for a skipped task, else a deleted one that is to stay deleted.
    """
    if not tasks:
        return []
    found = run.target.tasks_by_reference([task_reference(one.task_id or 0) for one in tasks])
    missing = []
    with run.store.transaction():
        for one in tasks:
            rows = found.get(task_reference(one.task_id or 0), ())
            live = [row for row in rows if not row.is_deleted]
            deleted = [] if run.config.sync.when_deleted == "recreate" else rows
            existing = min(live or deleted, key=lambda row: row.id, default=None)
            if existing is None:
                missing.append(one)
            else:
                run.store.cache.task_was_sent(one.task_id or 0, existing.id, None)
                run.store.outbox.drop([one.id])
                run.summary.tasks.created += one.in_doubt  # it was ours, and its answer was lost
    return missing
