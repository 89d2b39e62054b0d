from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Accepted, DateTime, PersonRow, Scalar, Write
from outreach_sync.workbooks.people import People

if TYPE_CHECKING:
    from outreach_sync.workbooks.client import WorkbooksClient

Form = dict[str, list[str]]
Records = dict[str, list[dict[str, Any]]]


@pytest.fixture
def people(client: WorkbooksClient) -> People:
    return People(client)


def test_a_person_is_read_with_the_configured_fields_parsed(
    people: People, records: Records, forms: list[Form]
) -> None:
    records["crm/people"] = [
        {
            "id": 1001,
            "lock_version": 7,
            "is_deleted": False,
            "main_location[email]": "Ada@Example.com",
            "created_through_reference": "outreach-prospect-18",
            "object_ref": "PERS-1",
            "cf_person_sequence_state": "Pending",
            "cf_person_state_updated_at": "Tue Sep 01 10:00:04 UTC 2026",
            "no_email_soliciting": "t",
            "cf_person_outreach_id": 18,
        }
    ]
    fields: dict[str, Scalar] = {
        "cf_person_sequence_state": "Pending",
        "cf_person_state_updated_at": parse_iso("2026-09-01T10:00:04Z"),
        "no_email_soliciting": True,
        "cf_person_outreach_id": "18",
    }
    wanted = PersonRow(1001, 7, False, "Ada@Example.com", "outreach-prospect-18", "PERS-1", fields)
    assert people.find_by_ids([1001]) == {1001: wanted}
    assert set(forms[0]["_select_columns[]"]) >= {"id", "lock_version", "is_deleted", *fields}


def test_a_bare_answer_leaves_lock_and_fields_unknown(people: People, records: Records) -> None:
    records["crm/people"] = [{"id": 3}]
    person = people.find_by_ids([3])[3]
    assert (person.lock_version, person.is_deleted, person.email) == (-1, False, None)
    assert set(person.fields.values()) == {None}


def test_deleted_people_are_found_by_id_but_by_nothing_else(people: People, records: Records) -> None:
    gone = {"id": 2, "is_deleted": True, "main_location[email]": "a@b.example", "created_through_reference": "r"}
    records["crm/people"] = [gone]
    assert people.find_by_ids([2])[2].is_deleted
    assert people.find_by_ids([2], include_deleted=False) == {}
    assert people.find_by_email(["a@b.example"]) == {}
    assert people.find_by_reference(["r"]) == {}
    assert [row.id for row in people.find_by_reference(["r"], include_deleted=True)["r"]] == [2]


def test_hundred_ids_cost_one_request_each_hundred(people: People, records: Records, forms: list[Form]) -> None:
    records["crm/people"] = [{"id": number} for number in range(1, 301)]
    assert len(people.find_by_ids(range(1, 301))) == 300
    assert len(forms) == 3


@pytest.mark.parametrize("count", [1000, 3000])
def test_look_ups_stay_within_a_tenth_of_the_fewest_requests(
    people: People, records: Records, forms: list[Form], count: int
) -> None:
    records["crm/people"] = [
        {"id": number, "main_location[email]": f"p{number}@b.example", "created_through_reference": f"r{number}"}
        for number in range(1, count + 1)
    ]
    assert len(people.find_by_email([f"P{number}@b.example" for number in range(1, count + 1)])) == count
    assert len(forms) <= 1.1 * count / 100
    forms.clear()
    assert len(people.find_by_reference([f"r{number}" for number in range(1, count + 1)])) == count
    assert len(forms) <= 1.1 * count / 100


def test_addresses_are_asked_for_as_they_are_and_in_lower_case(
    people: People, records: Records, forms: list[Form]
) -> None:
    records["crm/people"] = [{"id": 1, "main_location[email]": "ADA@Example.com"}]
    found = people.find_by_email(["Ada@example.com", "ada@EXAMPLE.com", "", "bo@example.com"])
    assert {address: [row.id for row in rows] for address, rows in found.items()} == {"ada@example.com": [1]}
    (form,) = forms
    assert form["_fc[]"][0].split(",") == ["Ada@example.com", "ada@example.com", "ada@EXAMPLE.com", "bo@example.com"]


def test_two_people_with_one_address_are_both_found_on_whatever_page(
    people: People, records: Records, forms: list[Form]
) -> None:
    records["crm/people"] = [{"id": number, "main_location[email]": "same@b.example"} for number in range(1, 151)]
    assert len(people.find_by_email(["same@b.example"])["same@b.example"]) == 150
    assert len(forms) == 2


def test_a_comma_stays_in_its_value_and_a_backslash_goes_alone_in_both_readings(
    people: People, records: Records, forms: list[Form]
) -> None:
    records["crm/people"] = [{"id": 1, "created_through_reference": "a,b"}]
    assert list(people.find_by_reference(["a,b", "c\\d", "e"])) == ["a,b"]
    assert [form["_fc[]"][0] for form in forms] == [r"a\,b,e", "c\\d", "c\\\\d"]


def test_values_are_compared_to_the_letter_where_they_are_no_addresses(people: People, records: Records) -> None:
    records["crm/people"] = [{"id": 1, "cf_person_outreach_id": "AB"}, {"id": 2, "object_ref": "PERS-2"}]
    assert people.find_by_field("cf_person_outreach_id", ["ab"]) == {}
    assert [row.id for row in people.find_by_field("cf_person_outreach_id", ["AB"])["AB"]] == [1]
    assert [row.id for row in people.find_by_object_ref(["PERS-2"])["PERS-2"]] == [2]


def test_nothing_to_look_up_asks_nothing(people: People, forms: list[Form]) -> None:
    assert people.find_by_ids([]) == {}
    assert people.find_by_email([" "]) == {}
    assert forms == []


def test_writes_go_to_people(people: People, records: Records) -> None:
    at = parse_iso("2026-09-01T10:00:04Z")
    writes = [
        Write(0, 0, {"name": "Ada Example", "no_email_soliciting": True, "cf_person_state_updated_at": DateTime(at)})
    ]
    assert people.write(writes) == (Accepted(500, 0),)
    (record,) = records["crm/people"]
    assert record["no_email_soliciting"] == "1"
    assert record["cf_person_state_updated_at"] == "Tue Sep 01 10:00:04 UTC 2026"
