import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from outreach_sync import monitoring
from outreach_sync.config.model import Config
from outreach_sync.errors import InterruptedByError, NotAllowedError
from outreach_sync.files import beside
from outreach_sync.http import StopSignal
from outreach_sync.instants import Instant
from outreach_sync.log import keep_secret
from outreach_sync.monitoring import METRICS, Watch, metrics_text
from outreach_sync.outreach.auth import TOKENS, StoredTokens, TokenFile
from outreach_sync.records import Stream
from outreach_sync.run import Options, Run, perform
from outreach_sync.sandbox.server import HttpServer, Request, Response
from outreach_sync.store import Store
from tests.conftest import World
from tests.harness import Recorder

NOW = Instant(1_788_256_800_000)
LINE = re.compile(r'outreach_sync_([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (-?[0-9.e+]+)')
SUMMARY = {
    "streams": {"tasks": {"read": 7, "changed": 2, "skipped": 1, "requests": 1, "watermark": None}},
    "people": {"created": 1, "updated": 4, "queued": 9},
    "tasks": {"created": 3, "rejected": 0, "queued": 0},
    "requests": {"outreach": 3, "workbooks": 5},
}


def failing(error: Exception) -> Callable[[Run], None]:
    def work(run: Run) -> None:
        run.log.warning("about_to_fail", secret=run.id)
        raise error

    return work


def refuse(run: Run) -> None:
    with run.store.transaction():
        run.refuse_decision(18, None, "two Persons match")


NOT_ALLOWED = failing(NotAllowedError("the scope tasks.read is missing."))
STOPPED = failing(InterruptedByError(15))


class Watched(HttpServer):
    """Runs of a config that is monitored, and who is told: `status` is what a ping is answered, after a `wait`."""

    def __init__(self, world: World) -> None:
        super().__init__(self._take)
        self.pings: list[Request] = []
        self.status, self.wait, self.log = 200, lambda: None, Recorder()
        self.directory, self.metrics = world.directory, world.directory / "sync.prom"
        world.change("monitoring", ping_url=f"{self.url}/ping/top-secret/?create=1", metrics_file=str(self.metrics))
        self.config = world.config()

    def _take(self, request: Request) -> Response:
        self.pings.append(request)
        self.wait()
        return Response(self.status, {}, b"")

    @property
    def paths(self) -> list[str]:
        return [ping.path.removeprefix("/ping/top-secret") for ping in self.pings]

    def told(self, **changed: Any) -> Config:
        """Return a config that tells others than the receiver."""
        monitored = self.config.monitoring.model_copy(update={"ping_url": None, **changed})
        return self.config.model_copy(update={"monitoring": monitored})

    def hooked(self, **hooks: int) -> Config:
        """Return a config with commands that write what they are told into a file of their own name, and end so."""
        command = "{{ env; cat; }} > {}; exit {}"
        ends = {name: command.format(self.directory / name, end) for name, end in hooks.items()}
        return self.told(**{name: ("/bin/sh", "-c", text) for name, text in ends.items()})

    def run(self, work: Callable[[Run], None] = lambda _run: None, config: Config | None = None, **options: Any) -> int:
        return perform(config or self.config, Options(**options), StopSignal(), self.log, work=work).exit_status

    def why(self) -> dict[str, str]:
        """Return why each ping failed."""
        return {one["what"]: one["why"] for one in self.log.of("ping_failed")}


@pytest.fixture
def watched(world: World) -> Iterator[Watched]:
    with Watched(world) as one:
        yield one


def test_a_good_run_pings_its_start_and_its_success_and_writes_metrics(watched: Watched) -> None:
    assert watched.run() == 0
    assert watched.paths == ["/start", ""]
    assert "outreach_sync_last_run_exit_status" in watched.metrics.read_text()
    assert watched.metrics.stat().st_mode & 0o777 == 0o644
    assert [ping.query[0] for ping in watched.pings] == [("create", "1")] * 2
    first, second = (dict(ping.query)["rid"] for ping in watched.pings)
    assert first == second == str(uuid.UUID(first))
    assert watched.url not in json.dumps(watched.log.events)


@pytest.mark.parametrize(
    ("work", "status", "signal"), [(NOT_ALLOWED, 3, "/fail"), (refuse, 1, "/1"), (STOPPED, 143, "/log")]
)
def test_how_a_run_ended_is_told_with_the_end_of_its_log(watched: Watched, work: Any, status: int, signal: str) -> None:
    assert watched.run(work) == status
    assert watched.paths == ["/start", signal]
    body = watched.pings[-1].body
    assert body.startswith(b"run ")
    assert (b"about_to_fail" in body, b"the scope tasks.read is missing." in body) == (status != 1, status == 3)


def test_a_bug_is_told_as_a_failure_and_a_dry_run_is_nobodys_business(watched: Watched) -> None:
    watched.run(dry_run=True)
    assert (watched.pings, watched.metrics.exists()) == ([], False)
    with pytest.raises(ZeroDivisionError):
        watched.run(failing(ZeroDivisionError()))
    assert (watched.paths, b"broke down" in watched.pings[-1].body) == (["/start", "/fail"], True)


def test_monitoring_that_does_not_work_does_not_fail_a_run(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.status = 404
    os.mkfifo(watched.metrics)  # neither replaced, nor waited for
    assert watched.run() == 0
    assert (watched.metrics.is_fifo(), len(watched.log.of("metrics_not_written"))) == (True, 1)
    assert watched.why()["success"] == "answered 404"
    gone = watched.told(ping_url=SecretStr("http://127.0.0.1:9/ping/top-secret"))
    assert watched.run(NOT_ALLOWED, gone) == 3
    assert watched.why()["fail"].startswith("the address cannot be reached: it refuses the connection")
    monkeypatch.setattr(monitoring, "_call", {}.__getitem__)
    assert watched.run() == 0
    assert watched.why()["start"] == watched.why()["success"] == "it broke down (TypeError)"


def test_a_receiver_that_never_answers_holds_nobody_up(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "_SETTLE_SECONDS", 0.2)
    gate = threading.Event()
    watched.wait = lambda: gate.wait(30)
    assert watched.run() == 0
    gate.set()
    assert watched.why()["start"] == "no answer in time"


def test_lines_above_debug_are_kept_without_secrets_and_all_are_handed_on(watched: Watched) -> None:
    keep_secret("hunter2hunter2")
    watch = Watch(watched.config, watched.log, "1")
    for number in range(200):
        watch.log.info("line", number=number)
    watch.log.debug("detail", value=1)
    watch.log.warning("look", at="hunter2hunter2\x1b[2J")
    assert len(watch._lines) == 50
    assert list(watch._lines)[-2:] == ["line number=199", "look at=***\\x1b[2J"]
    assert [event for event, _ in watched.log.events][-3:] == ["line", "detail", "look"]


def test_a_failed_run_starts_its_command_without_secrets_a_stopped_one_none(watched: Watched, monkeypatch: Any) -> None:
    secret, failed = watched.config.workbooks.api_key.get_secret_value(), watched.directory / "on_failure"
    monkeypatch.setenv("WORKBOOKS_API_KEY", secret)
    keep_secret("s3c")
    monkeypatch.setenv("A_SHORT_ONE", "s3c")
    hooked = watched.hooked(on_failure=0, on_success=0)
    watched.run(config=hooked)
    watched.run(STOPPED, hooked)
    assert not failed.exists()
    assert watched.run(NOT_ALLOWED, hooked) == 3
    told = failed.read_text()
    for word in ("SYNC_EXIT_STATUS=3\n", "SYNC_PREVIOUS_STATUS=143\n", "the scope tasks.read is missing."):
        assert word in told
    assert (secret in told, "A_SHORT_ONE" in told) == (False, False)
    assert "OUTREACH_SYNC_OUTCOME=ok" in (watched.directory / "on_success").read_text()


def test_a_command_that_fails_or_takes_its_time_does_no_harm_to_a_run(watched: Watched, monkeypatch: Any) -> None:
    assert watched.run(config=watched.hooked(on_success=7)) == 0
    assert watched.run(config=watched.told(on_success=("/nowhere/notify",))) == 0
    assert len(watched.log.of("hook_failed")) == 2
    monkeypatch.setattr(monitoring, "_SETTLE_SECONDS", 0.1)
    gate = watched.directory / "gate"
    os.mkfifo(gate)
    assert watched.run(config=watched.told(on_success=("/bin/sh", "-c", f"cat {gate}"))) == 0
    gate.write_text("go on")  # returns only where the command still reads


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state.db") as one:
        yield one


def record(state: Store, run_id: str, command: str, ago_s: int, ended: tuple[int, str]) -> None:
    began = Instant(NOW - ago_s * 1000)
    with state.transaction():
        state.history.begin(run_id, command, began)
        state.history.finish(run_id, Instant(began + 2500), *ended, SUMMARY)


def values(state: Store) -> dict[str, float]:
    """Read the file, every line of which must be in the text format, said once, and described."""
    text = metrics_text(state, state.path, NOW)
    assert text.endswith("\n")
    samples = [LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    found = {match[1] + (match[2] or ""): float(match[3]) for match in samples if match is not None}
    helped = re.findall(r"(?m)^# HELP outreach_sync_(\w+) ", text)
    assert (len(found), len(set(helped))) == (len(samples), len(helped))
    assert {name.partition("{")[0] for name in found} == set(helped)
    return found


def test_each_command_keeps_its_last_run_and_its_last_success_however_many_runs_failed_since(state: Store) -> None:
    record(state, "w", "run", -315_360_000, (0, "ok"))  # by a clock in the wrong year
    record(state, "a", "run", 600, (0, "ok"))
    record(state, "b", "reconcile", 300, (6, "failed"))
    for number in range(310):
        record(state, f"c{number}", "run", 60, (4, "partial"))
    found = values(state)
    of_run = {name.replace('{command="run",', "{").replace('{command="run"}', ""): one for name, one in found.items()}
    assert of_run.items() >= {
        "last_run_exit_status": 4, 'last_run_outcome{outcome="partial"}': 1, 'last_run_outcome{outcome="ok"}': 0,
        "last_success_timestamp_seconds": NOW / 1000 - 597.5, "last_run_duration_seconds": 2.5,
        'last_run_records_read{stream="tasks"}': 7, 'last_run_people{action="updated"}': 4,
        'last_run_tasks{action="created"}': 3, 'last_run_requests{service="workbooks"}': 5,
    }.items()  # fmt: skip
    assert found['last_run_exit_status{command="reconcile"}'] == 6
    assert found['outbox_entries{record="person",state="parked"}'] == 0
    assert 'last_success_timestamp_seconds{command="reconcile"}' not in found
    assert 'last_run_people{command="run",action="queued"}' not in found


def test_quota_watermarks_and_tokens_are_told_where_known(state: Store) -> None:
    assert not {"quota_remaining", "refresh_token_issued_timestamp_seconds"} & set(values(state))
    TokenFile(beside(state.path, TOKENS)).write(StoredTokens("access", None, "refresh", Instant(NOW - 5000)))
    with state.transaction():
        state.facts.put("outreach_quota", '{"limit": 10000, "remaining": 9000, "resets_at": null}')
        state.progress.keep_walk(Stream.TASKS, None, watermark=Instant(NOW - 60_000))
    found = values(state)
    assert found["quota_remaining"] == 9000
    assert found["refresh_token_issued_timestamp_seconds"] == NOW / 1000 - 5
    assert found['watermark_timestamp_seconds{stream="tasks"}'] == NOW / 1000 - 60


def test_the_reference_lists_every_metric_with_its_meaning() -> None:
    reference = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"(?m)^\| `outreach_sync_(\w+)` \|(?:[^|]*\|)? ([^|]+) \|$", reference)) == METRICS
