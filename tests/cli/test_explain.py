from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Event
from outreach_sync.store import Store

PERSON = "Private::Crm::Person"


@pytest.fixture
def ran(setup: Any) -> Any:
    setup("run")
    return setup


def _outreach_and_workbooks_requests(setup: Any) -> tuple[int, int]:
    return setup.sandbox.outreach.journal.total(), setup.sandbox.workbooks.journal.total()


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


def test_a_person_and_each_of_its_prospects_are_explained_alike(ran: Any) -> None:
    by_prospect = [ran("explain", "--prospect", one, "--json").document for one in ("13", "14")]
    person_id = by_prospect[0]["person"]["id"]
    assert by_prospect == [ran("explain", "--person", str(person_id), "--json").document] * 2
    assert [one["id"] for one in by_prospect[0]["prospects"]] == [13, 14]


def test_who_has_no_person_is_explained_by_what_is_queued_and_why(ran: Any) -> None:
    document = ran("explain", "--prospect", "16", "--json").document
    assert document["person"] is None
    assert {one["action"]: one["why"].partition(":")[0] for one in document["queued"]} == {
        "create": "the next run sends it",
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
    assert "What differs:" in ran("explain", "--prospect", "8").out


def test_a_state_without_a_label_is_the_problem_that_is_named(empty: Any) -> None:
    store = empty.sandbox.outreach.store
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    store.add_state(prospect, None, "asleep")
    empty("run")
    document = empty("explain", "--prospect", str(prospect), "--json").document
    assert "'asleep'" in document["problem"]
    assert document["wanted"] == {}
    assert "Not decided: " in empty("explain", "--prospect", str(prospect)).out


def test_a_skipped_task_is_explained_by_the_condition_that_took_it(ran: Any) -> None:
    document = ran("explain", "--task", "3", "--json").document
    assert document["task"]["skipped"] is True
    assert document["because"].endswith(
        'condition 2 of sync.tasks.skipped_when takes it: {"state": "complete", "completed": false}'
    )
    made = ran.sandbox.workbooks.store.get("Private::Activity::Task", document["task"]["workbooks_id"])
    assert made["created_through_reference"] == document["task"]["reference"] == "outreach-task-3"
    assert f"Task {made['id']}" in ran("explain", "--task", "3").out


def test_a_task_that_is_not_skipped_and_one_that_waits_say_so(ran: Any) -> None:
    assert (
        "Not skipped: no event of sync.tasks.skip_events names it, and no condition"
        in ran("explain", "--task", "1").out
    )
    waits = ran("explain", "--task", "24", "--json").document  # of prospect 16, who may be either of two People
    assert (waits["task"]["workbooks_id"], waits["person_id"], len(waits["queued"])) == (None, None, 1)
    assert "Not in Workbooks yet; its Person is unknown." in ran("explain", "--task", "24").out


@pytest.mark.parametrize(
    "arguments",
    [("--prospect", "424242"), ("--person", "424242"), ("--task", "424242"), (), ("--task", "1", "--person", "2")],
)
def test_what_is_not_in_the_state_ends_with_2_and_says_so(ran: Any, arguments: tuple[str, ...]) -> None:
    explained = ran("explain", *arguments)
    assert (explained.status, explained.out) == (2, "")
    assert "424242" in explained.err or "name one:" in explained.err


def test_an_address_or_a_reference_names_somebody_as_well_as_an_id(ran: Any) -> None:
    by_id = ran("explain", "--person", "1002", "--json").document
    assert ran("explain", "BO.example2@example.com", "--json").document == by_id
    assert ran("explain", "PERS-1002", "--json").document == by_id
    unknown = ran("explain", "nobody@example.com")
    assert (unknown.status, unknown.out) == (2, "")
    assert ran("explain", "Bo").status == 2


def test_a_task_names_the_event_that_says_it_was_skipped_before_the_rule(ran: Any) -> None:
    with Store.open(ran.state_path) as state, state.transaction():
        at = parse_iso("2026-09-01T10:00:00Z")
        state.events.keep([Event(4711, "skip_task", at, at, 3, 11, 6, 29)])
    assert ran("explain", "--task", "3", "--json").document["because"] == (
        "event skip_task 4711 of 2026-09-01T10:00:00Z"
    )


def test_the_timeline_says_what_was_written_when_by_which_run_and_why(ran: Any) -> None:
    document = ran("explain", "--person", "1002", "--json").document
    written = {one["field"]: (one["old"], one["new"]) for one in document["history"]}
    assert written["no_email_soliciting"] == (False, True)
    assert written["cf_person_sequence_state"] == (None, "Opted Out")
    said = ran("explain", "--person", "1002").out
    assert "    no_email_soliciting: false → true" in said
    assert "by run " in said


def test_a_hostile_name_begins_no_line_of_its_own(empty: Any) -> None:
    name = "Ada\nNothing differs.\r\x1b]8;;http://evil.example\x07"
    prospect = empty.sandbox.outreach.store.add_prospect(firstName=name, emails=["ada@example.com"])
    empty.sandbox.outreach.store.add_state(prospect, None, "active")
    empty("run")
    said = empty("explain", "--prospect", str(prospect)).out
    assert r"Ada\nNothing differs.\x0d\x1b]8;;" in said
    assert said.splitlines().count("Nothing differs.") == 1


def test_before_the_first_run_there_is_nothing_to_explain(setup: Any) -> None:
    assert setup("explain", "--prospect", "1").status == 2
    assert not setup.state_path.exists()


def test_it_asks_neither_service_and_needs_no_secrets(ran: Any) -> None:
    before = _outreach_and_workbooks_requests(ran)
    del ran.settings["workbooks"]["api_key"]
    del ran.settings["outreach"]["client_secret"]
    ran.write()
    assert ran("explain", "--prospect", "1").status == 0
    assert _outreach_and_workbooks_requests(ran) == before


@pytest.mark.parametrize("command_", ["explain", "forget", "history"])
@pytest.mark.parametrize("one", ["99999999999999999999999", "0"])
def test_an_id_that_no_record_can_have_is_a_mistake_and_no_bug(command_: str, one: str, empty: Any) -> None:
    for what in ("--prospect", "--person"):
        ran = empty(command_, what, one)
        assert (ran.status, f"{one} is not in the range" in ran.err) == (2, True)
