"""How things stand, by the local state alone: whether anybody is needed, what runs, what waits, what it costs."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING, Any

from cronsim import CronSim

from outreach_sync.consent import missing_scopes
from outreach_sync.deliver import FIRST_LOAD_DONE
from outreach_sync.errors import ConfigError, GuardStoppedError, StateError
from outreach_sync.files import beside
from outreach_sync.instants import Instant, from_datetime, to_datetime, to_iso
from outreach_sync.monitoring import QUOTA
from outreach_sync.outreach import auth
from outreach_sync.outreach.auth import StoredTokens, TokenFile
from outreach_sync.store.progress import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from outreach_sync.config.model import Config, Schedule
    from outreach_sync.store import Holder, Store
    from outreach_sync.store.progress import RunRecord

SMALL_PLAN, LARGE_PLAN = 250_000, 1_000_000  # requests a year that Outreach's plans allow
_YEAR_MS = 365 * DAY_MS
_SHOWN = 10
_GRACE_MS = 5 * 60_000
_UNAVAILABLE = 4
_UNAVAILABLE_RUNS = 3
_NEEDS_SOMEBODY = (2, 3, 6, 70)
_SUMMARY = ("people", "tasks", "requests", "error")
_TOKENS_A_YEAR = 365 * 12  # an access token lives two hours
_ENOUGH_RUNS = 10
_MEASURED_RUNS = 300
_PAGE = 1000
_A_YEAR = datetime(2027, 1, 1, tzinfo=UTC)  # not a leap year
_TOKEN_DAYS, _TOKEN_WARN_DAYS = 14, 7  # how long an idle refresh token lives; from which age on it is worth a warning


def status_document(store: Store, config: Config, now: Instant, holder: Holder | None = None) -> dict[str, Any]:
    """Return what `status --json` prints; `now` is this machine's clock, `holder` who is seen to hold the run lock."""
    recorded, last = store.history.runs(_SHOWN), last_begun(store, now)
    overdue = {} if holder is not None else overdue_runs(config, last, now)
    refused, tokens = sum(store.outbox.counts(refused=True).values()), token_age(config.state.path, now)
    marks = {stream.value: to_iso(mark) for stream, mark in store.progress.watermarks().items()}
    following = None if holder is not None else _due(config, "run", last.get("run", now))
    quota = json.loads(store.facts.get(QUOTA) or "null")
    needs = [
        *_needs(recorded, store.history.runs(1, command="reconcile"), holder, refused),
        *(f"{command} is overdue since {to_iso(at)}: does the scheduler run?" for command, at in overdue.items()),
        *([str(tokens["warning"])] if tokens and tokens["warning"] else ()),
    ]
    runs = [
        {
            "run_id": run.id,
            "command": run.command,
            "started_at": to_iso(run.started_at),
            "finished_at": iso(run.finished_at),
            "outcome": run.outcome,
            "exit_status": run.exit_status,
            **{name: run.summary[name] for name in _SUMMARY if name in run.summary},
        }
        for run in recorded
    ]
    waiting: Counter[str] = Counter()
    for (_, kind), number in store.outbox.counts().items():
        waiting[kind] += number
    return {
        "ok": not needs,
        "needs": needs,
        "next_run": None if following is None else to_iso(Instant(max(following, now))),
        "running": None if holder is None else {**holder._asdict(), "since": iso(holder.since)},
        "state": str(config.state.path) if config.state.path.exists() else None,
        "watermarks": {stream: marks.get(stream) for stream in dict.fromkeys((*config.sync.streams, *marks))},
        "last_run": runs[0] if runs else None,
        "runs": runs,
        "queued": waiting["queued"] + waiting["sending"],
        "parked": waiting["parked"],
        "refused": refused,
        "waiting_for_person": waiting["waiting"],
        "undecided": store.undecided.count(),
        "people": store.people.known(),
        "overdue": [{"command": command, "due_at": to_iso(at)} for command, at in overdue.items()],
        "quota": quota and {**quota, "resets_at": iso(quota.get("resets_at"))},
        "yearly": yearly_cost(config, store),
        "tokens": tokens,
    }


def _needs(
    recorded: Sequence[RunRecord], reconciled: Sequence[RunRecord], holder: Holder | None, refused: int
) -> Iterator[str]:
    if not recorded:
        yield "no run was made yet: try `outreach-sync check`, then `outreach-sync run --dry-run`"
        return
    last = recorded[0]
    why = f": {last.summary['error']}" if last.summary.get("error") else ""
    if last.exit_status in _NEEDS_SOMEBODY:
        yield f"the last {last.command} ended with {last.exit_status}{why}"
    elif last.finished_at is None and holder is None:
        yield f"the last {last.command} was killed or broke down; the next one goes on where it stopped"
    elif all(run.exit_status == _UNAVAILABLE for run in recorded[:_UNAVAILABLE_RUNS]):
        which = f"last {min(len(recorded), _UNAVAILABLE_RUNS)} runs" if len(recorded) > 1 else "only run so far"
        yield f"the {which} ended with {_UNAVAILABLE}{why}"
    for one in reconciled:
        if one.exit_status == GuardStoppedError.exit_status and one.id != last.id:  # no run does what it did not
            yield f"the last reconcile ended with {one.exit_status}: {one.summary.get('error')}"
    yield from last.summary.get("warnings") or ()
    if refused:
        records = "1 record was" if refused == 1 else f"{refused:,} records were"
        yield f"{records} refused: `outreach-sync failures list` says why and what to do"


def overdue_runs(config: Config, last: Mapping[str, Instant], now: Instant) -> dict[str, Instant]:
    """Say which scheduled commands should have begun, and when, since they `last` did; five minutes' grace is given."""
    due = {command: _due(config, command, at) for command, at in last.items()}
    return {command: at for command, at in due.items() if at is not None and at + _GRACE_MS < now}


def last_begun(store: Store, now: Instant) -> dict[str, Instant]:
    """Return when each scheduled command last began, else anything did; what began after `now` does not count."""
    oldest, last = store.history.runs(1, order="ASC"), {}
    for command in ("run", "reconcile") if oldest else ():
        run = (store.history.runs(1, command=command, until=now + _GRACE_MS) or oldest)[0]
        heard = run.heard_at or run.started_at  # Outreach's clock tells where this machine's was in another year
        last[command] = min(heard if heard - run.started_at > DAY_MS else run.started_at, now)
    return last


def _due(config: Config, command: str, after: Instant) -> Instant | None:
    due = next_time(config.schedule, command, to_datetime(after))
    return None if due is None else from_datetime(due)


def next_time(schedule: Schedule, command: str, after: datetime) -> datetime | None:
    """Return when the schedule wants a command next, in UTC; None: never."""
    cron = schedule.reconcile if command == "reconcile" else schedule.cron
    if cron:
        return next(CronSim(cron, after))
    every = schedule.every_ms if command == "run" else None
    return None if every is None else after + timedelta(milliseconds=every)


def yearly_cost(config: Config, store: Store) -> dict[str, Any]:
    """Return cycles and reconciles a year and their requests to Outreach; estimated until there are enough runs."""
    schedule, streams = config.schedule, len(config.sync.streams)
    cycles = firings_a_year(schedule.cron) if schedule.cron else _YEAR_MS // (schedule.every_ms or _YEAR_MS)
    reconciles = firings_a_year(schedule.reconcile) if schedule.reconcile else 0
    first_load, last = store.facts.get(FIRST_LOAD_DONE), store.history.runs(1, command="reconcile")
    recorded = {run.id: run for run in (*store.history.runs(_MEASURED_RUNS), *last)}
    asked: dict[str, list[int]] = {"run": [], "reconcile": []}
    for run in recorded.values():
        if run.id != first_load and run.exit_status in (0, 1) and "requests" in run.summary:  # not cut short
            asked.setdefault(run.command, []).append(run.summary["requests"]["outreach"])
    measured = len(asked["run"]) >= _ENOUGH_RUNS
    extra = streams * (_YEAR_MS / config.sync.late_sweep_ms) + _TOKENS_A_YEAR
    per_cycle, per_reconcile = streams + extra / cycles if cycles else 0.0, 0.0
    if measured:
        per_cycle = fmean(asked["run"])
    if asked["reconcile"]:
        per_reconcile = fmean(asked["reconcile"])
    elif reconciles:
        per_reconcile = float(ceil(store.cache.count_states() / _PAGE) + 1)
    return {
        "cycles": cycles,
        "per_cycle": round(per_cycle, 2),
        "reconciles": reconciles,
        "per_reconcile": round(per_reconcile, 1),
        "requests": round(cycles * per_cycle + reconciles * per_reconcile),
        "measured": measured,
    }


def firings_a_year(text: str) -> int:
    """Count the firings of a year of 365 days."""
    minute, hour, *days = text.split()
    a_day = CronSim(f"{minute} {hour} * * *", _A_YEAR)
    firings = CronSim(f"0 0 {' '.join(days)}", _A_YEAR - timedelta(seconds=1))
    days_a_year = len(list(takewhile(lambda firing: firing.year == _A_YEAR.year, firings)))
    return len(a_day.minutes) * len(a_day.hours) * days_a_year


def iso(instant: Instant | None) -> str | None:
    """Write a time that may not be known."""
    return None if instant is None else to_iso(instant)


def token_age(state_path: Path, now: Instant) -> dict[str, Any] | None:
    """Say how old the stored tokens are and whether that is worth a warning; None: there are none."""
    try:
        stored = TokenFile(beside(state_path, auth.TOKENS)).read()
    except StateError as problem:
        return {"issued_at": None, "age_days": None, "warning": str(problem)}
    if stored is None or stored.issued_at is None:
        return None
    days = (now + (stored.clock_offset_ms or 0) - stored.issued_at) / DAY_MS  # by Outreach's clock
    warning = _age_warning(days) if stored.refresh_token else None
    return {"issued_at": to_iso(stored.issued_at), "age_days": round(days, 2), "warning": warning}


def _age_warning(days: float) -> str | None:
    said = f"the refresh token is {days:.0f} days old and lives {_TOKEN_DAYS}; any run renews it"
    return None if days < _TOKEN_WARN_DAYS else said


def tokens_document(config: Config, now: Instant) -> dict[str, Any]:
    """Return what `auth status --json` prints; nobody is asked, and no token is shown. `now`: this machine's clock."""
    file = TokenFile(beside(config.state.path, auth.TOKENS))
    stored, s2s = file.read() or StoredTokens(), config.outreach.s2s
    refresh = _refresh_token(stored, now) if s2s is None else None
    missing = missing_scopes(stored.scope, auth.SCOPES) if s2s is None else ()
    app = auth.app_of(config)
    unset = [name for name, value in app.credentials.items() if value is None]
    problem = warning = None
    try:
        if stored.app not in {"", app.name}:
            raise auth.another_app(file.path)
        if s2s is not None and s2s.private_key is not None:
            auth.signed({}, s2s.private_key.get_secret_value())
    except (StateError, ConfigError) as error:
        problem = str(error)
    if problem is None and s2s is None and (config.outreach.refresh_token is None or stored.seed == app.seed):
        # a first token that the stored chain did not grow from may still work
        if refresh is None:
            problem = f"there is no refresh token. {auth.LOG_IN}"
        elif refresh["days_left"] == 0:
            problem = f"the refresh token was idle for more than {_TOKEN_DAYS} days and is dead. {auth.LOG_IN}"
    if missing:
        warning = f"scopes are missing: {', '.join(missing)}; add them to the app in Outreach, then `auth login`"
    elif unset:
        warning = f"{', '.join(unset)} is not set here: a run in this environment could not get a token"
    elif refresh is not None:
        warning = _age_warning(refresh["age_days"] or 0)
    expires = stored.expires_at
    left_ms = None if expires is None else max(expires - now - (stored.clock_offset_ms or 0), 0)
    access = {"expires_at": iso(expires), "seconds_left": None if left_ms is None else left_ms // 1000}
    return {
        "variant": "oauth" if s2s is None else "s2s",
        "authenticated": problem is None,
        "access_token": access if stored.access_token else None,
        "refresh_token": refresh,
        "scopes": sorted(stored.scope.split()),
        "missing_scopes": list(missing),
        "warning": problem or warning,
    }


def _refresh_token(stored: StoredTokens, now: Instant) -> dict[str, Any] | None:
    issued = stored.issued_at
    if not stored.refresh_token:
        return None
    if issued is None:
        return {"issued_at": None, "age_days": None, "days_left": None, "expires_at": None}
    days = (now + (stored.clock_offset_ms or 0) - issued) / DAY_MS
    return {
        "issued_at": to_iso(issued),
        "age_days": round(days, 2),
        "days_left": round(max(_TOKEN_DAYS - days, 0), 2),
        "expires_at": to_iso(Instant(issued + _TOKEN_DAYS * DAY_MS)),
    }
