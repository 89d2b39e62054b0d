from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from outreach_sync.cli import COMMANDS
from outreach_sync.config.cron import normal_cron

CRONTAB = Path(__file__).parents[2] / "cron.example"
VARIABLE = re.compile(r"([A-Z_]+)=(.*)")


class Job(NamedTuple):
    times: str
    command: str


def parsed() -> tuple[dict[str, str], list[Job]]:
    """Read the table as cron does: comments, settings, five times and a command in which ``%`` ends it."""
    settings, jobs = {}, []
    for line in CRONTAB.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        setting = VARIABLE.fullmatch(line)
        if setting:
            settings[setting[1]] = setting[2]
            continue
        *times, command = line.split(maxsplit=5)
        assert not re.search(r"(?<!\\)%", command), "cron would take this for the end of the command"
        jobs.append(Job(normal_cron(" ".join(times)), command.replace("\\%", "%")))
    return settings, jobs


def run_of(job: Job, directory: Path, status: int) -> str:
    """Run a job as cron would, with a program that ends as told; return what would be mailed."""
    program = directory / "outreach-sync"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/calls\nexit {status}\n')
    program.chmod(0o755)
    (directory / "sleep").write_text("#!/bin/sh\n")
    (directory / "sleep").chmod(0o755)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", "LOG": str(directory / "log")}
    return subprocess.run(
        ["bash", "-c", job.command], env=environment, capture_output=True, text=True, check=False
    ).stdout


def test_there_is_a_cycle_and_a_reconcile_and_every_word_is_a_command() -> None:
    _, jobs = parsed()
    assert [re.findall(r"outreach-sync --log-format json (\w+)", job.command) for job in jobs] == [
        ["run"],
        ["reconcile"],
    ]
    assert {"run", "reconcile", "failures"} <= set(COMMANDS)


def test_what_cron_does_not_give_a_job_is_set() -> None:
    settings, _ = parsed()
    assert {"MAILTO", "SHELL", "PATH", "OUTREACH_SYNC_CONFIG", "LOG"} <= set(settings)
    assert settings["SHELL"] == "/bin/bash"


@pytest.mark.parametrize(("status", "mails"), [(0, False), (5, False), (1, True), (3, True)])
def test_only_failures_are_mailed(tmp_path: Path, status: int, mails: bool) -> None:
    cycle = parsed()[1][0]
    assert bool(run_of(cycle, tmp_path, status)) is mails


def test_a_reconcile_waits_for_a_cycle_and_complains_only_at_last(tmp_path: Path) -> None:
    reconcile = parsed()[1][1]
    assert "ended with 5" in run_of(reconcile, tmp_path, 5)
    assert len((tmp_path / "calls").read_text().splitlines()) == 10
    (tmp_path / "calls").unlink()
    assert not run_of(reconcile, tmp_path, 0)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
