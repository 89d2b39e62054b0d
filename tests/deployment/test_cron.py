from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from outreach_sync.cli import COMMANDS
from outreach_sync.config.model import checked_cron

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
        jobs.append(Job(checked_cron(" ".join(times)), command.replace("\\%", "%")))
    return settings, jobs


def run_of(job: Job, directory: Path, status: int) -> str:
    """Run a job as cron would, with a program that ends as told; return what would be mailed."""
    program = directory / "outreach-sync"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/calls\nexit {status}\n')
    program.chmod(0o755)
    (directory / "sleep").write_text("#!/bin/sh\n")
    (directory / "sleep").chmod(0o755)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", "LOG": str(directory / "log")}
    done = subprocess.run(["bash", "-c", job.command], env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_there_is_a_cycle_and_a_reconcile_and_every_word_is_a_command() -> None:
    settings, jobs = parsed()
    assert {"MAILTO", "SHELL", "PATH", "OUTREACH_SYNC_CONFIG", "LOG"} <= set(settings), "which cron does not give a job"
    assert settings["SHELL"] == "/bin/bash"
    assert [re.findall(r"outreach-sync --log-format json (\w+)", job.command) for job in jobs] == [
        ["run"],
        ["reconcile"],
    ]
    assert {"run", "reconcile", "failures"} <= set(COMMANDS)


@pytest.mark.parametrize(
    ("status", "mail"),
    [(0, ""), (5, ""), (143, ""), (1, "some records are refused"), (3, "ended with 3"), (2, "ended with 2")],
)
def test_a_mail_says_what_is_needed_and_none_is_sent_where_nothing_is(tmp_path: Path, status: int, mail: str) -> None:
    mailed = run_of(parsed()[1][0], tmp_path, status)
    assert mail in mailed
    assert bool(mailed) is bool(mail)


def test_a_log_that_cannot_be_written_is_mailed_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log").rmdir()
    (tmp_path / "log").symlink_to(tmp_path / "nowhere" / "log")
    for job in parsed()[1]:
        assert "log" in run_of(job, tmp_path, 0)
    assert not (tmp_path / "calls").exists()


def test_the_log_is_rotated_by_a_file_of_logrotates_own_form(tmp_path: Path) -> None:
    rules = (CRONTAB.parent / "config" / "logrotate.conf").read_text(encoding="utf-8")
    settings, _ = parsed()
    assert str(Path(settings["LOG"]).parent) in rules
    lines = [line.strip() for line in rules.splitlines() if not line.startswith("#")]
    assert lines[0].endswith("{")
    assert lines[-1] == "}"
    assert all(len(line.split()) <= 3 and "{" not in line for line in lines[1:-1])


def test_a_reconcile_waits_for_a_cycle_and_complains_only_at_last(tmp_path: Path) -> None:
    reconcile = parsed()[1][1]
    assert "ended with 5" in run_of(reconcile, tmp_path, 5)
    assert len((tmp_path / "calls").read_text().splitlines()) == 10
    (tmp_path / "calls").unlink()
    assert not run_of(reconcile, tmp_path, 0)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
