"""Killed at any moment, a run loses nothing and doubles nothing."""

from __future__ import annotations

import pytest

from tests.torture.kills import MATRICES, kill_at_each, summary

_SOME = 37


@pytest.mark.parametrize(("situation", "command"), MATRICES)
def test_what_a_kill_leaves_behind_converges(situation: str, command: str) -> None:
    matrix = kill_at_each(situation, every=_SOME, command=command)
    assert matrix.killed > 1
    assert not matrix.broken, summary([matrix])


@pytest.mark.torture
@pytest.mark.parametrize(("situation", "command"), MATRICES)
def test_there_is_no_moment_at_which_a_kill_does_harm(situation: str, command: str) -> None:
    matrix = kill_at_each(situation, command=command)
    assert matrix.killed > len(matrix.moments) // 2
    assert not matrix.broken, summary([matrix])
