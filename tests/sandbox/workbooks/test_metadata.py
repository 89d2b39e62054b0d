from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.schema import PERSON, SEQUENCE_LABELS, SEQUENCE_STATES, TASK

if TYPE_CHECKING:
    from conftest import Client


def types(client: Client, *names: str, columns: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    pairs = [("_method", "GET"), *(("class_names[]", name) for name in names)]
    pairs += [("_select_columns[]", column) for column in columns]
    found: list[dict[str, Any]] = client.post("metadata/types", pairs).json()["data"]
    return found


def test_only_the_classes_and_columns_asked_for_are_described(client: Client) -> None:
    found = types(client, TASK, PERSON, "Private::Nonsense", columns=("class_name", "controller_path"))
    assert found == [
        {"class_name": TASK, "controller_path": "activity/tasks"},
        {"class_name": PERSON, "controller_path": "crm/people"},
    ]


def test_a_field_says_what_it_holds_and_which_picklist_it_takes_values_from(client: Client) -> None:
    fields = {one["name"]: one for one in types(client, PERSON)[0]["fields"]}
    state = fields["cf_person_sequence_state"]
    assert (state["title"], state["datatype"]) == ("Sequence State", "picklist_data")
    assert (state["picklist"]["picklist_id"], state["picklist"]["unrestricted"]) == (SEQUENCE_STATES, False)
    assert fields["no_email_soliciting"]["title"] == "No Email"
    assert fields["cf_person_state_updated_at"]["datatype"] == "datetime"
    assert (fields["name"]["required"], fields["object_ref"]["is_updateable"]) == (True, False)


def test_entries_of_several_picklists_come_in_one_request(client: Client) -> None:
    rows = client.get("admin/picklist_entries", ("picklist_id", "eq", "77,12"), columns="picklist_id value")["data"]
    assert {row["picklist_id"] for row in rows} == {77, 12}
    assert [row["value"] for row in rows if row["picklist_id"] == 77] == list(SEQUENCE_LABELS)


def test_the_values_of_one_picklist_have_an_address_of_their_own(client: Client) -> None:
    answer = client.post(
        "picklist_data/Private_PicklistEntry/id/value", [("_method", "GET"), ("picklist_id", str(SEQUENCE_STATES))]
    ).json()
    assert [row["value"] for row in answer["data"]] == list(SEQUENCE_LABELS)
    assert set(answer["data"][0]) == {"id", "value"}
