"""Metrics: a file for the textfile collector of Prometheus' node exporter, written after each run.

Ages are given as the time since when, so that they go on growing while nothing runs. docs/metrics.md lists them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import __version__
from outreach_sync.errors import StateError
from outreach_sync.files import write_whole
from outreach_sync.outreach.tokenfile import TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outreach_sync.instants import Instant
    from outreach_sync.pipeline.run import Log
    from outreach_sync.state import State
    from outreach_sync.state.runs import RunRecord

QUOTA = "outreach_quota"
OUTCOMES = ("ok", "partial", "failed")
_PREFIX = "outreach_sync_"
_LOOK_BACK = 300
_DONE = (0, 1)

METRICS = {
    "build_info": "Always 1; the version that wrote this file.",
    "written_timestamp_seconds": "When this file was written.",
    "last_run_timestamp_seconds": "When the last run of a command ended.",
    "last_success_timestamp_seconds": "When a run of a command last ended with 0 or 1.",
    "last_run_duration_seconds": "How long the last run took.",
    "last_run_exit_status": "The exit status of the last run.",
    "last_run_outcome": "1 for the outcome of the last run, 0 for the others.",
    "last_run_records_read": "Records of a stream that the last run read.",
    "last_run_records_changed": "Records of a stream that had changed.",
    "last_run_people": "People by what the last run did: created, updated, unchanged, recreated, skipped, rejected.",
    "last_run_tasks": "Tasks by what the last run did: created, rejected.",
    "last_run_requests": "Requests that the last run sent to a service.",
    "outbox_entries": "What waits to be written, by record and state: queued, sending, parked, waiting.",
    "watermark_timestamp_seconds": "Up to when a stream is read; its age is time() minus this.",
    "quota_limit": "Outreach's hourly quota, as last told.",
    "quota_remaining": "What was left of it.",
    "quota_resets_timestamp_seconds": "When it begins anew.",
    "refresh_token_issued_timestamp_seconds": "When the refresh token was issued; it dies after 14 idle days.",
}
"""Every metric, without its prefix, and what it says. All are gauges."""


class Sample(NamedTuple):
    """One value: the metric without its prefix, its labels, and the number."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: float


def metrics_text(state: State, state_path: Path, now: Instant) -> str:
    """Return the whole file, by what the state and the token file say."""
    samples = [
        Sample("build_info", (("version", __version__),), 1),
        Sample("written_timestamp_seconds", (), now / 1000),
        *_of_runs(state.runs.latest(_LOOK_BACK)),
        *_of_outbox(state),
        *_of_watermarks(state),
        *_of_quota(state),
        *_of_tokens(state_path),
    ]
    return "".join(_lines(samples))


def write_metrics(path: Path, text: str, log: Log) -> None:
    """Replace the file atomically, readable by everyone, as a collector under another user needs it.

    What is not a regular file is left alone: a pipe that nobody reads would hold up the run.
    """
    try:
        write_whole(path, text, mode=0o644)
    except OSError as problem:
        log.warning("metrics_not_written", file=str(path), why=problem.strerror)


def _lines(samples: Sequence[Sample]) -> Iterator[str]:
    for metric, meaning in METRICS.items():
        ours = [sample for sample in samples if sample.metric == metric]
        if ours:
            yield f"# HELP {_PREFIX}{metric} {meaning}\n# TYPE {_PREFIX}{metric} gauge\n"
        for sample in ours:
            labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
            yield f"{_PREFIX}{metric}{'{' + labels + '}' if labels else ''} {sample.value:.15g}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _of_runs(newest_first: Sequence[RunRecord]) -> Iterator[Sample]:
    """Tell of the last run of each command, and when one last succeeded."""
    finished = [run for run in newest_first if run.finished_at is not None]
    for command in sorted({run.command for run in finished}):
        ours = [run for run in finished if run.command == command]
        yield from _of_run(ours[0])
        done = next((run.finished_at for run in ours if run.exit_status in _DONE), None)
        if done is not None:
            yield Sample("last_success_timestamp_seconds", (("command", command),), done / 1000)


def _of_run(run: RunRecord) -> Iterator[Sample]:
    command = (("command", run.command),)
    finished_at = run.finished_at or run.started_at
    yield Sample("last_run_timestamp_seconds", command, finished_at / 1000)
    yield Sample("last_run_duration_seconds", command, (finished_at - run.started_at) / 1000)
    yield Sample("last_run_exit_status", command, run.exit_status or 0)
    for outcome in OUTCOMES:
        yield Sample("last_run_outcome", (*command, ("outcome", outcome)), int(run.outcome == outcome))
    for stream, tally in run.summary.get("streams", {}).items():
        yield Sample("last_run_records_read", (*command, ("stream", stream)), tally["read"])
        yield Sample("last_run_records_changed", (*command, ("stream", stream)), tally["changed"])
    for record in ("people", "tasks"):
        for action, count in run.summary.get(record, {}).items():
            if action != "queued":  # outbox_entries tells it as it is now
                yield Sample(f"last_run_{record}", (*command, ("action", action)), count)
    for service, count in run.summary.get("requests", {}).items():
        yield Sample("last_run_requests", (*command, ("service", service)), count)


def _of_outbox(state: State) -> Iterator[Sample]:
    """Tell of what waits; zeros too, so that an alert sees a value fall."""
    waiting = {("person", "queued"): 0, ("person", "parked"): 0, ("task", "queued"): 0, ("task", "parked"): 0}
    for (record, condition), count in sorted({**waiting, **state.outbox.counts()}.items()):
        yield Sample("outbox_entries", (("record", record), ("state", condition)), count)


def _of_watermarks(state: State) -> Iterator[Sample]:
    for stream, mark in state.progress.watermarks().items():
        yield Sample("watermark_timestamp_seconds", (("stream", stream.value),), mark / 1000)


def _of_quota(state: State) -> Iterator[Sample]:
    quota = json.loads(state.facts.get(QUOTA) or "{}")
    for name in ("limit", "remaining"):
        if quota.get(name) is not None:
            yield Sample(f"quota_{name}", (), quota[name])
    if quota.get("resets_at") is not None:
        yield Sample("quota_resets_timestamp_seconds", (), quota["resets_at"] / 1000)


def _of_tokens(state_path: Path) -> Iterator[Sample]:
    try:
        stored = TokenFile.beside(state_path).read()
    except StateError:
        return  # the run itself has complained
    if stored is not None and stored.refresh_token and stored.issued_at is not None:
        yield Sample("refresh_token_issued_timestamp_seconds", (), stored.issued_at / 1000)
