from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import requests
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox

ALL = ("tasks.all", "sequenceStates.all", "prospects.all", "sequences.all")


@pytest.fixture
def writer(service: OutreachSandbox, client: Client, states: list[int]) -> Client:
    service.store.add_task(1, sequence=1)
    return allowed(service, client, *ALL)


def allowed(service: OutreachSandbox, client: Client, *scopes: str) -> Client:
    client.refresh_token = service.tokens.new_refresh(scopes)
    client.log_in()
    return client


def send(client: Client, method: str, path: str) -> requests.Response:
    return client.session.request(method, f"{client.service.url}/api/v2/{path}", timeout=5)


@pytest.mark.parametrize("path", ["tasks", "sequenceStates", "prospects"])
def test_what_is_deleted_is_gone_without_a_trace(service: OutreachSandbox, writer: Client, path: str) -> None:
    answer = send(writer, "DELETE", f"{path}/1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "X-RateLimit-Remaining" in answer.headers
    assert writer.get(f"{path}/1").status_code == 404
    assert 1 not in writer.ids(path)
    assert send(writer, "DELETE", f"{path}/1").status_code == 404
    assert service.journal.counts()[f"delete {path}"] == 2


@pytest.mark.parametrize(("action", "state"), [("finish", "finished"), ("pause", "paused"), ("resume", "active")])
def test_actions_move_a_sequence_state_and_its_stamps(
    service: OutreachSandbox, writer: Client, action: str, state: str
) -> None:
    service.clock.advance(60_000)
    answer = send(
        writer, "POST", f"sequenceStates/3/actions/{action}?fields[sequenceState]=state,stateChangedAt,updatedAt"
    )
    attributes = answer.json()["data"]["attributes"]
    assert (answer.status_code, attributes["state"]) == (200, state)
    assert attributes["stateChangedAt"] == attributes["updatedAt"] > "2026-09-02T00:01"
    assert writer.ids("sequenceStates")[-1] == 3


def test_mark_complete_completes_a_task(service: OutreachSandbox, writer: Client) -> None:
    service.store.add_user(firstName="Uma")
    attributes = send(writer, "POST", "tasks/1/actions/markComplete").json()["data"]["attributes"]
    assert (attributes["state"], attributes["completed"]) == ("complete", True)
    assert attributes["completedAt"]
    assert service.store.get("task", 1).values["completer"] == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("POST", "sequenceStates/1/actions/advance", 404), ("POST", "tasks/1/actions/pause", 404)),
        *(("GET", "tasks/1/actions/markComplete", 404), ("DELETE", "tasks/1/actions/markComplete", 404)),
        *(("DELETE", "sequences/1", 403), ("DELETE", "tasks", 403), ("POST", "sequenceStates/99/actions/pause", 404)),
    ],
)
def test_what_is_not_documented_does_nothing(
    service: OutreachSandbox, writer: Client, method: str, path: str, status: int
) -> None:
    before = service.store.dump()
    assert send(writer, method, path).status_code == status
    assert service.store.dump() == before


RIGHTS: list[tuple[str, set[Any]]] = [
    ("read", {"GET"}),
    ("write", {"POST"}),
    ("delete", {"DELETE"}),
    ("all", {"GET", "POST", "DELETE"}),
]


@pytest.mark.parametrize(("right", "methods"), RIGHTS)
def test_rights_do_not_imply_one_another_but_all_is_all(
    service: OutreachSandbox, client: Client, states: list[int], right: str, methods: set[str]
) -> None:
    allowed(service, client, f"sequenceStates.{right}")
    asked = [("GET", "sequenceStates/5"), ("POST", "sequenceStates/5/actions/pause"), ("DELETE", "sequenceStates/5")]
    assert {method for method, path in asked if send(client, method, path).status_code < 300} == methods
