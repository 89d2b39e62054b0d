"""Monitoring: who is told how runs went. Nothing here can fail a run, or delay it by more than a few seconds.

healthchecks.io's "Pinging API" (`<url>/start`, `<url>` for success, `<url>/fail`, `<url>/<exit status>`, `<url>/log`
for neither; the body is shown; `rid`, a UUID, ties a start to its end), commands, and Prometheus (docs/metrics.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog

from outreach_sync import __version__, instants
from outreach_sync.connections import Transport
from outreach_sync.errors import InterruptedByError, OutreachSyncError, StateError
from outreach_sync.files import beside, write_whole
from outreach_sync.http import StopSignal, ahead
from outreach_sync.log import holds_secret, scrubbed
from outreach_sync.outreach.auth import TOKENS, TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.instants import Instant
    from outreach_sync.log import Log
    from outreach_sync.run import RunSummary
    from outreach_sync.store import Store
    from outreach_sync.store.progress import History

    Sample = tuple[str, float, dict[str, str]]  # the metric without its prefix, its value, its labels

START, FAIL, LOG = "/start", "/fail", "/log"
QUOTA = "outreach_quota"
_TIMEOUT_SECONDS = 4.0
_SETTLE_SECONDS = 5.0
_LONGEST_BODY = 10_000
_RUNS = uuid.UUID("5f1d7a0e-6f0b-4d5e-9c63-0b8a4f6f2d11")
_OK = range(200, 300)
_LINES = 50
_LONGEST = 500
_PREFIX = "outreach_sync_"
METRICS = {  # Every metric, without its prefix, and what it says. All are gauges.
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


class Watch:
    """Watches one run from its begin to its end, by what it writes to `log`. Closed in between, it has broken down."""

    def __init__(self, config: Config, log: Log, run_id: str) -> None:
        """Tell nobody yet."""
        self._config = config
        self._run_id, self._signal = run_id, FAIL
        broke_down = {"OUTCOME": "broke down", "EXIT_STATUS": OutreachSyncError.exit_status, "PREVIOUS_STATUS": None}
        self._told: dict[str, object] = broke_down
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._pings: list[tuple[str, Future[str | None]]] = []
        self.log: Log = structlog.wrap_logger(log, [self._keep], structlog.BoundLogger)

    def _keep(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Hand an event on, and keep what it says unless it is a detail: a processor of structlog's."""
        if level != "debug":
            values = (f"{name}={value}" for name, value in event.items() if name not in ("event", "exc_info"))
            self._lines.append(scrubbed(" ".join((str(event["event"]), *values)))[:_LONGEST])
        return event

    def end(self, ended: RunSummary, store: Store) -> None:
        """Tell how a run ended, once this is closed; the store holds its record already."""
        self._signal = "" if ended.exit_status == 0 else f"/{ended.exit_status}"
        if ended.error is not None:  # a run that was stopped has not failed, and the next one goes on
            self._signal = LOG if isinstance(ended.error, InterruptedByError) else FAIL
        before = store.history.runs(2)[1:]
        self._told = {
            "OUTCOME": ended.outcome,
            "EXIT_STATUS": ended.exit_status,
            "PREVIOUS_STATUS": before[0].exit_status if before else None,
        }
        path = self._config.monitoring.metrics_file
        if path is not None:
            try:  # readable by everyone, as a collector under another user needs it
                write_whole(path, metrics_text(store, self._config.state.path, instants.now()), mode=0o644)
            except OSError as problem:
                self.log.warning("metrics_not_written", file=str(path), why=problem.strerror)

    def close(self) -> None:
        """Tell how the run ended, or that it broke down; wait a few seconds for whom is told."""
        monitoring, told = self._config.monitoring, self._told
        command = monitoring.on_success if told["EXIT_STATUS"] == 0 else monitoring.on_failure
        text = "\n".join((f"run {self._run_id}: {told['OUTCOME']}", *self._lines))[-_LONGEST_BODY:]
        hook = None
        if command is not None and self._signal != LOG:
            environment = {name: value for name, value in os.environ.items() if not holds_secret(value)}
            for name, value in {"RUN_ID": self._run_id, **told}.items():
                environment[f"OUTREACH_SYNC_{name}"] = "" if value is None else str(value)
            hook = ahead(lambda: _run_command(command, environment, text), name="hook")
        self.ping(self._signal, text)
        wait([ping for _, ping in self._pings[-1:]], _SETTLE_SECONDS)
        for what, ping in self._pings:
            if (why := _why_it_failed(ping) if ping.done() else "no answer in time") is not None:
                self.log.warning("ping_failed", what=what.lstrip("/") or "success", why=why)
        if hook is not None:  # one that takes long is left to itself
            wait([hook], _SETTLE_SECONDS)
            if hook.done() and (why := _why_it_failed(hook)) is not None:
                self.log.warning("hook_failed", command=str(command), why=why)

    def ping(self, signal: str, body: str = "") -> None:
        """Call the address, if there is one: `START`, or how the run ended."""
        if self._config.monitoring.ping_url is None:
            return
        url = address(self._config.monitoring.ping_url.get_secret_value(), signal, self._run_id)
        earlier = [ping for _, ping in self._pings]

        def call() -> str | None:
            wait(earlier, _SETTLE_SECONDS)  # an end that arrives before its start would leave the run open
            return _call(url, body)

        self._pings.append((signal, ahead(call, name="ping")))


def _why_it_failed(errand: Future[str | None]) -> str | None:
    """Return what an errand said; a bug in it fails no run, and its text may hold the address."""
    bug = errand.exception()
    return errand.result() if bug is None else f"it broke down ({type(bug).__name__})"


def _run_command(command: Sequence[str], environment: dict[str, str], text: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - the administrator's own command
            command,
            env=environment,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
    except (OSError, ValueError) as problem:
        return str(problem)
    return f"ended with {done.returncode}" if done.returncode else None


def _call(url: str, body: str) -> str | None:
    """Call an address, and say why it failed, without the address: whoever has it can forge pings."""
    transport = Transport(url, user_agent=f"outreach-sync/{__version__}", stop=StopSignal())
    try:
        answer = transport.send("POST", url, body=body.encode(), timeout_seconds=_TIMEOUT_SECONDS)
    except OutreachSyncError as failure:
        return failure.message.replace(urlsplit(url).hostname or "", "the address")
    finally:
        transport.close()
    return None if answer.status in _OK else f"answered {answer.status}"


def address(url: str, signal: str, run_id: str) -> str:
    """Put the signal behind the path of the address, and the run's id, as a UUID, into its query."""
    parts = urlsplit(url)
    rid = urlencode({"rid": str(uuid.uuid5(_RUNS, run_id))})
    query = f"{parts.query}&{rid}" if parts.query else rid
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + signal, query=query))


def metrics_text(store: Store, state_path: Path, now: Instant) -> str:
    """Return the whole file, by what the state and the token file say."""
    samples = [*_of_runs(store.history), *_of_the_state(store, state_path, now)]
    lines = []
    for metric, meaning in METRICS.items():
        ours = [(value, labels) for name, value, labels in samples if name == metric]
        if ours:
            lines.append(f"# HELP {_PREFIX}{metric} {meaning}\n# TYPE {_PREFIX}{metric} gauge\n")
        for value, labels in ours:
            named = ",".join(f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in labels.items())
            lines.append(f"{_PREFIX}{metric}{f'{{{named}}}' if named else ''} {value:.15g}\n")
    return "".join(lines)


def _of_runs(history: History) -> Iterator[Sample]:
    for command in ("reconcile", "run"):
        (run, succeeded_at), named = history.last_ended(command), {"command": command}
        if run is None or run.finished_at is None:
            continue
        yield "last_run_timestamp_seconds", run.finished_at / 1000, named
        yield "last_run_duration_seconds", (run.finished_at - run.started_at) / 1000, named
        yield "last_run_exit_status", run.exit_status or 0, named
        if succeeded_at is not None:
            yield "last_success_timestamp_seconds", succeeded_at / 1000, named
        for outcome in ("ok", "partial", "failed"):
            yield "last_run_outcome", int(run.outcome == outcome), {**named, "outcome": outcome}
        for stream, read in run.summary.get("streams", {}).items():
            for metric in {"read", "changed"} & read.keys():  # events are never changed
                yield f"last_run_records_{metric}", read[metric], {**named, "stream": stream}
        for metric, label in (("people", "action"), ("tasks", "action"), ("requests", "service")):
            for name, count in run.summary.get(metric, {}).items():
                if name != "queued":  # outbox_entries tells it as it is now
                    yield f"last_run_{metric}", count, {**named, label: name}


def _of_the_state(store: Store, state_path: Path, now: Instant) -> Iterator[Sample]:
    """Tell what is so now: what waits (zeros too, so that an alert sees a value fall), watermarks, quota and token."""
    yield "build_info", 1, {"version": __version__}
    yield "written_timestamp_seconds", now / 1000, {}
    waiting = {(record, state): 0 for record in ("person", "task") for state in ("queued", "parked")}
    for (record, state), count in sorted({**waiting, **store.outbox.counts()}.items()):
        yield "outbox_entries", count, {"record": record, "state": state}
    for stream, mark in store.progress.watermarks().items():
        yield "watermark_timestamp_seconds", mark / 1000, {"stream": stream.value}
    quota = json.loads(store.facts.get(QUOTA) or "{}")
    for name, key, divisor in (
        ("quota_limit", "limit", 1),
        ("quota_remaining", "remaining", 1),
        ("quota_resets_timestamp_seconds", "resets_at", 1000),
    ):
        if quota.get(key) is not None:
            yield name, quota[key] / divisor, {}
    try:
        stored = TokenFile(beside(state_path, TOKENS)).read()
    except StateError:
        return  # the run itself has complained
    if stored is not None and stored.refresh_token and stored.issued_at is not None:
        yield "refresh_token_issued_timestamp_seconds", stored.issued_at / 1000, {}
