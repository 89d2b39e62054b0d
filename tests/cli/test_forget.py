from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cli import run_command

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def command(world: Any) -> Callable[..., int]:
    world.config()
    return lambda *arguments: run_command(["-c", str(world.directory / "config.yaml"), "forget", *arguments])


def test_it_says_whom_it_forgot(world: Any, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    person = world.person()["id"]
    assert command("--person", str(person)) == 0
    assert f"prospect {prospect}, Person {person}: erased." in capsys.readouterr().out


def test_it_says_that_an_id_was_not_known(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--prospect", "424242") == 0
    assert "prospect 424242: was not known here; noted all the same." in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("--prospect", "1", "--person", "2"), ("--prospect", "0")])
def test_exactly_one_id_is_wanted(command: Any, arguments: tuple[str, ...]) -> None:
    assert command(*arguments) == 2


@pytest.mark.parametrize("whom", ["--prospect", "--person"])
@pytest.mark.parametrize("one", ["99999999999999999999999", "0"])
def test_an_id_that_nobody_can_have_is_a_mistake_and_no_bug(
    whom: str, one: str, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(whom, one) == 2
    assert f"{one} is not in the range" in capsys.readouterr().err
