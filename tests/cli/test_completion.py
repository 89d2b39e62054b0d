from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from outreach_sync.cli import COMMANDS, run_command


def completed(*words: str) -> list[str]:
    """Ask as the bash script asks; the last word is the one that is being typed."""
    environment = {
        **os.environ,
        "_OUTREACH_SYNC_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("outreach-sync", *words)),
        "COMP_CWORD": str(len(words)),
    }
    asked = subprocess.run(
        [sys.executable, "-m", "outreach_sync"], env=environment, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in asked.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_OUTREACH_SYNC_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_program_answers_with_commands_and_options() -> None:
    assert completed("re") == [name for name in COMMANDS if name.startswith("re")]
    assert "--dry-run" in completed("run", "--d")


def test_an_unknown_shell_is_refused() -> None:
    assert run_command(["completion", "tcsh"]) == 2
