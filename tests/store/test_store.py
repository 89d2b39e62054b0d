import errno
import os
import shutil
import sqlite3
import stat
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlite_utils import Database, Migrations

from outreach_sync.errors import LockHeldError, StateError
from outreach_sync.instants import parse_iso
from outreach_sync.records import Stream
from outreach_sync.rules.person import Held
from outreach_sync.store import Store, backup, run_lock
from outreach_sync.store.backup import back_up, back_up_daily, copies_of, problems_of, restore
from outreach_sync.store.erasure import Persona, erase_rows, forgotten_ids
from outreach_sync.store.schema import VERSION, connect, migrations
from tests.harness import DAY, PERSON
from tests.store.conftest import put, state_of

NOW = parse_iso("2026-09-01T10:00:00Z")
with closing(sqlite3.connect(":memory:")) as _made:
    _made.execute("CREATE TABLE precious (id)")
    DAMAGED = _made.serialize().replace(b"TABLE precious", b"T\xb2BLE precious")  # SQLite quotes what is no UTF-8


def test_the_file_and_its_directories_are_private_whatever_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state.db"
    before = os.umask(0)
    try:
        Store.open(path).close()
    finally:
        os.umask(before)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, *path.parents[:2])] == [0o600, 0o700, 0o700]


def test_a_transaction_that_fails_leaves_nothing_and_one_that_ends_survives_a_power_cut(state: Store) -> None:
    with suppress(KeyError), state.transaction():
        state.facts.put("name", "value")
        raise KeyError
    assert state.facts.get("name") is None
    assert state.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert state.connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("PRAGMA user_version = 99", "newer version"),
        ("CREATE TABLE precious (id)", "not one of outreach-sync"),
        ("CREATE TABLE precious (id); PRAGMA user_version = 2", "not one of outreach-sync"),
        (b"no database at all, but long enough to be read as one" * 40, r"cannot be used.*state restore"),
        (DAMAGED, r"malformed.*state restore"),
    ],
)
def test_a_file_that_is_newer_damaged_or_of_another_program_is_named_and_left_untouched(
    path: Path, spoil: str | bytes, said: str
) -> None:
    path.parent.mkdir()
    if isinstance(spoil, bytes):
        path.write_bytes(spoil)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(spoil)
    before = path.read_bytes()
    for opening in (Store.open, Store.open_to_read, Store.open_scratch):
        with pytest.raises(StateError, match=said) as caught:
            opening(path)
        assert caught.value.exit_status == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["fact", "write", "run", "label_count"])
def test_a_table_that_is_gone_is_damage_and_is_not_made_anew(state: Store, path: Path, table: str) -> None:
    state.connection.execute(f"DROP TABLE {table}")
    state.close()
    for opening in (Store.open, Store.open_to_read, Store.open_scratch):
        with pytest.raises(StateError, match=f"no table {table}"):
            opening(path)
    assert problems_of(path) == [f"database disk image is malformed: no table {table}"]
    with pytest.raises(StateError, match=f"damaged and was not restored: .*no table {table}"):
        restore(path.with_name("other.db"), path, now=NOW)


def test_damage_is_said_wherever_it_is_met_and_a_file_of_a_few_bytes_is_not_overwritten(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"x")
    with pytest.raises(StateError, match="cannot be used"):
        Store.open(path)
    assert path.read_bytes() == b"x"
    path.unlink()
    with Store.open(path) as state:
        put(state, "x" * 600_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:8_192] + b"\xff" * (len(whole) - 8_192))
    with pytest.raises(StateError, match="malformed"), Store.open(path) as state:
        list(state.connection.execute("SELECT * FROM fact"))


def test_a_full_disk_and_a_program_that_holds_the_file_are_said_and_lose_nothing(state: Store, path: Path) -> None:
    put(state, "kept")
    pages = state.connection.execute("PRAGMA page_count").fetchone()[0]
    state.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StateError, match="Free some disk space"):
        put(state, "x" * 1_000_000)
    assert state.facts.get("name") == "kept"
    state.connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="Another program"):
            put(state)
    put(state)
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
        assert looked_at.outbox.counts(refused=True) == {("person", "parked"): 1}
    assert path.read_bytes() == before
    with Store.open(path) as state:
        assert [(one.id, one.number) for one in state.history.runs(9)] == [("third", 2), ("second", 1)]
        assert state.cache.prospects([18])[18].prospect.first_name == "Ada"
        assert state.outbox.due("person", "update", 0, after=0, limit=9) == []  # its Person has to be read
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


def test_looking_makes_and_changes_no_state_and_a_scratch_copy_has_all_and_gives_nothing_back(path: Path) -> None:
    assert Store.open_to_read(path) is None
    Store.open_scratch(path).close()
    assert not path.parent.exists()
    Store.open(path).close()
    looked_at = Store.open_to_read(path)
    assert looked_at is not None
    with pytest.raises(StateError, match="readonly"), looked_at:
        looked_at.connection.execute("DELETE FROM fact")
    with Store.open(path) as state:
        put(state)
        with Store.open_scratch(path) as scratch:
            assert scratch.facts.get("name") == "value"
            put(scratch, "other")
        assert state.facts.get("name") == "value"


@pytest.mark.parametrize("version", [None, VERSION, 99])
def test_a_state_on_a_disk_that_cannot_be_written_is_read_as_it_lies_there_with_a_log_that_was_left_behind(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int | None
) -> None:
    def found(at: Path, options: str = "") -> sqlite3.Connection:
        return connect(at if "immutable" in options or at != lies_at else lies_at / "nowhere", options)

    lies_at = tmp_path / "crashed" / "state.db"
    lies_at.parent.mkdir()
    state = Store.open(path)
    put(state)
    if version is None:
        state.close()
        shutil.copyfile(path, lies_at)
    else:
        state.connection.execute(f"PRAGMA user_version = {version}")
        for ending in ("", "-wal"):
            shutil.copyfile(f"{path}{ending}", f"{lies_at}{ending}")
        state.close()
    before = {one: one.read_bytes() for one in lies_at.parent.iterdir()}
    monkeypatch.setattr("outreach_sync.store.connect", found)
    newer = pytest.raises(StateError, match=f"{lies_at} was written by a newer version")
    with newer if version == 99 else nullcontext(), Store.open_to_read(lies_at) or nullcontext() as read:
        assert read.facts.get("name") == "value"
        assert problems_of(lies_at) == []
        restore(path, lies_at, now=NOW)
    assert {one: one.read_bytes() for one in lies_at.parent.iterdir()} == before


def test_a_copy_made_while_another_run_begins_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(path).close()
    began: list[Store] = []

    def looks(_: Path) -> tuple[int, int]:
        if not began:
            began.append(Store.open(path))
            put(began[0])
        return len(began), 0

    monkeypatch.setattr("outreach_sync.store._looks", looks)
    with Store.open_scratch(path) as scratch:
        assert scratch.facts.get("name") == "value"
    began[0].close()


def test_a_number_that_is_too_large_for_the_state_and_a_text_that_was_damaged_are_said(state: Store) -> None:
    with state.transaction():
        state.history.begin("a", "run", 1)
        state.connection.execute("UPDATE run SET summary = '{broken'")
    with pytest.raises(StateError, match="not what was stored"):
        state.history.runs(1)
    with pytest.raises(StateError, match="too large"), state:
        state.outbox.find(id=2**63)


@pytest.mark.parametrize(
    ("holder", "command", "nothing_to_do"),
    [
        *(("run", "run", True), ("reconcile", "run", True), ("forget", "run", False)),
        *(("run", one, False) for one in ("reconcile", "failures retry", "forget", "state restore", "auth login")),
    ],
)
def test_a_second_run_is_told_who_holds_the_lock_whatever_name_it_uses_and_if_it_has_nothing_to_do(
    path: Path, tmp_path: Path, holder: str, command: str, *, nothing_to_do: bool
) -> None:
    (tmp_path / "other.db").symlink_to(path)
    advice = "Nothing to do: that run does the work" if nothing_to_do else "Try again when that run has ended"
    who = rf"process {os.getpid()} \({holder}\).*{advice}"
    with run_lock(path, holder), pytest.raises(LockHeldError, match=who) as held:
        run_lock(tmp_path / "other.db", command).__enter__()
    assert held.value.exit_status == 5


def test_the_lock_of_a_run_that_died_is_free_and_one_that_fails_is_named(path: Path, monkeypatch: Any) -> None:
    Store.open(path).close()
    with pytest.raises(KeyError), run_lock(path, "run"):
        raise KeyError
    child = os.fork()
    if not child:
        run_lock(path, "run").__enter__()
        os._exit(0)  # without releasing anything
    assert os.waitpid(child, 0)[1] == 0
    with run_lock(path, "run"):
        path.with_name("state.db.lock").write_text("nonsense")  # which does not hide that it is held
        with pytest.raises(LockHeldError):
            run_lock(path, "run").__enter__()
    with pytest.raises(StateError, match="cannot be made: a file is in the way"):
        run_lock(path / "state.db", "run").__enter__()
    monkeypatch.setattr("os.pwrite", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with run_lock(path, "run"), pytest.raises(LockHeldError):  # a full disk does not hide it either
        run_lock(path, "run").__enter__()
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    with pytest.raises(StateError, match="cannot be made: No locks available"):
        run_lock(path, "run").__enter__()


def test_what_is_no_file_is_no_state_and_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        for opening in (Store.open, Store.open_to_read, Store.open_scratch, problems_of):
            with pytest.raises(StateError, match=r"is not a regular file|Is a directory|is not a database"):
                opening(path)


@pytest.fixture
def target(path: Path) -> Path:
    return path.with_name("copy.db")


def test_a_copy_is_one_private_file_and_whole_or_not_there_and_no_other_copy_is_touched(
    state: Store, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(state, "before")
    with Store.open(path) as other, other.transaction():
        other.facts.put("name", "not committed")
        monkeypatch.setattr("outreach_sync.store.flush_directory", flushed := Mock())
        back_up(state, target)
    flushed.assert_called_once_with(target.parent)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {one.name for one in path.parent.glob("copy.db*")} == {"copy.db"}
    with Store.open(target) as copy:
        assert copy.facts.get("name") == "before"
    target.write_text("an older copy")
    monkeypatch.setattr("os.fsync", Mock(side_effect=OSError(28, "No space left on device")))
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


def test_a_copy_elsewhere_overwrites_nothing_and_its_place_is_kept_if_it_was_made(state: Store, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(StateError, match="cannot be written"):
        backup.back_up_elsewhere(state, tmp_path / "a-file" / "copy.db")
    assert backup.copies_elsewhere(state) == []
    with pytest.raises(StateError, match="exists already"):
        backup.back_up_elsewhere(state, tmp_path / "a-file")
    assert (tmp_path / "a-file").read_bytes() == b""
    backup.back_up_elsewhere(state, tmp_path / "copy.db")
    assert backup.copies_elsewhere(state) == [tmp_path / "copy.db"]


def test_what_is_restored_is_certain_of_nothing_who_was_forgotten_since_stays_so_and_what_was_replaced_is_kept(
    state: Store, path: Path, target: Path
) -> None:
    with state.transaction():
        state.people.read(1001, 5, Held("Running"), rule="email", now=NOW)
        state.cache.keep_states([state_of(1, id=1), state_of(2, id=2)])
    back_up(state, target)
    with state.transaction():
        erase_rows(state.connection, Persona(frozenset({1}), frozenset()))
    put(state, "only in the log")
    replaced = restore(path, target, now=NOW)
    assert replaced == path.with_name("state.db.replaced-2026-09-01T100000.000000")
    with Store.open(path) as restored, Store.open(replaced) as old:
        assert (restored.facts.get("name"), old.facts.get("name")) == (None, "only in the log")
        assert restored.people.by_id([1001])[1001].lock_version is None
        assert forgotten_ids(restored.connection, "prospect") == {1}
        assert set(restored.cache.prospects([1, 2])) == {2}
    with Store.open(target) as untouched:
        assert untouched.people.by_id([1001])[1001].lock_version == 5


def test_a_restore_that_fails_loses_neither_the_log_of_the_state_nor_whom_it_has_forgotten(
    state: Store, path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(state, target)
    put(state, "only in the log")
    unreadable = sqlite3.OperationalError("disk I/O error")
    unreadable.sqlite_errorcode = sqlite3.SQLITE_IOERR
    for name, problem in (("os.link", OSError(28, "No space")), (f"{backup.__name__}.forgotten_ids", unreadable)):
        with monkeypatch.context() as patched:
            patched.setattr(name, Mock(side_effect=problem))
            with pytest.raises(StateError, match="cannot be written"):
                restore(path, target, now=NOW)
        with closing(sqlite3.connect(path)) as left:
            assert left.execute("SELECT value FROM fact").fetchall() == [("only in the log",)]


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


def test_a_state_that_has_lived_is_whole(world: Any) -> None:
    world.sandbox.load_example()
    world.run(allow_bulk=True)
    world.sandbox.evolve(1)
    for person in world.people()[::3]:
        world.workbooks.delete(PERSON, person["id"])
    world.repair(allow_bulk=True)
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
    assert (problems_of(path), path.read_bytes()) == ([], before)
    damage(path)
    assert problems_of(path)
    path.write_bytes(b"nonsense" * 1000)
    assert problems_of(path) == ["file is not a database"]
    for make in (path.unlink, path.touch):
        make()
        with pytest.raises(StateError, match="no state"):
            problems_of(path)


def test_a_file_that_nobody_may_read_is_not_damaged(path: Path, state: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that is restored for it would throw away what was done since."""
    state.close()
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    monkeypatch.setattr(sqlite3, "connect", Mock(side_effect=error))
    monkeypatch.setattr(shutil, "copyfile", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(StateError, match="cannot be read: Permission denied"):
        problems_of(path)
