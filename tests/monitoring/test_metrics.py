from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outreach_sync.instants import Instant
from outreach_sync.monitoring.metrics import METRICS, metrics_text, write_metrics
from outreach_sync.outreach.tokenfile import StoredTokens, TokenFile
from outreach_sync.records import Stream
from outreach_sync.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Recorder

NOW = Instant(1_788_256_800_000)
LINE = re.compile(r'outreach_sync_([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (-?[0-9.e+]+)')
SUMMARY = {
    "streams": {"tasks": {"read": 7, "changed": 2, "skipped": 1, "requests": 1, "watermark": None}},
    "people": {"created": 1, "updated": 4, "queued": 9},
    "tasks": {"created": 3, "rejected": 0, "queued": 0},
    "requests": {"outreach": 3, "workbooks": 5},
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    one = State.open(tmp_path / "state.db")
    yield one
    one.close()


def record(state: State, run_id: str, command: str, ago_s: int, ended: tuple[int, str]) -> None:
    began = Instant(NOW - ago_s * 1000)
    with state.transaction():
        state.runs.begin(run_id, command, began)
        state.runs.finish(run_id, Instant(began + 2500), *ended, SUMMARY)


def values(state: State, tmp_path: Path) -> dict[str, float]:
    text = metrics_text(state, tmp_path / "state.db", NOW)
    found = [LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    return {match[1] + (match[2] or ""): float(match[3]) for match in found if match is not None}


def test_every_line_is_in_the_text_format_and_described_once(state: State, tmp_path: Path) -> None:
    record(state, "a", "run", 60, (0, "ok"))
    text = metrics_text(state, tmp_path / "state.db", NOW)
    assert text.endswith("\n")
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in samples)
    assert len(set(samples)) == len(samples)
    helped = re.findall(r"^# HELP outreach_sync_(\w+) ", text, re.MULTILINE)
    assert len(set(helped)) == len(helped)
    assert set(helped) <= set(METRICS)


def test_each_command_keeps_its_last_run_and_its_last_success(state: State, tmp_path: Path) -> None:
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


def test_what_a_run_did_and_what_waits_are_told(state: State, tmp_path: Path) -> None:
    record(state, "a", "run", 60, (0, "ok"))
    found = values(state, tmp_path)
    assert found['last_run_records_read{command="run",stream="tasks"}'] == 7
    assert found['last_run_people{command="run",action="updated"}'] == 4
    assert found['last_run_tasks{command="run",action="created"}'] == 3
    assert found['last_run_requests{command="run",service="workbooks"}'] == 5
    assert found['outbox_entries{record="person",state="parked"}'] == 0


def test_quota_watermarks_and_tokens_are_told_where_known(state: State, tmp_path: Path) -> None:
    assert not {"quota_remaining", "refresh_token_issued_timestamp_seconds"} & set(values(state, tmp_path))
    TokenFile.beside(tmp_path / "state.db").write(StoredTokens("access", None, "refresh", Instant(NOW - 5000)))
    with state.transaction():
        state.facts.put("outreach_quota", '{"limit": 10000, "remaining": 9000, "resets_at": null}')
        state.progress.complete(Stream.TASKS, Instant(NOW - 60_000), None)
    found = values(state, tmp_path)
    assert found["quota_remaining"] == 9000
    assert found["refresh_token_issued_timestamp_seconds"] == NOW / 1000 - 5
    assert found['watermark_timestamp_seconds{stream="tasks"}'] == NOW / 1000 - 60


def test_the_file_is_replaced_and_readable_by_a_collector(tmp_path: Path, log: Recorder) -> None:
    path = tmp_path / "sync.prom"
    path.write_text("old")
    write_metrics(path, "new\n", log)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o644)
    assert [each.name for each in tmp_path.iterdir()] == ["sync.prom"]
    assert log.events == []


def test_a_pipe_is_neither_replaced_nor_waited_for(tmp_path: Path, log: Recorder) -> None:
    os.mkfifo(tmp_path / "pipe")
    write_metrics(tmp_path / "pipe", "text\n", log)
    assert (tmp_path / "pipe").is_fifo()
    assert [event for event, _ in log.events] == ["metrics_not_written"]


def test_the_reference_lists_every_metric_with_its_meaning() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `outreach_sync_(\w+)` \|(?:[^|]*\|)? ([^|]+) \|$", reference, re.MULTILINE))
    assert listed == METRICS
