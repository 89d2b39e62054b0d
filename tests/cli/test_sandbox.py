from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("number", "status", "more"),
    [(signal.SIGTERM, 143, []), (signal.SIGINT, 130, []), (signal.SIGTERM, 143, ["--s2s"])],
)
def test_stdout_is_exactly_a_config_that_works_until_it_is_stopped(
    tmp_path: Path, number: signal.Signals, status: int, more: list[str]
) -> None:
    config = tmp_path / "sandbox.yaml"
    arguments = ["sandbox", "--state", str(tmp_path / "state.db"), "--seed", "2", *more]
    with config.open("w") as out:
        served = subprocess.Popen([sys.executable, "-m", "outreach_sync", *arguments], stdout=out, stderr=-1, text=True)
    assert served.stderr is not None
    said = [served.stderr.readline() for _ in range(7)]
    assert "Stop with Ctrl-C" in said[0]
    config.chmod(0o600)
    document = yaml.safe_load(config.read_text())
    assert document["state"]["path"] == str(tmp_path / "state.db")
    assert ("s2s" in document["outreach"]) == bool(more)
    with urllib.request.urlopen(f"{document['outreach']['base_url']}/_sandbox/") as answer:  # noqa: S310 - loopback
        assert json.load(answer)["records"]["prospect"] == 60
    done = subprocess.run(
        [sys.executable, "-m", "outreach_sync", "-c", str(config), "run", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["people"]["updated"] > 40
    served.send_signal(number)
    assert served.wait(10) == status
    served.stderr.close()


def test_a_port_that_is_taken_ends_with_2_and_one_line(command: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = command("sandbox", "--outreach-port", str(taken.getsockname()[1]))
    assert ran.status == 2
    assert ran.err.count("\n") == 1
    assert ran.out == ""


def test_without_the_extra_s2s_says_what_to_install(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    ran = command("sandbox", "--s2s", "--state", str(tmp_path / "state.db"))
    assert (ran.status, ran.out) == (2, "")
    assert "outreach-sync[s2s]" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_neither_used_nor_replaced(command: Any, tmp_path: Path, content: str) -> None:
    key = tmp_path / "state.s2s.pem"
    key.write_text(content)
    ran = command("sandbox", "--s2s", "--state", str(tmp_path / "state.db"))
    assert ran.status == 2
    assert str(key) in ran.err
    assert key.read_text() == content
