from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cli import run_command
from outreach_sync.store import run_lock
from outreach_sync.store.backup import copies_of

if TYPE_CHECKING:
    from collections.abc import Callable


PERSON = "Private::Crm::Person"


@pytest.fixture
def command(world: Any) -> Callable[..., int]:
    world.config()
    return lambda *arguments: run_command(["-c", str(world.directory / "config.yaml"), "state", *map(str, arguments)])


def test_after_a_restore_nothing_is_lost_and_nothing_doubled(world: Any, command: Any) -> None:
    first = world.prospect(email="ada@example.com")
    world.skipped_task(first)
    world.run()
    copy = world.directory / "copy.db"
    assert command("backup", copy) == 0
    second = world.prospect(email="bo@example.com", states=("paused",))
    world.skipped_task(second)
    world.outreach.update("sequenceState", world.states_of(first)[0], state="finished")
    world.run()
    assert (len(world.people()), len(world.tasks())) == (2, 2)
    world.outreach.update("sequenceState", world.states_of(second)[0], state="opted_out")
    before = world.writes()
    assert command("restore", copy) == 0
    ended = world.run()
    assert (ended.exit_status, ended.document["people"]["created"], ended.document["tasks"]["created"]) == (0, 0, 0)
    assert world.writes() == before + 1, "the opt-out, which no run had written"
    assert (len(world.people()), len(world.tasks())) == (2, 2)
    assert world.people()[1]["no_email_soliciting"] is True
    assert world.run().document["people"]["updated"] == 0


def test_a_copy_with_creations_in_its_queue_does_not_create_them_twice(world: Any, command: Any) -> None:
    world.sandbox.workbooks.faults.on("refuse_all")
    world.skipped_task(world.prospect(email="ada@example.com"))
    world.run()
    copy = world.directory / "copy.db"
    command("backup", copy)
    world.sandbox.workbooks.faults.clear()
    with world.state() as state, state.transaction():
        state.outbox.retry([one.id for one in state.outbox.failures()])
    world.run()
    assert (len(world.people()), len(world.tasks())) == (1, 1)
    assert command("restore", copy) == 0
    with world.state() as state, state.transaction():
        state.outbox.retry([one.id for one in state.outbox.failures()])
    assert world.run().exit_status == 0
    assert (len(world.people()), len(world.tasks())) == (1, 1)


def test_a_backup_without_a_path_is_put_beside_the_state_which_a_run_keeps_from_being_replaced(
    world: Any, command: Any
) -> None:
    world.run()
    before = copies_of(world.state_path)
    assert command("backup") == 0
    (copy,) = set(copies_of(world.state_path)) - set(before)
    with run_lock(world.state_path, "run"):
        assert command("restore", copy) == 5


def test_a_whole_state_verifies_and_a_damaged_one_ends_with_2(
    world: Any, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("verify") == 2, "there is none yet"
    world.run()
    assert command("verify") == 0
    assert "is whole" in capsys.readouterr().out
    with world.state() as state, state.transaction():
        state.connection.execute("INSERT INTO changed VALUES (77, 0)")
    assert command("verify") == 2
    assert "state restore" in capsys.readouterr().err


def test_the_first_run_of_a_day_makes_a_copy_and_a_dry_run_none(world: Any) -> None:
    world.prospect()
    world.run()
    assert copies_of(world.state_path) == [], "there was nothing to copy yet"
    world.run(dry_run=True)
    assert copies_of(world.state_path) == []
    world.run()
    world.run()
    assert len(copies_of(world.state_path)) == 1


def test_a_run_goes_on_without_room_for_a_copy(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.prospect()
    world.run()
    full = shutil.disk_usage(world.directory)._replace(free=0)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: full)
    assert world.run().exit_status == 0


# -- forget


@pytest.fixture
def forget(world: Any) -> Callable[..., int]:
    world.config()
    return lambda *arguments: run_command(["-c", str(world.directory / "config.yaml"), "forget", *arguments])


class Terminal(io.StringIO):
    """Somebody who sits there and types."""

    def isatty(self) -> bool:
        return True


def test_it_shows_whom_and_says_what_it_removed(world: Any, forget: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    person = world.person()["id"]
    assert forget("--prospect", str(prospect), "--dry-run") == 0
    assert "Ada Example" in capsys.readouterr().out
    with world.state() as state:
        assert prospect in state.cache.prospects([prospect])
    assert forget("--person", str(person), "--yes") == 0
    out = capsys.readouterr().out
    assert f"prospect {prospect}, Person {person}: Ada Example, ada@example.com" in out
    assert "1 sequence states" in out
    assert f"prospect {prospect}, Person {person}: erased." in out


def test_an_id_that_nobody_has_is_a_mistake_unless_it_is_said_to_be_unknown(
    forget: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forget("--prospect", "424242", "--yes") == 2
    assert "prospect 424242 is not known here" in capsys.readouterr().err
    assert forget("--prospect", "424242", "--yes", "--unknown") == 0
    assert "prospect 424242: was not known here; noted all the same." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("there", "answer", "status", "left"), [(True, "y", 0, False), (True, "n", 130, True), (False, "y", 2, True)]
)
def test_it_asks_on_a_terminal_and_off_one_wants_to_be_told_that_somebody_is_sure(
    world: Any, forget: Any, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, *, there: bool, left: bool
) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    monkeypatch.setattr("sys.stdin", (Terminal if there else io.StringIO)(f"{answer}\n"))
    assert forget("--prospect", str(prospect)) == status
    with world.state() as state:
        assert (prospect in state.cache.prospects([prospect])) is left


@pytest.mark.parametrize("arguments", [(), ("--prospect", "1", "--person", "2"), ("--prospect", "0")])
def test_exactly_one_id_is_wanted(forget: Any, arguments: tuple[str, ...]) -> None:
    assert forget(*arguments) == 2
