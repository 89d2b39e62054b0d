from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.config.quick import QuickSettings
from outreach_sync.insight.status import Overdue, overdue_runs, status_document, token_age
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.outreach.tokenfile import StoredTokens, TokenFile
from outreach_sync.state import State

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 86_400_000
NOON = parse_iso("2026-09-02T12:00:00Z")  # a Wednesday


def _settings(path: Path, **changes: Any) -> QuickSettings:
    plain = QuickSettings(
        path / "state.db", 90 * DAY_MS, ("tasks",), DAY_MS, 600_000, None, None, "info", "auto"
    )  # fmt: skip
    return plain._replace(**changes)


def test_a_cycle_is_overdue_only_after_its_pause_and_five_minutes(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    assert overdue_runs(settings, {"run": parse_iso("2026-09-02T11:46:00Z")}, NOON) == []
    late = overdue_runs(settings, {"run": parse_iso("2026-09-02T11:44:00Z")}, NOON)
    assert late == [Overdue("run", parse_iso("2026-09-02T11:54:00Z"))]
    assert overdue_runs(settings, {}, NOON) == []


def test_a_cron_schedule_that_does_not_fire_at_night_is_not_overdue_in_the_morning(tmp_path: Path) -> None:
    settings = _settings(tmp_path, every_ms=None, cron="0 14-18 * * *")
    assert overdue_runs(settings, {"run": parse_iso("2026-09-01T18:00:05Z")}, NOON) == []
    assert overdue_runs(settings, {"run": parse_iso("2026-09-01T17:00:05Z")}, NOON) != []


def test_a_missed_weekly_reconcile_is_overdue_although_cycles_run(tmp_path: Path) -> None:
    last = {"run": parse_iso("2026-09-02T11:55:00Z"), "reconcile": parse_iso("2026-08-23T03:00:01Z")}
    weekly = _settings(tmp_path, reconcile="0 3 * * sun")
    assert overdue_runs(weekly, last, NOON) == [Overdue("reconcile", parse_iso("2026-08-30T03:00:00Z"))]
    assert overdue_runs(_settings(tmp_path), last, NOON) == []
    assert overdue_runs(weekly, {**last, "reconcile": parse_iso("2026-09-01T00:00:00Z")}, NOON) == []


def test_a_reconcile_long_before_the_latest_runs_still_counts(tmp_path: Path) -> None:
    settings = _settings(tmp_path, reconcile="0 3 * * sun")
    with State.open(settings.state_path) as state, state.transaction():
        state.runs.begin("weekly", "reconcile", parse_iso("2026-08-30T03:00:01Z"))
        state.runs.finish("weekly", NOON, 0, "ok", {"requests": {"outreach": 77, "workbooks": 0}})
        for number in range(400):
            state.runs.begin(f"run {number}", "run", Instant(NOON - (400 - number) * 60_000))
    opened = State.open_to_read(settings.state_path)
    assert opened is not None
    with opened:
        document = status_document(opened, settings, NOON)
    assert document["overdue"] == []
    assert document["yearly"]["per_reconcile"] == 77
    assert len(document["runs"]) == 10


def test_a_refresh_token_of_a_week_is_worth_a_warning_by_outreachs_clock(tmp_path: Path) -> None:
    settings, day = _settings(tmp_path), DAY_MS
    stored = StoredTokens("access", None, "refresh", Instant(NOON - 6 * day), clock_offset_ms=0)
    TokenFile.beside(settings.state_path).write(stored)
    young = token_age(settings, NOON)
    assert young is not None
    assert young["warning"] is None
    TokenFile.beside(settings.state_path).write(stored._replace(clock_offset_ms=2 * day))
    old = token_age(settings, NOON)
    assert old is not None
    assert "8 days" in old["warning"]


def test_a_token_file_that_others_can_read_is_a_warning_and_does_not_end_status(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    file = TokenFile.beside(settings.state_path)
    file.write(StoredTokens("access"))
    file.path.chmod(0o644)
    age = token_age(settings, NOON)
    assert age is not None
    assert "read by others" in age["warning"]
