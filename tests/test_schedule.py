from __future__ import annotations

import queue
import socket
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from outreach_sync.config.model import Config
from outreach_sync.errors import ConfigError, LockHeldError, NotAuthenticatedError, OutreachSyncError
from outreach_sync.http import StopSignal
from outreach_sync.schedule import CYCLE, RECONCILE, NextTime, Scheduler, ServiceManager
from tests.harness import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = datetime(2026, 9, 1, 10, 7, tzinfo=UTC)  # a Tuesday
PATIENCE = 30


def config(**schedule: Any) -> Config:
    return Config.model_validate({"schedule": {"every": "10m", "jitter": "0s", "reconcile": None, **schedule}})


def waits_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


class Told(ServiceManager):
    """A service manager that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__({})
        self.messages: list[str] = []

    def tell(self, *assignments: str) -> None:
        self.messages.append("\n".join(assignments))


class World:
    """A scheduler, its two clocks, and the runs it begins; `do` is what a run does."""

    def __init__(self, clock: time_machine.Traveller) -> None:
        self.clock, self.passed = clock, 0.0
        self.stop, self.log, self.manager = StopSignal(), Recorder(), Told()
        self.ended: queue.Queue[str] = queue.Queue()
        self.do: Callable[[str], OutreachSyncError | None] = lambda _command: None
        self.scheduler: Scheduler

    def start(self, first: Config, *, reconcile_first: bool = False) -> None:
        self.scheduler = Scheduler(
            first, self._begin, stop=self.stop, log=self.log, manager=self.manager, monotonic=lambda: self.passed
        )
        self.scheduler.start(reconcile_first=reconcile_first)

    def _begin(self, _config: Config, command: str) -> OutreachSyncError | None:
        try:
            return self.do(command)
        finally:
            self.ended.put(command)

    def next_time(self, command: str) -> datetime | None:
        due: datetime | None = self.scheduler._jobs.get_job(command).next_run_time
        return due

    def runs(self) -> list[str]:
        """Look at what is due; return the runs that ended."""
        self.scheduler.tick()
        done = threading.Event()
        self.scheduler._jobs._lookup_executor("default")._pool.submit(done.set)  # behind whatever was handed over
        assert done.wait(PATIENCE)
        return [self.ended.get_nowait() for _ in range(self.ended.qsize())]

    def after(self, seconds: float, *, by_the_clock: float | None = None) -> list[str]:
        """Let time pass (the clock may say otherwise), and return the runs that follow."""
        self.passed += seconds
        self.clock.shift(seconds if by_the_clock is None else by_the_clock)
        return self.runs()


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(START, tick=False) as clock:
        one = World(clock)
        yield one
        one.stop.set(15)
        if one.scheduler._jobs.running:
            one.scheduler._jobs.shutdown(wait=False)


def test_the_first_cycle_starts_at_once_and_more_follow_in_time(world: World) -> None:
    world.start(config())
    assert world.runs() == [CYCLE]
    assert world.after(599) == []
    assert world.after(1) == [CYCLE]
    assert world.manager.messages[0] == "READY=1"
    assert "next at 2026-09-01T10:27:00Z" in world.manager.messages[-1]


def test_a_reconcile_waits_for_the_cycle_that_is_due_with_it(world: World) -> None:
    world.start(config(reconcile="0 3 * * sun"), reconcile_first=True)
    world.clock.shift(1)
    assert world.runs() == [CYCLE, RECONCILE]


def test_a_clock_that_is_set_back_delays_a_cycle_by_one_interval_at_most(world: World) -> None:
    world.start(config())
    world.runs()
    assert world.after(60, by_the_clock=-3600) == []
    assert world.after(600) == [CYCLE]
    assert world.log.of("clock_set_back")
    world.scheduler._reload(lambda: config(every=None, cron="0 * * * *"))
    assert world.after(60, by_the_clock=-7200) == []
    assert world.next_time(CYCLE) == START.replace(hour=8, minute=0)


@pytest.mark.parametrize("years", [10, -10])
def test_a_few_seconds_in_another_year_cost_one_run_at_most(world: World, years: int) -> None:
    world.start(config())
    world.runs()
    there = world.after(5, by_the_clock=years * 365 * 86_400)
    back = world.after(5, by_the_clock=-years * 365 * 86_400)
    assert len(there) + len(back) <= 1
    assert [len(world.after(600)) for _ in range(3)] == [1, 1, 1]


def test_a_time_that_passed_while_the_machine_slept_is_made_up_for_once(world: World) -> None:
    world.start(config(every=None, cron="0 * * * *"))
    world.runs()
    assert world.after(1, by_the_clock=5 * 3600) == [CYCLE]
    assert world.runs() == []
    assert world.scheduler.late == 1
    assert world.log.of("run_late")[0]["due_at"] == "2026-09-01T11:00:00Z"


def test_what_falls_due_while_the_same_goes_on_is_skipped_logged_and_counted(world: World) -> None:
    release = threading.Event()
    world.do = lambda _command: waits_for(release)
    world.start(config())
    world.passed += 600
    world.clock.shift(600)
    world.scheduler.tick()
    assert world.scheduler.skipped == world.log.of("run_skipped")[-1]["skipped"] == 1
    release.set()
    assert world.runs() == [CYCLE]


@pytest.mark.parametrize("raised", [True, False])
def test_an_error_is_logged_shown_to_the_service_manager_and_tried_again(world: World, *, raised: bool) -> None:
    failure = NotAuthenticatedError("the key is refused.") if raised else ConfigError("outreach.client_id is not set.")

    def fail(_command: str) -> OutreachSyncError | None:
        if raised:
            raise failure
        return failure

    world.do = fail
    world.start(config())
    world.runs()
    complaint = world.log.of("scheduled_run_failed")[0]
    assert (complaint["status"], complaint["why"]) == (failure.exit_status, str(failure))
    assert f"the last run ended with {failure.exit_status}: {failure}" in world.manager.messages[-1]
    world.do = lambda _command: None
    assert world.after(600) == [CYCLE]
    assert str(failure) not in world.manager.messages[-1]


def test_another_run_that_holds_the_lock_is_not_a_complaint(world: World) -> None:
    world.do = lambda _command: LockHeldError("another run")
    world.start(config())
    world.runs()
    assert not world.log.of("scheduled_run_failed")


def test_a_bug_in_one_run_does_not_end_the_service(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.do = {}.__getitem__
    world.start(config())
    assert world.runs() == [CYCLE]
    assert world.log.of("run_broke")[0]["bug"] == "KeyError"
    assert "ended with a bug (KeyError)" in world.manager.messages[-1]
    assert world.after(600) == [CYCLE]
    assert capfd.readouterr().err == ""  # the library would print past the one place that logs


def test_a_request_to_stop_waits_for_the_run_and_begins_no_other(world: World) -> None:
    began = threading.Event()

    def work(_command: str) -> None:
        began.set()
        world.stop.wait(PATIENCE)

    world.do = work
    world.start(config(reconcile="0 3 * * sun"), reconcile_first=True)
    assert began.wait(PATIENCE)
    world.stop.set(15)
    world.scheduler._jobs.start = lambda: None  # type: ignore[method-assign]  # it has begun
    world.scheduler.serve(deque(), config)
    assert [world.ended.get_nowait() for _ in range(world.ended.qsize())] == [CYCLE]
    assert world.log.events[-1][0] == "schedule_stopped"


def test_a_new_config_is_in_force_from_the_next_run_on(world: World) -> None:
    world.start(config(reconcile="0 3 * * sun"))
    world.runs()
    world.scheduler._reload(lambda: config(every="1m"))
    assert world.manager.messages[-2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert world.manager.messages[-1] == "READY=1"
    assert world.after(60) == [CYCLE]
    assert world.next_time(RECONCILE) is None


def test_a_config_that_is_read_again_with_the_same_schedule_puts_nothing_off(world: World) -> None:
    world.start(config())
    world.runs()
    assert world.after(300) == []
    world.scheduler._reload(config)
    assert world.after(300) == [CYCLE]


def test_a_wrong_config_leaves_the_old_one_in_force_and_says_so(world: World) -> None:
    def read() -> Config:
        raise ConfigError("it has one mistake:", problems=("line 3: schedule.every",))

    world.start(config())
    world.runs()
    world.scheduler._reload(read)
    assert "line 3: schedule.every" in world.log.of("config_kept")[0]["why"]
    assert world.manager.messages[-1].startswith("READY=1\nSTATUS=the new config is refused")
    assert world.after(600) == [CYCLE]


def test_the_watchdog_is_fed_while_a_run_takes_its_time(world: World) -> None:
    release = threading.Event()
    world.do = lambda _command: waits_for(release)
    world.manager.watchdog_seconds = 10.0
    world.start(config())
    for _ in range(3):
        world.passed += 10
        world.scheduler.tick()
    release.set()
    assert world.manager.messages.count("WATCHDOG=1") == 3


@pytest.mark.parametrize(
    ("schedule", "command", "due"),
    [
        ({"every": "10m"}, CYCLE, START + timedelta(minutes=10)),
        ({"cron": "*/15 6-20 * * mon-fri", "every": None}, CYCLE, START.replace(minute=15)),
        ({"reconcile": "0 3 * * 0"}, RECONCILE, datetime(2026, 9, 6, 3, tzinfo=UTC)),
    ],
)
def test_times_are_utc(schedule: dict[str, str], command: str, due: datetime) -> None:
    assert NextTime(config(**schedule).schedule, command).get_next_fire_time(None, START) == due


def test_each_start_is_put_off_by_up_to_the_jitter() -> None:
    trigger = NextTime(config(every=None, cron="0 * * * *", jitter="30s").schedule, CYCLE)
    due = [trigger.get_next_fire_time(None, START) or START for _ in range(20)]
    full = START.replace(hour=11, minute=0)
    assert len(set(due)) > 1
    assert all(full <= each <= full + timedelta(seconds=30) for each in due)


def test_without_a_service_manager_nothing_is_sent_and_with_one_each_message_is_one_datagram(tmp_path: Any) -> None:
    ServiceManager({}).tell("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"})
        manager.tell("READY=1", "STATUS=two\nlines")
        assert line.recv(100) == b"READY=1\nSTATUS=two lines"
    assert manager.watchdog_seconds == 10.0
    manager.tell("STOPPING=1")  # nobody listens any more
