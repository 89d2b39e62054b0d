"""stdout and stderr as they may be: closed, full, a pipe whose reader has gone, or unable to hold every character."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.cli import COMMANDS, dependable_streams, run_command, ui
from outreach_sync.cli.ui import stop_on_signals
from outreach_sync.insight import status as status_module
from outreach_sync.log import keep_secret
from outreach_sync.store import Store


def _ran(*arguments: str, redirect: str = "", stdout: int = -1, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program by a shell that redirects it."""
    line = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "outreach_sync", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(line, stdout=stdout, stderr=-1, text=True, env=environment, check=False, timeout=60)


# -- whoever reads our stdout has seen enough


@pytest.mark.parametrize(("command", "fault"), [("--help", None), ("run", None), ("check", "key_refused")])
def test_a_reader_that_has_gone_changes_no_exit_status(command: str, fault: str | None, empty: Any) -> None:
    if fault is not None:
        empty.sandbox.workbooks.faults.on(fault)
    read, write = os.pipe()
    os.close(read)
    ran = _ran("-c", str(empty.config_path), command, stdout=write)
    os.close(write)
    assert (ran.returncode, "BrokenPipe" in ran.stderr, "Traceback" in ran.stderr) == (3 if fault else 0, False, False)


@pytest.mark.parametrize(("stream", "next_read"), [("stdout", b"said\n"), ("stderr", b"xxxxx")])
def test_a_full_pipe_that_does_not_wait_is_waited_for_by_stdout_alone(
    stream: str, next_read: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor or a terminal may have made our streams such."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x")
    monkeypatch.setattr("select.select", lambda *_: os.read(read, 2**20))  # somebody reads while it waits
    with os.fdopen(write, "w") as full, os.fdopen(read, "rb") as reader:
        monkeypatch.setattr(sys, stream, full)
        with dependable_streams():
            print("said", file=getattr(sys, stream))
        assert reader.read(5) == next_read


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("status", "--json"), ("init", "-")])
def test_a_full_stdout_is_no_bug(arguments: tuple[str, ...], empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - no file of ours
        monkeypatch.setattr(sys, "stdout", full)
        assert run_command(["-c", str(empty.config_path), *arguments]) == 2
    said = "outreach-sync: stdout cannot be written: No space left on device. What was done until then stands.\n"
    assert sys.stderr.getvalue() == said  # type: ignore[attr-defined]


@pytest.mark.parametrize(("redirect", "status"), [(">&-", 2), ("2>&-", 0), ("<&- >&- 2>&-", 2)])
def test_a_run_is_done_whatever_is_closed_and_a_closed_stdout_is_said_then(
    redirect: str, status: int, empty: Any
) -> None:
    ran = _ran("-c", str(empty.config_path), "run", "--json", redirect=redirect)
    with Store.open(empty.state_path) as state:
        assert (ran.returncode, len(state.history.runs(10))) == (status, 1)
    if redirect == ">&-":
        last = ran.stderr.splitlines()[-1]
        assert last.startswith("outreach-sync: stdout cannot be written: Bad file descriptor.")
        assert "Traceback" not in ran.stderr


def test_a_closed_stderr_leaves_its_number_to_no_file(empty: Any) -> None:
    """What a library writes to 2 would go into the lock or the database."""
    program = (
        "import os, sys; from outreach_sync.cli import dependable_streams\n"
        "with dependable_streams(): print(os.readlink('/proc/self/fd/2'))"
    )
    line = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", program]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == os.devnull


def test_a_stderr_that_has_room_again_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "said").open("w+") as file, open("/dev/full", "w") as full:  # noqa: PTH123
        room = os.dup(file.fileno())
        monkeypatch.setattr(sys, "stderr", file)
        with dependable_streams():
            os.dup2(full.fileno(), file.fileno())
            print("lost", file=sys.stderr)  # noqa: T201
            os.dup2(room, file.fileno())
            print("said", file=sys.stderr)  # noqa: T201
        os.close(room)
    assert (tmp_path / "said").read_text() == "said\n"


@pytest.mark.parametrize(("encoding", "dash"), [("latin-1", "\\u2013"), ("ascii", "\u2013")])
def test_what_an_encoding_lacks_is_an_escape_and_json_stays_json(encoding: str, dash: str, setup: Any) -> None:
    """Where nothing but ASCII is said to be known, click writes UTF-8 all the same."""
    ran = _ran("-c", str(setup.config_path), "init", "-", PYTHONIOENCODING=encoding)
    assert (ran.returncode, f"Active {dash} Running" in ran.stdout) == (0, True)
    ran = _ran("-c", str(setup.config_path), "run", "--dry-run", "--json", PYTHONIOENCODING=encoding)
    assert "Active \u2013 Running" in str(json.loads(ran.stdout)["changes"])
    assert _ran("-c", str(setup.config_path), "history", "--run", "\udcff").returncode == 2


def test_ctrl_c_while_modules_load_is_no_traceback() -> None:
    code = "import importlib, os, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += "importlib.import_module = lambda _: os.kill(os.getpid(), 2); import outreach_sync.__main__"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_bug_of_a_command_without_a_log_says_nothing_at_debug(
    level: str, empty: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Any:
        token = "planted" + "-secret"
        keep_secret(token)
        raise ZeroDivisionError(f"with {token}")

    monkeypatch.setattr(status_module, "overdue_runs", broken)
    assert run_command(["-c", str(empty.config_path), "run"]) == 0
    capsys.readouterr()
    assert run_command(["--log-level", level, "--log-format", "json", "-c", str(empty.config_path), "status"]) == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("outreach-sync: a bug in this program: ZeroDivisionError.")
    assert len(lines) == (2 if level == "debug" else 1)
    if level == "debug":
        event = json.loads(lines[0])
        assert (event["event"], "ZeroDivisionError: with ***" in event["exception"]) == ("bug", True)
    assert "planted-secret" not in "".join(lines)


@pytest.fixture(autouse=True)
def _usual_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ui, "_GRACE_SECONDS", 86_400.0)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_could_wait_does_not_end_a_run_in_its_midst(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert (stop.is_set(), stop.signal_number) == (True, number)
    assert signal.getsignal(number) == before


def test_a_hangup_stops_neither_a_run_that_was_told_to_survive_it_nor_a_schedule_which_is_told() -> None:
    asked: deque[int] = deque()
    with stop_on_signals(asked) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert (len(asked), stop.is_set()) == (1, False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set()


@pytest.mark.parametrize(("hangups", "status"), [("", 128 + signal.SIGTERM), ("deque()", 0)])
def test_what_hangs_when_asked_to_stop_is_ended_within_half_a_minute(hangups: str, status: int) -> None:
    program = (
        "import os, signal, threading; from collections import deque; from outreach_sync.cli import ui\n"
        "assert ui._GRACE_SECONDS < 30\n"
        "ui._GRACE_SECONDS = 0.1\n"
        f"with ui.stop_on_signals({hangups}):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    threading.Event().wait(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", program + "os._exit(1)"], check=False, timeout=90).returncode == status


def _completed(*words: str) -> list[str]:
    """Ask as the bash script asks; the last word is the one that is being typed."""
    typed = {"COMP_WORDS": " ".join(("outreach-sync", *words)), "COMP_CWORD": str(len(words))}
    answer = _ran(_OUTREACH_SYNC_COMPLETE="bash_complete", **typed).stdout
    return [line.partition(",")[2] for line in answer.splitlines()]


def test_the_program_answers_a_shell_with_commands_and_options() -> None:
    assert _completed("re") == [name for name in COMMANDS if name.startswith("re")]
    assert "--dry-run" in _completed("run", "--d")
