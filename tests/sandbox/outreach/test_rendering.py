from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox

SPARSE = {"fields[sequenceState]": "state,updatedAt,prospect,sequence"}


def test_sparse_fields_leave_out_what_is_not_named(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    assert client.rows("sequenceStates", **SPARSE, **{"page[size]": "1"}) == [
        {
            "type": "sequenceState",
            "id": 1,
            "attributes": {"state": "active", "updatedAt": "2026-09-02T00:00:00.000Z"},
            "relationships": {
                "prospect": {"data": {"type": "prospect", "id": 1}},
                "sequence": {"data": {"type": "sequence", "id": 1}},
            },
            "links": {"self": f"{service.url}/api/v2/sequenceStates/1"},
        }
    ]


def test_relationships_are_absent_when_no_field_names_one(client: Client, states: list[int]) -> None:
    assert "relationships" not in client.rows("sequenceStates", **{"fields[sequenceState]": "state"})[0]


def test_a_change_shows_at_once_although_texts_are_remembered(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    assert client.rows("sequenceStates", **SPARSE)[0]["attributes"]["state"] == "active"
    service.store.update("sequenceState", 1, state="bounced", updatedAt="2026-09-02T00:00:00Z")
    assert client.rows("sequenceStates", **SPARSE)[0]["attributes"]["state"] == "bounced"


def test_a_record_made_again_under_an_old_id_is_not_the_old_one(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    client.rows("sequenceStates", **SPARSE)
    service.store.delete("sequenceState", 1)
    service.store.add("sequenceState", {"id": 1, "state": "failed", "updatedAt": "2026-09-02T00:00:00Z"})
    assert client.rows("sequenceStates", **SPARSE)[0]["attributes"]["state"] == "failed"


def test_included_resources_come_once_and_sparse(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    asked = {"include": "prospect,sequence", "fields[prospect]": "firstName", "fields[sequence]": "name"}
    assert client.get("sequenceStates", params=asked).json()["included"] == [
        {
            "type": "prospect",
            "id": 1,
            "attributes": {"firstName": "Ada"},
            "links": {"self": f"{service.url}/api/v2/prospects/1"},
        },
        {
            "type": "sequence",
            "id": 1,
            "attributes": {"name": "Trial follow-up"},
            "links": {"self": f"{service.url}/api/v2/sequences/1"},
        },
    ]


def test_a_deleted_resource_is_simply_absent_from_included(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.store.delete("prospect", 1)
    answer = client.get("sequenceStates", params={"include": "prospect"}).json()
    assert answer["included"] == []
    assert answer["data"][0]["relationships"]["prospect"]["data"] == {"type": "prospect", "id": 1}


def test_each_record_can_point_nowhere_in_its_own_way(service: OutreachSandbox, client: Client) -> None:
    for shape in ("null", "links", "empty"):
        service.store.add("task", {"note": shape}, shapes={"prospect": shape})
    shown = [row["relationships"]["prospect"] for row in client.rows("tasks")]
    link = f"{service.url}/api/v2/prospects?filter%5Btask%5D%5Bid%5D=2"
    assert shown == [{"data": None}, {"links": {"related": link}}, {}]


def test_a_single_record_is_shown_with_all_it_has(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    answer = client.get("prospects/1", params={"include": "activeSequenceStates"}).json()
    assert answer["data"]["attributes"]["emails"] == ["ada@example.com"]
    assert [pointer["id"] for pointer in answer["data"]["relationships"]["activeSequenceStates"]["data"]] == states
    assert "data" not in answer["data"]["relationships"]["sequenceStates"]
    assert len(answer["included"]) == 10


def test_text_survives_quotes_newlines_and_other_scripts(service: OutreachSandbox, client: Client) -> None:
    note = 'Ольга said: "no"\n\t\\ 李 <b>'
    service.store.add_task(note=note)
    assert client.rows("tasks")[0]["attributes"]["note"] == note


def test_a_task_subject_names_its_own_type(service: OutreachSandbox, client: Client) -> None:
    service.store.add_prospect()
    service.store.add_task(1, subject=("prospect", 1), creator=("user", 7))
    answer = client.get("tasks", params={"include": "subject,creator"}).json()
    relationships = answer["data"][0]["relationships"]
    assert relationships["subject"]["data"] == {"type": "prospect", "id": 1}
    assert relationships["creator"]["data"] == {"type": "user", "id": 7}
    assert [one["type"] for one in answer["included"]] == ["prospect"]
