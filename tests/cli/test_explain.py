import csv
import io
import re
import sqlite3
import stat
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import yaml

from outreach_sync.instants import Instant, parse_iso, to_iso
from outreach_sync.records import Event
from outreach_sync.store import Store, run_lock
from tests.harness import PERSON, TASK


@pytest.fixture
def ran(setup: Any) -> Any:
    setup("run")
    return setup


def test_somebody_is_explained_by_what_decided_and_was_written_or_by_what_waits(ran: Any) -> None:
    document = ran.document("explain", "--prospect", "5")
    person = document["person"]
    said = ran.workbooks.get(PERSON, person["id"])
    assert document["because"] == "opt-out: sequence state 7 is opted_out"
    assert person["holds"]["cf_person_sequence_state"] == said["cf_person_sequence_state"] == "Opted Out"
    assert (person["holds"]["no_email_soliciting"], person["linked_by"]) == (True, "email")
    assert person["last_written_at"] is not None
    assert [one["id"] for one in document["sequence_states"]] == [8, 7]
    assert (document["differs"], document["queued"], document["problem"]) == ({}, [], None)
    waits = ran.document("explain", "--prospect", "16")
    why = {one["action"]: one["why"].partition(":")[0] for one in waits["queued"]}
    assert (waits["person"], why) == (None, {"create": "its Person does not exist", "resolve": "ambiguous"})
    assert re.search(r"No Person is linked\.(.|\n)*ambiguous", ran("explain", "--prospect", "16").out)
    assert ran.document("explain", "--prospect", "20")["differs"] == {}, "nobody is created who is merely Not Active"
    assert "No Person is linked, and the next run makes none." in ran("explain", "--prospect", "20").out


def test_a_change_that_was_read_and_not_yet_written_is_shown_as_what_differs(ran: Any) -> None:
    ran.sandbox.evolve(1)
    ran.sandbox.workbooks.faults.on("unavailable_503")
    assert ran("run").status == 4
    document, said = ran.document("explain", "--prospect", "8"), ran("explain", "--prospect", "8").out
    assert document["because"] == "opt-out: prospect 8 has optedOut"
    assert document["person"]["holds"]["no_email_soliciting"] is not True
    assert document["differs"]["no_email_soliciting"] is True
    assert re.search(r"^What differs:(\n  .+)*\n  no_email_soliciting +true$", said, re.MULTILINE)


def test_a_state_without_a_label_is_the_problem_and_a_hostile_name_begins_no_line_of_its_own(empty: Any) -> None:
    name = "Ada\nNothing is to be written.\r\x1b]8;;http://evil.example\x07"
    prospect = empty.outreach.add_prospect(firstName=name, emails=["ada@example.com"])
    empty.outreach.add_state(prospect, None, "asleep")
    empty("run")
    document, said = (
        empty.document("explain", "--prospect", str(prospect)),
        empty("explain", "--prospect", str(prospect)),
    )
    assert ("'asleep'" in document["problem"], document["wanted"]) == (True, {})
    assert "Not decided: " in said.out
    assert "Sequence states without a label: 1" in empty("failures", "list").out
    assert r"Ada\nNothing is to be written.\x0d\x1b]8;;" in said.out
    assert said.out.splitlines().count("Nothing is to be written.") == 1


def test_a_task_is_explained_by_its_event_else_by_the_condition_or_why_it_is_not_skipped_or_waits(ran: Any) -> None:
    skipped = ran.document("explain", "--task", "3")
    took = 'condition 2 of sync.tasks.skipped_when takes it: {"state": "complete", "completed": false}'
    assert (skipped["task"]["skipped"], skipped["because"].endswith(took)) == (True, True)
    made = ran.workbooks.get(TASK, skipped["task"]["workbooks_id"])
    assert made["created_through_reference"] == skipped["task"]["reference"] == "outreach-task-3"
    assert f"Task {made['id']}" in ran("explain", "--task", "3").out
    said = ran("explain", "--task", "1").out
    assert "Not skipped: no event of sync.tasks.skip_events names it, and no condition" in said
    waits = ran.document("explain", "--task", "24")  # of prospect 16, who may be either of two People
    assert (waits["task"]["workbooks_id"], waits["person_id"]) == (None, None)
    assert [one["why"] for one in waits["queued"]] == ["its Person does not exist"]
    assert "Not in Workbooks yet; its Person is unknown." in ran("explain", "--task", "24").out
    with Store.open(ran.state_path) as state, state.transaction():
        at = parse_iso("2026-09-01T10:00:00Z")
        state.events.keep([Event(4711, "skip_task", at, at, 3, 11, 6, 29)])
    because = ran.document("explain", "--task", "3")["because"]
    assert because == "event skip_task 4711 of 2026-09-01T10:00:00Z"


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
    by_id = ran.document("explain", "--person", "1002")
    assert ran.document("explain", "BO.example2@example.com") == ran.document("explain", "PERS-1002") == by_id
    pooled = [ran.document("explain", "--prospect", one) for one in ("13", "14")]
    assert pooled == [ran.document("explain", "--person", str(pooled[0]["person"]["id"]))] * 2
    assert [one["id"] for one in pooled[0]["prospects"]] == [13, 14]


def test_a_reference_is_an_external_id_before_a_number_and_an_address_of_several_is_not_guessed_between(
    empty: Any,
) -> None:
    person = empty.workbooks.add_person(name="Ada", email="ada@example.com")
    empty.outreach.add_prospect(emails=["ada@example.com"], optedOut=True, externalId="PERS-7777")
    ids = [empty.outreach.add_prospect(emails=["bo@example.com"], optedOut=True) for _ in range(2)]
    for one in ids:
        empty.workbooks.add_person(name="Bo", created_through_reference=f"outreach-prospect-{one}")
    empty("run")
    assert empty.document("explain", "pers-7777")["person"]["id"] == person
    several = empty("explain", "bo@example.com")
    assert (several.status, f"several prospects have bo@example.com: {ids[0]}, {ids[1]}." in several.err) == (2, True)


def test_the_timeline_says_what_was_written_when_by_which_run_and_why(ran: Any) -> None:
    said = ran("explain", "--person", "1002").out
    assert re.search(r"by run .*: opt-out: (.|\n)*    no_email_soliciting: false → true", said)
    pooled = ran.document("explain", "--prospect", "11")["history"]  # with 12, and three tasks, all at once
    records = [record for record, _ in groupby(pooled, itemgetter("record", "workbooks_id"))]
    assert len(records) == len(set(records)) > 3, "what was written to a record stands together"


def test_it_asks_neither_service_needs_no_secrets_and_makes_no_state(ran: Any) -> None:
    del ran.settings["workbooks"]["api_key"], ran.settings["outreach"]["client_secret"]
    ran.write()
    ran.sandbox.stop()
    assert ran("explain", "--prospect", "1").status == 0
    ran.state_path.rename(ran.directory / "moved.db")
    assert (ran("explain", "--prospect", "1").status, ran.state_path.exists()) == (2, False)


@pytest.mark.parametrize("command_", ["explain", "forget", "history"])
@pytest.mark.parametrize("one", ["99999999999999999999999", "0"])
def test_an_id_that_no_record_can_have_is_a_mistake_and_no_bug(command_: str, one: str, empty: Any) -> None:
    for what in ("--prospect", "--person"):
        ran = empty(command_, what, one)
        assert (ran.status, f"{one} is not in the range" in ran.err) == (2, True)


# -- history


def test_each_field_that_a_run_wrote_is_listed_newest_first_or_those_of_one_record_run_or_time_also_as_a_spreadsheet(
    setup: Any,
) -> None:
    run, ran = setup.document("run"), setup
    everything = ran.document("history")
    assert {one["run_id"] for one in everything} == {run["run_id"]}
    times = [parse_iso(one["at"]) for one in everything]
    assert times == sorted(times, reverse=True)
    people = {one["workbooks_id"] for one in everything if one["record"] == "person"}
    assert len(people) == run["people"]["created"] + run["people"]["updated"]
    assert len({one["task_id"] for one in everything if one["record"] == "task"}) == run["tasks"]["created"]
    opted_out = [one for one in everything if (one["workbooks_id"], one["field"]) == (1002, "no_email_soliciting")]
    assert [(one["old"], one["new"], one["action"]) for one in opted_out] == [(False, True, "update")]
    assert all(one["because"] for one in everything)
    for option, number, key in (
        ("--person", 1002, "workbooks_id"), ("--task", 3, "task_id"), ("--prospect", 11, "prospect_id"),
    ):  # fmt: skip
        assert {one[key] for one in ran.document("history", option, str(number))} == {number}
    assert ran.document("history", "--run", everything[0]["run_id"], "--since", "1h") == everything
    assert ran.document("history", "--since", "2999-01-01") == []
    assert ran("history", "--run", "another").out == "Nothing was written.\n"
    rows = list(csv.DictReader(io.StringIO(ran("history", "--csv", "--person", "1002").out)))
    assert list(rows[0]) == list(everything[0])
    assert {row["field"]: row["new"] for row in rows}["no_email_soliciting"] == "true"
    said = ran("history", "--person", "1002").out
    assert "Person 1002 updated (prospect 2) by run " in said
    assert re.search(r"^    no_email_soliciting +false → true$", said, re.MULTILINE)
    assert ran("history", "--csv", "--json").status == 2


# -- report


def test_before_the_first_run_the_page_says_so_and_options_that_make_no_sense_end_with_2(
    setup: Any, tmp_path: Path
) -> None:
    ran = setup("report", "--out", "-")
    assert (ran.status, "no run was made yet" in ran.out, setup.state_path.exists()) == (0, True, False)
    assert (ran.out.startswith("<!doctype html>"), ran.out.endswith("</html>\n")) == (True, True)
    assert setup("report", "--out", "-", "--days", "0").status == setup("report").status == 2
    ran = setup("report", "--out", str(tmp_path / "no" / "page.html"))
    assert (ran.status, "no/page.html cannot be written" in ran.err) == (2, True)


def test_after_a_run_it_shows_the_labels_the_refusals_and_no_personal_datum(ran: Any, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    wrote = ran("report", "--out", str(target), "--days", "7")
    assert (wrote.status, "1 run in the last 7 days" in wrote.out) == (0, True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    page = target.read_text(encoding="utf-8")
    assert ("Opted Out" in page, "What to do:" in page) == (True, True)
    prospects = ran.outreach.all("prospect")
    assert not [address for one in prospects for address in one.values.get("emails") or () if address in page]
    assert not [one for one in prospects if f">{one.values.get('lastName') or 'nobody'}<" in page]


# -- failures


LIST = ("failures", "list")


@pytest.fixture
def listed(setup: Any) -> list[dict[str, Any]]:
    """What the example's first run leaves: an address that two People have, and a prospect that cannot be read."""
    assert setup("run").status == 1
    listed: list[dict[str, Any]] = setup.document(*LIST)
    return listed


def test_what_is_refused_is_listed_and_shown_with_what_to_do_and_the_pause_unless_a_wrong_clock_began_it(
    setup: Any, listed: Any
) -> None:
    kinds = [(one["prospect_id"], one["record"], one["state"]) for one in listed]
    assert kinds == [(16, "person", "queued"), (99_999, "person", "queued")]
    assert [one["id"] for one in listed] == sorted(one["id"] for one in listed)
    out = setup("failures", "list").out
    for said in ("Ambiguous: several People match: 1", "Merge them", "Prospects that cannot be read: 1"):
        assert said in out
    shown = setup.document("failures", "show", str(listed[0]["id"]))
    assert shown | listed[0] == shown
    assert (shown["action"], "Merge" in shown["advice"]) == ("resolve", True)
    assert "Merge" in setup("failures", "show", str(listed[0]["id"])).out
    assert len(re.findall(r"  1  in \d min ", out)) == len(listed)
    with closing(sqlite3.connect(setup.state_path)) as connection, connection:
        connection.execute("UPDATE outbox SET next_attempt_at = next_attempt_at + 315360000000")
    assert setup(*LIST).out.count("  1  next run ") == len(listed), "it tries them"


def test_what_a_refused_person_was_to_say_is_shown_as_the_history_shows_it(empty: Any) -> None:
    empty.outreach.add_prospect(emails=["a@example.com"], optedOut=True, optedOutAt="2026-09-01T10:15:03Z")
    empty.sandbox.workbooks.faults.on("refuse_all")
    empty("run")
    (one,) = empty.document(*LIST)
    said = empty("failures", "show", str(one["id"])).out
    lines = dict(line.split(maxsplit=1) for line in said.partition("What was to be written:\n")[2].splitlines())
    assert (lines["no_email"], lines["state_updated_at"]) == ("true", "2026-09-01T10:15:03Z")
    fields = empty.document("failures", "show", str(one["id"]))["fields"]
    assert (fields["no_email"], fields["state_updated_at"]) == (True, 1_788_257_703_000)


def test_an_unknown_id_ends_with_2_and_a_run_beside_it_with_5_and_nothing_changes(setup: Any, listed: Any) -> None:
    known = str(listed[0]["id"])
    for words in (("show",), ("retry", known), ("discard", known)):
        ran = setup("failures", *words, "987654")
        assert (ran.status, "987654" in ran.err) == (2, True)
    with run_lock(setup.state_path, "run"):
        assert setup("failures", "retry").status == setup("failures", "discard", known).status == 5
        assert setup("failures", "list").status == 0
    assert setup.document(*LIST) == listed


def test_a_refusal_whose_cause_was_mended_is_decided_anew_after_retry(setup: Any, listed: Any) -> None:
    twin = listed[0]["reason"].partition("(")[2].partition(")")[0].split(", ")[1]
    setup.workbooks.delete(PERSON, int(twin))
    assert setup.document("run")["people"]["updated"] == 0  # its pause is not over
    assert setup.document("failures", "retry", str(listed[0]["id"])) == {"retried": [listed[0]["id"]]}
    assert setup.document("run")["people"]["updated"] == 1
    assert [one["prospect_id"] for one in setup.document(*LIST)] == [99_999]


def test_retry_without_ids_also_frees_parked_records_and_resets_their_attempts(setup: Any) -> None:
    setup.change("sync", max_attempts=1)
    setup("run")
    parked = setup.document(*LIST)
    assert {(one["state"], one["next_attempt_at"]) for one in parked} == {("parked", None)}
    assert (setup.document("status")["parked"], "2 parked" in setup("status").out) == (2, True)
    setup("failures", "retry")
    freed = [(one["id"], one["state"], one["attempts"], one["next_attempt_at"]) for one in setup.document(*LIST)]
    assert freed == [(one["id"], "queued", 0, None) for one in parked]


def test_a_refused_source_record_is_shown_as_the_person_or_task_it_stands_for(empty: Any) -> None:
    store = empty.outreach
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    store.get("sequenceState", store.add_state(prospect, None, "active")).values["stateChangedAt"] = "soon"
    task = store.add_task(prospect, taskType="sequence_step_email", state="skipped")
    store.get("task", task).values["dueAt"] = "tomorrow"
    empty("run")
    shown = [(one["record"], one["prospect_id"], one["task_id"]) for one in empty.document(*LIST)]
    assert shown == [("person", prospect, None), ("task", prospect, task)]
    assert "Correct the record in Outreach" in empty(*LIST).out


def test_a_person_whom_workbooks_does_not_show_is_created_again_only_when_told(setup: Any) -> None:
    setup("run")
    setup.workbooks.purge(PERSON, 1002)
    assert setup("reconcile", "--allow-bulk").status == 1
    (hidden,) = [one for one in setup.document(*LIST) if one["workbooks_id"] == 1002]
    assert "does not come back from Workbooks" in hidden["reason"]
    assert "Records that Workbooks does not show: 1" in setup("failures", "list").out
    assert "needs the ids" in setup("failures", "retry", "--recreate").err
    others = [one["id"] for one in setup.document(*LIST) if one["id"] != hidden["id"]]
    refused = setup("failures", "retry", str(others[0]), "--recreate")
    assert (refused.status, "another kind" in refused.err) == (2, True)
    assert setup("failures", "retry", str(hidden["id"]), "--recreate").out.startswith("1 due now")
    assert setup.document("run")["people"]["recreated"] == 1


# -- status


def test_before_the_first_run_it_says_so_with_the_keys_that_it_has_after_it_and_nothing_is_refused(setup: Any) -> None:
    ran = setup("status")
    assert (ran.status, ran.out.startswith("✗ no run was made yet: try `outreach-sync check`")) == (0, True)
    assert (setup.document(*LIST), setup(*LIST).out) == ([], "Nothing is refused.\n")
    assert (setup("failures", "retry").status, setup("failures", "retry", "1").status) == (0, 2)
    assert (setup("status", "--check").status, setup.state_path.exists()) == (1, False)
    before = setup.document("status")
    assert before["last_run"] is None
    assert before["watermarks"] == dict.fromkeys(("sequence_states", "tasks", "prospects", "events"))
    setup("run")
    assert setup.document("status").keys() == before.keys()


def test_it_shows_what_the_last_run_did_and_what_waits_and_changes_nothing(setup: Any) -> None:
    done = setup.document("run")
    before = {path.name: path.read_bytes() for path in setup.state_path.parent.iterdir() if path.is_file()}
    document, said = setup.document("status"), setup("status").out
    after = {path.name for path in setup.state_path.parent.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert (after, setup.state_path.read_bytes()) == (set(before), before["state.db"])
    last = document["last_run"]
    assert (last["run_id"], last["people"]) == (done["run_id"], done["people"])
    marks = {name: stream["watermark"] for name, stream in done["streams"].items()}
    assert {name: document["watermarks"][name] for name in marks} == marks
    assert (document["queued"], document["parked"]) == (done["people"]["queued"] + done["tasks"]["queued"], 0)
    assert document["quota"]["remaining"] > 0 > document["tokens"]["age_days"] - 1
    assert re.search(r"^run +\d+ s ago +partial +1 +9 created, 47 updated, 2 rejected +23 created$", said, re.MULTILINE)
    assert re.search(r"^last run \d+ s ago · next \d\d:\d\d UTC$", said, re.MULTILINE)
    assert "\n56 people linked; 1 waiting, 2 refused (0 parked); 0 people to be decided.\n" in said, "as the run says"


def test_check_ends_with_0_where_nobody_is_needed_and_with_1_after_a_refusal_or_where_nothing_runs(
    setup: Any, listed: Any
) -> None:
    refused = setup("status", "--check")
    said = "✗ 2 records were refused: `outreach-sync failures list` says why"
    assert (refused.status, refused.out.startswith(said)) == (1, True)
    setup("failures", "discard", *(str(one["id"]) for one in listed))
    well = setup("status", "--check")
    assert (well.status, bool(re.match(r"OK · last run \d+ s ago · ne", well.out))) == (0, True)
    assert setup("run").status == 0
    with closing(sqlite3.connect(setup.state_path)) as connection, connection:
        connection.execute("UPDATE run SET started_at = started_at - 10800000, finished_at = finished_at - 10800000")
    assert setup("status", "--check").out.startswith("✗ run is overdue since ")
    assert setup("status", "--check", "--json").status == 1


# -- probe-skips


@pytest.fixture
def life(empty: Any) -> dict[str, int]:
    """One prospect in a sequence with a done task, a skipped one, and a manual one that was skipped: their ids."""
    store = empty.outreach
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    sequence = store.add_sequence("Trial follow-up")
    state = store.add_state(prospect, sequence, "active")
    step = {"taskType": "sequence_step_email", "action": "email", "sequence": sequence, "sequenceState": state}
    done = {"state": "complete", "completed": True, "completedAt": "2026-09-01T10:00:00.000Z", "completer": 1}
    return {
        "done": store.add_task(prospect, **step, **done),
        "skipped": store.add_task(prospect, **step, state="skipped"),
        "manual": store.add_task(prospect, taskType="manual", action="call", state="skipped"),
    }


def _skips(document: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {one["task_id"]: one for one in document["skips"]}


def test_every_skip_is_shown_with_its_task_and_what_the_rule_says_of_it(life: dict[str, int], empty: Any) -> None:
    document = empty.document("probe-skips")
    skips = _skips(document)
    assert skips.keys() == {life["skipped"], life["manual"]}
    ours = skips[life["skipped"]]
    assert (ours["state"], ours["gone"], ours["in_sequence"], ours["rule_takes_it"]) == ("skipped", False, True, True)
    assert skips[life["manual"]]["in_sequence"] is False
    assert (document["read"], document["sequence_tasks"], document["taken"]) == (3, 2, 1)
    counts = {one["name"]: one["count"] for one in document["events"]["names"]}
    assert (counts["skip_task"], document["events"]["skips"], document["disagreements"]) == (2, 2, [])
    assert "Events suffice" in document["recommendations"][0]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("skip_destroys_task", "an event says skipped, and the task is gone"),
        ("skip_is_another_word", "an event says skipped, the rule does not"),
    ],
)
def test_where_the_witnesses_disagree_is_said_whatever_a_skip_leaves(
    fault: str, says: str, life: dict[str, int], empty: Any
) -> None:
    empty.sandbox.outreach.faults.on(fault)
    document = empty.document("probe-skips")
    assert [(one["says"], one["examples"]) for one in document["disagreements"]] == [(says, [life["skipped"]])]
    assert says in empty("probe-skips").out
    assert _skips(document)[life["skipped"]]["gone"] is (fault == "skip_destroys_task")


def test_a_task_that_the_rule_takes_and_no_event_names_keeps_tasks_in_the_streams(
    life: dict[str, int], empty: Any
) -> None:
    empty.change("sync", tasks={"skipped_when": [{"state": "complete"}, {"state": "skipped"}]})
    document = empty.document("probe-skips")
    (one,) = document["disagreements"]
    assert (one["says"], one["examples"]) == ("the rule says skipped, no event does", [life["done"]])
    assert document["recommendations"][0].startswith("Keep `tasks` in sync.streams: the rule takes 1 tasks")


def test_absence_is_tested_by_asking_for_the_open_tasks_of_states_that_moved_on(empty: Any) -> None:
    store = empty.outreach
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    sequence = store.add_sequence("Trial follow-up")
    first, second = store.add_step(sequence), store.add_step(sequence)
    state = store.add_state(prospect, sequence, "active", sequenceStep=first)
    step = {"taskType": "sequence_step_email", "action": "email", "state": "incomplete", "sequence": sequence}
    there, gone, current = (
        store.add_task(prospect, **step, sequenceState=state, sequenceStep=at) for at in (first, first, second)
    )
    empty("run")
    store.update("sequenceState", state, sequenceStep=second)
    for task in (gone, current):
        store.delete("task", task)
    absence = empty.document("probe-skips")["absence"]
    assert absence == {"asked_for": 2, "gone": 1, "gone_without_event": 1, "examples": [gone]}
    assert there != gone


def test_where_events_may_not_be_read_the_rest_is_shown_and_the_scope_is_named(
    life: dict[str, int], empty: Any
) -> None:
    empty.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    ran = empty("probe-skips", "--json")
    assert (ran.status, "events.read" in ran.document["events"]["problem"]) == (0, True)
    assert "events.read" in ran.document["recommendations"][0]
    assert (ran.document["read"], ran.document["skips"]) == (3, [])


def test_events_of_every_name_are_counted_newest_first_in_ten_requests_at_most(empty: Any) -> None:
    for number in range(1, 25):
        at = to_iso(Instant(empty.sandbox.clock.now() - (25 - number) * 1000))
        empty.sandbox.outreach.store.add("event", {"name": "odd" if number % 2 else "even", "createdAt": at})
    empty.change("outreach", page_size=2)
    events = empty.document("probe-skips")["events"]
    assert (events["read"], events["complete"]) == (20, False)
    assert [(one["name"], one["count"], one["examples"]) for one in events["names"]] == [
        ("even", 10, [24, 22, 20, 18, 16]), ("odd", 10, [23, 21, 19, 17, 15]),
    ]  # fmt: skip
    empty.change("outreach", page_size=3)
    assert empty.document("probe-skips")["events"]["complete"]


def test_every_task_of_the_days_is_counted_once_by_the_services_clock_and_the_rule_takes_what_a_run_takes(
    setup: Any,
) -> None:
    setup.change("outreach", page_size=7)
    setup.change("sync", streams=["sequence_states", "tasks", "prospects"])
    document = setup.document("probe-skips", "--days", "90")
    assert document["read"] == sum(one["count"] for one in document["combinations"]) == 80
    assert 0 < setup.document("probe-skips")["read"] < 80
    assert document["taken"] == setup.document("run")["streams"]["tasks"]["skipped"]
    setup.sandbox.clock.advance(10 * 86_400_000)
    assert setup.document("probe-skips", "--days", "10")["read"] == 0


def test_a_rule_that_is_recommended_is_one_that_the_config_takes(setup: Any) -> None:
    setup.change("sync", tasks={"skipped_when": [{"state": "nothing"}]})
    setup.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    out = setup("probe-skips", "--days", "90").out
    rule = yaml.safe_load(out[out.index("\nsync:") : out.index("\nTo settle it")])
    setup.change("sync", **rule["sync"])
    document = setup.document("probe-skips", "--days", "90")
    assert document["recommended"] == document["rule"] == rule["sync"]["tasks"]["skipped_when"]
    assert len(document["rule"]) > 1


def test_it_keeps_nothing_but_a_token_asks_outreach_alone_and_ends_as_a_run_does_where_it_refuses(setup: Any) -> None:
    with run_lock(setup.state_path, "run"):
        assert setup("probe-skips").status == 0
    assert (setup.state_path.exists(), setup.sandbox.workbooks.journal.total()) == (False, 0)
    setup.sandbox.outreach.faults.on("scope_missing", scope="tasks.read")
    assert setup("probe-skips").status == 3
    setup.sandbox.outreach.stop()
    assert setup("probe-skips").status == 4
