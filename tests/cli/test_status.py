from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.state import State

if TYPE_CHECKING:
    from pathlib import Path


def test_before_the_first_run_it_says_so_and_is_no_failure(setup: Any, command: Any) -> None:
    ran = command("status")
    assert ran.status == 0
    assert "no state yet" in ran.out
    assert not setup.state_path.exists()


def test_json_before_the_first_run_has_the_same_keys_as_after_it(setup: Any, command: Any) -> None:
    before = command("status", "--json").document
    assert before["last_run"] is None
    assert before["watermarks"] == dict.fromkeys(("sequence_states", "tasks", "prospects"))
    command("run")
    assert command("status", "--json").document.keys() == before.keys()


def test_it_shows_what_the_last_run_did_and_what_waits(setup: Any, command: Any) -> None:
    done = command("run", "--json").document
    document = command("status", "--json").document
    assert document["last_run"]["run_id"] == done["run_id"]
    assert document["last_run"]["people"] == done["people"]
    assert document["watermarks"] == {name: stream["watermark"] for name, stream in done["streams"].items()}
    assert document["queued"] == done["people"]["queued"] + done["tasks"]["queued"]
    assert document["parked"] == 0
    assert document["quota"]["remaining"] > 0
    assert document["tokens"]["age_days"] < 1
    assert "partial" in command("status").out


def test_parked_records_are_counted_apart(setup: Any, command: Any) -> None:
    setup.change("sync", max_attempts=1)
    command("run")
    document = command("status", "--json").document
    assert document["parked"] == 2
    assert "2" in next(line for line in command("status").out.splitlines() if line.startswith("Queued"))


def test_a_run_that_the_schedule_wanted_long_ago_is_overdue(setup: Any, command: Any) -> None:
    command("run")
    assert command("status", "--json").document["overdue"] == []
    _shift_runs(setup.state_path, -3 * 3_600_000)
    assert [one["command"] for one in command("status", "--json").document["overdue"]] == ["run"]
    assert "Overdue: run" in command("status").out


def test_it_changes_nothing_and_takes_no_lock(setup: Any, command: Any) -> None:
    command("run")
    before = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    command("status")
    after = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    assert {name for name in after if not name.endswith(("-wal", "-shm"))} == set(before)
    assert after["state.db"] == before["state.db"]


def test_a_state_that_is_no_database_is_refused_with_status_2_and_left_alone(setup: Any, command: Any) -> None:
    setup.state_path.parent.mkdir()
    setup.state_path.write_bytes(b"not a database, but somebody's precious notes" * 40)
    ran = command("status")
    assert ran.status == 2
    assert setup.state_path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize(
    "arguments", [("status",), ("check",), ("failures", "list"), ("run", "--dry-run"), ("run",)], ids=" ".join
)
def test_a_database_of_another_program_is_not_taken_for_no_state_yet(
    arguments: tuple[str, ...], empty: Any, command: Any
) -> None:
    empty.state_path.parent.mkdir()
    with closing(sqlite3.connect(empty.state_path)) as connection:
        connection.execute("CREATE TABLE precious (id)")
    ran = command(*arguments)
    assert ran.status == 2
    assert "not one of outreach-sync" in ran.out + ran.err


def test_it_points_at_the_list_of_refusals_only_where_that_has_something(setup: Any, command: Any) -> None:
    command("run")
    listed = command("failures", "list", "--json").document
    assert command("status", "--json").document["refused"] == len(listed) > 0
    assert f"{len(listed)} of them refused: `outreach-sync failures list`" in command("status").out
    with State.open(setup.state_path) as state, state.transaction():
        state.connection.execute("UPDATE outbox SET reason = NULL, state = 'queued'")
    assert "failures list" not in command("status").out


def _shift_runs(path: Path, by_ms: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE run SET started_at = started_at + ?, finished_at = finished_at + ?", (by_ms, by_ms))
    connection.commit()
    connection.close()
