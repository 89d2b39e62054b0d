from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from outreach_sync.errors import LockHeldError, StateError
from outreach_sync.store import run_lock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_run_is_refused_and_told_who_holds_the_lock_whatever_name_it_uses(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (tmp_path / "other.db").symlink_to(path)
    who = rf"process {os.getpid()} \(reconcile\)"
    with run_lock(path, "reconcile"), pytest.raises(LockHeldError, match=who) as held:
        run_lock(tmp_path / "other.db", "run").__enter__()
    assert held.value.exit_status == 5


def test_the_lock_is_free_again_after_a_run_that_failed_or_died(path: Path) -> None:
    def fail() -> None:
        with run_lock(path, "run"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    child = os.fork()
    if not child:
        run_lock(path, "run").__enter__()
        os._exit(0)  # without releasing anything
    assert os.waitpid(child, 0)[1] == 0
    with run_lock(path, "run"):
        pass


def test_a_note_that_makes_no_sense_does_not_hide_that_the_lock_is_held(path: Path) -> None:
    with run_lock(path, "run"):
        path.with_name("state.db.lock").write_text("nonsense")
        with pytest.raises(LockHeldError):
            run_lock(path, "run").__enter__()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be made"):
        run_lock(tmp_path / "file" / "state.db", "run").__enter__()


@pytest.mark.parametrize(
    ("holder", "command", "nothing_to_do"),
    [
        ("run", "run", True),
        ("reconcile", "run", True),
        ("forget", "run", False),
        *(("run", one, False) for one in ("reconcile", "failures retry", "forget", "state restore", "auth login")),
    ],
)
def test_a_command_has_nothing_to_do_only_beside_one_that_does_its_work(
    path: Path, holder: str, command: str, nothing_to_do: bool
) -> None:
    advice = "Nothing to do: that run does the work" if nothing_to_do else "Try again when that run has ended"
    with run_lock(path, holder), pytest.raises(LockHeldError, match=advice):
        run_lock(path, command).__enter__()
