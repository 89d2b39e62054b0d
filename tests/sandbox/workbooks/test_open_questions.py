"""Switches that settle what the documentation leaves open, one way or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.sandbox.workbooks.schema import ACTIVITY_LINK, PERSON, SEQUENCE_STATES, TASK

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
TASKS = "activity/tasks"
FIELDS = "admin/custom_fields"
STATE = "cf_person_sequence_state"
STAMP = "cf_person_state_updated_at"
WORKBOOKS_FORM = "Tue Sep 01 10:00:31 UTC 2026"


@pytest.fixture
def ada(client: Client) -> int:
    return client.service.store.add_person(name="Ada Example", email=r"a\b@example.com")


def kept(client: Client, id_: int) -> dict[str, Any]:
    return client.service.store.get(PERSON, id_)


def errors(answer: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = answer["affected_object_information"][0]["errors"]
    return found


def described(client: Client, name: str) -> dict[str, Any]:
    pairs = [("_method", "GET"), ("class_names[]", PERSON)]
    fields = client.post("metadata/types", pairs).json()["data"][0]["fields"]
    return next(field for field in fields if field["name"] == name)


def test_booleans_without_case_take_true_as_python_writes_it(client: Client, ada: int) -> None:
    client.service.faults.on("booleans_without_case")
    client.write(PEOPLE, {"id": ada, "no_email_soliciting": "True"})
    assert kept(client, ada)["no_email_soliciting"] is True
    assert client.ids(PEOPLE, ("no_email_soliciting", "eq", "YES")) == [ada]


@pytest.mark.parametrize(("escapes", "finds"), [(True, [r"a\\b@example.com"]), (False, [r"a\b@example.com"])])
def test_backslash_escapes_any_character_or_only_a_comma(
    client: Client, ada: int, *, escapes: bool, finds: list[str]
) -> None:
    if escapes:
        client.service.faults.on("backslash_escapes")
    asked = (r"a\b@example.com", r"a\\b@example.com")
    assert [one for one in asked if client.ids(PEOPLE, ("main_location[email]", "eq", one)) == [ada]] == finds
    bo = client.service.store.add_person(name="Bo, Example")
    assert client.ids(PEOPLE, ("name", "eq", r"x,Bo\, Example,y")) == [bo]


def test_custom_datetime_refuses_iso_but_not_its_own_form(client: Client, ada: int) -> None:
    client.service.faults.on("custom_datetime_refuses_iso")
    assert errors(client.write(PEOPLE, {"id": ada, STAMP: "2026-09-01T10:00:31Z"})) == {STAMP: ["is not a valid date"]}
    assert client.write(PEOPLE, {"id": ada, STAMP: WORKBOOKS_FORM})["success"]
    assert client.write(TASKS, {"name": "Call", "due": "2026-09-01"})["success"]


@pytest.mark.parametrize(("how", "minute"), [("cut", "10:00"), ("round", "10:01")])
def test_datetime_without_seconds_cuts_or_rounds_and_sees_no_change_in_what_it_made_of_it(
    client: Client, ada: int, how: str, minute: str
) -> None:
    client.service.faults.on("datetime_without_seconds", how=how)
    client.write(PEOPLE, {"id": ada, STAMP: WORKBOOKS_FORM})
    assert kept(client, ada)[STAMP] == parse_iso(f"2026-09-01T{minute}:00Z")
    again = client.write(PEOPLE, {"id": ada, "lock_version": 1, STAMP: WORKBOOKS_FORM})
    assert again["affected_objects"] == [{"id": ada, "lock_version": 1}]


@pytest.mark.parametrize("sent", [WORKBOOKS_FORM, "2026-09-01T10:00:31.000Z,1,Europe/London"])
def test_custom_datetime_is_var_in_answers_and_in_metadata(client: Client, ada: int, sent: str) -> None:
    client.service.faults.on("custom_datetime_is_var")
    client.write(PEOPLE, {"id": ada, STAMP: sent})
    row = client.get(PEOPLE, (STAMP, "eq", sent), columns=STAMP)["data"]
    assert row == [{STAMP: "2026-09-01T10:00:31.000Z,1,Europe/London"}]
    assert described(client, STAMP)["datatype"] == "var_date_time"


def test_datetime_word_is_the_only_one_that_makes_a_field_of_times(bare: Client) -> None:
    bare.service.faults.on("datetime_word", word="date_and_time")
    field = {"title": "State Updated at", "resource_type": PERSON}
    assert list(errors(bare.write(FIELDS, {**field, "data_type": "datetime"}))) == ["data_type"]
    assert bare.write(FIELDS, {**field, "data_type": "date_and_time"})["success"]
    bare.get(FIELDS)
    assert described(bare, STAMP)["datatype"] == "datetime"


def test_field_not_updateable_can_be_set_in_a_create_only(client: Client, ada: int) -> None:
    client.service.faults.on("field_not_updateable", field=STATE)
    assert errors(client.write(PEOPLE, {"id": ada, STATE: "Finished"})) == {STATE: ["cannot be set"]}
    assert client.write(PEOPLE, {"id": ada, "person_job_title": "Head"})["success"]
    assert client.write(PEOPLE, {"name": "Bo Example", STATE: "Finished"})["success"]
    assert (described(client, STATE)["is_updateable"], described(client, STAMP)["is_updateable"]) == (False, True)


def test_no_permission_to_update_is_said_in_the_answer_and_in_metadata(client: Client, ada: int) -> None:
    client.service.faults.on("no_permission_to_update", **{"class": PERSON})
    assert "permission" in str(errors(client.write(PEOPLE, {"id": ada, STATE: "Finished"})))
    assert client.write(PEOPLE, {"name": "Bo Example"})["success"]
    types = client.post("metadata/types", [("_method", "GET")]).json()["data"]
    refused = [one["class_name"] for one in types if {"name": "update", "permitted": False} in one["actions"]]
    assert refused == [PERSON]


def test_application_name_ignored_leaves_the_user_agent_to_say_who_creates(client: Client) -> None:
    client.service.faults.on("application_name_ignored")
    client.write(PEOPLE, {"name": "Ada Example"}, _application_name="my tool")
    assert client.service.store.all(PERSON)[0]["created_through"] == "outreach_sync"


def test_failure_message_stands_where_failure_reason_did(client: Client) -> None:
    client.service.faults.on("failure_message")
    client.key["api_key"] = "wrong"
    response = client.post(PEOPLE, [("_method", "GET")])
    assert (response.status_code, response.json()) == (401, {"failure_message": "unrecognised_name_or_password"})


def test_double_id_taken_carries_both_out(client: Client, ada: int) -> None:
    client.service.faults.on("double_id_taken")
    answer = client.write(PEOPLE, {"id": ada, "name": "Ada"}, {"id": ada, STATE: "Finished"})
    assert answer["success"]
    assert (kept(client, ada)["name"], kept(client, ada)[STATE], kept(client, ada)["lock_version"]) == (
        "Ada",
        "Finished",
        2,
    )


def test_errors_flat_have_no_brackets_around_them(client: Client) -> None:
    client.service.faults.on("errors_flat")
    assert client.write(PEOPLE, {"name": ""})["errors"] == {"name": "is a required field"}


@pytest.mark.parametrize("spelling", ["__skip_total_rows", "_skip_total_rows"])
def test_skip_total_unknown_may_concern_one_spelling_only(client: Client, spelling: str) -> None:
    for number in range(3):
        client.service.store.add_person(name=f"Person {number}")
    client.service.faults.on("skip_total_unknown", spelling=spelling)
    page = {"_start": "0", "_limit": "2"}
    totals = {
        name: client.get(PEOPLE, **page, **{name: "true"})["total"]
        for name in ("__skip_total_rows", "_skip_total_rows")
    }
    assert [name for name, total in totals.items() if total == 3] == [spelling]


def test_primary_contact_makes_link_once_for_each_contact(client: Client, ada: int) -> None:
    client.service.faults.on("primary_contact_makes_link")
    contact = {"primary_contact_id": str(ada), "primary_contact_type": PERSON}
    client.write(TASKS, {"name": "Call", **contact})
    client.write(TASKS, {"id": 4001, "name": "Mail", **contact})
    (link,) = client.service.store.all(ACTIVITY_LINK)
    assert (link["activity_id"], link["activity_type"], link["resource_id"], link["resource_type"]) == (
        *(4001, TASK),
        *(ada, PERSON),
    )


def test_labels_with_hyphen_make_the_documented_label_invalid(client: Client, ada: int) -> None:
    client.service.faults.on("labels_with_hyphen", times=1)
    client.get(PEOPLE)
    assert {"Active - Running", "Active - Paused"} <= client.service.store.picklist_values(SEQUENCE_STATES)
    assert not client.write(PEOPLE, {"id": ada, STATE: "Active \u2013 Running"})["success"]
    assert client.write(PEOPLE, {"id": ada, STATE: "Active - Running"})["success"]


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize("fault", ["error_500", "error_500_before_commit", "error_500_after_commit"])
def test_a_failure_may_be_that_of_a_gateway(client: Client, ada: int, fault: str, status: int) -> None:
    client.service.faults.on(fault, times=1, status=status)
    response = client.put(PEOPLE, {"id": ada, STATE: "Finished"})
    assert (response.status_code, response.text[:9]) == (status, "<!DOCTYPE")
    assert (kept(client, ada)[STATE] == "Finished") is (fault == "error_500_after_commit")


def test_a_losing_id_may_answer_with_the_winners_row(client: Client, ada: int) -> None:
    store = client.service.store
    winner = store.add_person(name="Ada E. Example")
    last = store.add_person(name="A. E. Example")
    store.merge_people(winner, ada, alias=True)
    store.merge_people(last, winner, alias=True)
    assert client.ids(PEOPLE, ("id", "eq", f"{ada},99")) == [last]
    assert client.post(f"{PEOPLE}/{ada}", [("_method", "GET")]).json()["data"]["id"] == last
    answer = client.write(PEOPLE, {"id": ada, "lock_version": 1, STATE: "Finished"})
    assert (answer["success"], answer["affected_objects"][0]["id"]) == (True, last)
    assert (kept(client, last)[STATE], kept(client, ada)[STATE]) == ("Finished", None)


def test_a_merge_just_before_the_write_may_leave_the_losing_id_answering(client: Client, ada: int) -> None:
    winner = client.service.store.add_person(name="Ada E. Example")
    client.service.faults.on("merge_between_read_and_write", times=1, into=winner, alias=True)
    answer = client.write(PEOPLE, {"id": ada, STATE: "Finished"})
    assert (answer["success"], answer["affected_objects"][0]["id"]) == (False, winner)
