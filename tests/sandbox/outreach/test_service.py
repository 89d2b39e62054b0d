from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox.outreach.trouble import JSON_API

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox


def test_a_token_reads_only_what_its_scopes_name_included_resources_too(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    client.refresh_token = service.tokens.new_refresh(("sequenceStates.read", "tasks.write", "tasks.delete"))
    client.log_in()
    assert client.get("sequenceStates").status_code == 200
    for path, include in (("tasks", ""), ("sequenceStates", "prospect")):
        answer = client.get(path, params={"include": include})
        assert (answer.status_code, answer.json()["errors"][0]["id"]) == (403, "unauthorizedOauthScope")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [(JSON_API, 200), (f"{JSON_API}; charset=utf-8", 200), (None, 200), ("application/json", 415), ("text/plain", 415)],
)
def test_a_wrong_content_type_is_refused_none_at_all_is_not(
    client: Client, content_type: str | None, status: int
) -> None:
    answer = client.get("tasks", headers={"Content-Type": content_type})
    assert answer.status_code == status
    if status == 415:
        assert set(answer.json()["errors"][0]) == {"id", "title", "details"}


def test_nothing_can_be_written_with_the_scopes_of_a_reader(service: OutreachSandbox, client: Client) -> None:
    task = service.store.add_task()
    for method, path in (("DELETE", ""), ("PATCH", ""), ("POST", ""), ("POST", "/actions/markComplete")):
        answer = client.session.request(method, f"{service.url}/api/v2/tasks/{task}{path}", timeout=5)
        assert (answer.status_code, answer.json()["errors"][0]["id"]) == (403, "unauthorizedOauthScope")
    assert service.store.get("task", task).values["state"] == "incomplete"


def test_the_hourly_quota_counts_down_ends_in_429_and_begins_anew(service: OutreachSandbox, client: Client) -> None:
    service.limit.limit = 2
    answers = [client.get("tasks") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    reset = int(answers[0].headers["X-RateLimit-Reset"])
    assert answers[2].headers["Retry-After"] == str(reset)
    assert 0 < reset - service.clock.now() // 1000 <= 3600
    service.clock.advance(3_600_000)
    assert client.get("tasks").status_code == 200


def test_the_requests_of_a_singer_tap_are_answered(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    """tap-outreach 1.2: no Content-Type, unencoded brackets, old ranges, its parameters again with the next link."""
    service.store.add("stage", {"name": "New"})
    tap = {"Content-Type": None, "Accept": "*/*"}
    assert client.get("stages", headers=tap).status_code == 200
    asked = "page[size]=4&count=false&filter[updatedAt]=2020-01-01T00:00:00Z..inf&sort=updatedAt"
    again = dict(pair.split("=", 1) for pair in asked.split("&"))
    answer = client.get(f"sequenceStates?{asked}", headers=tap).json()
    found = [row["id"] for row in answer["data"]]
    while "next" in answer["links"]:
        answer = client.get(answer["links"]["next"], params=again, headers=tap).json()
        found += [row["id"] for row in answer["data"]]
        assert all("id" in row["relationships"]["prospect"]["data"] for row in answer["data"])
    assert found == states


def test_links_lead_back_to_the_name_the_client_asked_under(client: Client, states: list[int]) -> None:
    """Clients follow links to the configured host only, and localhost is another name than 127.0.0.1."""
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:80", "localhost:8080"):
        answer = client.get("sequenceStates", params={"page[size]": "2"}, headers={"Host": host}).json()
        found = [answer["links"]["next"], answer["data"][0]["links"]["self"]]
        found.append(answer["data"][0]["relationships"]["calls"]["links"]["related"])
        assert [link.partition("/api/v2/")[0] for link in found] == [f"http://{host}"] * 3


def test_each_record_can_point_nowhere_in_its_own_way(service: OutreachSandbox, client: Client) -> None:
    for shape in ("null", "links", "empty"):
        service.store.add("task", {"note": shape}, shapes={"prospect": shape})
    shown = [row["relationships"]["prospect"] for row in client.rows("tasks")]
    link = f"{service.url}/api/v2/prospects?filter%5Btask%5D%5Bid%5D=2"
    assert shown == [{"data": None}, {"links": {"related": link}}, {}]


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


@pytest.mark.parametrize("sort", ["-updatedAt", "createdAt", "state", "replyCount", "updatedAt,createdAt"])
def test_a_cursor_fits_the_sort_it_was_made_with_and_no_other(client: Client, states: list[int], sort: str) -> None:
    pages = client.walk("sequenceStates", {**WALK, "sort": sort})
    assert sorted(id_ for page in pages for id_ in page) == states
    for made, used in (("updatedAt", sort), (sort, "updatedAt")):
        onward = client.get("sequenceStates", params={**WALK, "sort": made}).json()["links"]["next"]
        encoded = (f"sort={one.replace(',', '%2C')}" for one in (made, used))
        assert client.get(onward.replace(*encoded)).status_code == 422
