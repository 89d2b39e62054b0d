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


def test_each_record_can_point_nowhere_in_its_own_way(service: OutreachSandbox, client: Client) -> None:
    for shape in ("null", "links", "empty"):
        service.store.add("task", {"note": shape}, shapes={"prospect": shape})
    shown = [row["relationships"]["prospect"] for row in client.rows("tasks")]
    link = f"{service.url}/api/v2/prospects?filter%5Btask%5D%5Bid%5D=2"
    assert shown == [{"data": None}, {"links": {"related": link}}, {}]
