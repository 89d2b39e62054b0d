"""The report: one self-contained page of how the sync is doing, from the local state alone."""
# No script, no personal data: every text is scrubbed here, and e-mail addresses in reasons are masked, since reports
# are passed around. The content security policy allows nothing but the page's style sheet, by its hash.

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from importlib import resources
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from outreach_sync import __version__
from outreach_sync.errors import UsageError
from outreach_sync.files import write_whole
from outreach_sync.insight.explain import Links, by_kind, failure_document
from outreach_sync.insight.status import status_document
from outreach_sync.instants import Instant, ago, parse_iso, to_date, to_datetime
from outreach_sync.log import scrubbed
from outreach_sync.records import Stream
from outreach_sync.store.progress import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.store import Holder, Store
    from outreach_sync.store.progress import RunRecord, Written

_SHOWN_RUNS, _SHOWN_FAILURES, _SHOWN_CHANGES, _SHOWN_SEQUENCES = 20, 40, 60, 30
_MOST_DAILY_PERIODS = 100
_SECOND_MS, _HOUR_MS = 1_000, 3_600_000
_LONGEST_TEXT = 400
_WELL = (0, 1)
_COUNTED = ("read", "written", "refused", "outreach", "workbooks")
# Tried at the beginnings of words only, so that it takes no longer than the text is long.
_ADDRESS = re.compile(r"""(?<![^\s@<>"'(),;:])[^\s@<>"'(),;:]+@[^\s@<>"'(),;:]+""")


class Report:
    """Everything that the page says."""

    def __init__(self, store: Store, config: Config, now: Instant, *, days: int, holder: Holder | None = None) -> None:
        """Look at a state, open to read (a scratch one before the first run); `days` count back from today."""
        self.generated_at, self.days = now, days
        self.unit, length = ("day", 1) if days <= _MOST_DAILY_PERIODS else ("week", 7)
        end, length_ms = now // DAY_MS * DAY_MS + DAY_MS, length * DAY_MS
        self._starts = [Instant(end - back * length_ms) for back in range(-(-days // length), 0, -1)]
        directory = config.state.path.absolute().parent
        self.title = directory.name if directory.parent.name == "outreach-sync" else "outreach-sync"
        self.hosts = " → ".join(urlsplit(one.base_url).netloc for one in (config.outreach, config.workbooks))
        self.links = Links.of(config)
        standing = status_document(store, config, now, holder)
        self.standing = {**standing, "needs": [_clean(need) for need in standing["needs"]]}
        self.next_run = parse_iso(standing["next_run"]) if standing["next_run"] else None
        recorded = store.history.runs(since=self._starts[0], until=now + DAY_MS, order="ASC")
        self.runs = [_run_figures(run) for run in recorded]
        self.last_runs = self.runs[: -_SHOWN_RUNS - 1 : -1]
        ended = [run.exit_status in _WELL for run in self.runs if run.exit_status is not None]
        # the share of the runs that ended well; None: none ended
        self.success = sum(ended) / len(ended) if ended else None
        hours: Counter[int] = Counter()
        for run in self.runs:
            hours[run.started_at // _HOUR_MS] += run.outreach
        hour, requests = max(hours.items(), key=lambda one: (one[1], one[0]), default=(0, 0))
        self.busiest_hour = (Instant(hour * _HOUR_MS), requests) if requests else None  # by requests to Outreach
        self.periods = _periods(self.runs, self._starts, length_ms)
        self.outages = _outages(self.runs)  # the latest first; `ended_at` None: it lasts
        spans = store.history.lags(config.workbooks.fields.state_updated_at, self._starts[0])
        # milliseconds from a change in Outreach to its write in Workbooks: in the middle, and of all but 5 in 100
        self.lag = (round(median(spans)), spans[-max(len(spans) // 20, 1)]) if spans else None
        self.trends = _trends(store, self._starts[0], now)
        self.refusals = _refusals(store, Instant(now - DAY_MS))
        self._read(store)

    def _read(self, store: Store) -> None:
        history, since = store.history, self._starts[0]
        opt_outs = dict.fromkeys(self._starts, 0)
        for day, count in history.opt_outs_since(since).items():
            opt_outs[max(start for start in self._starts if start <= day)] += count
        self.opt_outs = list(opt_outs.items())
        tips = [(f"{to_date(at)}: {count:,}", count) for at, count in self.opt_outs]
        self.opt_out_columns = [{"tip": tip, "parts": (count,), "new": True} for tip, count in tips]
        self.skipped = []
        for one in history.skipped_by_sequence(since)[:_SHOWN_SEQUENCES]:
            unnamed = "(no sequence named)" if one.sequence_id is None else f"sequence {one.sequence_id}"
            self.skipped.append({**one._asdict(), "name": _clean(one.name or "").strip() or unnamed})
        made = history.writes(record="task", field="activity_status", since=since, limit=_SHOWN_RUNS)
        self.cancelled = [_cleaned(one) for one in made]
        latest = history.writes(limit=1)
        written = history.writes(run_id=latest[0].run_id, limit=_SHOWN_CHANGES) if latest else []
        self.changes = [_cleaned(one) for one in written]
        self.change_count = history.count_writes(latest[0].run_id) if latest else 0
        counts, self.waiting = Counter(store.outbox.counts()), []
        for record in sorted({record for record, _ in counts}):
            queued = counts[record, "queued"] + counts[record, "sending"]
            self.waiting.append((record, queued, counts[record, "parked"], counts[record, "waiting"]))
        self.marks = [
            (stream, mark and parse_iso(mark), store.progress.of(Stream(stream)).walk is not None)
            for stream, mark in self.standing["watermarks"].items()
        ]

    def columns(self, *names: str) -> list[dict[str, object]]:
        """Return the columns of a chart of runs: what a pointer shows, the parts from the bottom up, if it is `new`."""
        columns = []
        for period in self.periods:
            parts = [getattr(period, name) for name in names]
            said = (f"{part:,} {name.replace('_ms', ' (ms)')}" for name, part in zip(names, parts, strict=True))
            tip = f"{to_date(period.begins_at)}: {', '.join(said)}"
            columns.append({"tip": tip, "parts": parts, "new": period is self.periods[-1]})
        return columns


def _periods(runs: Iterable[SimpleNamespace], starts: Sequence[Instant], length_ms: int) -> list[SimpleNamespace]:
    grouped: dict[int, list[SimpleNamespace]] = {}
    for run in runs:
        grouped.setdefault((run.started_at - starts[0]) // length_ms, []).append(run)
    periods = []
    for place, start in enumerate(starts):
        these = grouped.get(place, [])
        outcomes = Counter(run.outcome for run in these)
        ok, partial = outcomes["ok"], outcomes["partial"]
        durations = [run.duration_ms for run in these if run.duration_ms is not None] or [0]
        sums = {name: sum(getattr(run, name) for run in these) for name in _COUNTED}
        period = SimpleNamespace(begins_at=start, runs=these, ok=ok, partial=partial, **sums)
        period.failed = len(these) - ok - partial
        period.median_ms, period.longest_ms = round(median(durations)), max(durations)
        periods.append(period)
    return periods


def _outages(runs: Sequence[SimpleNamespace]) -> list[SimpleNamespace]:
    found: list[SimpleNamespace] = []
    failing: list[SimpleNamespace] = []
    for run in (*runs, None):
        if run is not None and run.exit_status not in _WELL:
            failing += [run] if run.error else []
        elif failing:
            cause = Counter(one.error for one in failing).most_common(1)[0][0]
            began_at, ended_at = failing[0].started_at, run and run.started_at
            found.append(SimpleNamespace(began_at=began_at, ended_at=ended_at, runs=len(failing), cause=cause))
            failing = []
    return found[::-1]


def _trends(store: Store, since: Instant, now: Instant) -> list[SimpleNamespace]:
    recorded: dict[Instant, dict[str, int]] = {}
    for day, said, people in store.history.labels_since(since):
        recorded.setdefault(day, {})[said] = people
    current = recorded[Instant(now // DAY_MS * DAY_MS)] = dict(store.history.labels_now())
    gone = {label for counts in recorded.values() for label in counts} - current.keys()
    trends = []
    for label in (*current, *sorted(gone)):
        days = tuple((day, counts.get(label, 0)) for day, counts in sorted(recorded.items()))
        trends.append(SimpleNamespace(label=_clean(label) or "(empty)", now=current.get(label, 0), days=days))
    return trends


def _refusals(store: Store, since: Instant) -> list[SimpleNamespace]:
    recent = {run.id for run in store.history.runs(since=since)}
    found = []
    for kind, entries in by_kind(store.outbox.failures()).items():
        rows = [
            {**failure_document(entry), "reason": _clean(entry.reason or ""), "new": entry.run_id in recent}
            for entry in entries[:_SHOWN_FAILURES]
        ]
        parked, new = sum(one.state == "parked" for one in entries), sum(one.run_id in recent for one in entries)
        found.append(SimpleNamespace(kind=kind, records=len(entries), parked=parked, new=new, shown=rows))
    return found


def _clean(text: str) -> str:
    text = scrubbed(text)
    return _ADDRESS.sub("(address)", text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…")


def _cleaned(one: Written) -> Written:
    old, new = (_clean(value) if isinstance(value, str) else value for value in (one.old, one.new))
    return one._replace(old=old, new=new, because=_clean(one.because or ""))


def _run_figures(run: RunRecord) -> SimpleNamespace:
    summary = run.summary  # empty until it ends
    people, tasks, requests = (Counter[str](summary.get(name)) for name in ("people", "tasks", "requests"))
    return SimpleNamespace(
        started_at=run.started_at,
        command=run.command,
        outcome=run.outcome or "unfinished",  # it goes on, or its process was killed
        exit_status=run.exit_status,
        duration_ms=None if run.finished_at is None else max(run.finished_at - run.started_at, 0),
        read=sum(stream["read"] for stream in summary.get("streams", {}).values()),
        written=people["created"] + people["updated"] + people["recreated"] + tasks["created"],
        refused=people["rejected"] + tasks["rejected"],
        outreach=requests["outreach"],
        workbooks=requests["workbooks"],
        error=_clean(str(summary.get("error") or "")),
    )


def render(report: Report) -> str:
    """Return the report as an HTML document."""
    files = resources.files(__package__)
    style = files.joinpath("style.css").read_text(encoding="utf-8")
    page = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    page.filters.update(number="{:,}".format, ago=ago, date=to_date, time=to_datetime, duration=duration, share=share)
    return page.from_string(files.joinpath("page.html.j2").read_text(encoding="utf-8")).render(
        report=report,
        version=__version__,
        style=Markup(style),  # noqa: S704 - it is our own
        style_hash=b64encode(sha256(style.encode()).digest()).decode(),
    )


def write_page(page: str, path: Path) -> None:
    """Write the page atomically, for its owner only; a pipe or a device is written into; UsageError: it cannot be."""
    try:
        write_whole(path, page, through=True)
    except OSError as error:
        advice = "Name a file in a directory that exists and is writable by this user."
        raise UsageError(f"the report {path} cannot be written ({error.strerror}).", advice=advice) from error


def duration(span_ms: int) -> str:
    """Write a span as `340 ms`, `4.2 s`, `42 s`, `3 min 20 s` or `2 h 5 min`."""
    if span_ms < _SECOND_MS:
        return f"{span_ms} ms"
    if span_ms < 10 * _SECOND_MS:
        return f"{span_ms / _SECOND_MS:.1f} s"
    minutes, seconds = divmod(round(span_ms / _SECOND_MS), 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def share(part: float) -> str:
    """Write a share in percent; what is there at all is never `0%`, what is missing at all never leaves `100%`."""
    percent = 100 * part
    if 0 < percent < 1:
        return "<1%"
    return f"{percent:.1f}%" if 99 <= percent < 100 else f"{percent:.0f}%"  # noqa: PLR2004 - percent
