"""What the report shows, gathered from the state as plain values.

No personal data: record ids, labels, names of sequences, and reasons. Every text passes the scrubber here, and e-mail
addresses that a service put into a reason are masked, since reports are passed around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.insight.failures import by_kind
from outreach_sync.insight.status import status_document
from outreach_sync.insight.yearly_cost import YearlyCost
from outreach_sync.records import Stream
from outreach_sync.report.runs import (
    BusiestHour,
    Period,
    RunFigures,
    busiest_hour,
    by_period,
    days_in_a_period,
    period_starts,
    run_figures,
)
from outreach_sync.state.history import History, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from outreach_sync.config.quick import QuickSettings
    from outreach_sync.insight.failures import Kind
    from outreach_sync.instants import Instant
    from outreach_sync.scrubbing import Scrubber
    from outreach_sync.state import State
    from outreach_sync.state.outbox import Entry

_SHOWN_RUNS = 20
_SHOWN_REASONS = 20
_SHOWN_EXAMPLES = 3
_LONGEST_TEXT = 400
_ADDRESS = re.compile(r"""(?<![^\s@<>"'(),;:])[^\s@<>"'(),;:]+@[^\s@<>"'(),;:]+""")
"""Tried at the beginnings of words only, so that it takes no longer than the text is long."""


class Trend(NamedTuple):
    """How many linked people say a label: now, and by day from the first day recorded in the period, now last."""

    label: str
    now: int
    days: tuple[tuple[Instant, int], ...]


class SequenceFigures(NamedTuple):
    """The skipped tasks of a sequence: in the period, all that the cache holds, and how many have a Workbooks Task."""

    name: str
    recent: int
    kept: int
    sent: int


class Reason(NamedTuple):
    """One reason, how many records were refused for it, and the first few of them in words."""

    text: str
    records: int
    examples: tuple[str, ...]


class Refusals(NamedTuple):
    """Refusals of one kind and what to do about them; `unlisted` counts the reasons beyond those in `reasons`."""

    title: str
    advice: str
    records: int
    parked: int
    reasons: tuple[Reason, ...]
    unlisted: int


class Waiting(NamedTuple):
    """How many entries of a kind of record wait in the outbox. `for_person`: tasks whose Person does not exist."""

    record: str
    queued: int
    parked: int
    for_person: int


class Mark(NamedTuple):
    """How far a stream is; `walking`: a walk has begun that is not complete."""

    stream: str
    watermark: Instant | None
    walking: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page says. `days` is the length of the period, `run_count` its runs, newest listed first."""

    generated_at: Instant
    days: int
    days_in_a_period: int
    periods: tuple[Period, ...]
    run_count: int
    last_runs: tuple[RunFigures, ...]
    busiest_hour: BusiestHour | None
    trends: tuple[Trend, ...]
    opt_outs: tuple[tuple[Instant, int], ...]
    skipped: tuple[SequenceFigures, ...]
    refusals: tuple[Refusals, ...]
    waiting: tuple[Waiting, ...]
    marks: tuple[Mark, ...]
    people: int
    undecided: int
    overdue: tuple[str, ...]
    quota_limit: int | None
    quota_remaining: int | None
    yearly: YearlyCost
    token_warning: str | None

    @property
    def refused(self) -> int:
        """How many records are refused now."""
        return sum(kind.records for kind in self.refusals)

    @property
    def queued(self) -> int:
        """How many entries wait to be sent, refused ones included."""
        return sum(one.queued for one in self.waiting)

    @property
    def parked(self) -> int:
        """How many entries were given up until somebody retries them."""
        return sum(one.parked for one in self.waiting)


def gather(state: State | None, settings: QuickSettings, now: Instant, *, days: int, scrubber: Scrubber) -> Report:
    """Gather what the report says; `state` None: no run was ever made.

    Args:
        state: the state, open to read.
        settings: the schedule and the streams.
        now: this machine's clock.
        days: how many days back, today included; more than a hundred are shown by week.
        scrubber: the choke point, knowing the secrets.
    """

    def clean(text: str) -> str:
        return _ADDRESS.sub("(address)", _shortened(scrubber.text(text)))

    starts = period_starts(now, days)
    standing = status_document(state, settings, now)
    runs = [] if state is None else [run_figures(run, clean) for run in state.runs.since(starts[0])]
    quota = standing["quota"] or {}
    return Report(
        generated_at=now,
        days=days,
        days_in_a_period=days_in_a_period(days),
        periods=by_period(runs, starts),
        run_count=len(runs),
        last_runs=tuple(runs[: -_SHOWN_RUNS - 1 : -1]),
        busiest_hour=busiest_hour(runs),
        trends=() if state is None else _trends(History(state.connection), starts[0], now, clean),
        opt_outs=_opt_outs(state, starts),
        skipped=() if state is None else _skipped(History(state.connection), starts[0], clean),
        refusals=() if state is None else _refusals(state.outbox.failures(), clean),
        waiting=() if state is None else _waiting(state.outbox.counts()),
        marks=_marks(state, settings),
        people=standing["people"],
        undecided=standing["undecided"],
        overdue=tuple(f"{one['command']}, which the schedule wanted at {one['due_at']}" for one in standing["overdue"]),
        quota_limit=quota.get("limit"),
        quota_remaining=quota.get("remaining"),
        yearly=YearlyCost(**standing["yearly"]),
        token_warning=_token_warning(standing["tokens"], clean),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _token_warning(tokens: Mapping[str, Any] | None, clean: Callable[[str], str]) -> str | None:
    warning = tokens["warning"] if tokens else None
    return clean(warning) if warning else None


def _trends(history: History, since: Instant, now: Instant, clean: Callable[[str], str]) -> tuple[Trend, ...]:
    """Join what was recorded by day with what people say now, which stands in for today."""
    recorded: dict[Instant, dict[str, int]] = {}
    for one in history.labels_since(since):
        recorded.setdefault(one.day, {})[one.label] = one.people
    current = dict(history.labels_now())
    recorded[day_of(now)] = current
    labels = [*current, *sorted({label for counts in recorded.values() for label in counts} - current.keys())]
    return tuple(
        Trend(
            clean(label) or "(empty)",
            current.get(label, 0),
            tuple((day, counts.get(label, 0)) for day, counts in sorted(recorded.items())),
        )
        for label in labels
    )


def _opt_outs(state: State | None, starts: Sequence[Instant]) -> tuple[tuple[Instant, int], ...]:
    counts = dict.fromkeys(starts, 0)
    days = {} if state is None else History(state.connection).opt_outs_since(starts[0])
    for day, count in days.items():
        counts[max(start for start in starts if start <= day)] += count
    return tuple(counts.items())


def _skipped(history: History, since: Instant, clean: Callable[[str], str]) -> tuple[SequenceFigures, ...]:
    return tuple(
        SequenceFigures(_sequence_name(one.name, one.sequence_id, clean), one.recent, one.kept, one.sent)
        for one in history.skipped_by_sequence(since)
    )


def _sequence_name(name: str | None, sequence_id: int | None, clean: Callable[[str], str]) -> str:
    if sequence_id is None:
        return "(no sequence named)"
    return clean(name).strip() if name and name.strip() else f"sequence {sequence_id}"


def _refusals(entries: Iterable[Entry], clean: Callable[[str], str]) -> tuple[Refusals, ...]:
    return tuple(_refusals_of(kind, group, clean) for kind, group in by_kind(entries).items())


def _refusals_of(kind: Kind, entries: Sequence[Entry], clean: Callable[[str], str]) -> Refusals:
    reasons: dict[str, list[Entry]] = {}
    for entry in entries:
        reasons.setdefault(clean(entry.reason or ""), []).append(entry)
    ordered = sorted(reasons.items(), key=lambda one: -len(one[1]))
    shown = tuple(
        Reason(text, len(group), tuple(_example(entry) for entry in group[:_SHOWN_EXAMPLES]))
        for text, group in ordered[:_SHOWN_REASONS]
    )
    parked = sum(entry.state == "parked" for entry in entries)
    return Refusals(kind.title, kind.advice, len(entries), parked, shown, len(ordered) - len(shown))


def _example(entry: Entry) -> str:
    ids = (("prospect", entry.prospect_id), ("task", entry.task_id), ("Person", entry.person_id))
    named = ", ".join(f"{what} {one}" for what, one in ids if one is not None)
    return f"failure {entry.id}: {named}" if named else f"failure {entry.id}"


def _waiting(counts: Mapping[tuple[str, str], int]) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(
            record,
            counts.get((record, "queued"), 0) + counts.get((record, "sending"), 0),
            counts.get((record, "parked"), 0),
            counts.get((record, "waiting"), 0),
        )
        for record in sorted({record for record, _ in counts})
    )


def _marks(state: State | None, settings: QuickSettings) -> tuple[Mark, ...]:
    if state is None:
        return tuple(Mark(stream, None, walking=False) for stream in settings.streams)
    marks = state.progress.watermarks()
    streams = dict.fromkeys((*settings.streams, *(stream.value for stream in marks)))
    return tuple(
        Mark(name, marks.get(Stream(name)), walking=state.progress.of(Stream(name)).walk is not None)
        for name in streams
    )
