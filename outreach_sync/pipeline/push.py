"""Push: send batches, several at a time, and settle each object by its own answer.

Only this thread touches the state. Before a request leaves, its entries are durably marked as being sent, in the same
transaction that settles the answers which have come meanwhile; worker threads do nothing but the exchange.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from outreach_sync.errors import InterruptedByError, NotAllowedError, OutreachSyncError
from outreach_sync.pipeline.batches import Batch, person_batch
from outreach_sync.pipeline.settle import Settled, refused_whole, settle
from outreach_sync.records import Unknown
from outreach_sync.state.outbox import PERSON, TASK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from outreach_sync.pipeline.run import Run
    from outreach_sync.pipeline.suspects import Suspects
    from outreach_sync.records import Verdict

_LOST_IN_A_ROW = 3
"""So many requests in a row with suspects may get no answer before Workbooks counts as down; of others, one."""

_ACTIONS = ("update", "create", "recreate")


class Pusher:
    """Sends what is due, at most `concurrency` requests at once and one more batch ready behind them.

    Use it as a context manager: leaving the block waits for what is in flight and settles it.
    """

    def __init__(self, run: Run, suspects: Suspects) -> None:
        """Prepare the worker threads; none starts before it is needed."""
        self._run = run
        self._suspects = suspects
        self._workers = ThreadPoolExecutor(run.plan.concurrency, thread_name_prefix="push")
        self._in_flight: dict[Future[Sequence[Verdict]], Batch] = {}
        self._next = dict.fromkeys(_ACTIONS, 0)
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
            with self._run.state.transaction():
                entries = [entry.id for entry, _ in self.settled.rejected]
                self._run.state.outbox.back_to_queue(entries, in_doubt=False)
        if kind is None:
            self._raise_failure()

    def pump(self) -> None:
        """Settle what has been answered and send the updates that are due, without waiting.

        Creations wait for `push_all`: until all are planned, two of them may be one person.
        """
        self._collect(block=False)
        self._fill(("update",))

    def push_all(self) -> None:
        """Send everything that is due, until it is settled or something stands in the way.

        Raises:
            OutreachSyncError: Workbooks refused the key, or refuses everything; the rest stays queued.
            InterruptedByError: asked to stop; what was in flight is settled.
        """
        self._next = dict.fromkeys(_ACTIONS, 0)  # what waited while it was planned is due now
        self._fill(_ACTIONS)
        while self._in_flight:
            self._collect(block=True)
            self._fill(_ACTIONS)
        self._raise_failure()
        if self._run.stop.is_set():
            raise InterruptedByError(self._run.stop.signal_number)

    def send(self, batch: Batch) -> None:
        """Send one batch as soon as there is room for it."""
        while self._full():
            self._collect(block=True)
        if self._may_send():
            self._submit([batch])

    def _may_send(self) -> bool:
        return self._failure is None and self._lost_in_a_row < _LOST_IN_A_ROW and not self._run.stop.is_set()

    def _full(self) -> bool:
        return len(self._in_flight) > self._run.plan.concurrency

    def _fill(self, actions: Sequence[str]) -> None:
        while self._may_send() and not self._full():
            batch = self._next_batch(actions)
            if batch is None:
                return
            self._submit([batch])

    def _next_batch(self, actions: Sequence[str]) -> Batch | None:
        """Take the next entries of one of the actions that are due."""
        run = self._run
        for action in actions:
            entries = run.state.outbox.due(
                PERSON, action, run.clock(), after=self._next[action], limit=run.plan.batch_size, run_id=run.id
            )
            for together in self._suspects.cut(entries):
                self._next[action] = together[-1].id
                return person_batch(run, together)
        return None

    def _submit(self, batches: Sequence[Batch]) -> None:
        with self._run.state.transaction():
            self._mark(batches)
        self._start(batches)

    def _mark(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._run.state.outbox.mark_sending(entry.id for entry in batch.entries)

    def _start(self, batches: Sequence[Batch]) -> None:
        target = self._run.target
        for batch in batches:
            write = target.write_tasks if batch.record == TASK else target.write_people
            self._in_flight[self._workers.submit(write, batch.writes)] = batch

    def _collect(self, *, block: bool) -> None:
        """Settle the answers there are (one at least, if `block`), and send what follows from them."""
        done, _ = wait(self._in_flight, None if block else 0, FIRST_COMPLETED)
        if not done:
            return
        answered = [(batch := self._in_flight.pop(future), self._verdicts(future, batch)) for future in done]
        rescues: list[Batch] = []
        with self._run.state.transaction():
            for batch, verdicts in answered:
                rescue = settle(self._run, batch, verdicts, self.settled)
                if rescue is not None:
                    rescues.append(rescue)
            self._mark(rescues)
        self._start(rescues)
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
            suspected = self._suspects.is_suspected(batch.entries[0])
            self._lost_in_a_row += 1 if suspected else _LOST_IN_A_ROW
        else:
            self._lost_in_a_row = 0
        return verdicts

    def _look_for_a_systemic_cause(self, verdicts: Sequence[Verdict]) -> None:
        """Where a whole batch was refused, find out once whether everything would be."""
        if self._checked_systemic or not refused_whole(verdicts):
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

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
