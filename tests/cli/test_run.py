import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.errors import UsageError
from outreach_sync.instants import Instant, now, parse_iso
from outreach_sync.store import Store
from tests.harness import DAY, PERSON, Setup

CHANGE = ["record", "action", "prospect_id", "task_id", "workbooks_id", "fields"]


# -- what it prints


def test_the_document_is_one_line_whose_times_are_the_services(setup: Any) -> None:
    before = setup.sandbox.now()
    ran = setup("run", "--json")
    document = ran.document
    assert (ran.out.count("\n"), document["outcome"], document["dry_run"]) == (1, "partial", False)
    own = {name: list(one)[1:-2] for name, one in document["streams"].items()}
    assert (own["sequence_states"], own["tasks"], own["events"]) == (["changed"], ["changed", "skipped"], ["skips"])
    marks = [one["watermark"] for one in document["streams"].values()]
    assert all(before - 2_000 <= parse_iso(mark) <= setup.sandbox.now() for mark in marks), "the service's time"
    events = [json.loads(line)["event"] for line in ran.err.splitlines()]
    assert (events[0], events[-1]) == ("run_started", "run_finished")


def test_without_json_one_line_says_it_all_and_counts_nothing_twice_as_does_that_of_a_reconcile(setup: Any) -> None:
    said = re.sub(r"\d+\.\d s", "T", setup("run").out)
    wait = "1 waiting · 2 need you → outreach-sync failures list · T\n"
    assert said == f"✓ 47 updated · 9 created · 23 tasks cancelled · 1 left alone · {wait}"
    assert setup("run").out.startswith("✓ nothing to do · 1 waiting · 2 need you")
    setup.workbooks.update(PERSON, 1002, cf_person_sequence_state="Pending")
    assert "Bo Example  prospect 2  Person 1002" in setup("reconcile", "--dry-run").out
    assert setup.document("reconcile")["people"]["updated"] == 1
    assert setup("reconcile").out.startswith("✓ ")


def test_without_the_scope_for_events_a_run_says_so_and_does_the_rest(setup: Any) -> None:
    setup.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    warning, end = setup("run").out.splitlines()
    assert (warning[:2], "events.read" in warning) == ("! ", True)
    assert end.startswith("✓ 47 updated · 9 created")
    assert "events.read" in setup("status").out.splitlines()[0]


_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_terminal_shows_progress_and_one_line_and_the_log_only_where_it_is_wanted(
    setup: Any, on_terminal: Any
) -> None:
    ran = on_terminal("run")
    plain, quiet, loud = (
        _SEQUENCES.sub("", said.out) for said in (ran, on_terminal("run", "-q", columns=200), on_terminal("run", "-v"))
    )
    assert (ran.status, "\x1b[33m" in ran.out, "sequence states read" in plain) == (1, True, True)
    assert "run_finished" not in plain
    assert plain.splitlines()[-1].startswith("✓ 47 updated · 9 created · 23 tasks cancelled · ")
    assert (quiet.count("\n"), setup("run", "-q").err) == (1, "")
    assert ("run_finished" in loud, "{" in loud) == (True, False)
    assert "\x1b[3" not in on_terminal("run", "-q", NO_COLOR="1").out
    assert not {"\x1b", "\n"} & set(on_terminal("run", TERM="dumb").out.removesuffix("\n"))


def test_the_log_is_as_the_config_says_unless_the_command_line_says_otherwise(setup: Any) -> None:
    setup.change("logging", level="debug", format="console")
    told = setup("--log-format", "json", "--log-level", "warning", "run").err
    assert {json.loads(line)["level"] for line in told.splitlines()} == {"warning"}
    told = setup("run").err
    assert ("walk_complete" in told, "run_finished" in told, '{"' in told) == (True, True, False)


# -- a dry run


def test_a_dry_run_is_reviewed_first_as_numbers_then_by_name_then_what_it_would_refuse(setup: Any) -> None:
    said = setup("run", "--dry-run").out
    assert re.search(r"^∅ +Finished +13$", said, re.MULTILINE)
    assert re.search(r"^\(new Person\) +Active \u2013 Running +4$", said, re.MULTILINE)
    assert "56 people would change: 5 new opt-outs (No Email → true), 9 new People. 23 Tasks would be made" in said
    opted_out = said[said.index("Bo Example  prospect 2  Person 1002") :]
    assert re.search(r"^ +Sequence State +∅ → Opted Out$", opted_out, re.MULTILINE)
    assert re.search(r"^ +No Email +false → true$", opted_out, re.MULTILINE)
    zoe = r"^Zoë Example  prospect 26  \(new Person\)\n {4}(No Email|Sequence State) "
    assert re.search(zoe, said, re.MULTILINE), "what the sync is for, before what only a new one has"
    assert "Refused, now or by an earlier run (2); a dry run keeps no list" in said
    assert "  prospect 16: ambiguous" in said
    names = re.findall(r"^(.+?)  prospect \d+  (?:Person \d+|\(new Person\))$", said, re.MULTILINE)
    assert (len(names), names) == (56, sorted(names, key=str.casefold))
    last = said.splitlines()[-1]
    assert ("dry run, nothing was written · 47 to update · 9 to create" in last, "waiting" in last) == (True, False)


def test_csv_has_a_row_for_each_field_and_starts_no_formula(setup: Any) -> None:
    setup.sandbox.outreach.store.add_prospect(firstName='=HYPERLINK("x")', emails=["f@example.com"], optedOut=True)
    rows = list(csv.DictReader(io.StringIO(setup("run", "--dry-run", "--csv").out)))
    assert list(rows[0]) == [*CHANGE[:-1], "name", "field", "old", "new"]
    announced = setup.document("run", "--dry-run")["changes"]
    assert len(rows) == sum(len(one["fields"]) for one in announced)
    no_email = next(row for row in rows if (row["workbooks_id"], row["field"]) == ("1002", "no_email_soliciting"))
    assert (no_email["name"], no_email["old"], no_email["new"]) == ("Bo Example", "false", "true")
    assert {row["name"] for row in rows if "HYPERLINK" in row["name"]} == {'\'=HYPERLINK("x")'}


def test_a_dry_run_makes_no_state_and_announces_exactly_what_the_run_then_does(setup: Any) -> None:
    announced = setup.document("run", "--dry-run")
    assert (announced["dry_run"], setup.workbooks.writes) == (True, [])
    assert not [path for path in setup.state_path.parent.glob("*") if "tokens" not in path.name], "no lock either"
    assert all(list(change) == CHANGE for change in announced["changes"])
    kinds = {(one["record"], one["action"]) for one in announced["changes"]}
    assert kinds == {("person", "create"), ("person", "update"), ("task", "create")}
    done = setup.document("run")
    for record, names in (("people", ("created", "updated", "recreated")), ("tasks", ("created",))):
        assert [announced[record][name] for name in names] == [done[record][name] for name in names]
    for one in announced["changes"]:
        label = one["fields"].get("cf_person_sequence_state")
        if label is not None and one["action"] == "update":
            said = setup.workbooks.get(PERSON, one["workbooks_id"])
            assert label[0] != label[1] == said["cf_person_sequence_state"]
    listed = {one["prospect_id"] for one in setup.document("failures", "list")}
    assert {one["prospect_id"] for one in announced["refused"]} == listed


def test_one_of_each_is_counted_in_the_singular_and_more_in_the_plural(empty: Any) -> None:
    for number, said in (
        (1, "1 person would change: 1 new opt-out (No Email → true), 1 new Person. 1 Task would be made as"),
        (2, "2 people would change: 2 new opt-outs (No Email → true), 2 new People. 2 Tasks would be made as"),
    ):
        prospect = empty.outreach.add_prospect(firstName="Ada", emails=[f"ada{number}@example.com"], optedOut=True)
        empty.outreach.add_task(prospect, taskType="sequence_step_email", action="email", state="skipped")
        assert said in empty("run", "--dry-run").out


# -- options


def test_a_pilot_writes_only_so_many_people_or_those_named_and_leaves_the_rest_to_be_done(setup: Any) -> None:
    named = setup.document("run", "--prospect", "2", "--prospect", "4")["people"]
    assert (named["updated"], named["created"]) == (2, 0)
    written = {one["prospect_id"] for one in setup.document("history") if one["record"] == "person"}
    assert written == {2, 4}
    limited, rest = setup.document("run", "--limit", "5")["people"], setup.document("run")["people"]
    assert limited["updated"] + limited["created"] == 5
    assert rest["updated"] + rest["created"] == 56 - 7


def test_one_stream_alone_is_read_and_only_its_watermark_moves(setup: Any) -> None:
    assert list(setup.document("run", "--stream", "tasks")["streams"]) == ["tasks"]
    assert {name for name, mark in setup.document("status")["watermarks"].items() if mark} == {"tasks"}


def test_since_reads_from_there_and_never_moves_a_watermark_over_what_was_not_read(setup: Any) -> None:
    assert setup("run", "--since", "2099-01-01").status == 2
    first = setup.document("run")["streams"]
    assert first["sequence_states"]["read"] > 100
    some, again = (setup.document("run", *how)["streams"]["tasks"] for how in (("--since", "20d"), ("--full",)))
    assert 0 < some["read"] < first["tasks"]["read"]
    assert (again["read"], again["changed"]) == (first["tasks"]["read"], 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--full", "--since", "1d"), ("--since", "yesterday"), ("--since", "800000d"), ("--since", "9999-12-31"),
        ("--since", "9" * 400 + "d"), ("--stream", "calls"), ("--limit", "0"), ("--no-such-option",),
        ("--csv",), ("--csv", "--dry-run", "--json"),
        ("--stream", "prospects"),  # which the config leaves out
    ],
)  # fmt: skip
def test_options_that_make_no_sense_end_with_2_before_anything_is_asked(empty: Any, arguments: tuple[str, ...]) -> None:
    empty.change("sync", streams=["tasks"])
    ran = empty("run", *arguments)
    assert (ran.status, arguments[0] in ran.err, "a bug" in ran.err) == (2, True, False)
    assert (empty.sandbox.outreach.journal.total(), empty.state_path.exists()) == (0, False)


# -- how it ends


@pytest.mark.parametrize(
    ("service", "fault"), [("outreach", "reset_before_answer"), ("workbooks", "hang"), ("workbooks", "unavailable_503")]
)
def test_a_service_that_is_down_ends_with_4_and_the_next_run_goes_on(setup: Any, service: str, fault: str) -> None:
    faults = getattr(setup.sandbox, service).faults
    faults.on(fault, **({"seconds": 0.1} if fault == "hang" else {}))
    ran = setup("--log-level", "error", "run", "--json")
    assert (ran.status, ran.err.count("\n")) == (4, 1)
    assert ran.document["outcome"] in {"partial", "failed"}
    assert setup("--log-level", "error", "run").out.startswith("✗ not complete · ")
    assert setup.workbooks.writes == []
    faults.clear()
    assert setup.document("run")["people"]["updated"] == 47


@pytest.mark.parametrize("command_", ["run", "reconcile"])
def test_a_mass_change_ends_with_6_until_it_is_allowed(setup: Any, command_: str) -> None:
    setup("run")
    setup.change("sync", guard={"share": 0.1, "count": 3}, labels={"finished": "Bounced"})
    writes = len(setup.workbooks.writes)
    announced = setup.document(command_, "--dry-run")
    assert (announced["guard_would_stop"], len(announced["changes"]) > 3) == (True, True)
    assert setup(command_, "--dry-run").out.startswith("The guard would stop this")
    for _ in range(2):
        ran = setup("--log-level", "error", command_)
        assert (ran.status, ran.err.count("\n"), "--allow-bulk" in ran.err) == (6, 1, True)
        assert len(setup.workbooks.writes) == writes
    assert setup.document(command_, "--allow-bulk")["people"]["updated"] > 3
    assert setup("run").status == 1


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("workbooks", {"api_key": "planted-wrong-key"}, "Workbooks"),
        ("outreach", {"refresh_token": "planted-wrong-token"}, "auth login"),
        ("outreach", {"page_size": 999}, "tasks.read"),  # where the scope is missing
    ],
)
def test_what_is_not_allowed_ends_with_3_and_one_line_that_holds_no_secret(
    setup: Any, section: str, values: dict[str, Any], said: str
) -> None:
    if said == "tasks.read":
        setup.sandbox.outreach.faults.on("scope_missing", scope=said)
    setup.change(section, **values)
    ran = setup("--log-level", "error", "run")
    assert (ran.status, ran.err.count("\n"), said in ran.err, "planted" in ran.err) == (3, 1, True, False)


# -- schedule


class Service:
    """The command as a service, its log, and what it told the service manager."""

    def __init__(self, config: Path, directory: Path) -> None:
        self.log_path, self._config, self._notify = directory / "log", config, str(directory / "notify")
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(self._notify)
        self.line.setblocking(False)
        self.messages: list[str] = []

    def start(self) -> None:
        command = [sys.executable, "-m", "outreach_sync", "-c", str(self._config), "schedule"]
        environment = {**os.environ, "NOTIFY_SOCKET": self._notify}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=subprocess.DEVNULL, env=environment)

    def events(self, name: str) -> list[dict[str, Any]]:
        self.told()  # the socket's queue is short
        lines = [line for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def told(self) -> list[str]:
        with suppress(BlockingIOError):
            while True:
                self.messages.append(self.line.recv(1000).decode())
        return self.messages


def eventually(condition: Callable[[], Any], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def service(setup: Setup, tmp_path: Path) -> Iterator[Service]:
    setup.change("schedule", every="1s", jitter="0s")
    one = Service(setup.config_path, tmp_path)
    yield one
    one.process.kill()
    one.process.wait(5)
    one.line.close()


def test_it_runs_cycles_heeds_a_hangup_and_ends_with_0_when_asked_to(service: Service, setup: Setup) -> None:
    service.start()
    eventually(lambda: len(service.events("run_finished")) >= 2)
    eventually(lambda: len(list(Path(f"/proc/{service.process.pid}/task").iterdir())) == 2)  # no thread is left behind
    assert service.events("run_finished")[0]["people"]["updated"] > 0
    for every, outcome in (("banana", "config_kept"), ("2s", "config_reloaded")):
        setup.change("schedule", every=every)
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda outcome=outcome: service.events(outcome))
    service.process.send_signal(signal.SIGTERM)
    assert (service.process.wait(60), len(service.events("schedule_stopped"))) == (0, 1)
    told = service.told()
    assert {"READY=1", "STOPPING=1"} <= set(told)
    assert any(text.startswith("RELOADING=1") for text in told)


def test_a_signal_during_a_cycle_ends_it_before_what_hangs_has_to_be_cut_off_and_with_0(
    service: Service, setup: Setup
) -> None:
    setup.sandbox.outreach.faults.on("hang", seconds=60)
    service.start()
    eventually(lambda: service.events("run_started"))
    service.process.send_signal(signal.SIGINT)
    assert (service.process.wait(60), len(service.events("schedule_stopped"))) == (0, 1)


def test_a_reconcile_that_fell_due_while_nobody_was_there_is_made_up_for(service: Service, setup: Setup) -> None:
    setup.change("schedule", every="1h", reconcile="0 3 * * sun")
    with Store.open(setup.state_path) as state, state.transaction():
        state.history.begin("old", "reconcile", Instant(now() - 8 * DAY))
    service.start()
    eventually(lambda: len(service.events("run_finished")) >= 2)
    assert [event["command"] for event in service.events("run_started")] == ["run", "reconcile"]


def test_a_signal_that_comes_before_the_first_cycle_is_heeded(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup("run")
    heeded: list[Any] = []

    def look(*_: object) -> None:
        heeded.extend(map(signal.getsignal, (signal.SIGTERM, signal.SIGHUP)))
        raise UsageError("that is all.")

    monkeypatch.setattr("outreach_sync.cli.run.last_begun", look)
    assert setup("schedule").status == 2
    assert signal.SIG_DFL not in heeded
