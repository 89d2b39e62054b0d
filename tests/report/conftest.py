"""States to report on: one that a long life has filled, and the settings that go with it."""

from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest

from outreach_sync.config.model import Config
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Prospect, Sequence, SourceTask, Stream
from outreach_sync.report import Report, render
from outreach_sync.rules.person import Held
from outreach_sync.store import Store
from outreach_sync.store.cache import CachedTask
from outreach_sync.store.progress import DAY_MS, Written

NOW = parse_iso("2026-09-30T12:00:00Z")
LABELS = ("Active \u2013 Running", "Finished", "Opted Out", "Pending")
REFUSAL = "cf_person_sequence_state: 'Finished' is no entry of the picklist"


_VOID = {"meta", "link", "br"}


class Tag(NamedTuple):
    """An element: its name, attributes, the names of those around it, and the ids of the sections around it."""

    name: str
    attributes: Mapping[str, str | None]
    within: tuple[str, ...]
    section: str | None


class Parsed(HTMLParser):
    """A page taken apart by the standard library's parser, which knows nothing of how it was made."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = source
        self.tags: list[Tag] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[Tag] = []
        self.problems: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given, around = dict(attrs), self.open[-1].section if self.open else None
        section = given.get("id") if tag == "section" else around
        self.tags.append(Tag(tag, given, tuple(outer.name for outer in self.open), section))
        self.open += [] if tag in _VOID else self.tags[-1:]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop().name != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1].name, data))

    def named(self, *names: str) -> list[Tag]:
        return [tag for tag in self.tags if tag.name in names]

    def said(self, name: str) -> list[str]:
        """Return the texts directly in elements of a name."""
        return [text for inside, text in self.texts if inside == name]

    @property
    def text(self) -> str:
        return " ".join(text for inside, text in self.texts if inside != "style")


class Filled(NamedTuple):
    state: Store
    config: Config

    def run(self, run_id: str, began: Instant, outcome: str | None = "ok", **summary: Any) -> None:
        """Record a run of 42 seconds."""
        with self.state.transaction():
            self.state.history.begin(run_id, "run", began)
            if outcome is not None:
                status = {"ok": 0, "partial": 1}.get(outcome, 4)
                self.state.history.finish(run_id, Instant(began + 42_000), status, outcome, summary)

    def person(self, person_id: int, label: str) -> None:
        with self.state.transaction():
            self.state.people.read(person_id, 1, Held(label, None, None, None, None), rule="email", now=NOW)

    def label_counts(self, days: int) -> None:
        """Note each of the last days, one more Person each day."""
        for back in range(days, 0, -1):
            self.person(back, LABELS[back % len(LABELS)])
            today = (NOW - back * DAY_MS) // DAY_MS * DAY_MS
            with self.state.transaction():
                rows = [(today, *row) for row in self.state.history.labels_now()]
                self.state.connection.executemany("INSERT INTO label_count VALUES (?, ?, ?)", rows)

    def sequence(self, sequence_id: int, name: str, *, skipped: int) -> None:
        ids, at = range(sequence_id * 1000, sequence_id * 1000 + skipped), Instant(NOW - DAY_MS)
        rest = (None, None, "sequence_step_email", "email", None, None, at, {})
        with self.state.transaction():
            self.state.cache.keep_sequences([Sequence(sequence_id, name)], [], shown=False)
            tasks = [CachedTask(SourceTask(id_, 1, sequence_id, *rest), skipped=True) for id_ in ids]
            self.state.cache.keep_tasks(tasks)

    def opt_out(self, prospect_id: int, at: Instant) -> None:
        prospect = Prospect(prospect_id, "Ada", "Example", (), None, True, at, False, None, None, at)
        with self.state.transaction():
            self.state.cache.keep_prospects([prospect])

    def refusal(self, prospect_id: int, reason: str, *, parked: bool = False) -> None:
        with self.state.transaction():
            outbox = self.state.outbox
            outbox.queue_person(prospect_id, prospect_id + 1000, "update", {"sequence_state": "x"}, run_id="r")
            (entry,) = outbox.of_person([prospect_id])
            outbox.refused(entry, reason, next_attempt_at=None if parked else NOW)

    def wrote(self, person_id: int, field: str, old: Any, new: Any, *, at: int = NOW, **other: Any) -> None:
        """Record an accepted field of a Person, or of a Task with `task_id`."""
        record = "task" if "task_id" in other else "person"
        row = Written(
            Instant(at), other.get("run_id", "r"), record, other.get("action", "update"), person_id - 1000,
            other.get("task_id"), person_id, field, old, new, other.get("because", "the newest state"),
        )  # fmt: skip
        with self.state.transaction():
            self.state.history.wrote([row])


@pytest.fixture
def filled(config_of: Callable[..., Config]) -> Iterator[Filled]:
    """A state to fill, empty so far: a scratch one, since no test here is about what a power cut leaves."""
    config = config_of(outreach={"base_url": "https://api.outreach.io"})
    with Store.open_scratch(config.state.path) as state:
        yield Filled(state, config)


@pytest.fixture
def page_of(filled: Filled) -> Callable[..., Parsed]:
    return lambda state, days=30: Parsed(render(Report(state, filled.config, NOW, days=days)))


@pytest.fixture
def lived(filled: Filled) -> Filled:
    """A state of thirty days, six runs a day, with everything that a report can show."""
    filled.label_counts(29)
    summary: dict[str, Any] = {"tasks": {"created": 1, "rejected": 0, "queued": 0}}
    summary["requests"] = {"outreach": 3, "workbooks": 1}
    summary["streams"] = {stream.value: {"read": 10, "changed": 5, "requests": 1} for stream in Stream}
    for back in range(29, -1, -1):
        for hour in (1, 3, 5, 7, 9, 11):
            began = Instant(NOW - back * DAY_MS - hour * 3_600_000)
            outcome = "failed" if (back, hour) == (7, 5) else "partial" if back % 5 == 0 else "ok"
            people = {"created": 1, "updated": 2, "recreated": 0, "rejected": int(outcome == "partial")}
            filled.run(f"{back}-{hour}", began, outcome, people=people, **summary)
        if back % 3 == 0:
            filled.opt_out(5000 + back, Instant(NOW - back * DAY_MS))
    filled.sequence(1, "Trial follow-up", skipped=12)
    filled.sequence(2, "Renewals, second quarter, north and west", skipped=4)
    for prospect_id in (7, 8, 9):
        filled.refusal(prospect_id, REFUSAL, parked=prospect_id == 9)
    filled.refusal(10, "ambiguous: the rule 'email' finds 2 people (12, 13): merge them in Workbooks")
    with filled.state.transaction():
        at = Instant(NOW - 600_000)
        filled.state.progress.keep_walk(Stream.TASKS, None, watermark=at, swept=at)
    filled.wrote(1007, "cf_person_sequence_state", "Pending", "Finished")
    filled.wrote(1007, "activity_status", None, "Cancelled", task_id=77, because="event skip_task 4711")
    return filled
