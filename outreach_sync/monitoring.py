"""Monitoring: who is told how runs went. Nothing here can fail a run, or delay it by more than a few seconds.

Three ways: an address that is called (healthchecks.io's "Pinging API": `<url>/start`, `<url>` for success,
`<url>/fail`, `<url>/<exit status>`, `<url>/log` for neither; the body is shown with the ping; `rid`, a UUID, ties a
start to its end), commands that are started, and a file for the textfile collector of Prometheus' node exporter
(docs/metrics.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

from outreach_sync import __version__, instants
from outreach_sync.errors import InterruptedByError, OutreachSyncError, StateError
from outreach_sync.files import write_whole
from outreach_sync.http import StopSignal, Transport
from outreach_sync.log import Scrubber
from outreach_sync.outreach.auth import TokenFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from outreach_sync.config.model import Config
    from outreach_sync.instants import Instant
    from outreach_sync.log import Log
    from outreach_sync.run import Ended
    from outreach_sync.store import Store
    from outreach_sync.store.progress import RunRecord

START, SUCCESS, FAIL, LOG = "/start", "", "/fail", "/log"

_TIMEOUT_SECONDS = 4.0
_SETTLE_SECONDS = 5.0
_LONGEST_BODY = 10_000
_RUNS = uuid.UUID("5f1d7a0e-6f0b-4d5e-9c63-0b8a4f6f2d11")
_OK = range(200, 300)
_LINES = 50
_LONGEST = 500

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


class Watch:
    """Watches one run from its begin to its end, as a context manager; a run that ends otherwise has broken down.

    Attributes:
        log: what the run shall log to, so that a failure can be told with the last lines of its log.
    """

    def __init__(self, config: Config, log: Log) -> None:
        """Tell nobody yet."""
        self._secrets = frozenset(config.secrets)
        self.log = Tail(log, Scrubber(self._secrets))
        self._config = config
        self._run_id = ""
        url = config.monitoring.ping_url
        self._pings = None if url is None else Pings(url.get_secret_value(), log)

    def __enter__(self) -> Self:
        """Wait for `begin`: a dry run is watched by nobody."""
        return self

    def begin(self, run_id: str) -> None:
        """Tell that a run begins."""
        self._run_id = run_id
        if self._pings is not None:
            self._pings.send(START, run_id)

    def end(self, ended: Ended, store: Store) -> None:
        """Tell how a run ended; `state` holds its record already."""
        if not self._run_id:
            return
        self._tell(_signal(ended), str(ended.document["outcome"]), ended.exit_status, previous=_previous_status(store))
        path = self._config.monitoring.metrics_file
        if path is not None:
            write_metrics(path, metrics_text(store, self._config.state.path, instants.now()), self.log)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell that a run broke down, if it began and did not end."""
        if self._run_id:
            self._tell(FAIL, "broke down", OutreachSyncError.exit_status, previous=None)

    def _tell(self, signal: str, outcome: str, exit_status: int, *, previous: int | None) -> None:
        run_id, self._run_id = self._run_id, ""
        text = "\n".join((f"run {run_id}: {outcome}", *self.log.lines))[-_LONGEST_BODY:]
        monitoring = self._config.monitoring
        command = monitoring.on_success if exit_status == 0 else monitoring.on_failure
        hook = None
        if command is not None and signal != LOG:
            told = {"RUN_ID": run_id, "OUTCOME": outcome, "EXIT_STATUS": exit_status, "PREVIOUS_STATUS": previous}
            named = {f"OUTREACH_SYNC_{name}": "" if value is None else str(value) for name, value in told.items()}
            inherited = {name: value for name, value in os.environ.items() if value not in self._secrets}
            hook = Hook.start(command, {**inherited, **named}, text, self.log)
        if self._pings is not None:
            self._pings.send(signal, run_id, text)
            self._pings.settle()
        if hook is not None:
            hook.settle(self.log)


def _previous_status(store: Store) -> int | None:
    """Return how the run before this one ended, so that a hook can tell news from what is known."""
    before = store.runs.latest(2)[1:]
    return before[0].exit_status if before else None


def _signal(ended: Ended) -> str:
    """Choose what to send: a run that was stopped has not failed, and the next one goes on."""
    if ended.error is None:
        return SUCCESS if ended.exit_status == 0 else f"/{ended.exit_status}"
    return LOG if isinstance(ended.error, InterruptedByError) else FAIL


class Hook:
    """A command that is told of a run: by variables of its environment, and on stdin by the end of the run's log.

    It is given a few seconds; one that takes longer goes on by itself.
    """

    def __init__(self, process: subprocess.Popen[bytes], text: str) -> None:
        """Feed the command in the background."""
        self._process = process
        self._feeding = threading.Thread(target=process.communicate, args=(text.encode(),), daemon=True)
        self._feeding.start()

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], text: str, log: Log) -> Self | None:
        """Start it; None, and a line in the log, where that is not possible."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the administrator's own command
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as problem:
            log.warning("hook_failed", command=command[0], why=str(problem))
            return None
        return cls(process, text)

    def settle(self, log: Log) -> None:
        """Give it a few seconds, and log what went wrong."""
        self._feeding.join(_SETTLE_SECONDS)
        if self._process.returncode not in (0, None):
            log.warning("hook_failed", command=str(self._process.args), why=f"ended with {self._process.returncode}")


class Pings:
    """Calls one address. The address is a secret: whoever has it can forge pings, so it is never said."""

    def __init__(self, url: str, log: Log) -> None:
        """Call nobody yet."""
        self._url = url
        self._log = log
        self._under_way: list[_Call] = []

    def send(self, signal: str, run_id: str, body: str = "") -> None:
        """Call in the background: a run does not wait for its begin to be known."""
        earlier = self._under_way[-1] if self._under_way else None
        call = _Call(signal, address(self._url, signal, run_id), body, after=earlier)
        self._under_way.append(call)
        call.start()

    def settle(self) -> None:
        """Give what is under way a few seconds, and log what did not arrive."""
        last = self._under_way[-1:]
        for call in last:
            call.join(_SETTLE_SECONDS)
        for call in self._under_way:
            problem = "no answer in time" if call.is_alive() else call.problem
            if problem is not None:
                self._log.warning("ping_failed", what=call.signal.lstrip("/") or "success", why=problem)
        self._under_way.clear()


def address(url: str, signal: str, run_id: str) -> str:
    """Put the signal behind the path of the address, and the run's id, as a UUID, into its query."""
    parts = urlsplit(url)
    rid = urlencode({"rid": str(uuid.uuid5(_RUNS, run_id))})
    query = f"{parts.query}&{rid}" if parts.query else rid
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + signal, query=query))


class _Call(threading.Thread):
    """One call; `problem` is why it failed, without the address."""

    def __init__(self, signal: str, url: str, body: str, *, after: _Call | None) -> None:
        super().__init__(name="ping", daemon=True)
        self.signal = signal
        self.problem: str | None = None
        self._target_url = url
        self._content = body.encode()
        self._after = after

    def run(self) -> None:
        if self._after is not None:
            self._after.join(_SETTLE_SECONDS)  # an end that arrives before its start would leave the run open
        transport = Transport(self._target_url, user_agent=f"outreach-sync/{__version__}", stop=StopSignal())
        try:
            answer = transport.send("POST", self._target_url, body=self._content, timeout_seconds=_TIMEOUT_SECONDS)
        except OutreachSyncError as failure:
            host = urlsplit(self._target_url).hostname or ""
            self.problem = failure.message.replace(host, "the address")
        else:
            self.problem = None if answer.status in _OK else f"answered {answer.status}"
        finally:
            transport.close()


class Tail:
    """A log that hands everything on and keeps the last lines above debug, without secrets.

    Attributes:
        lines: those lines, oldest first, as `event name=value name=value`.
    """

    def __init__(self, log: Log, scrubber: Scrubber) -> None:
        """Begin with none."""
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._log = log
        self._scrubber = scrubber

    def debug(self, event: str, **values: Any) -> Any:
        """Hand on a detail."""
        return self._log.debug(event, **values)

    def info(self, event: str, **values: Any) -> Any:
        """Hand on and keep what was done."""
        self._keep(event, values)
        return self._log.info(event, **values)

    def warning(self, event: str, **values: Any) -> Any:
        """Hand on and keep what somebody may have to look at."""
        self._keep(event, values)
        return self._log.warning(event, **values)

    def _keep(self, event: str, values: dict[str, Any]) -> None:
        line = " ".join((event, *(f"{name}={value}" for name, value in values.items() if name != "exc_info")))
        self.lines.append(self._scrubber.text(line)[:_LONGEST])


class Sample(NamedTuple):
    """One value: the metric without its prefix, its labels, and the number."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: float


def metrics_text(store: Store, state_path: Path, now: Instant) -> str:
    """Return the whole file, by what the state and the token file say."""
    samples = [
        Sample("build_info", (("version", __version__),), 1),
        Sample("written_timestamp_seconds", (), now / 1000),
        *_of_runs(store.runs.latest(_LOOK_BACK)),
        *_of_outbox(store),
        *_of_watermarks(store),
        *_of_quota(store),
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
    for stream, one in run.summary.get("streams", {}).items():
        yield Sample("last_run_records_read", (*command, ("stream", stream)), one["read"])
        if "changed" in one:  # events are never changed
            yield Sample("last_run_records_changed", (*command, ("stream", stream)), one["changed"])
    for record in ("people", "tasks"):
        for action, count in run.summary.get(record, {}).items():
            if action != "queued":  # outbox_entries tells it as it is now
                yield Sample(f"last_run_{record}", (*command, ("action", action)), count)
    for service, count in run.summary.get("requests", {}).items():
        yield Sample("last_run_requests", (*command, ("service", service)), count)


def _of_outbox(store: Store) -> Iterator[Sample]:
    """Tell of what waits; zeros too, so that an alert sees a value fall."""
    waiting = {("person", "queued"): 0, ("person", "parked"): 0, ("task", "queued"): 0, ("task", "parked"): 0}
    for (record, condition), count in sorted({**waiting, **store.outbox.counts()}.items()):
        yield Sample("outbox_entries", (("record", record), ("state", condition)), count)


def _of_watermarks(store: Store) -> Iterator[Sample]:
    for stream, mark in store.progress.watermarks().items():
        yield Sample("watermark_timestamp_seconds", (("stream", stream.value),), mark / 1000)


def _of_quota(store: Store) -> Iterator[Sample]:
    quota = json.loads(store.facts.get(QUOTA) or "{}")
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
