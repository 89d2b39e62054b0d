"""Small stand-ins for both services, and a bench that runs single steps of the pipeline on them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.config.model import Config
from outreach_sync.deliver import deliver
from outreach_sync.http import StopSignal
from outreach_sync.instants import Instant
from outreach_sync.pull import ALL_STATES_READ, keep_page
from outreach_sync.records import (
    Accepted,
    Page,
    PersonRow,
    Prospect,
    SequenceState,
    SourceTask,
    Stale,
    Stream,
    TaskRow,
    Verdict,
    Write,
)
from outreach_sync.rules.person import Held, mailbox
from outreach_sync.rules.watermark import Reading
from outreach_sync.run import Pilot, Run, RunSummary
from outreach_sync.store import Store
from outreach_sync.workbooks.wire import PEOPLE, TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

DAY, NOON = 86_400_000, Instant(1_790_000_000_000)
LABELS = {
    "active": "Running",
    "paused": "Paused",
    "opted_out": "Opted Out",
    "finished": "Finished",
    "not_active": "Not Active",
}


class FakeSource:
    """Outreach: pages that are given (an exception among them is raised), and records to be asked for by id."""

    def __init__(self) -> None:
        self.requests = 0
        self.clock: Instant | None = NOON
        self.script: dict[Stream, list[Page | Exception]] = {}
        self.states: list[SequenceState] = []
        self.prospects: list[Prospect] = []
        self.first_urls: list[tuple[Stream, Instant | None]] = []
        self.walked: list[str] = []
        self.moved = False
        self.history_asked: list[int] = []
        self.prospects_asked: list[int] = []

    def server_time(self) -> Instant:
        self.requests += 1
        assert self.clock is not None
        return self.clock

    def heard_time(self) -> Instant | None:
        return self.clock if self.requests else None

    def trusts(self, url: str) -> bool:
        return not self.moved

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        self.first_urls.append((stream, since))
        return f"{stream}?0"

    def pages(self, stream: Stream, url: str) -> Iterator[Page]:
        self.walked.append(url)
        script = self.script.get(stream) or [self.page()]
        for number in range(int(url.split("?")[1]), len(script)):
            self.requests += 1
            one = script[number]
            if isinstance(one, Exception):
                raise one
            yield one._replace(next_url=f"{stream}?{number + 1}" if number + 1 < len(script) else None)

    def states_of(self, prospect_ids: Sequence[int]) -> Iterator[Page]:
        self.history_asked += prospect_ids
        yield self.page(states=[one for one in self.states if one.prospect_id in prospect_ids])

    def all_states_url(self) -> str:
        return "all?0"

    def by_id(self, stream: Stream, ids: Sequence[int]) -> Iterator[Page]:
        if stream is Stream.PROSPECTS:
            self.prospects_asked += ids
            shown = [page for page in self.script.get(stream, ()) if isinstance(page, Page)]
            known = {one.id: one for page in shown for one in page.prospects} | {one.id: one for one in self.prospects}
            yield self.page(prospects=[known[one] for one in ids if one in known])
        else:
            yield self.page(states=[one for one in self.states if one.id in ids])

    def page(self, **rows: Any) -> Page:
        given = {name: tuple(some) for name, some in rows.items()}
        received = sum(len(given.get(name, ())) for name in ("states", "tasks", "prospects"))
        empty: dict[str, Any] = dict.fromkeys(("states", "tasks", "prospects", "included", "sequences", "refused"), ())
        return Page(**{**empty, **given}, next_url=None, server_time=self.clock, received=received, without_stamp=0)


class FakeTarget:
    """Workbooks: records in memory; `answers` are used up before writes are really judged."""

    def __init__(self) -> None:
        self.requests = 0
        self.people: dict[int, PersonRow] = {}
        self.tasks: dict[int, TaskRow] = {}
        self.answers: list[Callable[[Sequence[Write]], Sequence[Verdict]]] = []
        self.person_batches: list[list[Write]] = []
        self.task_batches: list[list[Write]] = []
        self.looked_up: list[tuple[str, tuple[Any, ...]]] = []
        self.problem: str | None = None

    def add(self, person_id: int, *, email: str | None = None, reference: str | None = None, **fields: Any) -> None:
        ref = f"PERS-{person_id}"
        self.people[person_id] = PersonRow(person_id, 1, False, email, reference, ref, fields)

    def change(self, person_id: int, *, deleted: bool = False, **fields: Any) -> None:
        row = self.people[person_id]
        self.people[person_id] = row._replace(
            lock_version=row.lock_version + 1, is_deleted=deleted, fields={**row.fields, **fields}
        )

    def people_by_ids(self, person_ids: Collection[int]) -> dict[int, PersonRow]:
        self.looked_up.append(("id", tuple(person_ids)))
        return {one: self.people[one] for one in person_ids if one in self.people}

    def _by(
        self, what: str, values: Collection[str], key: Callable[[PersonRow], Any], *, deleted: bool = False
    ) -> dict[str, list[PersonRow]]:
        self.looked_up.append((what, tuple(values)))
        found: dict[str, list[PersonRow]] = {}
        for row in self.people.values():
            if (deleted or not row.is_deleted) and key(row) in values:
                found.setdefault(key(row), []).append(row)
        return found

    def people_by_reference(self, references: Collection[str]) -> dict[str, list[PersonRow]]:
        return self._by("reference", references, lambda row: row.reference, deleted=True)

    def people_by_object_ref(self, object_refs: Collection[str]) -> dict[str, list[PersonRow]]:
        return self._by("object_ref", object_refs, lambda row: row.object_ref)

    def people_by_outreach_id(self, outreach_ids: Collection[str]) -> dict[str, list[PersonRow]]:
        return self._by("outreach_id", outreach_ids, lambda row: row.fields.get("f_id"))

    def people_by_email(self, addresses: Collection[str]) -> dict[str, list[PersonRow]]:
        return self._by("email", {mailbox(one) for one in addresses}, lambda row: mailbox(row.email or ""))

    def people_by_padded_email(self, addresses: Collection[str]) -> dict[str, list[PersonRow]]:
        self.looked_up.append(("padded email", tuple(addresses)))
        return {}

    def tasks_by_reference(self, references: Collection[str]) -> dict[str, list[TaskRow]]:
        self.looked_up.append(("task", tuple(references)))
        found: dict[str, list[TaskRow]] = {}
        for row in self.tasks.values():
            if row.reference in references:
                found.setdefault(row.reference, []).append(row)
        return found

    def tasks_by_ids(self, task_ids: Collection[int]) -> dict[int, TaskRow]:
        return {one: self.tasks[one] for one in task_ids if one in self.tasks}

    def write(self, controller: str, writes: Sequence[Write]) -> Sequence[Verdict]:
        batches, obey = {
            PEOPLE: (self.person_batches, self.obey),
            TASKS: (self.task_batches, self.obey_tasks),
        }[controller]
        batches.append(list(writes))
        return self.answers.pop(0)(writes) if self.answers else obey(writes)

    def obey(self, writes: Sequence[Write]) -> Sequence[Verdict]:
        return [self._write_person(write) for write in writes]

    def _write_person(self, write: Write) -> Verdict:
        fields = {name: getattr(value, "at", value) for name, value in write.fields.items()}
        if not write.id:
            new = 5000 + len(self.people)
            self.add(new, email=fields.get("main_location[email]"), reference=fields["created_through_reference"])
            self.change(new, **fields)
            return Accepted(new, self.people[new].lock_version)
        if self.people[write.id].lock_version != write.lock_version:
            return Stale()
        self.change(write.id, **fields)
        return Accepted(write.id, self.people[write.id].lock_version)

    def obey_tasks(self, writes: Sequence[Write]) -> Sequence[Verdict]:
        verdicts = []
        for write in writes:
            new = 9000 + len(self.tasks)
            self.tasks[new] = TaskRow(new, 0, False, str(write.fields["created_through_reference"]))
            verdicts.append(Accepted(new, 0))
        return verdicts

    def systemic_problem(self) -> str | None:
        self.requests += 1
        return self.problem


class Diary:
    """A log that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def debug(self, event: str, **values: Any) -> None: ...

    def info(self, event: str, **values: Any) -> None: ...

    def warning(self, event: str, **values: Any) -> None:
        self.events.append(event)


READING = Reading(start=90 * DAY, start_at=None, overlap=600_000, late_sweep=DAY)
CONFIG: dict[str, Any] = {
    "workbooks.fields": {"sequence_state": "f_state", "state_updated_at": "f_at", "no_email": "f_no_email"},
    "workbooks.batch_size": 3,
    "workbooks.concurrency": 1,
    "sync.labels": LABELS,
    "sync.max_attempts": 3,
    "sync.guard": {"share": 0.5, "count": 2, "lost_share": 0.5, "lost_count": 2, "create": 500},
    "sync.tasks.name": "Skipped: {action}",
    "sync.tasks.description": "{note}",
    "sync.tasks.type": {"default": "Task", "email": "Email"},
    "sync.streams": ("sequence_states", "tasks", "prospects"),
}


def config_with(values: dict[str, Any]) -> Config:
    """Make a config from dotted keys; a section's own keys may be given as a map."""
    return _changed(Config(), {**CONFIG, **values})


def _changed(model: Any, values: dict[str, Any]) -> Any:
    for path, value in values.items():
        name, _, rest = path.partition(".")
        old = getattr(model, name)
        is_section = isinstance(value, dict) and hasattr(old, "model_copy")
        new = _changed(old, {rest: value}) if rest else _changed(old, value) if is_section else value
        model = model.model_copy(update={name: new})
    return model


class Bench:
    """A state file, both stand-ins, and runs of any plan on them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = Store.open(path)
        self.source, self.target = FakeSource(), FakeTarget()
        self.stop, self.log = StopSignal(), Diary()
        self.now = NOON
        self.runs = 0
        with self.state.transaction():
            self.state.facts.put(ALL_STATES_READ, "yes")

    def decide(
        self, *, complete: bool = True, source_is_down: bool = False, allow_bulk: bool = False, **options: Any
    ) -> RunSummary:
        """Decide and deliver in a run of its own."""
        run = self.run(**options)
        run.source_is_down = source_is_down
        deliver(run, complete=complete, allow_bulk=allow_bulk)
        return run.summary

    def run(
        self,
        *,
        dry_run: bool = False,
        full: bool = False,
        since: Instant | None = None,
        ago: int | None = None,
        streams: tuple[Stream, ...] = (Stream.SEQUENCE_STATES, Stream.TASKS, Stream.PROSPECTS),
        pilot: Pilot | None = None,
        config: dict[str, Any] | None = None,
        reading: Reading | None = None,
    ) -> Run:
        self.runs += 1
        reading = (reading or READING)._replace(full=full, since=since, ago=ago)
        return Run(
            id=f"run{self.runs}",
            store=self.state,
            source=self.source,  # type: ignore[arg-type]  # a stand-in
            target=self.target,  # type: ignore[arg-type]
            config=config_with(config or {}),
            reading=reading,
            streams=streams,
            pilot=pilot or Pilot(),
            look_again_seconds=0.001,
            summary=RunSummary(f"run{self.runs}", self.now, dry_run),
            stop=self.stop,
            log=self.log,
            clock=lambda: self.now,
        )

    def prospect(self, prospect_id: int, *, email: str | None = None, **values: Any) -> Prospect:
        emails = () if email is None else (email,)
        whole: dict[str, Any] = dict.fromkeys(Prospect._fields[:-1]) | {
            "opted_out": False, "email_opted_out": False, "emails": emails, "first_name": "Ada",
            "updated_at": NOON - DAY,
        }  # fmt: skip
        return Prospect(**{**whole, "id": prospect_id, **values})

    def states(self, prospect_id: int, *words: str, at: int = NOON - DAY) -> list[SequenceState]:
        first = prospect_id * 100
        return [
            SequenceState(first + number, prospect_id, 1, word, Instant(at), Instant(at + number))
            for number, word in enumerate(words)
        ]

    def skipped(self, task_id: int, prospect_id: int | None, *, state: str = "skipped", **values: Any) -> SourceTask:
        whole: dict[str, Any] = dict.fromkeys(SourceTask._fields) | {
            "id": task_id, "prospect_id": prospect_id, "task_type": "sequence_step_email", "action": "email",
            "updated_at": NOON - DAY, "attributes": {"state": state},
        }  # fmt: skip
        return SourceTask(**{**whole, **values})

    def keep(
        self, *prospects: Prospect, states: Sequence[SequenceState] = (), tasks: Sequence[SourceTask] = ()
    ) -> None:
        """Put records into the cache as a complete walk does."""
        with self.state.transaction():
            page = self.source.page(prospects=prospects, states=states, tasks=tasks)
            concerned, _ = keep_page(self.run(), page)
            self.state.undecided.mark_changed(concerned, held=False)
            self.state.undecided.release()

    def linked(self, prospect_id: int, person_id: int, *words: str, **prospect: Any) -> None:
        """Cache a prospect with states that is linked to a Person which holds nothing yet."""
        self.target.add(person_id, reference=f"outreach-prospect-{prospect_id}")
        self.keep(self.prospect(prospect_id, **prospect), states=self.states(prospect_id, *words))
        with self.state.transaction():
            self.state.people.read(person_id, 1, Held(), rule="email", now=Instant(NOON - DAY))
            self.state.people.link([prospect_id], person_id)

    def count(self, table: str) -> int:
        return int(self.state.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    def field(self, person_id: int, name: str) -> Any:
        return self.target.people[person_id].fields.get(name)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go into the next round at once: how long the pauses are is not what these tests are about."""
    monkeypatch.setattr("outreach_sync.deliver.pause", lambda _seconds, _stop: None)


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[[], Bench]:
    """Make as many benches as a test wants, each with a state of its own."""
    numbers = itertools.count()
    return lambda: Bench(tmp_path / f"state{next(numbers)}.db")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path / "state.db")
    yield one
    one.state.close()
