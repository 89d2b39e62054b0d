from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from outreach_sync.cli import COMMANDS


def _asked(**environment: str) -> str:
    """Return what the program answers a shell that asks it by click's variable."""
    return subprocess.run(
        [sys.executable, "-c", "from outreach_sync.cli import cli; cli(prog_name='outreach-sync')"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def _completed(*words: str) -> list[str]:
    """Ask as the bash script asks; the last word is the one that is being typed."""
    answer = _asked(
        _OUTREACH_SYNC_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("outreach-sync", *words)),
        COMP_CWORD=str(len(words)),
    )
    return [line.partition(",")[2] for line in answer.splitlines()]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_the_program(shell: str) -> None:
    script = _asked(_OUTREACH_SYNC_COMPLETE=f"{shell}_source")
    assert f"_OUTREACH_SYNC_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_program_answers_with_commands_and_options() -> None:
    assert _completed("re") == [name for name in COMMANDS if name.startswith("re")]
    assert "--dry-run" in _completed("run", "--d")
