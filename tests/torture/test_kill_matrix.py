"""Killed at any moment, a run loses nothing and doubles nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from outreach_sync.store import Store
from tests.torture.kills import MATRICES, kill_at_each, summary
from tests.torture.reaper import KilledError, Reaper
from tests.torture.world import USUAL

if TYPE_CHECKING:
    from pathlib import Path

_SOME = 150
_MOMENTS_OF_A_NEW_STATE = 40
_OFTEN_TRIED = (1, 8, 20, 33)


def test_what_a_kill_leaves_behind_converges() -> None:
    matrix = kill_at_each("after_a_lost_answer", "run", USUAL, every=_SOME)
    assert matrix.killed > 1
    assert not matrix.broken, summary([matrix])


@pytest.mark.torture
@pytest.mark.parametrize(("situation", "command", "lanes"), MATRICES)
def test_there_is_no_moment_at_which_a_kill_does_harm(situation: str, command: str, lanes: tuple[int, int]) -> None:
    matrix = kill_at_each(situation, command, lanes)
    assert matrix.killed > len(matrix.moments) // 2
    assert not matrix.broken, summary([matrix])


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=() if moment in _OFTEN_TRIED else pytest.mark.torture)
        for moment in range(1, _MOMENTS_OF_A_NEW_STATE)
    ],
)
def test_a_state_that_was_killed_while_it_was_made_is_made_the_next_time(tmp_path: Path, moment: int) -> None:
    path = tmp_path / "state.db"
    with contextlib.suppress(KilledError), Reaper(moment).watching():
        Store.open(path)
    with Store.open(path) as state:
        assert state.outbox.counts() == {}
