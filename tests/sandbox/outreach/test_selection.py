from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox

WALK = {"sort": "updatedAt", "page[size]": "4"}


def test_rows_with_one_stamp_are_split_across_pages_without_loss(service: OutreachSandbox, client: Client) -> None:
    ids = [service.store.add_task(updatedAt="2026-09-02T00:00:01Z") for _ in range(11)]
    assert client.walk("tasks", WALK) == [ids[:4], ids[4:8], ids[8:]]


def test_a_row_changed_in_the_middle_of_a_walk_is_met_again_at_the_end(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    first = client.get("sequenceStates", params=WALK).json()
    service.store.update("sequenceState", 1, state="finished")
    service.store.update("sequenceState", 6, state="finished")
    pages = client.walk(first["links"]["next"], {})
    assert [id_ for page in pages for id_ in page] == [5, 7, 8, 9, 10, 1, 6]


def test_links_are_absolute_and_repeat_all_parameters_encoded(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    asked = {**WALK, "filter[updatedAt]": "2026-09-01T00:00:00Z..inf", "include": "prospect,sequence", "count": "false"}
    links = client.get("sequenceStates", params=asked).json()["links"]
    for link in links.values():
        assert link.startswith(f"{service.url}/api/v2/sequenceStates?")
        assert "filter%5BupdatedAt%5D=2026-09-01T00%3A00%3A00Z..inf" in link
        assert "include=prospect%2Csequence" in link
    assert "page%5Bafter%5D=" not in links["first"]


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "after",
    [
        *(cursor(1, 2), cursor(None, None), cursor(), cursor("sequenceStates updatedAt", None, None)),
        *(cursor("sequenceStates updatedAt", "2026"), cursor("sequenceStates updatedAt", "2026", "1")),
        *("rubbish", "", "\N{PILE OF POO}", base64.urlsafe_b64encode(b"[" * 5000).decode(), cursor({"a": 1})),
    ],
)
def test_a_cursor_that_is_none_is_refused(client: Client, states: list[int], after: str) -> None:
    answer = client.get("sequenceStates", params={**WALK, "page[after]": after})
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (422, "validationError")


@pytest.mark.parametrize("sort", ["-updatedAt", "createdAt", "state", "replyCount", "updatedAt,createdAt"])
def test_a_cursor_fits_the_sort_it_was_made_with_and_no_other(client: Client, states: list[int], sort: str) -> None:
    pages = client.walk("sequenceStates", {**WALK, "sort": sort})
    assert sorted(id_ for page in pages for id_ in page) == states
    for made, used in (("updatedAt", sort), (sort, "updatedAt")):
        onward = client.get("sequenceStates", params={**WALK, "sort": made}).json()["links"]["next"]
        encoded = (f"sort={one.replace(',', '%2C')}" for one in (made, used))
        assert client.get(onward.replace(*encoded)).status_code == 422
