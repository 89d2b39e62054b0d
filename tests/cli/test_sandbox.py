import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml

from outreach_sync.cli import run_command
from outreach_sync.sandbox import Sandbox
from tests.harness import Installation


class Served(NamedTuple):
    """A sandbox that runs as a program, and what it printed."""

    process: subprocess.Popen[str]
    printed: str

    @property
    def document(self) -> Any:
        return yaml.safe_load(self.printed)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a sandbox with these words, and end it with the test."""
    with ExitStack() as running:

        def start(*more: str) -> Served:
            command = [sys.executable, "-m", "outreach_sync", "sandbox", *more]
            process = running.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True))
            running.callback(process.kill)
            printed = ""
            while "\n  path:" not in printed:  # its last line
                printed += (line := process.stdout.readline())
                assert line, process.communicate()
            return Served(process, printed)

        yield start


def test_the_config_is_printed_and_written_and_works_until_it_is_stopped(
    start: Callable[..., Served], tmp_path: Path
) -> None:
    served, config = start("--s2s", "--seed", "2"), tmp_path / "sandbox.yaml"
    assert (config.read_text(encoding="utf-8"), config.stat().st_mode & 0o777) == (served.printed, 0o600)
    command = [sys.executable, "-m", "outreach_sync", "-c", str(config), "run", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(ran.stdout)["people"]["updated"] > 40, ran.stderr
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(10) == 143
    assert served.process.communicate()[0] == ""
    assert not Path(served.document["state"]["path"]).parent.exists()


def test_each_start_has_a_state_of_its_own_writes_its_config_anew_and_says_what_to_type_next(
    start: Callable[..., Served], tmp_path: Path
) -> None:
    first, second, elsewhere = start(), start(), start("--write", "mine.yaml")
    assert first.document["state"] != second.document["state"]
    assert (tmp_path / "sandbox.yaml").read_text(encoding="utf-8") == second.printed
    said = [elsewhere.process.stderr.readline() for _ in range(2)]
    assert "`outreach-sync -c mine.yaml run`, `outreach-sync -c mine.yaml sandbox do list`" in said[1]


@pytest.mark.parametrize(("how", "held"), [("--empty", 0), ("--bare", 60)])
def test_it_begins_empty_or_without_the_fields_of_the_sync(start: Callable[..., Served], how: str, held: int) -> None:
    served = start(how).document
    outreach, workbooks = (served[name]["base_url"] for name in ("outreach", "workbooks"))
    assert requests.get(f"{outreach}/_sandbox/", timeout=5).json()["records"]["prospect"] == held
    assert ("cf_person_" in requests.get(f"{workbooks}/_sandbox/records", timeout=5).text) == (held == 0)


def test_its_output_may_be_sent_into_its_own_file(tmp_path: Path) -> None:
    config = tmp_path / "sandbox.yaml"
    with config.open("w", encoding="utf-8") as out:
        words = [sys.executable, "-m", "outreach_sync", "sandbox"]
        process = subprocess.Popen(words, cwd=tmp_path, stdout=out, stderr=-1, text=True)
    with process:
        assert "Stop with Ctrl-C" in process.stderr.readline()
        process.kill()
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["workbooks"]["api_key"]


def test_what_keeps_it_from_being_served_is_said_in_one_line(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "jwt", None)
    real = tmp_path / "real.yaml"
    real.write_text("outreach: {}\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for words, said in (
            (("--write", str(real)), str(real)),
            (("--outreach-port", str(taken.getsockname()[1])), "Choose other ports"),
            (("--s2s",), "outreach-sync[s2s]"),
        ):
            ran = command("sandbox", *words)
            assert (ran.status, ran.out, ran.err.count("\n"), said in ran.err) == (2, "", 1, True)
    assert real.read_text(encoding="utf-8") == "outreach: {}\n"


# -- sandbox do


@pytest.fixture
def hands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Somebody at a terminal beside a sandbox: `hands.do(...)` changes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which a loopback address must not go through

    def do(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        ended, said = run_command(["sandbox", "do", *words]), capsys.readouterr()
        assert ended == status, said.err
        return said.out if status == 0 else said.err

    with Sandbox() as sandbox:
        sandbox.load_example()
        one = Installation(tmp_path, sandbox)
        one.config_path, one.do = tmp_path / "sandbox.yaml", do
        one.write()
        yield one


def test_records_are_listed_changed_added_and_removed(hands: Any) -> None:
    held = hands.do("list")
    assert ("60 prospect" in held, "56 Private::Crm::Person" in held) == (True, True)
    assert "Bo Example" in hands.do("list", "prospect")
    hands.do("set", "prospect", "3", "title=Head of all", "optedOut=true", "externalId=null")
    values = hands.outreach.get("prospect", 3).values
    assert (values["title"], values["optedOut"], values["externalId"]) == ("Head of all", True, None)
    hands.do("set", "person", "1002", "person_job_title=Buyer")
    assert "Buyer" in str(hands.workbooks.get("Private::Crm::Person", 1002))
    assert hands.do("add", "state", "prospect=3", "sequence=1", "state=paused") == "Added: state 140.\n"
    assert "Added: person" in hands.do("add", "person", "name=Ada", "main_location[email]=ada@example.net")
    hands.do("remove", "state", "140")
    hands.do("remove", "person", "1002")
    assert 140 not in [one.id for one in hands.outreach.all("sequenceState")]
    assert 1002 not in [row["id"] for row in hands.workbooks.all("Private::Crm::Person")]


def test_tasks_are_skipped_people_opt_out_states_end_prospects_merge_and_the_clock_moves(hands: Any) -> None:
    before = hands.sandbox.now()
    for by in ("+1h", "-30m", "2d"):
        hands.do("clock", by)
    assert abs(hands.sandbox.now() - before - (3_600_000 - 1_800_000 + 172_800_000)) < 60_000
    hands.do("skip-task", "1", "--by", "system")
    assert hands.outreach.get("task", 1).values["state"] == "skipped"
    hands.do("opt-out", "18")
    assert hands.outreach.get("prospect", 18).values["optedOut"] is True
    hands.do("end-state", "1")
    assert hands.outreach.get("sequenceState", 1).values["state"] == "finished"
    hands.do("merge", "12", "11")
    assert "shared@example.net" in hands.outreach.get("prospect", 11).values["emails"]
    assert {"skip_task", "opt_out", "prospect_merged"} <= {one.values["name"] for one in hands.outreach.all("event")}


def test_faults_are_switched_on_and_off(hands: Any) -> None:
    outreach, workbooks = hands.sandbox.outreach.faults, hands.sandbox.workbooks.faults
    hands.do("fault", "on", "rate_limited", "wait=9", "form=odd", "--times", "2", "--after", "1")
    state = outreach.state()["rate_limited"]
    assert (state["options"], state["times"], state["after"]) == ({"wait": 9, "form": "odd"}, 2, 1)
    hands.do("fault", "on", "refuse_all")
    assert workbooks.state()["refuse_all"]["active"]
    assert "rate_limited" in hands.do("fault", "list")
    assert "to_one_null" in hands.do("fault", "list", "--all")
    assert "--service" in hands.do("fault", "on", "hang", status=2)
    hands.do("fault", "on", "hang", "--service", "workbooks")
    hands.do("fault", "off", "refuse_all")
    assert not workbooks.state()["refuse_all"]["active"]
    hands.do("fault", "off")
    assert not any(one["active"] for board in (outreach, workbooks) for one in board.state().values())


def test_what_makes_no_sense_is_said_in_one_line(hands: Any) -> None:
    for words, said in (
        ("skip-task 999", "there is no task 999"),
        ("remove person 999", "there is no Private::Crm::Person 999"),
        ("set person 1002 titel=x", "has no field titel"),
        ("merge 9 9", "prospect 9 cannot be merged into itself"),
        ("fault on rate_limit", "rate_limited"),
        ("set prospect 3 titel=x", "has no 'titel'"),
        ("set prospect 3 title", "NAME=VALUE"),
        ("clock later", "not a span of time"),
    ):
        err = hands.do(*words.split(), status=2)
        assert (said in err, err.count("\n")) == (True, 1), words


def test_only_a_sandbox_is_changed(hands: Any) -> None:
    hands.sandbox.stop()
    assert "no sandbox answers" in hands.do("list", status=2)
    hands.change("outreach", base_url="https://api.outreach.io")
    assert "not the config of a sandbox" in hands.do("list", status=2)
    hands.config_path.unlink()
    assert "Start `outreach-sync sandbox`" in hands.do("list", status=2)
