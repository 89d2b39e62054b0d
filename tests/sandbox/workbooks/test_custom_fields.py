from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox.workbooks.dumping import dump, load
from outreach_sync.sandbox.workbooks.schema import ACTIVITY_STATUSES, PERSON

if TYPE_CHECKING:
    from conftest import Client

FIELDS = "admin/custom_fields"


def create(client: Client, **changes: str) -> Any:
    field = {"title": "State Updated at", "resource_type": PERSON, "data_type": "datetime", **changes}
    return client.write(FIELDS, field)


def status(client: Client) -> str:
    row: dict[str, str] = client.get(FIELDS, ("title", "eq", "State Updated at"), columns="status")["data"][0]
    return row["status"]


def test_a_custom_field_is_created_named_and_available_at_the_first_look(bare: Client) -> None:
    created = create(bare)["affected_objects"][0]
    assert (created["status"], created["value_column_name"]) == ("Creating", "cf_person_state_updated_at")
    assert status(bare) == "Available"
    sent = {"name": "Ada Example", "cf_person_state_updated_at": "2026-09-01T10:00:04Z"}
    assert bare.write("crm/people", sent)["success"]


def test_a_field_that_is_not_available_yet_is_unknown(bare: Client) -> None:
    create(bare)
    assert not bare.write("crm/people", {"name": "Ada", "cf_person_state_updated_at": "2026-09-01"})["success"]


def test_custom_field_slow_takes_polls_and_time(bare: Client) -> None:
    bare.service.faults.on("custom_field_slow", polls=2, seconds=60)
    create(bare)
    assert [status(bare) for _ in range(3)] == ["Creating"] * 3
    bare.service.clock.advance(61_000)
    assert status(bare) == "Available"


def test_custom_datetime_is_date_is_seen_in_metadata(bare: Client) -> None:
    bare.service.faults.on("custom_datetime_is_date")
    create(bare)
    status(bare)
    assert bare.service.store.table(PERSON).fields["cf_person_state_updated_at"].datatype == "date"


def test_a_picklist_is_made_filled_and_linked(bare: Client) -> None:
    picklist = bare.write("admin/picklists", {"name": "Sequence States"})["affected_objects"][0]["id"]
    values = [{"picklist_id": picklist, "value": value} for value in ("Finished", "Pending")]
    assert bare.write("admin/picklist_entries", *values)["success"]
    assert create(bare, title="Sequence State", data_type="picklist", picklist_id=str(picklist))["success"]
    bare.get(FIELDS)
    assert bare.write("crm/people", {"name": "Ada", "cf_person_sequence_state": "Pending"})["success"]
    assert not bare.write("crm/people", {"name": "Bo", "cf_person_sequence_state": "Other"})["success"]


def described(client: Client, name: str) -> dict[str, Any] | None:
    pairs = [("_method", "GET"), ("class_names[]", PERSON)]
    fields = client.post("metadata/types", pairs).json()["data"][0]["fields"]
    return next((field for field in fields if field["name"] == name), None)


def definition(client: Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(FIELDS, ("value_column_name", "eq", name), columns="id lock_version")["data"][0]
    return found


def test_a_custom_field_that_is_deleted_is_gone_from_metadata_and_from_what_can_be_written(client: Client) -> None:
    ada = client.service.store.add_person(name="Ada", cf_person_outreach_id="18")
    assert client.write(FIELDS, {**definition(client, "cf_person_outreach_id"), "method": "DELETE"})["success"]
    assert described(client, "cf_person_outreach_id") is None
    answer = client.write("crm/people", {"id": ada, "cf_person_outreach_id": "19"})
    assert answer["affected_object_information"][0]["errors"] == {
        "cf_person_outreach_id": ["is not a recognised attribute"]
    }
    assert client.get("crm/people", columns="id cf_person_outreach_id")["data"] == [{"id": ada}]


def test_a_custom_field_that_is_deleted_before_it_is_available_never_comes(bare: Client) -> None:
    made = create(bare)["affected_objects"][0]
    bare.write(FIELDS, {"id": made["id"], "method": "DELETE"})
    assert bare.get(FIELDS)["data"] == []
    assert described(bare, made["value_column_name"]) is None


def test_a_field_deleted_by_the_api_stays_away_when_records_are_loaded_again(client: Client) -> None:
    client.write(FIELDS, {**definition(client, "cf_person_outreach_id"), "method": "DELETE"})
    load(client.service.store, dump(client.service.store))
    assert described(client, "cf_person_outreach_id") is None
    assert described(client, "cf_person_sequences") is not None


def test_another_picklist_and_title_of_a_field_reach_metadata_and_writes(client: Client) -> None:
    field = definition(client, "cf_person_sequence_state")
    assert client.write(FIELDS, {**field, "picklist_id": str(ACTIVITY_STATUSES), "title": "State"})["success"]
    now = described(client, "cf_person_sequence_state") or {}
    assert (now["title"], now["picklist"]["picklist_id"]) == ("State", ACTIVITY_STATUSES)
    assert client.write("crm/people", {"name": "Ada", "cf_person_sequence_state": "Complete"})["success"]
    assert not client.write("crm/people", {"name": "Bo", "cf_person_sequence_state": "Finished"})["success"]


def test_an_unknown_picklist_is_refused_for_a_field_and_for_an_entry(client: Client) -> None:
    field = client.write(FIELDS, {**definition(client, "cf_person_sequence_state"), "picklist_id": "9"})
    entry = client.write("admin/picklist_entries", {"picklist_id": "9", "value": "Finished"})
    for answer in (field, entry):
        assert answer["affected_object_information"][0]["errors"] == {"picklist_id": ["could not be found"]}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"data_type": "moment"}, "data_type"),
        ({"resource_type": "Person"}, "resource_type"),
        ({"data_type": "picklist", "picklist_id": "9"}, "picklist_id"),
        ({"title": ""}, "title"),
    ],
)
def test_a_custom_field_that_makes_no_sense_is_refused(bare: Client, changes: dict[str, str], name: str) -> None:
    answer = create(bare, **changes)
    assert list(answer["affected_object_information"][0]["errors"]) == [name]
