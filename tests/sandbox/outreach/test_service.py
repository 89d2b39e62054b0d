from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox.outreach.trouble import JSON_API

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox


def test_an_expired_or_missing_token_is_unauthorized(service: OutreachSandbox, client: Client) -> None:
    assert client.get("tasks").status_code == 200
    service.clock.advance(7_200_000)
    assert client.get("tasks").status_code == 401
    assert client.get("tasks", headers={"Authorization": None}).status_code == 401
    assert client.get("tasks", headers={"Authorization": "Basic abc"}).status_code == 401


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


def test_unknown_addresses_and_records_are_told_apart(client: Client) -> None:
    for path, error in (("accounts", "routeNotFound"), ("tasks/x", "routeNotFound"), ("tasks/1", "resourceNotFound")):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["errors"][0]["id"]) == (404, error)


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
