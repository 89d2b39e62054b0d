from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.conduct import Ended
from outreach_sync.config.models import Config
from outreach_sync.errors import ConfigError, LockHeldError, NotAuthenticatedError, OutreachSyncError
from outreach_sync.http import StopSignal
from outreach_sync.schedule import CYCLE, RECONCILE, Reload, Scheduler, trigger_of
from outreach_sync.systemd import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def config(**schedule: Any) -> Config:
    return Config.model_validate({"schedule": {"every": "1s", "jitter": "0s", "reconcile": None, **schedule}})


class Recorder:
    """A log that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def debug(self, event: str, **values: Any) -> None:
        self.events.append((event, {"level": "debug", **values}))

    def info(self, event: str, **values: Any) -> None:
        self.events.append((event, {"level": "info", **values}))

    def warning(self, event: str, **values: Any) -> None:
        self.events.append((event, {"level": "warning", **values}))

    def of(self, event: str) -> list[Mapping[str, Any]]:
        return [values for name, values in self.events if name == event]


class Told(ServiceManager):
    """A service manager that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__({})
        self.messages: list[str] = []

    def _send(self, message: str) -> None:
        self.messages.append(message)


class Running:
    """A scheduler in a thread of its own, and everything around it."""

    def __init__(self) -> None:
        self.stop, self.reload, self.log, self.manager = StopSignal(), Reload(), Recorder(), Told()
        self.begun: list[tuple[str, Config]] = []
        self.thread: threading.Thread | None = None
        self.scheduler: Scheduler

    def start(
        self,
        first: Config,
        do: Callable[[str], object] = lambda _command: None,
        read: Callable[[], Config] = config,
        *,
        reconcile_first: bool = False,
    ) -> None:
        def begin(current: Config, command: str) -> Ended:
            self.begun.append((command, current))
            ended = do(command)
            return ended if isinstance(ended, Ended) else Ended({}, 0, None)

        self.scheduler = Scheduler(first, begin, stop=self.stop, log=self.log, manager=self.manager)
        self.thread = threading.Thread(
            target=self.scheduler.serve, args=(self.reload, read), kwargs={"reconcile_first": reconcile_first}
        )
        self.thread.start()

    def end(self) -> None:
        self.stop.set(15)
        if self.thread is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()


@pytest.fixture
def running() -> Iterator[Running]:
    one = Running()
    yield one
    one.end()


def eventually(condition: Callable[[], Any], seconds: float = 8) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def test_the_first_cycle_starts_at_once_and_more_follow_in_time(running: Running) -> None:
    running.start(config())
    eventually(lambda: running.begun, 0.9)
    eventually(lambda: len(running.begun) >= 3)
    assert {command for command, _ in running.begun} == {CYCLE}
    assert "READY=1" in running.manager.messages
    assert any("idle: run ended" in message and "next at" in message for message in running.manager.messages)


def test_a_reconcile_waits_for_the_cycle_and_never_overlaps_it(running: Running) -> None:
    going_on: list[str] = []
    overlaps: list[tuple[str, ...]] = []

    def work(command: str) -> None:
        going_on.append(command)
        time.sleep(0.3)
        overlaps.append(tuple(going_on))
        going_on.remove(command)

    running.start(config(every="1h", reconcile="0 3 * * sun"), work, reconcile_first=True)
    eventually(lambda: len(overlaps) == 2)
    assert [command for command, _ in running.begun] == [CYCLE, RECONCILE]
    assert all(len(each) == 1 for each in overlaps)


def test_what_falls_due_while_the_same_goes_on_is_skipped_logged_and_counted(running: Running) -> None:
    release = threading.Event()
    running.start(config(), lambda _command: release.wait(8))
    eventually(lambda: running.log.of("run_skipped"))
    assert len(running.begun) == 1
    release.set()
    eventually(lambda: len(running.begun) >= 2)
    assert running.scheduler.skipped == running.log.of("run_skipped")[-1]["skipped"] >= 1


@pytest.mark.parametrize(
    "failure",
    [NotAuthenticatedError("the key is refused."), ConfigError("outreach.client_id is not set.")],
    ids=["auth", "config"],
)
def test_an_error_is_logged_and_tried_again_the_next_time(running: Running, failure: OutreachSyncError) -> None:
    def work(_command: str) -> None:
        raise failure

    running.start(config(), work)
    eventually(lambda: len(running.log.of("scheduled_run_failed")) >= 2)
    complaint = running.log.of("scheduled_run_failed")[0]
    assert (complaint["status"], complaint["why"]) == (failure.exit_status, str(failure))


def test_an_error_that_the_run_itself_reports_is_logged_too(running: Running) -> None:
    running.start(config(), lambda _command: Ended({}, 3, NotAuthenticatedError("no.")))
    eventually(lambda: running.log.of("scheduled_run_failed"))


def test_another_run_that_holds_the_lock_is_no_complaint(running: Running) -> None:
    def work(_command: str) -> None:
        raise LockHeldError("another run")

    running.start(config(), work)
    eventually(lambda: len(running.begun) >= 2)
    assert {values["level"] for _, values in running.log.events} <= {"debug", "info"}


def test_a_bug_in_one_run_does_not_end_the_service(running: Running, capfd: pytest.CaptureFixture[str]) -> None:
    def work(_command: str) -> None:
        raise ZeroDivisionError

    running.start(config(), work)
    eventually(lambda: len(running.log.of("run_broke")) >= 2)
    assert running.log.of("run_broke")[0]["bug"] == "ZeroDivisionError"
    running.end()
    assert capfd.readouterr().err == ""  # the library would print past the choke point


def test_a_late_start_is_done_all_the_same_and_logged(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outreach_sync.schedule._LATE", timedelta(seconds=-1))
    running.start(config())
    eventually(lambda: running.log.of("run_late"))
    assert running.scheduler.late >= 1
    assert running.log.of("run_late")[0]["due_at"].endswith("Z")


def test_a_request_to_stop_waits_for_the_run_and_begins_no_other(running: Running) -> None:
    began, ended = threading.Event(), threading.Event()

    def work(_command: str) -> None:
        began.set()
        running.stop.wait(8)
        time.sleep(0.2)
        ended.set()

    running.start(config(reconcile="0 3 * * sun"), work, reconcile_first=True)
    began.wait(5)
    running.end()
    assert ended.is_set()
    assert [command for command, _ in running.begun] == [CYCLE]
    assert running.manager.messages[-1].startswith(("STOPPING=1", "STATUS="))
    assert running.log.events[-1][0] == "schedule_stopped"


def test_a_new_config_is_in_force_from_the_next_run_on(running: Running) -> None:
    running.start(config(every="1h"), read=lambda: config(every="1s"))
    eventually(lambda: running.begun)
    running.reload.ask()
    eventually(lambda: len(running.begun) >= 3)
    assert running.begun[-1][1].schedule.every_ms == 1000
    assert running.log.of("config_reloaded")[0]["every_seconds"] == 1.0
    reload = next(place for place, text in enumerate(running.manager.messages) if text.startswith("RELOADING=1"))
    assert "READY=1" in running.manager.messages[reload:]


def test_a_wrong_config_leaves_the_old_one_in_force(running: Running) -> None:
    def read() -> Config:
        raise ConfigError("it has one mistake:", problems=("line 3: schedule.every",))

    running.start(config(), read=read)
    running.reload.ask()
    eventually(lambda: running.log.of("config_kept"))
    assert "line 3: schedule.every" in running.log.of("config_kept")[0]["why"]
    before = len(running.begun)
    eventually(lambda: len(running.begun) > before)


def test_a_reconcile_that_the_new_config_drops_no_longer_falls_due(running: Running) -> None:
    running.start(config(every="1h", reconcile="0 3 * * sun"), read=lambda: config(every="1h"))
    eventually(lambda: running.begun)
    assert running.scheduler._next(RECONCILE) is not None
    running.reload.ask()
    eventually(lambda: running.log.of("config_reloaded"))
    eventually(lambda: running.scheduler._next(RECONCILE) is None)


def test_the_watchdog_is_fed_while_a_run_takes_its_time(running: Running) -> None:
    running.manager.watchdog_seconds = 0.6
    running.start(config(every="1h"), lambda _command: running.stop.wait(8))
    eventually(lambda: running.manager.messages.count("WATCHDOG=1") >= 2)


@pytest.mark.parametrize(
    ("schedule", "command", "due"),
    [
        ({"every": "10m"}, CYCLE, "2026-09-01T10:17:00+00:00"),
        ({"cron": "*/15 6-20 * * mon-fri"}, CYCLE, "2026-09-01T10:15:00+00:00"),
        ({"reconcile": "0 3 * * 0"}, RECONCILE, "2026-09-06T03:00:00+00:00"),  # a Sunday, as in a cron table
        ({"reconcile": "0 3 * * 7"}, RECONCILE, "2026-09-06T03:00:00+00:00"),
    ],
)
def test_times_are_utc_and_days_count_as_in_a_cron_table(schedule: dict[str, str], command: str, due: str) -> None:
    trigger = trigger_of(config(**schedule).schedule, command)
    assert trigger is not None
    moment = datetime(2026, 9, 1, 10, 7, tzinfo=UTC)  # a Tuesday
    previous = moment if "every" in schedule else None
    assert trigger.get_next_fire_time(previous, moment).isoformat() == due


def test_each_start_is_put_off_by_up_to_the_jitter() -> None:
    trigger = trigger_of(config(cron="0 * * * *", jitter="30s").schedule, CYCLE)
    assert trigger is not None
    moment = datetime(2026, 9, 1, 10, 7, tzinfo=UTC)
    due = [trigger.get_next_fire_time(None, moment) for _ in range(20)]
    full = datetime(2026, 9, 1, 11, tzinfo=UTC)
    assert len(set(due)) > 1
    assert all(full <= each <= full + timedelta(seconds=30) for each in due)
