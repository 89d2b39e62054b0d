"""The schedule: cycles and reconciles at their times, one after the other, until asked to stop.

APScheduler keeps the jobs and one worker thread, so nothing overlaps. The main thread has it look each second, so a
sleep or a set clock is noticed at once. Each next time counts from now: a jump of years is one run.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.triggers.base import BaseTrigger

from outreach_sync.errors import ConfigError, InterruptedByError, LockHeldError, OutreachSyncError
from outreach_sync.insight.status import next_time

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping

    from outreach_sync.config.model import Config, Schedule
    from outreach_sync.http import StopSignal
    from outreach_sync.log import Log

# The two commands that are scheduled, by the names under which their runs are recorded.
CYCLE, RECONCILE = "run", "reconcile"
TICK_SECONDS = 1.0
_LATE = timedelta(minutes=1)
# By so much must the machine's clock fall behind its monotonic one between two ticks to count as set back.
_SET_BACK_SECONDS = 2.0


class NextTime(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """When a command is due next: at the next time of its cron expression, or so long from now. Times are UTC."""

    def __init__(self, schedule: Schedule, command: str) -> None:
        """Put each time off by up to the jitter."""
        self._schedule, self._command = schedule, command

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime | None:
        """Return the next time after `now`, whatever came before; None: never."""
        due = next_time(self._schedule, self._command, now)
        jitter = random.uniform(0, self._schedule.jitter_ms)  # noqa: S311 - spreads load, no secret
        return due and due + timedelta(milliseconds=jitter)


class Ticking(BaseScheduler):  # type: ignore[misc]  # APScheduler has no types
    """APScheduler without a thread of its own: it looks at what is due each time it is woken."""

    def wakeup(self) -> None:
        """Hand what is due to the worker thread."""
        if self.state == STATE_RUNNING:
            self._process_jobs()

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's own signature
        """Begin nothing more."""
        super().shutdown(wait)


class Scheduler:
    """Runs the schedule until asked to stop, whatever ends a run; counts what was `skipped` or a minute `late`."""

    def __init__(
        self,
        config: Config,
        begin: Callable[[Config, str], OutreachSyncError | None],
        *,
        stop: StopSignal,
        log: Log,
        manager: ServiceManager,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet; `begin` does one run of a command, which must heed `stop`, and returns what ended it."""
        self.config, self.skipped, self.late = config, 0, 0
        self._begin, self._stop, self._log = begin, stop, log
        self._manager, self._monotonic = manager, monotonic
        self._looked = (time.time(), monotonic())
        self._told_alive = monotonic()
        self._trouble: dict[str, str] = {}
        self._working = threading.Lock()
        late_too = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}  # else a late run is dropped
        self._jobs = Ticking(timezone=UTC, executors={"default": ThreadPoolExecutor(1)}, job_defaults=late_too)
        self._jobs.add_listener(self._heard, EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
        library = logging.getLogger("apscheduler")  # it would print past the one place that logs
        library.addHandler(logging.NullHandler())
        library.propagate = False

    def serve(self, hangups: deque[int], read_config: Callable[[], Config], *, reconcile_first: bool = False) -> None:
        """Run the first cycle at once, all else in time; return when asked to stop and the run has ended."""
        # `hangups`: a handler's, to read the config again (ConfigError: the old stays); `reconcile_first`: one is due.
        self.start(reconcile_first=reconcile_first)
        while not self._stop.wait(TICK_SECONDS):
            self.tick()
            if hangups:
                hangups.clear()
                self._reload(read_config)
        self._manager.tell("STOPPING=1")
        self._jobs.shutdown(wait=False)  # its own waiting holds a lock that the run it waits for may need
        with self._working:
            pass
        self._log.info("schedule_stopped", skipped=self.skipped, late=self.late)

    def start(self, *, reconcile_first: bool = False) -> None:
        """Begin with a cycle at once."""
        self._plan(CYCLE, at_once=True)
        self._plan(RECONCILE, at_once=reconcile_first)
        self._log.info("schedule_started", **_shown(self.config.schedule))
        self._manager.tell("READY=1")
        self._jobs.start()

    def tick(self) -> None:
        """Look at the clocks, begin what is due, and keep the service manager's watchdog quiet."""
        before, self._looked = self._looked, (time.time(), self._monotonic())
        passed, by_the_clock = self._looked[1] - before[1], self._looked[0] - before[0]
        if passed - by_the_clock > _SET_BACK_SECONDS:
            self._log.warning("clock_set_back", seconds=round(passed - by_the_clock))
            for job in self._jobs.get_jobs():  # what is due in a future that is now further away is counted anew
                job.reschedule(job.trigger)
        self._jobs.wakeup()
        every = self._manager.watchdog_seconds
        if every is not None and self._looked[1] - self._told_alive >= every - TICK_SECONDS:
            self._told_alive = self._looked[1]
            self._manager.tell("WATCHDOG=1")

    def _plan(self, command: str, *, at_once: bool = False) -> None:
        trigger, now = NextTime(self.config.schedule, command), datetime.now(UTC)
        due = trigger.get_next_fire_time(None, now)
        if at_once and due is not None:
            due = now + timedelta(microseconds=command == RECONCILE)  # the cycle goes before it
        self._jobs.add_job(self._run, trigger, args=(command,), id=command, replace_existing=True, next_run_time=due)

    def _run(self, command: str) -> None:
        with self._working:
            if self._stop.is_set():
                return
            self._manager.tell(f"STATUS={command} is running")
            try:
                error = self._begin(self.config, command)
            except OutreachSyncError as failure:
                error = failure
            if isinstance(error, LockHeldError):
                self._log.debug("run_held_off", command=command, why=str(error))
            else:
                self._trouble.pop(command, None)
                if error is not None and not isinstance(error, InterruptedByError):
                    self._trouble[command] = f"the last {command} ended with {error.exit_status}: {error}"
                    self._log.warning("scheduled_run_failed", command=command, status=error.exit_status, why=str(error))
            self._manager.tell(f"STATUS={self._standing(command)}")

    def _standing(self, command: str) -> str:
        due = [job.next_run_time for job in self._jobs.get_jobs() if job.next_run_time is not None]
        soonest = f", next at {_iso(min(due))}" if due else ""
        return "; ".join((f"idle: {command} ended at {_iso(datetime.now(UTC))}{soonest}", *self._trouble.values()))

    def _heard(self, event: Any) -> None:
        command, now = event.job_id, datetime.now(UTC)
        if event.code == EVENT_JOB_ERROR:  # the next run goes on from what was committed
            bug = type(event.exception).__name__
            self._trouble[command] = f"the last {command} ended with a bug ({bug})"
            self._log.warning("run_broke", command=command, bug=bug)
            self._log.debug("bug", trace=event.traceback)
            self._manager.tell(f"STATUS={self._standing(command)}")
        elif event.code == EVENT_JOB_MAX_INSTANCES:  # the one that goes on does the work
            self.skipped += 1
            self._log.warning("run_skipped", command=command, why="the last one still goes on", skipped=self.skipped)
        elif now - (due := event.scheduled_run_times[0]) > _LATE:  # the machine slept, or its clock was put forward
            self.late += 1
            seconds = round((now - due).total_seconds())
            self._log.warning("run_late", command=command, due_at=_iso(due), seconds=seconds)

    def _reload(self, read_config: Callable[[], Config]) -> None:
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config = read_config()
        except ConfigError as error:
            self._log.warning("config_kept", why=str(error))
            self._manager.tell("READY=1", f"STATUS=the new config is refused, the old one stays in force: {error}")
        else:
            before, self.config = self.config.schedule, config
            self._log.info("config_reloaded", **_shown(config.schedule))
            if config.schedule != before:
                self._plan(CYCLE)
                self._plan(RECONCILE)
            self._manager.tell("READY=1")


class ServiceManager:
    """The service manager that started this process, if any: sd_notify(3) to `$NOTIFY_SOCKET`; it never fails."""

    # `watchdog_seconds`: how often to say WATCHDOG=1, half of what the manager allows; None: it does not watch us.

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read where to send to."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = bool(self._address) and meant and microseconds.isdigit() and int(microseconds) > 0
        self.watchdog_seconds = int(microseconds) / 2_000_000 if watched else None

    def tell(self, *assignments: str) -> None:
        """Send assignments such as `READY=1` in one message; white space within one is made single."""
        if not self._address:
            return
        text = "\n".join(" ".join(one.split()) for one in assignments)
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(1.0)  # a manager that does not read must not hold the service
            line.sendto(text.encode(), self._address)


def _shown(schedule: Schedule) -> dict[str, Any]:
    return {
        "every_seconds": None if schedule.every_ms is None else schedule.every_ms / 1000,
        "cron": schedule.cron,
        "reconcile": schedule.reconcile,
    }


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
