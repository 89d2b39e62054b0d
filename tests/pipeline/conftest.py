"""A stand-in for Outreach whose pages and clock a test makes up, and a bench that walks its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.config.model import Config
from outreach_sync.http import StopSignal
from outreach_sync.instants import Back, Instant
from outreach_sync.records import Page, SequenceState, SourceTask, Stream
from outreach_sync.rules.watermark import Reading
from outreach_sync.run import Pilot, Run, RunSummary
from outreach_sync.store import Store
from tests.harness import DAY, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = Instant(1_790_000_000_000)
STREAMS = (Stream.SEQUENCE_STATES, Stream.TASKS, Stream.PROSPECTS)
READING = Reading(Back(90 * DAY), overlap=600_000, late_sweep=DAY)


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
        for number in range(int(url.split("?")[1]), len(script)):
            self.requests += 1
            one = script[number]
            if isinstance(one, Exception):
                raise one
            yield one._replace(next_url=f"{stream}?{number + 1}" if number + 1 < len(script) else None)

    def by_id(self, stream: Stream, ids: list[int]) -> Iterator[Page]:
        assert not ids
        return iter(())

    def page(self, **rows: Any) -> Page:
        given: dict[str, Any] = dict.fromkeys(("states", "tasks", "prospects", "included", "sequences", "refused"), ())
        given |= {name: tuple(some) for name, some in rows.items()}
        received = sum(len(given[name]) for name in ("states", "tasks", "prospects"))
        return Page(**given, next_url=None, server_time=self.clock, received=received, without_stamp=0)


class Bench:
    """A state file, the stand-in, and runs of any kind on them."""

    def __init__(self, path: Path) -> None:
        self.state = Store.open(path)
        self.source, self.stop, self.log = FakeSource(), StopSignal(), Recorder()
        self.now = NOON

    def run(self, *, sync: dict[str, Any] | None = None, **reading: Any) -> Run:
        return Run(
            id="run",
            store=self.state,
            source=self.source,  # type: ignore[arg-type]  # a stand-in
            target=None,  # type: ignore[arg-type]  # nothing is written
            config=Config.model_validate({"sync": sync or {}}),
            reading=READING._replace(**reading),
            streams=STREAMS,
            pilot=Pilot(),
            look_again_seconds=0.001,
            summary=RunSummary("run", self.now, dry_run=False),
            stop=self.stop,
            log=self.log,
            clock=lambda: self.now,
        )

    def states(self, prospect_id: int, word: str, *, at: int = NOON - DAY) -> list[SequenceState]:
        return [SequenceState(prospect_id * 100, prospect_id, 1, word, at, at)]

    def skipped(self, task_id: int, prospect_id: int, *, state: str = "skipped", at: int = NOON - DAY) -> SourceTask:
        given = {"task_type": "sequence_step_email", "action": "email", "attributes": {"state": state}}
        whole: dict[str, Any] = dict.fromkeys(SourceTask._fields) | given
        return SourceTask(**{**whole, "id": task_id, "prospect_id": prospect_id, "updated_at": at})

    def count(self, table: str) -> int:
        return int(self.state.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path / "state.db")
    yield one
    one.state.close()
