from __future__ import annotations

import json
import os
import re
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from outreach_sync import monitoring
from outreach_sync.errors import InterruptedByError, NotAllowedError
from outreach_sync.files import beside
from outreach_sync.http import StopSignal
from outreach_sync.instants import Instant
from outreach_sync.log import keep_secret
from outreach_sync.monitoring import METRICS, Watch, metrics_text
from outreach_sync.outreach.auth import TOKENS, StoredTokens, TokenFile
from outreach_sync.records import Stream
from outreach_sync.run import Options, perform
from outreach_sync.sandbox.server import HttpServer, Request, Response
from outreach_sync.store import Store
from tests.harness import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outreach_sync.config.model import Config
    from outreach_sync.run import Run
    from tests.conftest import World

NOW = Instant(1_788_256_800_000)
LINE = re.compile(r'outreach_sync_([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (-?[0-9.e+]+)')
SUMMARY = {
    "streams": {"tasks": {"read": 7, "changed": 2, "skipped": 1, "requests": 1, "watermark": None}},
    "people": {"created": 1, "updated": 4, "queued": 9},
    "tasks": {"created": 3, "rejected": 0, "queued": 0},
    "requests": {"outreach": 3, "workbooks": 5},
}


class Receiver(HttpServer):
    """A service that takes pings; `status` is what it answers, `wait` what it waits for."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.pings: list[Request] = []
        self.status = 200
        self.wait: Callable[[], object] = lambda: None

    def _take(self, request: Request) -> Response:
        self.pings.append(request)
        self.wait()
        return Response(self.status, {}, b"")

    @property
    def paths(self) -> list[str]:
        return [ping.path.removeprefix("/ping/top-secret") for ping in self.pings]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture
def log() -> Recorder:
    return Recorder()


@pytest.fixture
def config(world: World, receiver: Receiver, tmp_path: Path) -> Config:
    world.change(
        "monitoring", ping_url=f"{receiver.url}/ping/top-secret/?create=1", metrics_file=str(tmp_path / "sync.prom")
    )
    return world.config()


def nothing(_run: Run) -> None:
    pass


def failing(error: Exception) -> Callable[[Run], None]:
    def work(run: Run) -> None:
        run.log.warning("about_to_fail", secret=run.id)
        raise error

    return work


def run(config: Config, log: Recorder, work: Callable[[Run], None], **options: Any) -> int:
    return perform(config, Options(**options), StopSignal(), log, work=work).exit_status


def test_a_good_run_pings_its_start_and_its_success_and_writes_metrics(
    config: Config, receiver: Receiver, log: Recorder
) -> None:
    assert run(config, log, nothing) == 0
    assert receiver.paths == ["/start", ""]
    assert config.monitoring.metrics_file is not None
    assert "outreach_sync_last_run_exit_status" in config.monitoring.metrics_file.read_text()
    assert config.monitoring.metrics_file.stat().st_mode & 0o777 == 0o644
    assert [ping.query[0] for ping in receiver.pings] == [("create", "1")] * 2
    first, second = (dict(ping.query)["rid"] for ping in receiver.pings)
    assert first == second == str(uuid.UUID(first))
    assert receiver.url not in json.dumps(log.events)


def refuse(run: Run) -> None:
    with run.store.transaction():
        run.refuse_decision(18, None, "two Persons match")


@pytest.mark.parametrize(
    ("work", "status", "signal"),
    [
        (failing(NotAllowedError("the scope tasks.read is missing.")), 3, "/fail"),
        (refuse, 1, "/1"),
        (failing(InterruptedByError(15)), 143, "/log"),
    ],
    ids=["failed", "refusals", "stopped"],
)
def test_how_a_run_ended_is_told_with_the_end_of_its_log(
    config: Config, receiver: Receiver, log: Recorder, *, work: Callable[[Run], None], status: int, signal: str
) -> None:
    assert run(config, log, work) == status
    assert receiver.paths == ["/start", signal]
    body = receiver.pings[-1].body
    assert body.startswith(b"run ")
    assert (b"about_to_fail" in body, b"the scope tasks.read is missing." in body) == (status != 1, status == 3)


def test_a_bug_is_told_as_a_failure(config: Config, receiver: Receiver, log: Recorder) -> None:
    with pytest.raises(ZeroDivisionError):
        run(config, log, failing(ZeroDivisionError()))
    assert receiver.paths == ["/start", "/fail"]
    assert b"broke down" in receiver.pings[-1].body


def test_a_dry_run_is_nobodys_business(config: Config, receiver: Receiver, log: Recorder) -> None:
    run(config, log, nothing, dry_run=True)
    assert receiver.pings == []
    assert config.monitoring.metrics_file is not None
    assert not config.monitoring.metrics_file.exists()


def test_monitoring_that_does_not_work_does_not_fail_a_run(config: Config, receiver: Receiver, log: Recorder) -> None:
    receiver.status = 404
    assert config.monitoring.metrics_file is not None
    os.mkfifo(config.monitoring.metrics_file)  # neither replaced, nor waited for
    assert run(config, log, nothing) == 0
    assert config.monitoring.metrics_file.is_fifo()
    assert log.of("metrics_not_written")
    assert {"what": "success", "why": "answered 404"} in log.of("ping_failed")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Store]:
    one = Store.open(tmp_path / "state.db")
    yield one
    one.close()


def record(state: Store, run_id: str, command: str, ago_s: int, ended: tuple[int, str]) -> None:
    began = Instant(NOW - ago_s * 1000)
    with state.transaction():
        state.history.begin(run_id, command, began)
        state.history.finish(run_id, Instant(began + 2500), *ended, SUMMARY)


def values(state: Store, tmp_path: Path) -> dict[str, float]:
    """Read the file, every line of which must be in the text format, said once, and described."""
    text = metrics_text(state, tmp_path / "state.db", NOW)
    assert text.endswith("\n")
    samples = [LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    found = {match[1] + (match[2] or ""): float(match[3]) for match in samples if match is not None}
    assert len(found) == len(samples)
    helped = re.findall(r"^# HELP outreach_sync_(\w+) ", text, re.MULTILINE)
    assert len(set(helped)) == len(helped)
    assert {name.partition("{")[0] for name in found} == set(helped)
    return found


def test_each_command_keeps_its_last_run_and_its_last_success(state: Store, tmp_path: Path) -> None:
    record(state, "a", "run", 600, (0, "ok"))
    record(state, "b", "reconcile", 300, (6, "failed"))
    record(state, "c", "run", 60, (4, "partial"))
    found = values(state, tmp_path)
    assert found['last_run_exit_status{command="run"}'] == 4
    assert found['last_run_outcome{command="run",outcome="partial"}'] == 1
    assert found['last_run_outcome{command="run",outcome="ok"}'] == 0
    assert found['last_success_timestamp_seconds{command="run"}'] == NOW / 1000 - 597.5
    assert found['last_run_duration_seconds{command="run"}'] == 2.5
    assert found['last_run_exit_status{command="reconcile"}'] == 6
    assert 'last_success_timestamp_seconds{command="reconcile"}' not in found
    assert found['last_run_records_read{command="run",stream="tasks"}'] == 7
    assert found['last_run_people{command="run",action="updated"}'] == 4
    assert 'last_run_people{command="run",action="queued"}' not in found
    assert found['last_run_tasks{command="run",action="created"}'] == 3
    assert found['last_run_requests{command="run",service="workbooks"}'] == 5
    assert found['outbox_entries{record="person",state="parked"}'] == 0


def test_quota_watermarks_and_tokens_are_told_where_known(state: Store, tmp_path: Path) -> None:
    assert not {"quota_remaining", "refresh_token_issued_timestamp_seconds"} & set(values(state, tmp_path))
    TokenFile(beside(tmp_path / "state.db", TOKENS)).write(StoredTokens("access", None, "refresh", Instant(NOW - 5000)))
    with state.transaction():
        state.facts.put("outreach_quota", '{"limit": 10000, "remaining": 9000, "resets_at": null}')
        state.progress.keep_walk(Stream.TASKS, None, watermark=Instant(NOW - 60_000))
    found = values(state, tmp_path)
    assert found["quota_remaining"] == 9000
    assert found["refresh_token_issued_timestamp_seconds"] == NOW / 1000 - 5
    assert found['watermark_timestamp_seconds{stream="tasks"}'] == NOW / 1000 - 60


def test_the_reference_lists_every_metric_with_its_meaning() -> None:
    reference = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `outreach_sync_(\w+)` \|(?:[^|]*\|)? ([^|]+) \|$", reference, re.MULTILINE))
    assert listed == METRICS


def monitored(config: Config, **monitoring: Any) -> Config:
    changed = config.monitoring.model_copy(update={"ping_url": None, **monitoring})
    return config.model_copy(update={"monitoring": changed})


def test_a_receiver_that_is_gone_is_logged_without_its_address(config: Config, log: Recorder) -> None:
    gone = monitored(config, ping_url=SecretStr("http://127.0.0.1:9/ping/top-secret"))
    run(gone, log, failing(NotAllowedError("a scope is missing.")))
    start, fail = log.of("ping_failed")
    assert (start["what"], fail["what"]) == ("start", "fail")
    assert fail["why"].startswith("the address cannot be reached: it refuses the connection")


def test_a_bug_in_a_ping_fails_no_run(config: Config, log: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "_call", {}.__getitem__)
    assert run(config, log, nothing) == 0
    assert [one["why"] for one in log.of("ping_failed")] == ["it broke down (TypeError)"] * 2


def test_a_receiver_that_never_answers_holds_nobody_up(
    config: Config, receiver: Receiver, log: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "_SETTLE_SECONDS", 0.2)
    gate, receiver.wait = threading.Event(), lambda: gate.wait(30)
    assert run(config, log, nothing) == 0
    gate.set()
    assert {"what": "start", "why": "no answer in time"} in log.of("ping_failed")


def test_lines_above_debug_are_kept_without_secrets_and_all_are_handed_on(config: Config, log: Recorder) -> None:
    keep_secret("hunter2hunter2")
    watch = Watch(config, log)
    for number in range(200):
        watch.log.info("line", number=number)
    watch.log.debug("detail", value=1)
    watch.log.warning("look", at="hunter2hunter2\x1b[2J")
    assert len(watch._lines) == 50
    assert list(watch._lines)[-2:] == ["line number=199", "look at=***\\x1b[2J"]
    assert [event for event, _ in log.events][-3:] == ["line", "detail", "look"]


def told_by(config: Config, tmp_path: Path, **hooks: str) -> Config:
    """Set commands that write what they are told into a file of their own name."""
    return monitored(
        config,
        **{name: ("/bin/sh", "-c", f"{{ env; cat; }} > {tmp_path / name}; exit {end}") for name, end in hooks.items()},
    )


def test_a_failed_run_starts_its_command_with_what_happened_and_no_secret(
    config: Config, log: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.workbooks.api_key is not None
    secret = config.workbooks.api_key.get_secret_value()
    monkeypatch.setenv("WORKBOOKS_API_KEY", secret)
    keep_secret("s3c")
    monkeypatch.setenv("A_SHORT_ONE", "s3c")
    hooked = told_by(config, tmp_path, on_failure="0", on_success="0")
    run(hooked, log, nothing)
    assert run(hooked, log, failing(NotAllowedError("the scope tasks.read is missing."))) == 3
    told = (tmp_path / "on_failure").read_text()
    assert "OUTREACH_SYNC_EXIT_STATUS=3" in told
    assert "OUTREACH_SYNC_PREVIOUS_STATUS=0" in told
    assert "the scope tasks.read is missing." in told
    assert secret not in told
    assert "A_SHORT_ONE" not in told
    assert "OUTREACH_SYNC_OUTCOME=ok" in (tmp_path / "on_success").read_text()


def test_a_run_that_was_stopped_starts_no_command(config: Config, log: Recorder, tmp_path: Path) -> None:
    run(told_by(config, tmp_path, on_failure="0"), log, failing(InterruptedByError(15)))
    assert not (tmp_path / "on_failure").exists()


def test_a_command_that_fails_or_does_not_exist_fails_no_run(config: Config, log: Recorder, tmp_path: Path) -> None:
    assert run(told_by(config, tmp_path, on_success="7"), log, nothing) == 0
    assert run(monitored(config, on_success=("/nowhere/notify",)), log, nothing) == 0
    assert len(log.of("hook_failed")) == 2


def test_a_command_that_takes_its_time_holds_nobody_up(
    config: Config, log: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "_SETTLE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "gate")
    waiting = ("/bin/sh", "-c", f"cat {tmp_path / 'gate'}")
    assert run(monitored(config, on_success=waiting), log, nothing) == 0
    (tmp_path / "gate").write_text("go on")  # returns only where the command still reads
