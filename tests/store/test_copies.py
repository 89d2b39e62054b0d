from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync import instants
from outreach_sync.errors import StateError
from outreach_sync.instants import Instant
from outreach_sync.reconcile import reconcile
from outreach_sync.records import SequenceState, Stream
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

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400_000
NOW = instants.parse_iso("2026-09-01T10:00:00Z")


def has_read_something(state: Store) -> None:
    with state.transaction():
        state.progress.keep_walk(Stream.TASKS, None, watermark=NOW, swept=NOW)


def test_a_copy_is_one_private_file_and_whole_while_somebody_writes(state: Store, path: Path) -> None:
    with state.transaction():
        state.facts.put("name", "before")
    target = path.with_name("copy.db")
    with Store.open(path) as other, other.transaction():
        other.facts.put("name", "not committed")
        back_up(state, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {one.name for one in path.parent.glob("copy.db*")} == {"copy.db"}
    with Store.open(target) as copy:
        assert copy.facts.get("name") == "before"


def test_a_copy_that_cannot_be_finished_leaves_nothing_and_no_other_copy_is_touched(
    state: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = path.with_name("copy.db")
    target.write_text("an older copy")

    def fail(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StateError, match="No space left"):
        back_up(state, target)
    assert target.read_text() == "an older copy"
    assert not list(path.parent.glob("*.partial"))


def test_one_copy_is_made_a_day_and_seven_are_kept_besides_those_that_were_asked_for(state: Store, path: Path) -> None:
    assert back_up_daily(state, NOW) is None  # nothing was read yet
    has_read_something(state)
    back_up(state, path.with_name("state.db.backup-2026-01-01T100000"))
    for day in range(10):
        made = back_up_daily(state, Instant(NOW + day * DAY))
        assert made == path.with_name(f"state.db.backup-2026-09-{day + 1:02}")
        assert back_up_daily(state, Instant(NOW + day * DAY)) is None
    kept = ["00", "04", "05", "06", "07", "08", "09", "10"]
    assert [one.name[-2:] for one in copies_of(path)] == kept


def test_without_room_there_is_no_copy_and_the_disk_is_not_filled(
    state: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_read_something(state)
    full = shutil.disk_usage(path.parent)._replace(free=1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: full)
    with pytest.raises(StateError, match="no room"):
        back_up_daily(state, NOW)
    assert copies_of(path) == []


def test_a_copy_elsewhere_overwrites_nothing_and_its_place_is_remembered_if_it_was_made(
    state: Store, tmp_path: Path
) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(StateError, match="cannot be written"):
        back_up_elsewhere(state, tmp_path / "a-file" / "copy.db")
    assert copies_elsewhere(state) == []
    target = tmp_path / "copy.db"
    back_up_elsewhere(state, target)
    assert copies_elsewhere(state) == [target]
    before = target.read_bytes()
    with pytest.raises(StateError, match="exists already"):
        back_up_elsewhere(state, target)
    assert target.read_bytes() == before


def test_what_is_restored_is_certain_of_nothing_in_workbooks_and_whoever_was_forgotten_since_stays_so(
    state: Store, path: Path
) -> None:
    with state.transaction():
        state.people.read(1001, 5, Held("Running"), rule="email", now=NOW)
        state.cache.keep_states(SequenceState(one, one, 1, "active", NOW, NOW) for one in (1, 2))
    copy = path.with_name("copy.db")
    back_up(state, copy)
    with state.transaction():
        erase_rows(state.connection, Persona(frozenset({1}), frozenset()))
    state.close()
    restore(path, copy, now=NOW)
    with Store.open(path) as restored:
        assert restored.people.by_id([1001])[1001].lock_version is None
        assert forgotten_ids(restored.connection, "prospect") == {1}
        assert set(restored.cache.prospects([1, 2])) == {2}
    with Store.open(copy) as untouched:
        assert untouched.people.by_id([1001])[1001].lock_version == 5


def test_what_was_replaced_is_kept_with_what_only_its_log_holds(state: Store, path: Path) -> None:
    copy = path.with_name("copy.db")
    back_up(state, copy)
    with state.transaction():
        state.facts.put("name", "only in the log")
    replaced = restore(path, copy, now=NOW)
    assert replaced == path.with_name("state.db.replaced-2026-09-01T100000")
    with Store.open(path) as restored:
        assert restored.facts.get("name") is None
    with Store.open(replaced) as old:
        assert old.facts.get("name") == "only in the log"


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
def test_a_copy_that_is_not_whole_replaces_nothing(state: Store, path: Path, spoil: Any) -> None:
    copy = path.with_name("copy.db")
    back_up(state, copy)
    spoil(copy)
    state.close()
    before = path.read_bytes()
    with pytest.raises(StateError) as caught:
        restore(path, copy, now=NOW)
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
        world.workbooks.delete("Private::Crm::Person", person["id"])
    world.do(lambda run: reconcile(run, allow_bulk=True))
    assert problems_of(world.state_path) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("INSERT INTO sequence_state (id, prospect_id, state) VALUES (1, 2, 'active')", "1 sequence states of nobody"),
        ("INSERT INTO changed VALUES (1, 0)", "1 prospects to be decided that are not there"),
        (
            "INSERT INTO outbox (record, key, task_id, action, fields, state) VALUES ('task', 1, 1, 'create', '{', '')",
            "1 queue entries that cannot be read",
        ),
        (
            "INSERT INTO outbox (record, key, person_id, action, fields, state) VALUES ('', 1, 1, 'update', 1, 1)",
            "1 queued updates of a Person that is not there",
        ),
        (
            "INSERT INTO prospect (person_id, known, opted_out, email_opted_out, history_read) VALUES (7, 0, 0, 0, 0)",
            "1 prospects linked to a Person that is not there",
        ),
    ],
)
def test_tables_that_contradict_each_other_are_said(state: Store, path: Path, spoil: str, said: str) -> None:
    with state.transaction():
        state.connection.execute(spoil)
    assert said in problems_of(path)


def test_damage_is_said_and_looking_changes_nothing(path: Path, state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([SequenceState(1, 1, 1, "active", NOW, NOW)])  # of a prospect without a Person
    state.close()
    before = path.read_bytes()
    assert problems_of(path) == []
    assert path.read_bytes() == before
    damage(path)
    assert problems_of(path)
    path.write_bytes(b"nonsense" * 1000)
    assert problems_of(path) == ["file is not a database"]


@pytest.mark.parametrize("content", [None, b""])
def test_what_is_no_state_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StateError, match="no state"):
        problems_of(path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    path: Path, state: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that is restored for it would throw away what was done since."""
    state.close()

    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(StateError, match="cannot be read: unable to open database file"):
        problems_of(path)
