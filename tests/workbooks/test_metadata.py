from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.records import Accepted
from outreach_sync.workbooks.metadata import CustomField, FieldType, Metadata, PicklistLink

if TYPE_CHECKING:
    from outreach_sync.workbooks.client import WorkbooksClient

Form = dict[str, list[str]]
Records = dict[str, list[dict[str, Any]]]
PERSON = "Private::Crm::Person"
STATE = {
    "name": "cf_person_sequence_state",
    "title": "Sequence State",
    "datatype": "picklist_data",
    "is_createable": True,
    "is_updateable": True,
    "picklist": {"picklist_id": 77, "name": "Sequence States", "unrestricted": False, "auto_create": True},
}
TYPE = {
    "class_name": PERSON,
    "controller_path": "crm/people",
    "actions": [{"name": "create", "permitted": True}, {"name": "update", "permitted": False}],
    "fields": [STATE, {"name": "no_email_soliciting", "title": "No Email", "datatype": "boolean"}],
}


@pytest.fixture
def metadata(client: WorkbooksClient) -> Metadata:
    return Metadata(client)


def test_record_types_are_described(metadata: Metadata, records: Records, forms: list[Form]) -> None:
    records["metadata/types"] = [TYPE, {"class_name": "Other"}]
    described = metadata.read_types([PERSON])
    assert set(described) == {PERSON}
    assert described[PERSON].permitted == {"create"}
    assert described[PERSON].controller == "crm/people"
    assert described[PERSON].fields == {
        "cf_person_sequence_state": FieldType(
            "cf_person_sequence_state",
            "Sequence State",
            "picklist_data",
            createable=True,
            updateable=True,
            picklist=PicklistLink(77, "Sequence States", unrestricted=False, auto_create=True),
        ),
        "no_email_soliciting": FieldType(
            "no_email_soliciting", "No Email", "boolean", createable=False, updateable=False, picklist=None
        ),
    }
    assert forms[0]["class_names[]"] == [PERSON]
    assert "_start" not in forms[0]


@pytest.mark.parametrize("broken", [{"fields": None, "actions": "x"}, {}, {"fields": [1]}])
def test_a_type_without_parts_has_none(metadata: Metadata, records: Records, broken: dict[str, Any]) -> None:
    records["metadata/types"] = [{"class_name": PERSON, **broken}]
    described = metadata.read_types([PERSON])[PERSON]
    assert not described.fields
    assert not described.permitted


def test_picklist_entries_are_kept_apart(metadata: Metadata, records: Records) -> None:
    records["admin/picklist_entries"] = [
        {"id": 1, "picklist_id": 77, "value": "Finished"},
        {"id": 2, "picklist_id": 12, "value": "Cancelled"},
        {"id": 3, "picklist_id": 77, "value": "Paused"},
        {"id": 4, "picklist_id": 5, "value": "Foreign"},
    ]
    assert metadata.read_picklist_entries([77, 12, 99]) == {77: ("Finished", "Paused"), 12: ("Cancelled",), 99: ()}


def test_a_picklist_is_made_and_filled(metadata: Metadata, records: Records) -> None:
    assert metadata.create_picklist("Sequence States", "From Outreach") == Accepted(500, 0)
    assert metadata.find_picklists("Sequence States") == (500,)
    assert metadata.find_picklists("sequence states") == ()
    assert all(isinstance(verdict, Accepted) for verdict in metadata.add_picklist_entries(500, ["a", "b"]))
    assert [(entry["picklist_id"], entry["value"]) for entry in records["admin/picklist_entries"]] == [
        ("500", "a"),
        ("500", "b"),
    ]


def test_a_custom_field_is_made_and_watched_until_it_is_available(metadata: Metadata, records: Records) -> None:
    made = metadata.create_custom_field(
        title="Sequence State", class_name=PERSON, data_type="picklist", description="d", picklist_id=77
    )
    assert made == Accepted(500, 0)
    (field,) = metadata.find_custom_fields("Sequence State")
    assert not field.available
    (record,) = records["admin/custom_fields"]
    assert (record["resource_type"], record["data_type"], record["picklist_id"]) == (PERSON, "picklist", "77")
    record |= {"status": "Available", "value_column_name": "cf_person_sequence_state"}
    ready = metadata.read_custom_field(500)
    assert ready == CustomField(500, "Sequence State", "Available", "cf_person_sequence_state")
    assert ready is not None
    assert ready.available
    assert metadata.read_custom_field(501) is None


def test_a_field_without_a_picklist_names_none(metadata: Metadata, records: Records) -> None:
    metadata.create_custom_field(title="T", class_name=PERSON, data_type="date", description="d")
    assert "picklist_id" not in records["admin/custom_fields"][0]
