"""A stand-in for Outreach whose pages and clock a test makes up, and a bench that walks its streams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.config.model import Config
from outreach_sync.http import StopSignal
from outreach_sync.instants import Back, Instant
from outreach_sync.records import Page, SequenceState, SourceTask, Stream
from outreach_sync.rules.watermark import Reading
from outreach_sync.run import Pilot, Run, RunSummary
from outreach_sync.store import Store
from tests.harness import DAY, Recorder

NOON = Instant(1_790_000_000_000)
READING = Reading(Back(90 * DAY), overlap=600_000, late_sweep=DAY)
ROWS = ("states", "tasks", "prospects")


class FakeSource:
    """Outreach: pages that are given (an exception among them is raised)."""

    def __init__(self) -> None:
        self.transport = self  # which keeps the clock
        self.requests = 0
        self.clock: Instant = NOON
        self.script: dict[Stream, list[Page | Exception]] = {}
        self.first_urls: list[tuple[Stream, Instant | None]] = []
        self.walked: list[str] = []

    def server_time(self) -> Instant:
        self.requests += 1
        return self.clock

    def server_now(self) -> Instant | None:
        return self.clock if self.requests else None

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        self.first_urls.append((stream, since))
        return f"{stream}?0"

    def pages(self, stream: Stream, url: str) -> Iterator[Page]:
        self.walked.append(url)
        script = self.script.get(stream) or [self.page()]
        for number, one in list(enumerate(script, 1))[int(url.split("?")[1]) :]:
            self.requests += 1
            if isinstance(one, Exception):
                raise one
            yield one._replace(next_url=f"{stream}?{number}" if number < len(script) else None)

    def by_id(self, stream: Stream, ids: list[int]) -> Iterator[Page]:
        assert not ids
        return iter(())

    def page(self, **rows: Any) -> Page:
        given = dict.fromkeys((*ROWS, "included", "sequences", "refused"), ()) | rows
        received = sum(len(given[name]) for name in ROWS)
        return Page(**given, next_url=None, server_time=self.clock, received=received, without_stamp=0)


class Bench:
    """A state file, the stand-in, and runs of any kind on them."""

    def __init__(self, store: Store) -> None:
        self.state, self.source, self.stop, self.log = store, FakeSource(), StopSignal(), Recorder()
        self.now = NOON

    def run(self, *, sync: dict[str, Any] | None = None, **reading: Any) -> Run:
        return Run(
            id="run",
            store=self.state,
            source=self.source,  # type: ignore[arg-type]  # a stand-in
            target=None,  # type: ignore[arg-type]  # nothing is written
            config=Config.model_validate({"sync": sync or {}}),
            reading=READING._replace(**reading),
            streams=(Stream.SEQUENCE_STATES, Stream.TASKS, Stream.PROSPECTS),
            pilot=Pilot(),
            look_again_seconds=0.001,
            summary=RunSummary("run", self.now, dry_run=False),
            stop=self.stop,
            log=self.log,
            clock=lambda: self.now,
        )

    def states(self, prospect_id: int, word: str, *, at: Any = NOON - DAY) -> list[SequenceState]:
        return [SequenceState(prospect_id * 100, prospect_id, 1, word, at, at)]

    def skipped(self, task_id: int, prospect_id: int, *, state: str = "skipped", at: Any = NOON - DAY) -> SourceTask:
        of = (task_id, prospect_id, None, None, None)
        return SourceTask(*of, "sequence_step_email", "email", None, None, at, {"state": state})

    def count(self, table: str) -> int:
        return int(self.state.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Store.open(tmp_path / "state.db") as store:
        yield Bench(store)
