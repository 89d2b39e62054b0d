"""What people and services write into names, notes, states and reasons stays text: in logs, terminals and SQL."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

PERSON, TASK = "Private::Crm::Person", "Private::Activity::Task"
FORGED = '\n{"event": "forged", "level": "critical"}'
SEQUENCES = "\x1b[2J\x1b]0;owned\x07\r\u202e"
HOSTILE = (
    "Robert'); DROP TABLE person;--", f"Eve{FORGED}", f"Mal{SEQUENCES}lory", "%s {0} ${HOME} {secret}",
    "a\\,b,c:null_value:", "<script>alert(1)</script>",
)  # fmt: skip


@pytest.fixture
def hostile(installation: Any) -> Any:
    out = installation.sandbox.outreach.store
    for number, text in enumerate(HOSTILE, 1):
        prospect = out.add_prospect(firstName=text, lastName=text, emails=[f"hostile{number}@example.com", text])
        out.add_state(prospect, out.add_sequence(f"{text} {number}"), "active")
        out.add_task(prospect, taskType="sequence_step_email", state="skipped", note=text, action=text)
    out.add_state(out.add_prospect(firstName="Odd", emails=["odd@example.com"]), 1, f"odd{SEQUENCES}{FORGED}")
    installation.sandbox.workbooks.faults.on(
        "refuse_value", field="name", value=f"{HOSTILE[3]} {HOSTILE[3]}", text=f"no{SEQUENCES}{FORGED}"
    )
    installation.settings["workbooks"]["fields"] = {"sequences": "cf_person_sequences"}
    return installation


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_text_forges_a_line_or_steers_a_terminal(hostile: Any, log_format: str) -> None:
    commands = (("run", "--dry-run"), ("run",), ("failures", "list"), ("failures", "list", "--json"), ("status",))
    for command in commands:
        said = hostile.says(*command, log_format=log_format)
        _assert_harmless(said.everything.replace("\x1b[0m", "") if log_format == "console" else said.everything)
        if log_format == "json":
            events = [json.loads(line) for line in said.err.splitlines() if not line.startswith("outreach-sync:")]
            assert all("event" in event for event in events)


def _assert_harmless(text: str) -> None:
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert not set("\x07\r\u202e") & set(text)
    assert '"event": "forged"' not in [line[:17] for line in text.splitlines()]
    assert not any(line.startswith('{"event": "forged"') for line in text.splitlines())


def test_hostile_text_changes_no_statement(hostile: Any) -> None:
    assert hostile.says("run", "--json").status == 1
    with closing(sqlite3.connect(hostile.state_path)) as state:
        stored = {name for (name,) in state.execute("SELECT first_name FROM prospect")}
        assert state.execute("SELECT count(*) FROM person").fetchone()[0] > 0
    assert set(HOSTILE) <= stored
    people = hostile.sandbox.workbooks.store.all(PERSON)
    names = {row["person_first_name"] for row in people}
    assert {HOSTILE[0], HOSTILE[5]} <= names
