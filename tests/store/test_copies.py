from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.errors import StateError
from outreach_sync.instants import parse_iso
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Stream
from outreach_sync.rules.person import Held
from outreach_sync.store import Store
from outreach_sync.store.backup import (
    back_up,
    back_up_daily,
    back_up_elsewhere,
    copies_elsewhere,
    copies_of,
    problems_of,
    restore,
)
from outreach_sync.store.erasure import Persona, erase_rows, forgotten_ids
from tests.harness import DAY, PERSON
from tests.store.conftest import put, state_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = parse_iso("2026-09-01T10:00:00Z")


@pytest.fixture
def target(path: Path) -> Path:
    return path.with_name("copy.db")


def test_a_copy_is_one_private_file_and_whole_while_somebody_writes(state: Store, path: Path, target: Path) -> None:
    put(state, "before")
    with Store.open(path) as other, other.transaction():
        other.facts.put("name", "not committed")
        back_up(state, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {one.name for one in path.parent.glob("copy.db*")} == {"copy.db"}
    with Store.open(target) as copy:
        assert copy.facts.get("name") == "before"


def test_a_copy_that_cannot_be_finished_leaves_nothing_and_no_other_copy_is_touched(
    state: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_file: int) -> None:
        raise OSError(28, "No space left on device")

    target.write_text("an older copy")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StateError, match="No space left"):
        back_up(state, target)
    assert target.read_text() == "an older copy"
    assert not list(target.parent.glob("*.partial"))


def test_one_copy_is_made_a_day_where_there_is_room_and_seven_are_kept_besides_those_that_were_asked_for(
    state: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert back_up_daily(state, NOW) is None  # nothing was read yet
    with state.transaction():
        state.progress.keep_walk(Stream.TASKS, None, watermark=NOW, swept=NOW)
    full = shutil.disk_usage(path.parent)._replace(free=1_000)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _path: full)
        with pytest.raises(StateError, match="no room"):
            back_up_daily(state, NOW)
    assert copies_of(path) == []
    back_up(state, path.with_name("state.db.backup-2026-01-01T100000"))
    for day in range(10):
        made = back_up_daily(state, NOW + day * DAY)
        assert made == path.with_name(f"state.db.backup-2026-09-{day + 1:02}")
        assert back_up_daily(state, NOW + day * DAY) is None
    kept = ["00", "04", "05", "06", "07", "08", "09", "10"]
    assert [one.name[-2:] for one in copies_of(path)] == kept


def test_a_copy_elsewhere_overwrites_nothing_and_its_place_is_remembered_if_it_was_made(
    state: Store, tmp_path: Path
) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(StateError, match="cannot be written"):
        back_up_elsewhere(state, tmp_path / "a-file" / "copy.db")
    assert copies_elsewhere(state) == []
    with pytest.raises(StateError, match="exists already"):
        back_up_elsewhere(state, tmp_path / "a-file")
    assert (tmp_path / "a-file").read_bytes() == b""
    back_up_elsewhere(state, tmp_path / "copy.db")
    assert copies_elsewhere(state) == [tmp_path / "copy.db"]


def test_what_is_restored_is_certain_of_nothing_in_workbooks_and_whoever_was_forgotten_since_stays_so(
    state: Store, path: Path, target: Path
) -> None:
    with state.transaction():
        state.people.read(1001, 5, Held("Running"), rule="email", now=NOW)
        state.cache.keep_states([state_of(1, id=1), state_of(2, id=2)])
    back_up(state, target)
    with state.transaction():
        erase_rows(state.connection, Persona(frozenset({1}), frozenset()))
    state.close()
    restore(path, target, now=NOW)
    with Store.open(path) as restored:
        assert restored.people.by_id([1001])[1001].lock_version is None
        assert forgotten_ids(restored.connection, "prospect") == {1}
        assert set(restored.cache.prospects([1, 2])) == {2}
    with Store.open(target) as untouched:
        assert untouched.people.by_id([1001])[1001].lock_version == 5


def test_what_was_replaced_is_kept_with_what_only_its_log_holds(state: Store, path: Path, target: Path) -> None:
    back_up(state, target)
    put(state, "only in the log")
    replaced = restore(path, target, now=NOW)
    assert replaced == path.with_name("state.db.replaced-2026-09-01T100000")
    with Store.open(path) as restored, Store.open(replaced) as old:
        assert (restored.facts.get("name"), old.facts.get("name")) == (None, "only in the log")


def test_a_state_that_is_damaged_or_gone_can_be_replaced(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as state:
        back_up(state, tmp_path / "copy.db")
    path.write_bytes(b"rubbish")
    replaced = restore(path, tmp_path / "copy.db", now=NOW)
    assert replaced is not None
    assert replaced.read_bytes() == b"rubbish"
    Store.open(path).close()
    shutil.rmtree(path.parent)
    assert restore(path, tmp_path / "copy.db", now=NOW) is None
    Store.open(path).close()


def damage(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * 8192
    copy.write_bytes(bytes(content))


def make_newer(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("spoil", [damage, make_newer, lambda copy: copy.write_bytes(b""), lambda copy: copy.unlink()])
def test_a_copy_that_is_not_whole_replaces_nothing(state: Store, path: Path, target: Path, spoil: Any) -> None:
    back_up(state, target)
    spoil(target)
    state.close()
    before = path.read_bytes()
    with pytest.raises(StateError) as caught:
        restore(path, target, now=NOW)
    assert caught.value.exit_status == 2
    with pytest.raises(StateError, match="itself"):
        restore(path, path, now=NOW)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.partial"))


# -- what is wrong with a file


def test_a_state_that_has_lived_is_whole(world: Any) -> None:
    world.sandbox.load_example()
    world.run(allow_bulk=True)
    for step in (1, 2):
        world.sandbox.evolve(step)
        world.run(allow_bulk=True)
        assert problems_of(world.state_path) == []
    for person in world.people()[::3]:
        world.workbooks.delete(PERSON, person["id"])
    world.do(lambda run: reconcile(run, allow_bulk=True))
    assert problems_of(world.state_path) == []


def test_tables_that_contradict_each_other_are_said(state: Store, path: Path) -> None:
    outbox = "INSERT INTO outbox (record, key, task_id, person_id, action, fields, state)"
    for spoil in (
        "INSERT INTO sequence_state (id, prospect_id, state) VALUES (1, 2, 'active')",
        "INSERT INTO changed VALUES (99, 0)",
        f"{outbox} VALUES ('task', 1, 1, NULL, 'create', '{{', '')",
        f"{outbox} VALUES ('', 1, NULL, 1, 'update', 1, 1)",
        "INSERT INTO prospect (person_id, known, opted_out, email_opted_out, history_read) VALUES (7, 0, 0, 0, 0)",
    ):
        state.connection.execute(spoil)
    assert problems_of(path) == [
        "1 prospects linked to a Person that is not there",
        "1 sequence states of nobody",
        "1 prospects to be decided that are not there",
        "1 queued updates of a Person that is not there",
        "1 queued tasks that are not there",
        "1 queue entries that cannot be read",
    ]


def test_damage_is_said_and_looking_changes_nothing(path: Path, state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1)])  # of a prospect without a Person
    state.close()
    before = path.read_bytes()
    assert problems_of(path) == []
    assert path.read_bytes() == before
    damage(path)
    assert problems_of(path)
    path.write_bytes(b"nonsense" * 1000)
    assert problems_of(path) == ["file is not a database"]


def test_what_is_no_state_is_named(tmp_path: Path) -> None:
    for make in (lambda _: None, lambda path: path.touch()):
        make(tmp_path / "other.db")
        with pytest.raises(StateError, match="no state"):
            problems_of(tmp_path / "other.db")


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    path: Path, state: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that is restored for it would throw away what was done since."""

    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    state.close()
    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(StateError, match="cannot be read: unable to open database file"):
        problems_of(path)
