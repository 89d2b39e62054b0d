"""Deliver: send what is queued, settle each object by its own answer, in rounds, with the guard before the first write.

A round decides everybody who is ready and sends what differs. Another one is for records that somebody else wrote
meanwhile, or of which no answer came: they are read and decided anew. The states of an entry are drawn in
`store.outbox`.

Only this thread touches the store. Before a request leaves, its entries are durably marked as being sent, in the same
transaction that settles the answers which have come meanwhile; worker threads do nothing but the exchange.
"""

from __future__ import annotations

import html
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.decide import decide_all
from outreach_sync.errors import GuardStoppedError, NotAllowedError, OutreachSyncError, UnavailableError
from outreach_sync.http import check, pause
from outreach_sync.instants import to_date
from outreach_sync.match import read_people, refresh
from outreach_sync.pull import witness
from outreach_sync.records import Accepted, Date, Rejected, Stale, Unknown, Verdict, Write, WriteValue
from outreach_sync.rules.person import NOT_ACTIVE, base_fields, task_reference
from outreach_sync.rules.watermark import Watched, guard_problems
from outreach_sync.store.outbox import DISCARDED, HIDDEN, PERSON, SENDING, TASK, Entry
from outreach_sync.store.people import DUE
from outreach_sync.workbooks.metadata import systemic_problem
from outreach_sync.workbooks.wire import PEOPLE, PERSON_CLASS, REFERENCE, TASKS, chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outreach_sync.run import Run

FIRST_LOAD_DONE = "first_load_done"
_FRUITLESS_ROUNDS = 3
_FRUITLESS_WITH_SUSPECTS = 6  # while smaller batches can be tried: 100 objects are alone after four rounds
_LOST_IN_A_ROW = 3  # requests with suspects without an answer before Workbooks counts as down; of others, one
_SMALLER = 4  # by how much a batch shrinks that was lost
_ENOUGH = 2  # so often must an entry be lost alone, since any answer may be lost once
_LONGEST_PAUSE_S = 10.0
_TOGETHER = 500
_TASKS_TOGETHER = 400  # Tasks whose People are read together: at most four requests
_ACTIONS = ("update", "create", "recreate")
_TASK_HISTORY = ("activity_status", "activity_type", "due_date", "primary_contact_id", "created_through_reference")
"""Fields of a Task that the history keeps: the others may name somebody."""
_NAME_LENGTH = 255


def deliver(run: Run, *, complete: bool, allow_bulk: bool, stopped: GuardStoppedError | None = None) -> None:
    """Bring Workbooks to say what it should; of what is held back until all walks are `complete`, only opt-outs.

    Where the guard has `stopped` the run already, no more than opt-outs is sent, and that is raised. Otherwise raises
    as `run_cycle`: what was in flight is settled first, and the rest stays queued.
    """
    with run.store.transaction():
        run.store.undecided.mark_again(DUE, run.clock(), run.clock())
        if run.pilot.prospects is not None:
            run.pilot.begin(run.store, run.pilot.prospects)
    _look_for_hidden_tasks(run)
    _doubt_people_of_tasks(run, held=not complete)
    delivery = Delivery(run, complete=complete, lifted=allow_bulk, stopped=stopped)
    if run.summary.dry_run:
        delivery.decide(pump=False)
        run.summary.guard_would_stop = bool(delivery.guard_problems())
        delivery.list_changes()
        return
    any_accepted, fruitless, suspects, pilot = False, 0, delivery.lost.values(), run.pilot
    while fruitless < (_FRUITLESS_ROUNDS if all(1 in sizes for sizes in suspects) else _FRUITLESS_WITH_SUSPECTS):
        again = delivery.round()
        any_accepted |= bool(delivery.accepted)
        again |= any_accepted and bool(delivery.unknown) and delivery.blame()
        is_open = delivery.stale or delivery.unknown
        # not who waits for Outreach, nor who is beyond a pilot
        waits = run.source_is_down or (pilot.limit is not None and len(pilot.taken) >= pilot.limit)
        somebody_is_ready = not waits and run.store.undecided.ready(limit=1, among=pilot.prospects)
        if not (again or is_open or somebody_is_ready):
            return
        came_to_something = delivery.accepted or (pilot.limit and not is_open)
        fruitless = 0 if came_to_something else fruitless + 1
        if delivery.unknown:
            pause(min(2.0**fruitless, _LONGEST_PAUSE_S) if fruitless else 0.0, run.stop)
    # What was lost alone counts an attempt, whether Workbooks is down or fails at this record: it must not be what
    # every run begins with, for ever.
    lost = len(delivery.unknown)
    delivery.blame()
    delivery.leave(delivery.stale, "somebody else keeps changing this record while it is written")
    if lost:
        raise UnavailableError(
            f"Workbooks: the answers to writes keep being lost ({lost} in doubt).",
            advice="They stay queued; the next run looks what became of them.",
        )


class Batch(NamedTuple):
    """Entries of one kind and, in the same order, what is sent for each."""

    entries: Sequence[Entry]
    writes: Sequence[Write]
    rescue: bool = False  # they are the opt-outs alone, after all of each had been refused


class Delivery:
    """Decides and sends, with at most `concurrency` requests at once and one more batch ready behind them.

    Entries of which nothing is known after a write are suspects, since one of them may be what Workbooks fails at. They
    are sent again in ever smaller batches, in the end alone, and never together with others: so one record that
    Workbooks fails at is found out, and holds nobody else up.

    `lost` are the suspects: entry id -> with how many it was sent, each time that nothing was known of it afterwards.
    Of one round are: how many objects were `accepted`; the entries that are `stale`, since somebody else wrote their
    record; those of which it is `unknown` what became of them; and the updates that were `refused`, with Workbooks'
    reasons, which are to be read before the refusal stands and until then count as being sent.
    """

    def __init__(self, run: Run, *, complete: bool, lifted: bool, stopped: GuardStoppedError | None) -> None:
        """Begin nothing yet; `lifted`: the guard does not watch."""
        self._run, self._complete, self._lifted, self._stopped = run, complete, lifted, stopped
        self._loaded = run.store.facts.get(FIRST_LOAD_DONE) is not None
        self._passed: tuple[int, ...] = (0, 0, 0)  # as in `Watched`
        self.lost: dict[int, list[int]] = {}
        self._in_flight: dict[Future[Sequence[Verdict]], Batch] = {}

    def round(self) -> bool:
        """Decide and push, all decided first where the guard may stop it; return whether a refused Person is gone."""
        self.accepted = 0
        self.stale: list[Entry] = []
        self.unknown: list[Entry] = []
        self.refused: list[tuple[Entry, str]] = []
        self._next = dict.fromkeys(_ACTIONS, 0)
        self._lost_in_a_row, self._looked_for_a_cause = 0, False
        self._failure: OutreachSyncError | None = None
        with ThreadPoolExecutor(self._run.config.workbooks.concurrency, "push") as self._workers:
            try:
                self.decide(pump=not (self._stopped or self.guard_problems(at_worst=True)))
                self._pass_the_guard()
                self._push_all()
                again = bool(self.refused) and self._confirm_refusals()
                for batch in self._task_batches():
                    self._send(batch)
                self._push_all()
            finally:  # what is in flight is settled, also when something went wrong elsewhere
                while self._in_flight:
                    self._collect(block=True)
                if self.refused:
                    with self._run.store.transaction():
                        self._queue_again([entry for entry, _ in self.refused])
        return again

    def decide(self, *, pump: bool) -> None:
        """Decide everything that is ready; `pump`: meanwhile send updates (two creations may be one person)."""
        self._run.pilot.expected = len(self._run.pilot.taken)
        for only_opt_outs in (False,) if self._complete else (False, True):
            for _ in decide_all(self._run, only_opt_outs=only_opt_outs):
                if pump:
                    self._collect(block=False)
                    self._fill(("update",))

    def guard_problems(self, *, at_worst: bool = False) -> dict[Watched, str]:
        """Return what this cycle would change too much of, not counted before; `at_worst`: whatever it decides yet."""
        run, passed = self._run, self._passed
        new = run.store.outbox.guarded(run.config.sync.labels[NOT_ACTIVE])
        waiting = run.store.undecided.count() + sum(new) if at_worst else 0
        self._counted = tuple(map(sum, zip(passed, new, strict=True)))
        numbers = [one + waiting for one in passed] if at_worst else list(self._counted)
        limits, most = run.config.sync.guard, run.pilot.limit
        if most is not None:
            numbers = [min(one, most) for one in numbers]
        if self._lifted or max(numbers) <= min(limits.count, limits.lost_count, limits.create):
            return {}  # without counting everybody, which takes longer than a small cycle
        counts = dict(zip(Watched, numbers, strict=True))
        return guard_problems(counts, run.store.people.known(or_lost=True), limits, loaded=self._loaded)

    def _pass_the_guard(self) -> None:
        """Note that what is queued has been counted and may be written; of a pilot with a limit, nothing is.

        Opt-outs are safe and must not wait: they are sent all the same. Those of people that would be created only if
        that is not what there is too much of: nobody writes to a Person that does not exist.
        """
        outbox, problems = self._run.store.outbox, self.guard_problems()
        if problems or self._stopped:
            watched = zip(_ACTIONS, (None, Watched.CREATIONS, Watched.LOSSES), strict=True)
            with self._run.store.transaction():
                outbox.admit(opt_outs_of=[action for action, kind in watched if kind not in problems])
            self._push_all(only_admitted=True)
            what = "; ".join(problems.values())
            raise self._stopped or GuardStoppedError(
                f"the guard stopped this cycle before its first write, opt-outs excepted: {what}.",
                advice="`run --dry-run` shows the changes; `run --allow-bulk` makes them.",
            )
        if self._run.pilot.limit is None:
            self._passed = self._counted
            with self._run.store.transaction():
                outbox.admit()

    def _push_all(self, *, only_admitted: bool = False) -> None:
        """Send everything that is due, or what a guard has let pass, until it is settled or something is in the way."""
        self._next = dict.fromkeys(_ACTIONS, 0)  # what waited while it was decided is due now
        self._fill(_ACTIONS, only_admitted=only_admitted)
        while self._in_flight:
            self._collect(block=True)
            self._fill(_ACTIONS, only_admitted=only_admitted)
        if self._failure is not None:
            raise self._failure
        check(self._run.stop)

    def _fill(self, actions: Sequence[str], *, only_admitted: bool = False) -> None:
        """Take the next entries that are due, and send them, as long as there is room."""
        run, size, ready = self._run, self._run.config.workbooks.batch_size, self._run.store.outbox.due
        for action in actions:
            while self._may_send() and len(self._in_flight) <= run.config.workbooks.concurrency:
                due = ready(PERSON, action, run.clock(), after=self._next[action], limit=size, run_id=run.id)
                if not due:
                    break
                together = next(self._cut(due))
                self._next[action] = together[-1].id
                chosen = run.pilot.take([entry for entry in together if entry.admitted or not only_admitted])
                if chosen:
                    self._send(_person_batch(run, chosen))

    def _may_send(self) -> bool:
        return self._failure is None and self._lost_in_a_row < _LOST_IN_A_ROW and not self._run.stop.is_set()

    def _send(self, batch: Batch) -> None:
        """Send one batch as soon as there is room for it, marked as being sent before it leaves."""
        while len(self._in_flight) > self._run.config.workbooks.concurrency:
            self._collect(block=True)
        if self._may_send():
            with self._run.store.transaction():
                self._run.store.outbox.mark((entry.id for entry in batch.entries), state=SENDING)
            controller = TASKS if batch.entries[0].record == TASK else PEOPLE
            self._in_flight[self._workers.submit(self._run.target.write, controller, batch.writes)] = batch

    def _cut(self, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Cut entries, in their order, into what may go together: suspects by how many they were lost with."""
        lost, most = self.lost, self._run.config.workbooks.batch_size
        for size, some in groupby(
            entries, lambda one: max(1, lost[one.id][-1] // _SMALLER) if one.id in lost else most
        ):
            yield from chunks(list(some), size)

    def _collect(self, *, block: bool) -> None:
        """Settle the answers there are (one at least, if `block`), and send what follows from them."""
        done, _ = wait(self._in_flight, None if block else 0, FIRST_COMPLETED)
        answered: list[tuple[Batch, Sequence[Verdict]]] = []
        for future in done:
            batch = self._in_flight.pop(future)
            try:
                verdicts = future.result()
            except OutreachSyncError as error:
                self._failure = self._failure or error
                verdicts = [Unknown("the request failed")] * len(batch.entries)
            else:
                if all(isinstance(verdict, Unknown) for verdict in verdicts):
                    self._lost_in_a_row += 1 if batch.entries[0].id in self.lost else _LOST_IN_A_ROW
                else:
                    self._lost_in_a_row = 0
            answered.append((batch, verdicts))
        if not answered:
            return
        with self._run.store.transaction():
            rescues = [self._settle(batch, verdicts) for batch, verdicts in answered]
        for rescue in filter(None, rescues):  # marked as being sent they are still
            self._in_flight[self._workers.submit(self._run.target.write, PEOPLE, rescue.writes)] = rescue
        for batch, verdicts in answered:
            self._run.on_progress("written", len(batch.entries))
            if all(isinstance(verdict, Rejected) for verdict in verdicts):
                self._look_for_a_cause()

    def _look_for_a_cause(self) -> None:
        """Where a whole batch was refused, find out once whether everything would be."""
        if self._looked_for_a_cause:
            return
        self._looked_for_a_cause = True
        try:
            problem = systemic_problem(self._run.target)
        except OutreachSyncError as error:
            self._failure = self._failure or error
            return
        if problem is not None:
            self._failure = self._failure or NotAllowedError(
                f"Workbooks refuses what is written: {problem}.",
                advice="Run `outreach-sync check`; everything stays queued.",
            )

    def _settle(self, batch: Batch, verdicts: Sequence[Verdict]) -> Batch | None:
        """Record what became of each object of a batch (inside a transaction); return the opt-outs to send alone.

        Accepted: the values are what Workbooks holds now, and the entry goes. Stale or unknown: the record is read
        before it is written again, in the next round. Refused: read as well, since a record that is gone is also
        refused; if it is there, the refusal stands. An opt-out that is refused together with other fields is sent once
        more alone: a picklist that lacks a label must not keep No Email from being set.
        """
        run = self._run
        stale: list[Entry] = []
        unknown: list[Entry] = []
        rescues: list[tuple[Entry, Write]] = []
        for entry, write, verdict in zip(batch.entries, batch.writes, verdicts, strict=True):
            match verdict:
                case Accepted():
                    self._accept(entry, write, verdict, rescue=batch.rescue)
                case Stale():
                    stale.append(entry)
                case Unknown():
                    unknown.append(entry)
                    self.lost.setdefault(entry.id, []).append(len(batch.entries))
                case Rejected(reasons):
                    reason = "; ".join(reasons)
                    if entry.person_id is None:
                        run.refuse(entry, reason)
                    elif not batch.rescue and entry.fields.get("no_email") is True and len(entry.fields) > 1:
                        alone = write._replace(fields=run.named({"no_email": True}))
                        rescues.append((entry._replace(reason=reason), alone))
                    else:
                        self.refused.append((entry, entry.reason if batch.rescue and entry.reason else reason))
        if stale or unknown:
            self._queue_again(stale, unknown)
        self.stale += stale
        self.unknown += unknown
        record, of = batch.entries[0].record, Counter(map(type, verdicts))
        run.log.info("batch_settled", record=record, objects=of.total(), accepted=of[Accepted], refused=of[Rejected])
        if not rescues:
            return None
        entries, writes = zip(*rescues, strict=True)
        return Batch(entries, writes, rescue=True)

    def _accept(self, entry: Entry, write: Write, verdict: Accepted, *, rescue: bool) -> None:
        run, now = self._run, self._run.clock()
        self.accepted += 1
        if entry.record == TASK:
            cached = run.store.cache.task(entry.task_id or 0)
            because = None if cached is None else witness(run.store, run.config, cached)
            run.store.cache.task_was_sent(entry.task_id or 0, verdict.id, now)
            run.store.outbox.drop([entry.id])
            run.summary.count(entry)
            kept = {name: write.fields[name] for name in _TASK_HISTORY if name in write.fields}
            run.wrote(entry._replace(because=because), verdict.id, kept)
            return
        lock_version = verdict.lock_version if verdict.lock_version >= 0 else None
        fields = {"no_email": True} if rescue else entry.fields
        if entry.person_id is None:
            run.store.people.accepted(verdict.id, lock_version, fields, now, pool=entry.pool)
        else:
            run.store.people.accepted(verdict.id, lock_version, fields, now)
        run.wrote(entry, verdict.id, run.named(fields))
        if run.pilot.limit is not None:
            run.pilot.wrote.add(verdict.id)
        if rescue:
            self.refused.append((entry, entry.reason or ""))
            return
        run.summary.count(entry)
        run.store.outbox.drop([entry.id])
        if entry.reason is not None and entry.prospect_id is not None:
            run.store.undecided.mark_again([entry.prospect_id])  # part of it may still be undecided

    def _queue_again(self, known: Sequence[Entry], lost: Sequence[Entry] = ()) -> None:
        """Have the records read and decided anew before they are written again (inside a transaction)."""
        store, people = self._run.store, [entry for entry in (*known, *lost) if entry.record != TASK]
        for some, in_doubt in ((known, False), (lost, True)):
            ids = (entry.id for entry in some)
            store.outbox.mark(ids, state="queued", in_doubt=in_doubt, next_attempt_at=None)
        store.people.doubt(entry.person_id for entry in people if entry.person_id is not None)
        store.undecided.mark_again(one for entry in people for one in (entry.prospect_id or 0, *entry.pool))

    def _confirm_refusals(self) -> bool:
        """Read what was refused: a refusal stands if the record is there; return whether any has to be decided anew."""
        run, refused = self._run, {entry.person_id for entry, _ in self.refused if entry.person_id is not None}
        with run.store.transaction():
            run.store.people.doubt(refused)
        absent = refresh(run, run.store.people.by_id(refused))
        with run.store.transaction():
            for entry, reason in self.refused:
                if entry.person_id not in absent:
                    run.refuse(entry, reason)
            if absent:
                self._queue_again([entry for entry, _ in self.refused if entry.person_id in absent])
        self.refused.clear()
        return bool(absent)

    def blame(self) -> bool:
        """Refuse what Workbooks failed at alone, so that it holds nobody up; it is looked for before another try."""
        blamed = [entry for entry in self.unknown if self.lost[entry.id].count(1) >= _ENOUGH]
        if blamed:
            self.leave(blamed, "Workbooks fails whenever this record is written", in_doubt=True)
            self.unknown = [entry for entry in self.unknown if entry not in blamed]
        return bool(blamed)

    def leave(self, entries: Sequence[Entry], reason: str, *, in_doubt: bool = False) -> None:
        """Leave entries for a later run."""
        with self._run.store.transaction():
            for entry in entries:
                self._run.refuse(entry, reason, in_doubt=in_doubt)
            leads = (entry.prospect_id or 0 for entry in entries if entry.record == PERSON)
            self._run.store.undecided.decided(leads)

    def list_changes(self) -> None:
        """List and count in the summary of a dry run what would be sent."""
        run, created, named = self._run, set[int](), self._run.pilot.prospects
        for action in _ACTIONS:
            for entries in _due(run, PERSON, action, _TOGETHER):
                batch = _person_batch(run, run.pilot.take(entries))
                for entry, write in zip(batch.entries, batch.writes, strict=True):
                    run.summary.would_write(entry, run.named(entry.before), write.fields)
                    created.update(entry.pool if named is None else named.intersection(entry.pool))
                run.pilot.wrote.update(entry.person_id for entry in batch.entries if entry.person_id is not None)
        for batch in self._task_batches():
            for entry, write in zip(batch.entries, batch.writes, strict=True):
                run.summary.would_write(entry, {}, write.fields)
        for entries in _due(run, TASK, "create", _TOGETHER):
            for entry in entries:
                if entry.prospect_id in created:
                    fields = _task_write(run, entry.task_id or 0, 0).fields
                    run.summary.would_write(entry, {}, {name: value or None for name, value in fields.items()})

    def _task_batches(self) -> Iterator[Batch]:
        """Yield what is to be created, a request at a time; adopt what exists, let wait what has no Person.

        Before a Task is created it is looked for by its reference, deleted ones included: the state may have been lost
        since it was sent. One whose creation was sent without an answer is looked for twice, since created records may
        appear late.
        """
        run = self._run
        for entries in _due(run, TASK, "create", run.config.workbooks.batch_size):
            persons = _persons_of_tasks(run, entries)
            if not persons:
                continue
            missing = _not_there(run, [entry for entry in entries if entry.id in persons])
            if in_doubt := [one for one in missing if one.in_doubt]:
                pause(run.look_again_seconds, run.stop)
                still_missing = _not_there(run, in_doubt)
                missing = [one for one in missing if not one.in_doubt or one in still_missing]
            for together in self._cut(missing):
                yield Batch(together, [_task_write(run, one.task_id or 0, persons[one.id]) for one in together])


def _due(run: Run, record: str, action: str, together: int) -> Iterator[list[Entry]]:
    """Yield what is due, so many at a time."""
    after = 0
    while entries := run.store.outbox.due(record, action, run.clock(), after=after, limit=together, run_id=run.id):
        after = entries[-1].id
        yield entries


def _person_batch(run: Run, entries: Sequence[Entry]) -> Batch:
    """Make the writes of Person entries; one to be created is told who they are."""
    people = run.store.people.by_id({entry.person_id for entry in entries if entry.person_id is not None})
    cached = run.store.cache.prospects([one for entry in entries if entry.person_id is None for one in entry.pool])
    writes = []
    for entry in entries:
        fields = run.named(entry.fields)
        if entry.person_id is None:
            pool = [cached[one].prospect for one in entry.pool if one in cached and cached[one].known]
            writes.append(Write(0, 0, {**base_fields(pool, run.config.sync.people.create_fields), **fields}))
        else:
            writes.append(Write(entry.person_id, people[entry.person_id].lock_version or 0, fields))
    return Batch(entries, writes)


def _task_write(run: Run, task_id: int, person_id: int) -> Write:
    """Make the write that creates a Task: its description is HTML, and only one of the `due` fields may be set."""
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


# -- skipped tasks: one Workbooks Task for each, for ever
#
# No Task is tied to a Person that is gone: whose Person it is gets decided anew first, and the task follows.


def _look_for_hidden_tasks(run: Run) -> None:
    """Ask for Tasks that did not come back when they were last looked for, and are due since they are to be retried."""
    for entries in _due(run, TASK, HIDDEN, _TASKS_TOGETHER):
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
                run.store.outbox.drop([entry.key], HIDDEN)
                if row.is_deleted and run.config.sync.when_deleted == "recreate":
                    run.store.cache.task_was_sent(entry.key, None)
                    run.store.outbox.queue_task(entry.key, entry.prospect_id or 0, held=False, run_id=run.id)


def _doubt_people_of_tasks(run: Run, *, held: bool) -> None:
    """Read the People of due tasks, and have anyone who is gone decided anew (`held`: once all walks are complete)."""
    for entries in _due(run, TASK, "create", _TASKS_TOGETHER):
        links = run.store.people.of_prospects({one.prospect_id for one in entries if one.prospect_id is not None})
        unread = [
            person
            for person in run.store.people.by_id(set(links.values())).values()
            if not (person.deleted or person.hidden or person.untouched)
        ]
        rows = read_people(run, unread) if unread else {}
        gone = [one.id for one in unread if one.id not in rows or rows[one.id].is_deleted]
        if gone:
            pools = run.store.people.prospects_of(gone)
            with run.store.transaction():
                run.store.people.doubt(gone)
                run.store.undecided.mark_again((one for pool in pools.values() for one in pool), held=held)


def _persons_of_tasks(run: Run, entries: Sequence[Entry]) -> dict[int, int]:
    """Return entry id -> Person for tasks whose Person is certain to exist; the others wait, unless it is queued."""
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
    """Look for Tasks by reference, keep what exists (live, or deleted and to stay so), and return what does not."""
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
