from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cli import run_command

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def command(world: Any) -> Callable[..., int]:
    world.config()
    return lambda *arguments: run_command(["-c", str(world.directory / "config.yaml"), "forget", *arguments])


class Terminal(io.StringIO):
    """Somebody who sits there and types."""

    def isatty(self) -> bool:
        return True


def test_it_shows_whom_and_says_what_it_removed(world: Any, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    person = world.person()["id"]
    assert command("--person", str(person), "--yes") == 0
    out = capsys.readouterr().out
    assert f"prospect {prospect}, Person {person}: Ada Example, ada@example.com" in out
    assert "1 sequence states" in out
    assert f"prospect {prospect}, Person {person}: erased." in out


def test_a_dry_run_shows_whom_and_changes_nothing(world: Any, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    assert command("--prospect", str(prospect), "--dry-run") == 0
    assert "Ada Example" in capsys.readouterr().out
    with world.state() as state:
        assert prospect in state.cache.prospects([prospect])


def test_an_id_that_nobody_has_is_a_mistake_unless_it_is_said_to_be_unknown(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--prospect", "424242", "--yes") == 2
    assert "prospect 424242 is not known here" in capsys.readouterr().err
    assert command("--prospect", "424242", "--yes", "--unknown") == 0
    assert "prospect 424242: was not known here; noted all the same." in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "left"), [("y\n", False), ("n\n", True)])
def test_it_asks_on_a_terminal(
    world: Any, command: Any, monkeypatch: pytest.MonkeyPatch, answer: str, *, left: bool
) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    command("--prospect", str(prospect))
    with world.state() as state:
        assert (prospect in state.cache.prospects([prospect])) is left


def test_off_a_terminal_it_wants_to_be_told_that_somebody_is_sure(
    world: Any, command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert command("--prospect", str(prospect)) == 2
    assert "--yes" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("--prospect", "1", "--person", "2"), ("--prospect", "0")])
def test_exactly_one_id_is_wanted(command: Any, arguments: tuple[str, ...]) -> None:
    assert command(*arguments) == 2
