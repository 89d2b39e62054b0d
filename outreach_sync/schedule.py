"""The schedule: cycles at their times, reconciles at theirs, one after the other, until asked to stop.

APScheduler says when; one worker thread does the work, so that nothing overlaps and what falls due meanwhile waits in
its queue. The main thread keeps watch: requests to stop, requests to read the config again, and the service manager.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from outreach_sync.config.cron import schedulable
from outreach_sync.errors import ConfigError, InterruptedByError, LockHeldError, OutreachSyncError

if TYPE_CHECKING:
    from collections.abc import Callable

    from apscheduler.events import JobEvent, JobExecutionEvent
    from apscheduler.triggers.base import BaseTrigger

    from outreach_sync.conduct import Ended
    from outreach_sync.config.models import Config, Schedule
    from outreach_sync.http import StopSignal
    from outreach_sync.pipeline.run import Log
    from outreach_sync.systemd import ServiceManager

CYCLE, RECONCILE = "run", "reconcile"
"""The two commands that are scheduled, by the names under which their runs are recorded."""

_TICK_SECONDS = 0.5
_LATE = timedelta(minutes=1)


class Reload:
    """A request to read the config again, safe to be made by a signal handler."""

    def __init__(self) -> None:
        """Begin without one."""
        self._asked = False

    def ask(self) -> None:
        """Make it."""
        self._asked = True

    def take(self) -> bool:
        """Say whether it was made since the last time."""
        asked, self._asked = self._asked, False
        return asked


class Scheduler:
    """Runs what the config's schedule wants, until `stop`.

    No error of a run ends it: what is wrong is logged, and the next time is tried again.

    Attributes:
        config: the one in force.
        skipped: how often something fell due while its last run still went on or waited.
        late: how often something began over a minute after it fell due (the machine slept, another run took long).
    """

    def __init__(
        self,
        config: Config,
        begin: Callable[[Config, str], Ended],
        *,
        stop: StopSignal,
        log: Log,
        manager: ServiceManager,
    ) -> None:
        """Start nothing yet.

        Args:
            config: the config to begin with.
            begin: does one run of a command, CYCLE or RECONCILE, from beginning to end.
            stop: the request to stop; a run that is going on must heed it by itself.
            log: where it says what it does.
            manager: who is told how the service fares.
        """
        self.config = config
        self.skipped = 0
        self.late = 0
        self._begin = begin
        self._stop = stop
        self._log = log
        self._manager = manager
        self._due: dict[str, datetime | None] = {}
        self._told_alive = 0.0
        self._counting = threading.Lock()
        self._working = threading.Lock()
        self._jobs = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            # without these, a late wake-up drops the run or repeats it for each time it missed
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._jobs.add_listener(self._on_skipped, EVENT_JOB_MAX_INSTANCES)
        self._jobs.add_listener(self._on_bug, EVENT_JOB_ERROR)
        _silence_library()

    def serve(self, reload: Reload, read_config: Callable[[], Config], *, reconcile_first: bool = False) -> None:
        """Run the first cycle at once and everything else in time; return when asked to stop and the run has ended.

        Args:
            reload: when to read the config again.
            read_config: reads it; a ConfigError keeps the old one.
            reconcile_first: a reconcile fell due while nobody was there; it follows the first cycle.
        """
        self._plan(CYCLE, at_once=True)
        self._plan(RECONCILE, at_once=reconcile_first)
        self._jobs.start()
        self._log.info("schedule_started", **_shown(self.config.schedule))
        self._manager.ready()
        while not self._stop.wait(_TICK_SECONDS):
            self._stay_alive()
            if reload.take():
                self._reload(read_config)
        self._manager.stopping()
        self._jobs.shutdown(wait=False)  # its own waiting holds a lock that the run it waits for may need
        with self._working:
            pass
        self._log.info("schedule_stopped", skipped=self.skipped, late=self.late)

    def _plan(self, command: str, *, at_once: bool = False) -> None:
        """Put a command on the schedule, as the config in force has it."""
        trigger = trigger_of(self.config.schedule, command)
        if trigger is None:
            return
        when = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._jobs.add_job(self._run, trigger, args=(command,), id=command, replace_existing=True, **when)

    def _run(self, command: str) -> None:
        """Do one run in the worker thread, and never let what it may end with end more than itself."""
        with self._working:
            if not self._stop.is_set():
                self._run_now(command)

    def _run_now(self, command: str) -> None:
        self._note_lateness(command)
        self._manager.status(f"{command} is going on")
        try:
            ended = self._begin(self.config, command)
        except LockHeldError as error:
            self._log.debug("run_held_off", command=command, why=str(error))
        except OutreachSyncError as error:
            self._complain(command, error)
        else:
            if ended.error is not None:
                self._complain(command, ended.error)
        self._manager.status(self._standing(command))

    def _complain(self, command: str, error: OutreachSyncError) -> None:
        if not isinstance(error, InterruptedByError):
            self._log.warning("scheduled_run_failed", command=command, status=error.exit_status, why=str(error))

    def _note_lateness(self, command: str) -> None:
        due, now = self._due.get(command), datetime.now(UTC)
        self._due[command] = self._next(command)
        if due is not None and now - due > _LATE:
            with self._counting:
                self.late += 1
            self._log.warning("run_late", command=command, due_at=_iso(due), seconds=round((now - due).total_seconds()))

    def _next(self, command: str) -> datetime | None:
        job = self._jobs.get_job(command)
        return None if job is None else job.next_run_time

    def _standing(self, command: str) -> str:
        due = [moment for moment in map(self._next, (CYCLE, RECONCILE)) if moment is not None]
        soonest = f", next at {_iso(min(due))}" if due else ""
        return f"idle: {command} ended at {_iso(datetime.now(UTC))}{soonest}"

    def _on_skipped(self, event: JobEvent) -> None:
        """Count what fell due while the same still goes on: the one that goes on does the work."""
        with self._counting:
            self.skipped += 1
        self._due[event.job_id] = self._next(event.job_id)
        self._log.warning("run_skipped", command=event.job_id, why="the last one still goes on", skipped=self.skipped)

    def _on_bug(self, event: JobExecutionEvent) -> None:
        """Log a bug; the next run goes on from what was committed."""
        bug: Any = event.exception
        self._log.warning("run_broke", command=event.job_id, bug=type(bug).__name__)
        self._log.debug("bug", trace=event.traceback)

    def _stay_alive(self) -> None:
        every = self._manager.watchdog_seconds
        if every is not None and time.monotonic() - self._told_alive >= every - _TICK_SECONDS:
            self._told_alive = time.monotonic()
            self._manager.alive()

    def _reload(self, read_config: Callable[[], Config]) -> None:
        """Put a new config in force from the next run on; keep the old one if the new one is wrong."""
        self._manager.reloading()
        try:
            config = read_config()
        except ConfigError as error:
            self._log.warning("config_kept", why=str(error))
        else:
            self._adopt(config)
        self._manager.ready()

    def _adopt(self, config: Config) -> None:
        before, self.config = self.config.schedule, config
        self._log.info("config_reloaded", **_shown(config.schedule))
        if config.schedule == before:
            return
        for command in (CYCLE, RECONCILE):
            self._due.pop(command, None)
            if trigger_of(config.schedule, command) is None and self._jobs.get_job(command):
                self._jobs.remove_job(command)
            self._plan(command)


def trigger_of(schedule: Schedule, command: str) -> BaseTrigger | None:
    """Return when a command is due, None: never. Times are UTC, each put off by up to `jitter`."""
    jitter = schedule.jitter_ms / 1000 or None
    expression = schedule.reconcile if command == RECONCILE else schedule.cron
    if expression:
        return OrTrigger([_cron_trigger(fields) for fields in schedulable(expression)], jitter=jitter)
    if command == RECONCILE or schedule.every_ms is None:
        return None
    return IntervalTrigger(seconds=schedule.every_ms / 1000, timezone=UTC, jitter=jitter)


def _cron_trigger(fields: tuple[str, ...]) -> CronTrigger:
    minute, hour, day, month, weekday = fields
    return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)


def _shown(schedule: Schedule) -> dict[str, Any]:
    return {
        "every_seconds": None if schedule.every_ms is None else schedule.every_ms / 1000,
        "cron": schedule.cron,
        "reconcile": schedule.reconcile,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _silence_library() -> None:
    """Keep APScheduler from printing past the choke point of all that is logged; its events are logged here."""
    library = logging.getLogger("apscheduler")
    library.addHandler(logging.NullHandler())
    library.propagate = False
