"""The program against both simulated services, started in this process: `outreach(...)` runs one command line."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from outreach_sync.sandbox import Sandbox
from tests.harness import CommandLine, Ran, Setup, Time, on_a_terminal


@pytest.fixture
def empty(tmp_path: Path, command: CommandLine) -> Iterator[Setup]:
    with Sandbox() as sandbox, Time().running(everywhere=True):
        yield Setup(tmp_path, sandbox, command)


@pytest.fixture
def setup(empty: Setup) -> Setup:
    empty.sandbox.load_example()
    return empty


@pytest.fixture
def on_terminal(tmp_path: Path) -> Callable[..., Ran]:
    return partial(on_a_terminal, tmp_path / "config.yaml")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """Run one command line with the config of `setup` or `empty`."""
    return CommandLine(tmp_path / "config.yaml", capsys)
