from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.errors import StateError
from outreach_sync.reconcile import reconcile
from outreach_sync.store.backup import problems_of

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.store import Store


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


def test_a_damaged_page_is_said(path: Path, state: Store) -> None:
    state.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 4] = b"\xff" * 4096 * 3
    path.write_bytes(bytes(content))
    assert problems_of(path)


def test_looking_changes_nothing(path: Path, state: Store) -> None:
    state.close()
    before = path.read_bytes()
    assert problems_of(path) == []
    assert path.read_bytes() == before


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


def test_what_is_no_database_at_all_is_damage(path: Path, state: Store) -> None:
    state.close()
    path.write_bytes(b"nonsense" * 1000)
    assert problems_of(path) == ["file is not a database"]
