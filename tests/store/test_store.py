from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

import pytest
from sqlite_utils import Database, Migrations

from outreach_sync.errors import StateError
from outreach_sync.instants import Instant
from outreach_sync.records import Stream
from outreach_sync.store import Store
from outreach_sync.store.backup import copies_of, problems_of
from outreach_sync.store.schema import VERSION, connect, migrations

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_and_its_directory_are_private(path: Path) -> None:
    before = os.umask(0)
    try:
        Store.open(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_transaction_that_fails_leaves_nothing_and_one_that_ends_survives_a_power_cut(state: Store) -> None:
    def fail() -> None:
        with state.transaction():
            state.facts.put("name", "value")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert state.facts.get("name") is None
    assert state.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert state.connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [("PRAGMA user_version = 99", "newer version"), ("CREATE TABLE precious (id)", "not one of outreach-sync")],
)
def test_a_file_of_a_newer_version_or_of_another_program_is_left_untouched(path: Path, spoil: str, said: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(spoil)
    before = path.read_bytes()
    for opening in (Store.open, Store.open_to_read, Store.open_scratch):
        with pytest.raises(StateError, match=said) as caught:
            opening(path)
        assert caught.value.exit_status == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 40, b"x"])
def test_a_damaged_file_is_named_and_left_untouched(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"cannot be used.*state restore"):
        Store.open(path)
    assert path.read_bytes() == content


def test_a_full_disk_is_said_and_loses_nothing_that_was_committed(state: Store) -> None:
    with state.transaction():
        state.facts.put("before", "kept")
    pages = state.connection.execute("PRAGMA page_count").fetchone()[0]
    state.connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with state.transaction():
            for number in range(1000):
                state.facts.put(f"name{number}", "x" * 1000)

    with pytest.raises(StateError, match="Free some disk space"):
        fill()
    assert (state.facts.get("before"), state.facts.get("name0")) == ("kept", None)


def test_a_file_that_another_program_holds_is_named(state: Store, path: Path) -> None:
    def write() -> None:
        with state.transaction():
            state.facts.put("name", "value")

    state.connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="Another program"):
            write()
    write()
    assert state.facts.get("name") == "value"


_OLD_ROWS = """
INSERT INTO run VALUES ('second', 'run', 5, 6, 0, 'ok', '{}');
INSERT INTO run VALUES ('third', 'run', 4, NULL, NULL, NULL, NULL);
INSERT INTO prospect (id, person_id, known, first_name, emails, opted_out, email_opted_out, updated_at, history_read)
  VALUES (18, 1001, 1, 'Ada', 'ada@example.com', 1, 0, 7, 1);
INSERT INTO sequence_state VALUES (501, 18, 42, 'paused', 5, 6);
INSERT INTO person (id, linked_at, rule) VALUES (1001, 5, 'email');
INSERT INTO changed VALUES (18, 1);
INSERT INTO outbox (id, record, key, prospect_id, person_id, action, fields, state)
  VALUES (7, 'person', 18, 18, 1001, 'update', '{"no_email": true}', 'queued');
INSERT INTO outbox (id, record, key, prospect_id, action, fields, state, reason)
  VALUES (9, 'source', 1504, 18, 'resolve', '{}', 'parked', 'broken');
DELETE FROM outbox WHERE id = 10
"""


def test_a_state_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        Migrations.apply(migrations, Database(connection, execute_plugins=False), stop_before="version_2")
        for statement in _OLD_ROWS.split(";\n"):
            connection.execute(statement)
    before = path.read_bytes()
    with Store.open_to_read(path) or nullcontext() as looked_at:
        assert looked_at is not None
        assert looked_at.outbox.counts(refused=True) == {("source", "parked"): 1}
    assert path.read_bytes() == before
    with Store.open(path) as state:
        assert [(one.id, one.number) for one in state.history.runs(9)] == [("third", 2), ("second", 1)]
        assert state.cache.prospects([18])[18].prospect.first_name == "Ada"
        assert state.outbox.due("person", "update", Instant(0), after=0, limit=9) == []  # its Person has to be read
        assert [(one.id, one.record) for one in state.outbox.failures()] == [(9, "source")]
        with state.transaction():
            state.outbox.drop([500], Stream.TASKS)
            assert len(state.outbox.failures()) == 1
            state.outbox.drop([501], Stream.TASKS)
            assert state.outbox.failures() == []
            state.outbox.queue_person(18, 1001, "update", {"no_email": True}, run_id="third")
        assert [one.id for one in state.outbox.find(prospect_id=18)] == [7]
    assert problems_of(path) == []
    assert copies_of(path) == [path.with_name("state.db.before-2-from-1")]
    assert stat.S_IMODE(copies_of(path)[0].stat().st_mode) == 0o600


def test_looking_neither_makes_a_state_nor_writes(path: Path) -> None:
    assert Store.open_to_read(path) is None
    Store.open_scratch(path).close()
    assert not path.parent.exists()
    Store.open(path).close()
    state = Store.open_to_read(path)
    assert state is not None
    with pytest.raises(StateError, match="readonly"), state:
        state.connection.execute("DELETE FROM fact")


def test_a_scratch_copy_has_everything_and_gives_nothing_back(state: Store, path: Path) -> None:
    with state.transaction():
        state.facts.put("name", "value")
    with Store.open_scratch(path) as scratch:
        assert scratch.facts.get("name") == "value"
        with scratch.transaction():
            scratch.facts.put("name", "other")
    assert state.facts.get("name") == "value"


def _on_a_disk_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite find that it cannot make its files beside the state, as on a read-only file system."""
    monkeypatch.setattr(
        "outreach_sync.store.connect",
        lambda at, options="": connect(at if "immutable" in options or at != path else path / "nowhere", options),
    )


def test_a_state_on_a_disk_that_cannot_be_written_is_read_as_it_lies_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(path) as state, state.transaction():
        state.facts.put("name", "value")
    _on_a_disk_that_cannot_be_written(path, monkeypatch)
    read = Store.open_to_read(path)
    assert read is not None
    assert read.facts.get("name") == "value"
    read.close()


@pytest.mark.parametrize("version", [VERSION, 99])
def test_on_such_a_disk_a_log_that_was_left_behind_is_read_too(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    state = Store.open(path)
    with state.transaction():
        state.facts.put("name", "value")
    state.connection.execute(f"PRAGMA user_version = {version}")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for ending in ("", "-wal"):
        shutil.copyfile(f"{path}{ending}", f"{crashed}/state.db{ending}")
    state.close()
    before = {one: one.read_bytes() for one in crashed.iterdir()}
    _on_a_disk_that_cannot_be_written(crashed / "state.db", monkeypatch)
    newer = pytest.raises(StateError, match=f"{crashed}/state.db was written by a newer version")
    with newer if version > VERSION else nullcontext():
        read = Store.open_to_read(crashed / "state.db")
        assert read is not None
        assert read.facts.get("name") == "value"
    assert {one: one.read_bytes() for one in crashed.iterdir()} == before


def test_a_copy_that_is_made_while_another_run_begins_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(path).close()
    began: list[Store] = []

    def looks(_: Path) -> tuple[int, int]:
        if not began:
            began.append(Store.open(path))
            with began[0].transaction():
                began[0].facts.put("name", "value")
        return len(began), 0

    monkeypatch.setattr("outreach_sync.store._looks", looks)
    with Store.open_scratch(path) as scratch:
        assert scratch.facts.get("name") == "value"
    began[0].close()


def test_damage_is_said_wherever_it_is_met(path: Path) -> None:
    def read(path: Path) -> None:
        with Store.open(path) as state:
            list(state.connection.execute("SELECT * FROM fact"))

    with Store.open(path) as state, state.transaction():
        for number in range(3_000):
            state.facts.put(f"name{number}", "x" * 200)
    whole = path.read_bytes()
    path.write_bytes(whole[:8_192] + b"\xff" * (len(whole) - 8_192))
    with pytest.raises(StateError, match="malformed") as caught:
        read(path)
    assert caught.value.exit_status == 2


def test_a_number_that_is_too_large_for_the_state_is_said(state: Store) -> None:
    with pytest.raises(StateError, match="too large"), state:
        state.outbox.find(id=2**63)


def test_a_text_that_was_damaged_is_said(state: Store) -> None:
    with state.transaction():
        state.history.begin("a", "run", Instant(1))
        state.connection.execute("UPDATE run SET summary = '{broken'")
    with pytest.raises(StateError, match="not what was stored"):
        state.history.runs(1)
