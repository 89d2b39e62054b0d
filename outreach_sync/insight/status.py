"""How things stand, by the state alone: watermarks, runs, what waits, what is overdue, what it costs.

Imports nothing slow: `status` is meant for prompts and probes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.config.cron import next_firing
from outreach_sync.errors import StateError
from outreach_sync.insight.yearly_cost import cost_by_state, yearly_cost
from outreach_sync.instants import Instant, from_datetime, to_datetime, to_iso
from outreach_sync.outreach.tokenfile import TokenFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.config.quick import QuickSettings
    from outreach_sync.state import State
    from outreach_sync.state.runs import RunRecord

QUOTA = "outreach_quota"
"""The fact that holds what Outreach last told of its hourly quota (`conduct` puts it there)."""

TOKEN_DAYS, TOKEN_WARN_DAYS = 14, 7
"""How long a refresh token lives, and from which age on it is worth a warning."""

_DAY_MS = 86_400_000
_SHOWN = 10
_GRACE_MS = 5 * 60_000


class Overdue(NamedTuple):
    """A run that the schedule wanted and that did not begin."""

    command: str
    due_at: Instant


def status_document(state: State | None, settings: QuickSettings, now: Instant) -> dict[str, Any]:
    """Return what `status --json` prints; `state` None: no run was ever made."""
    if state is None:
        return _document_without_state(settings, now)
    recorded = state.runs.latest(_SHOWN)
    waiting = state.outbox.counts()
    overdue = overdue_runs(settings, last_begun(state), now)
    return {
        "state": str(settings.state_path),
        "watermarks": _watermarks(state, settings),
        "last_run": _run(recorded[0]) if recorded else None,
        "runs": [_run(run) for run in recorded],
        "queued": sum(count for (_, kind), count in waiting.items() if kind in {"queued", "sending"}),
        "parked": sum(count for (_, kind), count in waiting.items() if kind == "parked"),
        "refused": state.outbox.count_failures(),
        "waiting_for_person": sum(count for (_, kind), count in waiting.items() if kind == "waiting"),
        "undecided": state.undecided.count(),
        "people": state.people.known(),
        "overdue": [{"command": one.command, "due_at": to_iso(one.due_at)} for one in overdue],
        "quota": _quota(state),
        "yearly": cost_by_state(settings, state)._asdict(),
        "tokens": token_age(settings, now),
    }


def _document_without_state(settings: QuickSettings, now: Instant) -> dict[str, Any]:
    return {
        "state": None,
        "watermarks": dict.fromkeys(settings.streams),
        "last_run": None,
        "runs": [],
        "queued": 0,
        "parked": 0,
        "refused": 0,
        "waiting_for_person": 0,
        "undecided": 0,
        "people": 0,
        "overdue": [],
        "quota": None,
        "yearly": yearly_cost(settings, ())._asdict(),
        "tokens": token_age(settings, now),
    }


def overdue_runs(settings: QuickSettings, last: Mapping[str, Instant], now: Instant) -> list[Overdue]:
    """Say which scheduled commands should have begun since they last did, five minutes' grace given.

    Args:
        settings: the schedule.
        last: command -> when it last began, or since when it could have; absent: nothing was ever scheduled.
        now: this machine's clock.
    """
    due = []
    if "run" in last:
        due.append(("run", _next_cycle(settings, last["run"])))
    if "reconcile" in last and settings.reconcile:
        due.append(("reconcile", _next_firing(settings.reconcile, last["reconcile"])))
    return [Overdue(command, at) for command, at in due if at is not None and at + _GRACE_MS < now]


def last_begun(state: State) -> dict[str, Instant]:
    """Return when each scheduled command last began; where it never did, when anything first did."""
    oldest = state.runs.oldest()
    if oldest is None:
        return {}
    last = {command: state.runs.latest_of(command) or oldest for command in ("run", "reconcile")}
    return {command: run.started_at for command, run in last.items()}


def _next_cycle(settings: QuickSettings, after: Instant) -> Instant | None:
    if settings.cron:
        return _next_firing(settings.cron, after)
    return None if settings.every_ms is None else Instant(after + settings.every_ms)


def _next_firing(cron: str, after: Instant) -> Instant:
    return from_datetime(next_firing(cron, to_datetime(after)))


def token_age(settings: QuickSettings, now: Instant) -> dict[str, Any] | None:
    """Say how old the stored tokens are and whether that is worth a warning; None: there are none.

    Each refresh starts the 14 days of a refresh token anew.
    """
    try:
        stored = TokenFile.beside(settings.state_path).read()
    except StateError as problem:
        return {"issued_at": None, "age_days": None, "warning": str(problem)}
    if stored is None or stored.issued_at is None:
        return None
    days = (now + (stored.clock_offset_ms or 0) - stored.issued_at) / _DAY_MS
    warning = None
    if stored.refresh_token and days >= TOKEN_WARN_DAYS:
        warning = f"the refresh token is {days:.0f} days old and lives {TOKEN_DAYS}; any run renews it"
    return {"issued_at": to_iso(stored.issued_at), "age_days": round(days, 2), "warning": warning}


def _watermarks(state: State, settings: QuickSettings) -> dict[str, str | None]:
    known = {stream.value: to_iso(mark) for stream, mark in state.progress.watermarks().items()}
    return {stream: known.get(stream) for stream in dict.fromkeys((*settings.streams, *known))}


def _run(run: RunRecord) -> dict[str, Any]:
    summary = {name: run.summary.get(name) for name in ("people", "tasks", "requests", "error") if name in run.summary}
    return {
        "run_id": run.id,
        "command": run.command,
        "started_at": to_iso(run.started_at),
        "finished_at": None if run.finished_at is None else to_iso(run.finished_at),
        "outcome": run.outcome,
        "exit_status": run.exit_status,
        **summary,
    }


def _quota(state: State) -> dict[str, Any] | None:
    text = state.facts.get(QUOTA)
    if text is None:
        return None
    told = json.loads(text)
    resets_at = told.get("resets_at")
    return {**told, "resets_at": None if resets_at is None else to_iso(Instant(resets_at))}
