from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_before_the_first_run_it_says_so_and_is_no_failure(setup: Any) -> None:
    ran = setup("status")
    assert ran.status == 0
    assert ran.out.splitlines()[0].startswith("✗ no run was made yet: try `outreach-sync check`")
    assert setup("status", "--check").status == 1
    assert not setup.state_path.exists()


def test_json_before_the_first_run_has_the_same_keys_as_after_it(setup: Any) -> None:
    before = setup("status", "--json").document
    assert before["last_run"] is None
    assert before["watermarks"] == dict.fromkeys(("sequence_states", "tasks", "prospects", "events"))
    setup("run")
    assert setup("status", "--json").document.keys() == before.keys()


def test_it_shows_what_the_last_run_did_and_what_waits(setup: Any) -> None:
    done = setup("run", "--json").document
    document = setup("status", "--json").document
    assert document["last_run"]["run_id"] == done["run_id"]
    assert document["last_run"]["people"] == done["people"]
    marks = {name: stream["watermark"] for name, stream in done["streams"].items()}
    assert {name: document["watermarks"][name] for name in marks} == marks
    assert document["queued"] == done["people"]["queued"] + done["tasks"]["queued"]
    assert document["parked"] == 0
    assert document["quota"]["remaining"] > 0
    assert document["tokens"]["age_days"] < 1
    said = setup("status").out
    assert re.search(r"^run +\d+ s ago +partial +1 +9 created, 47 updated, 2 rejected +23 created$", said, re.MULTILINE)
    assert re.search(r"^last run \d+ s ago · next \d\d:\d\d UTC$", said, re.MULTILINE)


def test_parked_records_are_counted_apart(setup: Any) -> None:
    setup.change("sync", max_attempts=1)
    setup("run")
    document = setup("status", "--json").document
    assert document["parked"] == 2
    assert "2 parked" in setup("status").out


def test_a_run_that_the_schedule_wanted_long_ago_is_overdue(setup: Any) -> None:
    setup("run")
    assert setup("status", "--json").document["overdue"] == []
    _shift_runs(setup.state_path, -3 * 3_600_000)
    assert [one["command"] for one in setup("status", "--json").document["overdue"]] == ["run"]
    assert "✗ run is overdue since " in setup("status").out
    assert setup("status", "--check", "--json").status == 1


def test_it_changes_nothing_and_takes_no_lock(setup: Any) -> None:
    setup("run")
    before = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    setup("status")
    after = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    assert {name for name in after if not name.endswith(("-wal", "-shm"))} == set(before)
    assert after["state.db"] == before["state.db"]


@pytest.mark.parametrize(
    "arguments", [("status",), ("check",), ("failures", "list"), ("run", "--dry-run"), ("run",)], ids=" ".join
)
def test_a_database_of_another_program_is_not_taken_for_no_state_yet(arguments: tuple[str, ...], empty: Any) -> None:
    empty.state_path.parent.mkdir()
    with closing(sqlite3.connect(empty.state_path)) as connection:
        connection.execute("CREATE TABLE precious (id)")
    ran = empty(*arguments)
    assert ran.status == 2
    assert "not one of outreach-sync" in ran.out + ran.err


def test_the_verdict_is_ok_and_check_ends_with_0_where_nobody_is_needed(setup: Any) -> None:
    setup("run")
    listed = setup("failures", "list", "--json").document
    refused = setup("status", "--check")
    assert (refused.status, len(listed)) == (1, 2)
    assert refused.out.startswith("✗ 2 records were refused: `outreach-sync failures list` says why")
    setup("failures", "discard", *(str(one["id"]) for one in listed))
    well = setup("status", "--check")
    assert well.status == 0
    assert re.match(r"OK · last run \d+ s ago · ne", well.out)


def _shift_runs(path: Path, by_ms: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE run SET started_at = started_at + ?, finished_at = finished_at + ?", (by_ms, by_ms))
    connection.commit()
    connection.close()
