from __future__ import annotations

import csv
import io
import re
import sqlite3
import stat
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Event
from outreach_sync.store import Store, run_lock
from tests.harness import PERSON, TASK

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ran(setup: Any) -> Any:
    setup("run")
    return setup


def test_a_prospect_is_explained_by_what_decided_and_what_was_written(ran: Any) -> None:
    document = ran("explain", "--prospect", "5", "--json").document
    said = ran.sandbox.workbooks.store.get(PERSON, document["person"]["id"])
    assert document["because"] == "opt-out: sequence state 7 is opted_out"
    assert document["person"]["holds"]["cf_person_sequence_state"] == said["cf_person_sequence_state"] == "Opted Out"
    assert document["person"]["holds"]["no_email_soliciting"] is True
    assert document["person"]["linked_by"] == "email"
    assert document["person"]["last_written_at"] is not None
    assert [one["id"] for one in document["sequence_states"]] == [8, 7]
    assert (document["differs"], document["queued"], document["problem"]) == ({}, [], None)


def test_who_has_no_person_is_explained_by_what_is_queued_and_why(ran: Any) -> None:
    document = ran("explain", "--prospect", "16", "--json").document
    assert document["person"] is None
    assert {one["action"]: one["why"].partition(":")[0] for one in document["queued"]} == {
        "create": "its Person does not exist",
        "resolve": "ambiguous",
    }
    text = ran("explain", "--prospect", "16").out
    assert "No Person is linked." in text
    assert "ambiguous" in text


def test_a_change_that_was_read_and_not_yet_written_is_shown_as_what_differs(ran: Any) -> None:
    ran.sandbox.evolve(1)
    ran.sandbox.workbooks.faults.on("unavailable_503")
    assert ran("run").status == 4
    document = ran("explain", "--prospect", "8", "--json").document
    assert document["because"] == "opt-out: prospect 8 has optedOut"
    assert document["person"]["holds"]["no_email_soliciting"] is not True
    assert document["differs"]["no_email_soliciting"] is True
    assert re.search(
        r"^What differs:(\n  .+)*\n  no_email_soliciting +true$", ran("explain", "--prospect", "8").out, re.MULTILINE
    )


def test_a_state_without_a_label_is_the_problem_that_is_named(empty: Any) -> None:
    store = empty.sandbox.outreach.store
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    store.add_state(prospect, None, "asleep")
    empty("run")
    document = empty("explain", "--prospect", str(prospect), "--json").document
    assert "'asleep'" in document["problem"]
    assert document["wanted"] == {}
    assert "Not decided: " in empty("explain", "--prospect", str(prospect)).out
    assert "Sequence states without a label: 1" in empty("failures", "list").out


def test_a_skipped_task_is_explained_by_the_condition_that_took_it(ran: Any) -> None:
    document = ran("explain", "--task", "3", "--json").document
    assert document["task"]["skipped"] is True
    assert document["because"].endswith(
        'condition 2 of sync.tasks.skipped_when takes it: {"state": "complete", "completed": false}'
    )
    made = ran.sandbox.workbooks.store.get(TASK, document["task"]["workbooks_id"])
    assert made["created_through_reference"] == document["task"]["reference"] == "outreach-task-3"
    assert f"Task {made['id']}" in ran("explain", "--task", "3").out


def test_a_task_that_is_not_skipped_and_one_that_waits_say_so(ran: Any) -> None:
    said = ran("explain", "--task", "1").out
    assert "Not skipped: no event of sync.tasks.skip_events names it, and no condition" in said
    waits = ran("explain", "--task", "24", "--json").document  # of prospect 16, who may be either of two People
    assert (waits["task"]["workbooks_id"], waits["person_id"]) == (None, None)
    assert [one["why"] for one in waits["queued"]] == ["its Person does not exist"]
    assert "Not in Workbooks yet; its Person is unknown." in ran("explain", "--task", "24").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--prospect", "424242"), ("--person", "424242"), ("--task", "424242"), ("424242@example.com",), ("424242",),
        (), ("--task", "1", "--person", "2"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_state_ends_with_2_and_says_so(ran: Any, arguments: tuple[str, ...]) -> None:
    explained = ran("explain", *arguments)
    assert (explained.status, explained.out) == (2, "")
    assert ("424242" if len(arguments) in {1, 2} else "name one:") in explained.err
    assert "the id" not in explained.err


def test_somebody_is_the_same_by_whichever_name(ran: Any) -> None:
    by_id = ran("explain", "--person", "1002", "--json").document
    assert ran("explain", "BO.example2@example.com", "--json").document == by_id
    assert ran("explain", "PERS-1002", "--json").document == by_id
    pooled = [ran("explain", "--prospect", one, "--json").document for one in ("13", "14")]
    person_id = pooled[0]["person"]["id"]
    assert pooled == [ran("explain", "--person", str(person_id), "--json").document] * 2
    assert [one["id"] for one in pooled[0]["prospects"]] == [13, 14]


def test_a_reference_names_whoever_has_it_as_external_id_before_the_person_of_that_number(empty: Any) -> None:
    person = empty.sandbox.workbooks.store.add_person(name="Ada", email="ada@example.com")
    store = empty.sandbox.outreach.store
    store.add_prospect(emails=["ada@example.com"], optedOut=True, externalId="PERS-7777")
    empty("run")
    assert empty("explain", "pers-7777", "--json").document["person"]["id"] == person


def test_an_address_of_several_people_is_not_guessed_between(empty: Any) -> None:
    ids = [empty.sandbox.outreach.store.add_prospect(emails=["ada@example.com"], optedOut=True) for _ in range(2)]
    for one in ids:
        empty.sandbox.workbooks.store.add_person(name="Ada", created_through_reference=f"outreach-prospect-{one}")
    empty("run")
    explained = empty("explain", "ada@example.com")
    assert (explained.status, f"several prospects have ada@example.com: {ids[0]}, {ids[1]}." in explained.err) == (
        2,
        True,
    )


def test_a_task_names_the_event_that_says_it_was_skipped_before_the_rule(ran: Any) -> None:
    with Store.open(ran.state_path) as state, state.transaction():
        at = parse_iso("2026-09-01T10:00:00Z")
        state.events.keep([Event(4711, "skip_task", at, at, 3, 11, 6, 29)])
    because = ran("explain", "--task", "3", "--json").document["because"]
    assert because == "event skip_task 4711 of 2026-09-01T10:00:00Z"


def test_the_timeline_says_what_was_written_when_by_which_run_and_why(ran: Any) -> None:
    document = ran("explain", "--person", "1002", "--json").document
    written = {one["field"]: (one["old"], one["new"]) for one in document["history"]}
    assert written["no_email_soliciting"] == (False, True)
    assert written["cf_person_sequence_state"] == (None, "Opted Out")
    said = ran("explain", "--person", "1002").out
    assert "    no_email_soliciting: false → true" in said
    assert "by run " in said
    pooled = ran("explain", "--prospect", "11", "--json").document["history"]  # with 12, and three tasks, all at once
    records = [record for record, _ in groupby(pooled, itemgetter("record", "workbooks_id"))]
    assert len(records) == len(set(records)) > 3, "what was written to a record stands together"


def test_a_hostile_name_begins_no_line_of_its_own(empty: Any) -> None:
    name = "Ada\nNothing differs.\r\x1b]8;;http://evil.example\x07"
    prospect = empty.sandbox.outreach.store.add_prospect(firstName=name, emails=["ada@example.com"])
    empty.sandbox.outreach.store.add_state(prospect, None, "active")
    empty("run")
    said = empty("explain", "--prospect", str(prospect)).out
    assert r"Ada\nNothing differs.\x0d\x1b]8;;" in said
    assert said.splitlines().count("Nothing differs.") == 1


def test_it_asks_neither_service_needs_no_secrets_and_makes_no_state(ran: Any) -> None:
    journals = (ran.sandbox.outreach.journal, ran.sandbox.workbooks.journal)
    before = [one.total() for one in journals]
    del ran.settings["workbooks"]["api_key"]
    del ran.settings["outreach"]["client_secret"]
    ran.write()
    assert ran("explain", "--prospect", "1").status == 0
    assert [one.total() for one in journals] == before
    ran.state_path.rename(ran.directory / "moved.db")
    assert (ran("explain", "--prospect", "1").status, ran.state_path.exists()) == (2, False)


@pytest.mark.parametrize("command_", ["explain", "forget", "history"])
@pytest.mark.parametrize("one", ["99999999999999999999999", "0"])
def test_an_id_that_no_record_can_have_is_a_mistake_and_no_bug(command_: str, one: str, empty: Any) -> None:
    for what in ("--prospect", "--person"):
        ran = empty(command_, what, one)
        assert (ran.status, f"{one} is not in the range" in ran.err) == (2, True)


# -- history


KEYS = [
    *("at", "run_id", "record", "action", "prospect_id", "task_id", "workbooks_id", "field", "old", "new", "because")
]


def test_it_lists_each_field_that_a_run_wrote_newest_first_and_names_nobody(setup: Any) -> None:
    setup("run", "--dry-run")
    assert setup("history", "--json").document == []
    run = setup("run", "--json").document
    written = setup("history", "--json").document
    assert all(list(one) == KEYS for one in written)
    assert {one["run_id"] for one in written} == {run["run_id"]}
    times = [parse_iso(one["at"]) for one in written]
    assert times == sorted(times, reverse=True)
    people = {one["workbooks_id"] for one in written if one["record"] == "person"}
    assert len(people) == run["people"]["created"] + run["people"]["updated"]
    assert len({one["task_id"] for one in written if one["record"] == "task"}) == run["tasks"]["created"]
    opted_out = [one for one in written if (one["workbooks_id"], one["field"]) == (1002, "no_email_soliciting")]
    assert [(one["old"], one["new"], one["action"]) for one in opted_out] == [(False, True, "update")]
    assert all(one["because"] for one in written)
    said = setup("history", "--json").out + setup("history", "--csv").out
    prospects = [one.values for one in setup.sandbox.outreach.store.all("prospect")]
    assert not [one for values in prospects for one in values.get("emails") or () if one in said]
    names = {values["lastName"] for values in prospects if len(values.get("lastName") or "") > 5}
    assert not [name for name in names if f'"{name}"' in said]


def test_it_can_be_asked_for_one_record_one_run_or_a_time_also_as_a_spreadsheet(setup: Any) -> None:
    first = setup("run", "--json").document["run_id"]
    everything = setup("history", "--json").document
    assert {one["workbooks_id"] for one in setup("history", "--person", "1002", "--json").document} == {1002}
    assert {one["task_id"] for one in setup("history", "--task", "3", "--json").document} == {3}
    of_prospect = setup("history", "--prospect", "11", "--json").document
    assert {one["prospect_id"] for one in of_prospect} == {11}
    assert setup("history", "--run", first, "--since", "1h", "--json").document == everything
    assert setup("history", "--since", "2999-01-01", "--json").document == []
    assert setup("history", "--run", "another").out == "Nothing was written.\n"
    rows = list(csv.DictReader(io.StringIO(setup("history", "--csv", "--person", "1002").out)))
    assert list(rows[0]) == KEYS
    assert {row["field"]: row["new"] for row in rows}["no_email_soliciting"] == "true"
    said = setup("history", "--person", "1002").out
    assert "Person 1002 updated (prospect 2) by run " in said
    assert re.search(r"^    no_email_soliciting +false → true$", said, re.MULTILINE)
    assert setup("history", "--csv", "--json").status == 2


# -- report


def test_before_the_first_run_the_page_says_so_and_no_state_is_made(setup: Any) -> None:
    ran = setup("report", "--out", "-")
    assert (ran.status, "no run was made yet" in ran.out, setup.state_path.exists()) == (0, True, False)
    assert ran.out.startswith("<!doctype html>")
    assert ran.out.endswith("</html>\n")


def test_after_a_run_it_shows_the_labels_the_refusals_and_no_personal_datum(setup: Any, tmp_path: Path) -> None:
    setup("run")
    target = tmp_path / "page.html"
    ran = setup("report", "--out", str(target), "--days", "7")
    assert (ran.status, "1 run in the last 7 days" in ran.out) == (0, True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    page = target.read_text(encoding="utf-8")
    assert "Opted Out" in page
    assert "What to do:" in page
    prospects = setup.sandbox.outreach.store.all("prospect")
    assert not [address for one in prospects for address in one.values.get("emails") or () if address in page]
    assert not [one for one in prospects if f">{one.values.get('lastName') or 'nobody'}<" in page]


def test_a_file_that_cannot_be_written_and_days_that_make_no_sense_end_with_2(setup: Any, tmp_path: Path) -> None:
    assert setup("report", "--out", "-", "--days", "0").status == setup("report").status == 2
    ran = setup("report", "--out", str(tmp_path / "no" / "page.html"))
    assert (ran.status, "no/page.html cannot be written" in ran.err) == (2, True)


# -- failures


LISTED = [*("id", "record", "prospect_id", "task_id", "workbooks_id", "reason", "attempts", "state", "next_attempt_at")]


@pytest.fixture
def listed(setup: Any) -> list[dict[str, Any]]:
    """What the example's first run leaves: an address that two People have, and a prospect that cannot be read."""
    assert setup("run").status == 1
    document: list[dict[str, Any]] = setup("failures", "list", "--json").document
    return document


def test_what_is_refused_is_listed_and_shown_with_what_to_do(setup: Any, listed: Any) -> None:
    assert [list(one) for one in listed] == [LISTED, LISTED]
    assert [one["prospect_id"] for one in listed] == [16, 99_999]
    assert {one["record"] for one in listed} == {"person"}
    assert {one["state"] for one in listed} == {"queued"}
    assert [one["id"] for one in listed] == sorted(one["id"] for one in listed)
    out = setup("failures", "list").out
    assert "Ambiguous: several People match: 1" in out
    assert "Merge them" in out
    assert "Prospects that cannot be read: 1" in out
    shown = setup("failures", "show", str(listed[0]["id"]), "--json").document
    assert {name: shown[name] for name in LISTED} == listed[0]
    assert (shown["action"], "Merge" in shown["advice"]) == ("resolve", True)
    assert "Merge" in setup("failures", "show", str(listed[0]["id"])).out


def test_what_a_refused_person_was_to_say_is_shown_as_the_history_shows_it(empty: Any) -> None:
    empty.sandbox.outreach.store.add_prospect(
        emails=["a@example.com"], optedOut=True, optedOutAt="2026-09-01T10:15:03Z"
    )
    empty.sandbox.workbooks.faults.on("refuse_all")
    empty("run")
    (one,) = empty("failures", "list", "--json").document
    said = empty("failures", "show", str(one["id"])).out
    lines = dict(line.split(maxsplit=1) for line in said.partition("What was to be written:\n")[2].splitlines())
    assert (lines["no_email"], lines["state_updated_at"]) == ("true", "2026-09-01T10:15:03Z")
    shown = empty("failures", "show", str(one["id"]), "--json").document
    assert (shown["fields"]["no_email"], shown["fields"]["state_updated_at"]) == (True, 1_788_257_703_000)


def test_a_pause_that_a_wrong_clock_began_is_not_announced_as_one(setup: Any, listed: Any) -> None:
    assert len(re.findall(r"  1  in \d min ", setup("failures", "list").out)) == len(listed)
    with closing(sqlite3.connect(setup.state_path)) as connection, connection:
        connection.execute("UPDATE outbox SET next_attempt_at = next_attempt_at + 315360000000")
    assert setup("failures", "list").out.count("  1  next run ") == len(listed), "it tries them"


def test_nothing_is_listed_before_the_first_run_and_no_state_is_made(setup: Any) -> None:
    assert setup("failures", "list", "--json").document == []
    assert setup("failures", "list").out == "Nothing is refused.\n"
    assert setup("failures", "retry").status == 0
    assert setup("failures", "retry", "1").status == 2
    assert not setup.state_path.exists()


def test_an_unknown_id_ends_with_2_and_a_run_beside_it_with_5_and_nothing_changes(setup: Any, listed: Any) -> None:
    known = str(listed[0]["id"])
    for words in (("show",), ("retry", known), ("discard", known)):
        ran = setup("failures", *words, "987654")
        assert (ran.status, "987654" in ran.err) == (2, True)
    with run_lock(setup.state_path, "run"):
        assert setup("failures", "retry").status == setup("failures", "discard", known).status == 5
        assert setup("failures", "list").status == 0
    assert setup("failures", "list", "--json").document == listed


def test_a_refusal_whose_cause_was_mended_is_decided_anew_after_retry(setup: Any, listed: Any) -> None:
    twin = listed[0]["reason"].partition("(")[2].partition(")")[0].split(", ")[1]
    setup.sandbox.workbooks.store.delete(PERSON, int(twin))
    assert setup("run", "--json").document["people"]["updated"] == 0  # its pause is not over
    assert setup("failures", "retry", str(listed[0]["id"]), "--json").document == {"retried": [listed[0]["id"]]}
    assert setup("run", "--json").document["people"]["updated"] == 1
    assert [one["prospect_id"] for one in setup("failures", "list", "--json").document] == [99_999]


def test_retry_without_ids_also_frees_parked_records_and_resets_their_attempts(setup: Any) -> None:
    setup.change("sync", max_attempts=1)
    setup("run")
    parked = setup("failures", "list", "--json").document
    assert {(one["state"], one["next_attempt_at"]) for one in parked} == {("parked", None)}
    assert setup("status", "--json").document["parked"] == 2
    assert "2 parked" in setup("status").out
    setup("failures", "retry")
    freed = setup("failures", "list", "--json").document
    assert {(one["state"], one["attempts"], one["next_attempt_at"]) for one in freed} == {("queued", 0, None)}
    assert [one["id"] for one in freed] == [one["id"] for one in parked]


def test_a_refused_source_record_is_shown_as_the_person_or_task_it_stands_for(empty: Any) -> None:
    store = empty.sandbox.outreach.store
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    state = store.add_state(prospect, None, "active")
    task = store.add_task(prospect, taskType="sequence_step_email", state="skipped")
    store.get("sequenceState", state).values["stateChangedAt"] = "soon"
    store.get("task", task).values["dueAt"] = "tomorrow"
    empty("run")
    shown = empty("failures", "list", "--json").document
    assert [(one["record"], one["prospect_id"], one["task_id"]) for one in shown] == [
        ("person", prospect, None),
        ("task", prospect, task),
    ]
    assert "Correct the record in Outreach" in empty("failures", "list").out


def test_a_person_whom_workbooks_does_not_show_is_created_again_only_when_told(setup: Any) -> None:
    setup("run")
    store = setup.sandbox.workbooks.store
    store.update(PERSON, 1002, no_email_soliciting=True)
    store.purge(PERSON, 1002)
    assert setup("reconcile", "--allow-bulk").status == 1
    (hidden,) = [one for one in setup("failures", "list", "--json").document if one["workbooks_id"] == 1002]
    assert "does not come back from Workbooks" in hidden["reason"]
    assert "People that Workbooks does not show: 1" in setup("failures", "list").out
    assert setup("failures", "retry", "--recreate").status == 2
    others = [one["id"] for one in setup("failures", "list", "--json").document if one["id"] != hidden["id"]]
    refused = setup("failures", "retry", str(others[0]), "--recreate")
    assert (refused.status, "another kind" in refused.err) == (2, True)
    assert setup("failures", "retry", str(hidden["id"]), "--recreate").out.startswith("1 due now")
    assert setup("run", "--json").document["people"]["recreated"] == 1


# -- status


def test_before_the_first_run_it_says_so_with_the_keys_that_it_has_after_it(setup: Any) -> None:
    ran = setup("status")
    first = ran.out.splitlines()[0]
    assert (ran.status, first.startswith("✗ no run was made yet: try `outreach-sync check`")) == (0, True)
    assert (setup("status", "--check").status, setup.state_path.exists()) == (1, False)
    before = setup("status", "--json").document
    assert before["last_run"] is None
    assert before["watermarks"] == dict.fromkeys(("sequence_states", "tasks", "prospects", "events"))
    setup("run")
    assert setup("status", "--json").document.keys() == before.keys()


def test_it_shows_what_the_last_run_did_and_what_waits(setup: Any) -> None:
    done = setup("run", "--json").document
    document = setup("status", "--json").document
    assert document["last_run"]["run_id"] == done["run_id"]
    assert document["last_run"]["people"] == done["people"]
    marks = {name: stream["watermark"] for name, stream in done["streams"].items()}
    assert {name: document["watermarks"][name] for name in marks} == marks
    assert (document["queued"], document["parked"]) == (done["people"]["queued"] + done["tasks"]["queued"], 0)
    assert document["quota"]["remaining"] > 0 > document["tokens"]["age_days"] - 1
    said = setup("status").out
    assert re.search(r"^run +\d+ s ago +partial +1 +9 created, 47 updated, 2 rejected +23 created$", said, re.MULTILINE)
    assert re.search(r"^last run \d+ s ago · next \d\d:\d\d UTC$", said, re.MULTILINE)
    assert "\n56 people linked; 1 waiting, 2 refused (0 parked); 0 people to be decided.\n" in said, "as the run says"


def test_it_changes_nothing_and_takes_no_lock(setup: Any) -> None:
    setup("run")
    before = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    setup("status")
    after = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    assert {name for name in after if not name.endswith(("-wal", "-shm"))} == set(before)
    assert after["state.db"] == before["state.db"]


@pytest.mark.parametrize(
    "arguments", [("status",), ("check",), ("failures", "list"), ("run", "--dry-run"), ("run",)], ids=" ".join
)
def test_a_database_of_another_program_is_not_taken_for_no_state_yet(arguments: tuple[str, ...], empty: Any) -> None:
    empty.state_path.parent.mkdir()
    with closing(sqlite3.connect(empty.state_path)) as connection:
        connection.execute("CREATE TABLE precious (id)")
    ran = empty(*arguments)
    assert ran.status == 2
    assert "not one of outreach-sync" in ran.out + ran.err


def test_check_ends_with_0_where_nobody_is_needed_and_with_1_after_a_refusal_or_where_nothing_runs(setup: Any) -> None:
    setup("run")
    listed = setup("failures", "list", "--json").document
    refused = setup("status", "--check")
    assert (refused.status, len(listed)) == (1, 2)
    assert refused.out.startswith("✗ 2 records were refused: `outreach-sync failures list` says why")
    setup("failures", "discard", *(str(one["id"]) for one in listed))
    well = setup("status", "--check")
    assert well.status == 0
    assert re.match(r"OK · last run \d+ s ago · ne", well.out)
    assert setup("run").status == 0
    with closing(sqlite3.connect(setup.state_path)) as connection, connection:
        connection.execute("UPDATE run SET started_at = started_at - 10800000, finished_at = finished_at - 10800000")
    assert setup("status", "--check").out.startswith("✗ run is overdue since ")
    assert setup("status", "--check", "--json").status == 1
