"""What the report shows, gathered from the state as plain values.

No personal data: record ids, labels, names of sequences, and reasons. Every text is scrubbed here, and e-mail
addresses that a service put into a reason are masked, since reports are passed around.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from outreach_sync.insight.explain import Links, by_kind, failure_document
from outreach_sync.insight.status import status_document
from outreach_sync.instants import Instant, parse_iso, to_date
from outreach_sync.log import scrubbed
from outreach_sync.records import Stream
from outreach_sync.store.progress import DAY_MS, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.insight.explain import Kind
    from outreach_sync.store import Holder, Store
    from outreach_sync.store.outbox import Entry
    from outreach_sync.store.progress import History, RunRecord, Written

UNFINISHED = "unfinished"
"""The outcome of a run that goes on, or whose process was killed."""

_SHOWN_RUNS, _SHOWN_FAILURES, _SHOWN_CHANGES, _SHOWN_SEQUENCES = 20, 40, 60, 30
_MOST_DAILY_PERIODS = 100
_HOUR_MS = 3_600_000
_LONGEST_TEXT = 400
_WELL = (0, 1)
_WRITTEN = ("created", "updated", "recreated")
_ADDRESS = re.compile(r"""(?<![^\s@<>"'(),;:])[^\s@<>"'(),;:]+@[^\s@<>"'(),;:]+""")
"""Tried at the beginnings of words only, so that it takes no longer than the text is long."""


class Column(NamedTuple):
    """One column: what a pointer over it shows, its parts from the bottom up, and whether its trouble is new."""

    tip: str
    parts: tuple[int, ...]
    new: bool = True


class RunFigures(NamedTuple):
    """One run. `written` and `refused` count people and tasks; `duration_ms` is None for one that did not finish."""

    started_at: Instant
    finished_at: Instant | None
    command: str
    outcome: str
    exit_status: int | None
    duration_ms: int | None
    read: int
    written: int
    refused: int
    outreach: int
    workbooks: int
    error: str


class Period(NamedTuple):
    """What the runs of a day, or of a week where days would be too many, did together.

    `failed` counts unfinished runs too. The durations are 0 where no run finished. `new`: it is the last one.
    """

    begins_at: Instant
    runs: tuple[RunFigures, ...]
    ok: int
    partial: int
    failed: int
    median_ms: int
    longest_ms: int
    new: bool

    def total(self, name: str) -> int:
        """Add up a number of the runs."""
        return sum(getattr(run, name) for run in self.runs)


class Outage(NamedTuple):
    """Runs that failed one after another: from the first to the next that did not (`ended_at` None: it lasts)."""

    began_at: Instant
    ended_at: Instant | None
    runs: int
    cause: str


class Trend(NamedTuple):
    """How many linked people say a label: now, and by day from the first day recorded in the period, now last."""

    label: str
    now: int
    days: tuple[tuple[Instant, int], ...]


class Lag(NamedTuple):
    """How long it took from a change in Outreach to its write in Workbooks, of so many writes."""

    median_ms: int
    slow_ms: int
    writes: int


class Refusals(NamedTuple):
    """Refusals of one kind, the first of them in full, and what to do about them. `new`: found in the last day."""

    kind: Kind
    records: int
    parked: int
    new: int
    shown: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page says. `days` is the length of the period; runs and changes are listed newest first."""

    title: str
    hosts: str
    links: Links
    generated_at: Instant
    days: int
    unit: str
    standing: Mapping[str, Any]
    periods: tuple[Period, ...]
    last_runs: tuple[RunFigures, ...]
    run_count: int
    busiest_hour: tuple[Instant, int] | None
    outages: tuple[Outage, ...]
    lag: Lag | None
    trends: tuple[Trend, ...]
    opt_outs: tuple[tuple[Instant, int], ...]
    skipped: tuple[Mapping[str, Any], ...]
    cancelled: tuple[Written, ...]
    refusals: tuple[Refusals, ...]
    changes: tuple[Written, ...]
    change_count: int
    waiting: tuple[tuple[str, int, int, int], ...]
    walking: frozenset[str]

    @property
    def success(self) -> float | None:
        """The share of the runs that ended well; None: none ended."""
        ended = [run for period in self.periods for run in period.runs if run.exit_status is not None]
        return sum(run.exit_status in _WELL for run in ended) / len(ended) if ended else None

    @property
    def next_run(self) -> Instant | None:
        """When the schedule wants the next cycle."""
        return parse_iso(self.standing["next_run"]) if self.standing["next_run"] else None

    def marks(self) -> Iterator[tuple[str, Instant | None]]:
        """Return how far each stream was read."""
        for stream, mark in self.standing["watermarks"].items():
            yield stream, None if mark is None else parse_iso(mark)

    def trend_heads(self) -> list[tuple[str, bool]]:
        """Return the heads of the table of labels by day."""
        return [("Day", False), *((trend.label, True) for trend in self.trends)]

    def opt_out_columns(self) -> list[Column]:
        """Return the columns of the chart of opt-outs."""
        return [Column(f"{to_date(at)}: {count:,}", (count,)) for at, count in self.opt_outs]

    def columns(self, *names: str) -> list[Column]:
        """Return the columns of a chart of runs: a number of the periods, or the sum of one of their runs."""
        return [_column(period, names) for period in self.periods]


def gather(  # a state to read, and who looks
    store: Store, config: Config, now: Instant, *, days: int, holder: Holder | None = None
) -> Report:
    """Gather what the report says.

    Args:
        store: the state, open to read; a scratch one where no run was ever made.
        config: the config.
        now: this machine's clock. Runs that say they began after it are left out.
        days: how many days back, today included; more than a hundred are shown by week.
        holder: who holds the run lock.
    """

    def clean(text: str) -> str:
        text = scrubbed(text)
        return _ADDRESS.sub("(address)", text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…")

    starts = _period_starts(now, days)
    standing = status_document(store, config, now, holder)
    records = [run for run in store.runs.since(starts[0]) if run.started_at <= now + DAY_MS]
    runs = [_run_figures(run, clean) for run in records]
    history = store.history
    changes = _last_changes(history)
    workbooks, outreach = (urlsplit(one.base_url).netloc for one in (config.workbooks, config.outreach))
    return Report(
        title=_tenant(config),
        hosts=f"{outreach} → {workbooks}",
        links=Links.of(config),
        generated_at=now,
        days=days,
        unit="day" if days <= _MOST_DAILY_PERIODS else "week",
        standing={**standing, "needs": [clean(need) for need in standing["needs"]]},
        periods=tuple(_by_period(runs, starts)),
        last_runs=tuple(runs[: -_SHOWN_RUNS - 1 : -1]),
        run_count=len(runs),
        busiest_hour=_busiest_hour(runs),
        outages=tuple(_outages(runs)),
        lag=_lag(history, starts[0], config.workbooks.fields.state_updated_at),
        trends=_trends(history, starts[0], now, clean),
        opt_outs=_opt_outs(history, starts),
        skipped=tuple(_skipped(history, starts[0], clean)),
        cancelled=tuple(_cleaned(one, clean) for one in _cancelled(history, starts[0])),
        refusals=tuple(_refusals(store, now, clean)),
        changes=tuple(_cleaned(one, clean) for one in changes),
        change_count=history.count_writes(changes[0].run_id) if changes else 0,
        waiting=tuple(_waiting(store.outbox.counts())),
        walking=frozenset(stream.value for stream in Stream if store.progress.of(stream).walk is not None),
    )


def _tenant(config: Config) -> str:
    """Name the tenant by the directory that its state is in, where that is below one of ours."""
    directory = config.state.path.absolute().parent
    return directory.name if directory.parent.name == "outreach-sync" else "outreach-sync"


def _run_figures(run: RunRecord, clean: Callable[[str], str]) -> RunFigures:
    summary = run.summary
    people, tasks, requests = (_numbers(summary, name) for name in ("people", "tasks", "requests"))
    streams = summary.get("streams") or {}
    return RunFigures(
        started_at=run.started_at,
        finished_at=run.finished_at,
        command=run.command,
        outcome=run.outcome or UNFINISHED,
        exit_status=run.exit_status,
        duration_ms=None if run.finished_at is None else max(run.finished_at - run.started_at, 0),
        read=sum(_numbers(streams, name).get("read", 0) for name in streams),
        written=sum(people.get(name, 0) for name in _WRITTEN) + tasks.get("created", 0),
        refused=people.get("rejected", 0) + tasks.get("rejected", 0),
        outreach=requests.get("outreach", 0),
        workbooks=requests.get("workbooks", 0),
        error=clean(str(summary.get("error") or "")),
    )


def _numbers(section: Mapping[str, Any], name: str) -> dict[str, int]:
    """Return the whole numbers of a part of a summary; an older version may have written it otherwise."""
    part = section.get(name)
    return {key: one for key, one in part.items() if isinstance(one, int)} if isinstance(part, dict) else {}


def _period_starts(now: Instant, days: int) -> list[Instant]:
    """Return when the periods begin that cover the last `days` days, today included, oldest first."""
    length = 1 if days <= _MOST_DAILY_PERIODS else 7
    count = -(-days // length)
    end = day_of(now) + DAY_MS
    return [Instant(end - (count - place) * length * DAY_MS) for place in range(count)]


def _by_period(runs: Sequence[RunFigures], starts: Sequence[Instant]) -> Iterator[Period]:
    """Add runs up by period; periods without a run are there too."""
    length = starts[1] - starts[0] if len(starts) > 1 else DAY_MS
    grouped: dict[int, list[RunFigures]] = {}
    for run in runs:
        grouped.setdefault((run.started_at - starts[0]) // length, []).append(run)
    for place, start in enumerate(starts):
        here = grouped.get(place, [])
        outcomes = Counter(run.outcome for run in here)
        durations = [run.duration_ms for run in here if run.duration_ms is not None]
        ok, partial = outcomes["ok"], outcomes["partial"]
        failed = len(here) - ok - partial
        middle = round(median(durations)) if durations else 0
        new = place == len(starts) - 1
        yield Period(start, tuple(here), ok, partial, failed, middle, max(durations, default=0), new)


def _column(period: Period, names: Sequence[str]) -> Column:
    parts = tuple(getattr(period, name) if name in Period._fields else period.total(name) for name in names)
    said = ", ".join(f"{part:,} {name.replace('_ms', ' (ms)')}" for part, name in zip(parts, names, strict=True))
    return Column(f"{to_date(period.begins_at)}: {said}", parts, period.new)


def _busiest_hour(runs: Sequence[RunFigures]) -> tuple[Instant, int] | None:
    """Return the hour with the most requests to Outreach, the latest of several; None: there were none."""
    hours: Counter[int] = Counter()
    for run in runs:
        hours[run.started_at // _HOUR_MS] += run.outreach
    hour, requests = max(hours.items(), key=lambda one: (one[1], one[0]), default=(0, 0))
    return (Instant(hour * _HOUR_MS), requests) if requests else None


def _outages(runs: Sequence[RunFigures]) -> Iterator[Outage]:
    """Find the runs that failed one after another, the latest first; what was only stopped ended no outage."""
    found: list[Outage] = []
    failing: list[RunFigures] = []
    for run in runs:
        if run.exit_status in _WELL:
            if failing:
                found.append(_outage(failing, run.started_at))
            failing = []
        elif run.error:
            failing.append(run)
    if failing:
        found.append(_outage(failing, None))
    yield from reversed(found)


def _outage(failing: Sequence[RunFigures], ended_at: Instant | None) -> Outage:
    causes = Counter(run.error for run in failing)
    return Outage(failing[0].started_at, ended_at, len(failing), causes.most_common(1)[0][0])


def _last_changes(history: History) -> list[Written]:
    """Return the first fields of the last run that wrote."""
    last = history.writes(limit=1)
    return history.writes(run_id=last[0].run_id, limit=_SHOWN_CHANGES) if last else []


def _lag(history: History, since: Instant, field: str) -> Lag | None:
    """Measure by the times that were written: when the state changed in Outreach, against when Workbooks took it."""
    spans = history.lags(field, since)
    return Lag(round(median(spans)), spans[-max(len(spans) // 20, 1)], len(spans)) if spans else None


def _trends(history: History, since: Instant, now: Instant, clean: Callable[[str], str]) -> tuple[Trend, ...]:
    """Join what was recorded by day with what people say now, which stands in for today."""
    recorded: dict[Instant, dict[str, int]] = {}
    for one in history.labels_since(since):
        recorded.setdefault(one.day, {})[one.label] = one.people
    current = dict(history.labels_now())
    recorded[day_of(now)] = current
    labels = [*current, *sorted({label for counts in recorded.values() for label in counts} - current.keys())]
    days = sorted(recorded.items())
    return tuple(
        Trend(
            clean(label) or "(empty)", current.get(label, 0), tuple((day, counts.get(label, 0)) for day, counts in days)
        )
        for label in labels
    )


def _opt_outs(history: History, starts: Sequence[Instant]) -> tuple[tuple[Instant, int], ...]:
    counts = dict.fromkeys(starts, 0)
    for day, count in history.opt_outs_since(starts[0]).items():
        counts[max(start for start in starts if start <= day)] += count
    return tuple(counts.items())


def _skipped(history: History, since: Instant, clean: Callable[[str], str]) -> Iterator[Mapping[str, Any]]:
    for one in history.skipped_by_sequence(since)[:_SHOWN_SEQUENCES]:
        named = clean(one.name).strip() if one.name else ""
        unnamed = "(no sequence named)" if one.sequence_id is None else f"sequence {one.sequence_id}"
        yield {**one._asdict(), "name": named or unnamed}


def _cancelled(history: History, since: Instant) -> list[Written]:
    """Return the status of the latest Tasks that were made: it says of which task, when, and which witness."""
    return history.writes(record="task", field="activity_status", since=since, limit=_SHOWN_RUNS)


def _cleaned(one: Written, clean: Callable[[str], str]) -> Written:
    old, new = (clean(value) if isinstance(value, str) else value for value in (one.old, one.new))
    return one._replace(old=old, new=new, because=clean(one.because or ""))


def _refusals(store: Store, now: Instant, clean: Callable[[str], str]) -> Iterator[Refusals]:
    recent = store.outbox.refused_in(run.id for run in store.runs.since(Instant(now - DAY_MS)))
    for kind, entries in by_kind(store.outbox.failures()).items():
        shown = tuple(_failure(entry, recent, clean) for entry in entries[:_SHOWN_FAILURES])
        parked = sum(entry.state == "parked" for entry in entries)
        yield Refusals(kind, len(entries), parked, sum(entry.id in recent for entry in entries), shown)


def _failure(entry: Entry, recent: set[int], clean: Callable[[str], str]) -> Mapping[str, Any]:
    document = failure_document(entry)
    return {**document, "reason": clean(document["reason"] or ""), "new": entry.id in recent}


def _waiting(counts: Mapping[tuple[str, str], int]) -> Iterator[tuple[str, int, int, int]]:
    """Return (record, queued, parked, tasks that wait for a Person) of each kind of record."""
    for record in sorted({record for record, _ in counts}):
        queued = counts.get((record, "queued"), 0) + counts.get((record, "sending"), 0)
        yield record, queued, counts.get((record, "parked"), 0), counts.get((record, "waiting"), 0)
