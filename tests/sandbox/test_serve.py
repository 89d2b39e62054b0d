from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from outreach_sync.sandbox.serve import ServeOptions, serve
what = sys.argv[1]
sys.exit(serve(ServeOptions(empty=what == "empty", bare=what == "bare", state_path=Path(sys.argv[2]))))
"""


def started(tmp_path: Path, what: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PROGRAM, what, str(tmp_path / "state.db")]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def printed_config(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the config as it comes, while the program goes on; its last line is the path of the state."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("  path:"):
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr and process.stderr.read()
    config: dict[str, Any] = yaml.safe_load("".join(lines))
    return config


@pytest.fixture
def process(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    running = started(tmp_path, getattr(request, "param", "example"))
    yield running
    running.kill()
    running.communicate()


def test_it_prints_a_config_and_serves_the_example(process: subprocess.Popen[str], tmp_path: Path) -> None:
    config = printed_config(process)
    assert config["state"]["path"] == str(tmp_path / "state.db")
    records = requests.get(f"{config['outreach']['base_url']}/_sandbox/", timeout=5).json()["records"]
    assert records["prospect"] == 60


@pytest.mark.parametrize("process", ["empty"], indirect=True)
def test_empty_starts_without_records(process: subprocess.Popen[str]) -> None:
    config = printed_config(process)
    records = requests.get(f"{config['outreach']['base_url']}/_sandbox/records", timeout=5).json()
    assert not any(records.values())


@pytest.mark.parametrize("process", ["bare"], indirect=True)
def test_bare_starts_with_the_example_but_without_the_fields_of_the_sync(process: subprocess.Popen[str]) -> None:
    config = printed_config(process)
    records = requests.get(f"{config['workbooks']['base_url']}/_sandbox/records", timeout=5)
    assert "main_location[email]" in records.text
    assert "cf_person_" not in records.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_its_own_status(process: subprocess.Popen[str], number: signal.Signals) -> None:
    printed_config(process)
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number
    assert process.stdout is not None
    assert process.stdout.read() == ""
