from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox.workbooks.schema import PERSON

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
