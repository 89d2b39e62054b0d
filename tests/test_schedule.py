import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import time_machine

from outreach_sync.config.model import Config
from outreach_sync.errors import ConfigError, LockHeldError, NotAuthenticatedError, OutreachSyncError
from outreach_sync.http import StopSignal
from outreach_sync.schedule import CYCLE, RECONCILE, NextTime, Scheduler, ServiceManager
from tests.harness import Recorder

START = datetime(2026, 9, 1, 10, 7, tzinfo=UTC)  # a Tuesday
PATIENCE = 30
SUNDAYS = "0 3 * * sun"
HOURLY = {"every": None, "cron": "0 * * * *"}


def config(**schedule: Any) -> Config:
    return Config.model_validate({"schedule": {"every": "10m", "jitter": "0s", "reconcile": None, **schedule}})


class World:
    """A scheduler, its two clocks, what a service manager is told, and the runs it begins; `do` is what a run does."""

    def __init__(self, clock: time_machine.Traveller) -> None:
        self.clock, self.passed = clock, 0.0
        self.stop, self.log, self.manager = StopSignal(), Recorder(), ServiceManager({})
        self.messages: list[str] = []
        self.manager.tell = lambda *assignments: self.messages.append("\n".join(assignments))
        self.ended: queue.Queue[str] = queue.Queue()
        self.do: Callable[[str], OutreachSyncError | None] = lambda _command: None

    def begin(self, *, reconcile_first: bool = False, **schedule: Any) -> None:
        clocks = {"manager": self.manager, "monotonic": lambda: self.passed}
        self.scheduler = Scheduler(config(**schedule), self._begin, stop=self.stop, log=self.log, **clocks)
        self.scheduler.start(reconcile_first=reconcile_first)

    def _begin(self, _config: Config, command: str) -> OutreachSyncError | None:
        try:
            return self.do(command)
        finally:
            self.ended.put(command)

    def next_time(self, command: str) -> datetime | None:
        return self.scheduler._jobs.get_job(command).next_run_time

    def start(self, **schedule: Any) -> list[str]:
        """Begin, and return the runs that end before any time passes."""
        self.begin(**schedule)
        return self.after(0)

    def after(self, seconds: float, *, by_the_clock: float | None = None) -> list[str]:
        """Let time pass (the clock may say otherwise), and return the runs that follow and end."""
        self.tick(seconds, by_the_clock=by_the_clock)
        done = threading.Event()
        self.scheduler._jobs._lookup_executor("default")._pool.submit(done.set)  # behind whatever was handed over
        assert done.wait(PATIENCE)
        return self.all_ended()

    def tick(self, seconds: float, *, by_the_clock: float | None = None) -> None:
        self.passed += seconds
        self.clock.shift(seconds if by_the_clock is None else by_the_clock)
        self.scheduler.tick()

    def all_ended(self) -> list[str]:
        return [self.ended.get_nowait() for _ in range(self.ended.qsize())]


@pytest.fixture
def world() -> Iterator[World]:
    with time_machine.travel(START, tick=False) as clock:
        one = World(clock)
        yield one
        one.stop.set(15)
        if one.scheduler._jobs.running:
            one.scheduler._jobs.shutdown(wait=False)


def test_the_first_cycle_starts_at_once_and_more_follow_in_time(world: World) -> None:
    assert [world.start(), world.after(599), world.after(1)] == [[CYCLE], [], [CYCLE]]
    assert world.messages[0] == "READY=1"
    assert "next at 2026-09-01T10:27:00Z" in world.messages[-1]


def test_a_reconcile_waits_for_the_cycle_that_is_due_with_it(world: World) -> None:
    world.begin(reconcile=SUNDAYS, reconcile_first=True)
    assert world.after(1) == [CYCLE, RECONCILE]


def test_a_clock_that_is_set_back_delays_a_cycle_by_one_interval_at_most(world: World) -> None:
    world.start()
    assert [world.after(60, by_the_clock=-3600), world.after(600)] == [[], [CYCLE]]
    assert world.log.of("clock_set_back")
    world.scheduler._reload(lambda: config(**HOURLY))
    assert world.after(60, by_the_clock=-7200) == []
    assert world.next_time(CYCLE) == START.replace(hour=8, minute=0)


@pytest.mark.parametrize("years", [10, -10])
def test_a_few_seconds_in_another_year_cost_one_run_at_most(world: World, years: int) -> None:
    world.start()
    there = world.after(5, by_the_clock=years * 365 * 86_400)
    back = world.after(5, by_the_clock=-years * 365 * 86_400)
    assert len(there) + len(back) <= 1
    assert [len(world.after(600)) for _ in range(3)] == [1, 1, 1]


def test_a_time_that_passed_while_the_machine_slept_is_made_up_for_once(world: World) -> None:
    world.start(**HOURLY)
    assert [world.after(1, by_the_clock=5 * 3600), world.after(0)] == [[CYCLE], []]
    assert (world.scheduler.late, world.log.of("run_late")[0]["due_at"]) == (1, "2026-09-01T11:00:00Z")


def test_while_a_run_takes_its_time_the_watchdog_is_fed_and_what_falls_due_is_skipped_and_counted(world: World) -> None:
    release = threading.Event()
    world.do = lambda _command: release.wait(PATIENCE) and None
    world.manager.watchdog_seconds = 10.0
    world.begin()
    for seconds in (10, 5, 5, 580):
        world.tick(seconds)
    assert world.messages.count("WATCHDOG=1") == 3
    assert world.scheduler.skipped == world.log.of("run_skipped")[-1]["skipped"] == 1
    release.set()
    assert world.after(0) == [CYCLE]


@pytest.mark.parametrize("raised", [True, False])
def test_an_error_but_a_held_lock_is_logged_told_the_manager_and_tried_again(world: World, *, raised: bool) -> None:
    failure = NotAuthenticatedError("the key is refused.") if raised else ConfigError("outreach.client_id is not set.")

    world.do = Mock(side_effect=failure) if raised else Mock(return_value=failure)
    world.start()
    complaint = world.log.of("scheduled_run_failed")[0]
    assert (complaint["status"], complaint["why"]) == (failure.exit_status, str(failure))
    assert f"the last run ended with {failure.exit_status}: {failure}" in world.messages[-1]
    world.do = lambda _command: None
    assert world.after(600) == [CYCLE]
    assert str(failure) not in world.messages[-1]
    world.do = lambda _command: LockHeldError("another run")
    assert (world.after(600), len(world.log.of("scheduled_run_failed"))) == ([CYCLE], 1)


def test_a_bug_in_one_run_does_not_end_the_service(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.do = {}.__getitem__
    assert world.start() == [CYCLE]
    assert world.log.of("run_broke")[0]["bug"] == "KeyError"
    assert "ended with a bug (KeyError)" in world.messages[-1]
    assert world.after(600) == [CYCLE]
    assert capfd.readouterr().err == ""  # the library would print past the one place that logs


def test_a_request_to_stop_waits_for_the_run_and_begins_no_other(world: World) -> None:
    began = threading.Event()

    def work(_command: str) -> None:
        began.set()
        world.stop.wait(PATIENCE)

    world.do = work
    world.begin(reconcile=SUNDAYS, reconcile_first=True)
    assert began.wait(PATIENCE)
    world.stop.set(15)
    world.scheduler._jobs.start = lambda: None  # it has begun
    world.scheduler.serve(deque(), config)
    assert (world.all_ended(), world.log.events[-1][0]) == ([CYCLE], "schedule_stopped")


def test_a_config_is_read_again_without_putting_off_a_schedule_that_is_the_same(world: World) -> None:
    world.start(reconcile=SUNDAYS)
    assert world.after(300) == []
    world.scheduler._reload(lambda: config(reconcile=SUNDAYS))
    assert world.after(300) == [CYCLE]
    world.scheduler._reload(lambda: config(every="1m"))
    assert world.messages[-2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert world.messages[-1] == "READY=1"
    assert (world.after(60), world.next_time(RECONCILE)) == ([CYCLE], None)


def test_a_wrong_config_leaves_the_old_one_in_force_and_says_so(world: World) -> None:
    def read() -> Config:
        raise ConfigError("it has one mistake:", problems=("line 3: schedule.every",))

    world.start()
    world.scheduler._reload(read)
    assert "line 3: schedule.every" in world.log.of("config_kept")[0]["why"]
    assert world.messages[-1].startswith("READY=1\nSTATUS=the new config is refused")
    assert world.after(600) == [CYCLE]


def test_each_start_is_put_off_by_up_to_the_jitter() -> None:
    trigger = NextTime(config(**HOURLY, jitter="30s").schedule, CYCLE)
    due = {trigger.get_next_fire_time(None, START) for _ in range(20)}
    full = START.replace(hour=11, minute=0)
    assert full <= min(due) < max(due) <= full + timedelta(seconds=30)


def test_without_a_service_manager_nothing_is_sent_and_with_one_each_message_is_one_datagram(tmp_path: Path) -> None:
    ServiceManager({}).tell("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"})
        manager.tell("READY=1", "STATUS=two\nlines")
        assert line.recv(100) == b"READY=1\nSTATUS=two lines"
    assert manager.watchdog_seconds == 10.0
    manager.tell("STOPPING=1")  # nobody listens any more
