"""Faults that hold throughout a request count requests, can be limited to a kind, and stand in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Client

PEOPLE = "crm/people"
ALL = ("id", "gt", "0")


def _spelling(client: Client) -> bool:
    return client.ids(PEOPLE, ("main_location[email]", "eq", "ada@example.com")) == []


def _line_ends(client: Client) -> bool:
    rows = client.get(PEOPLE, ALL, columns="cf_person_sequences")["data"]
    return rows == [{"cf_person_sequences": "a\r\nb"}] * 2


def _days(client: Client) -> bool:
    rows = client.get(PEOPLE, ALL, columns="cf_person_state_updated_at")["data"]
    return not any("UTC" in row["cf_person_state_updated_at"] for row in rows)


def _totals(client: Client) -> bool:
    return bool(client.get(PEOPLE, ALL, _start="0", _limit="1", _skip_total_rows="true")["total"] == 2)


def _permission(client: Client) -> bool:
    return client.get("metadata/types", columns="actions")["data"] != client.allowed


def _json(client: Client) -> bool:
    document = {**client.key, "_method": "GET"}
    headers = {"User-Agent": "outreach_sync/1.0", "Content-Type": "application/json"}
    url = f"{client.service.url}/{PEOPLE}.api"
    return requests.post(url, json=document, headers=headers, timeout=5).status_code == 200


SEEN: dict[str, Callable[[Client], bool]] = {
    "eq_case_sensitive": _spelling,
    "text_line_ends_crlf": _line_ends,
    "datetime_reads_back_as_date": _days,
    "skip_total_unknown": _totals,
    "no_permission_to_create": _permission,
    "json_bodies_ok": _json,
}


@pytest.fixture
def filled(client: Any) -> Any:
    for name in ("Ada", "Bo"):
        client.service.store.add_person(
            name=name,
            email="ADA@example.com",
            cf_person_sequences="a\nb",
            cf_person_state_updated_at="2026-09-01T10:00Z",
        )
    client.allowed = client.get("metadata/types", columns="actions")["data"]
    client.service.journal.clear()
    return client


@pytest.mark.parametrize("fault", SEEN)
def test_it_holds_for_a_whole_request_and_for_as_many_as_it_was_told(filled: Any, fault: str) -> None:
    filled.service.faults.on(fault, times=1, after=1)
    assert [SEEN[fault](filled) for _ in range(3)] == [False, True, False]
    assert [entry.faults for entry in filled.service.journal.entries()] == [(), (fault,), ()]


@pytest.mark.parametrize("fault", [name for name in SEEN if name != "json_bodies_ok"])
def test_it_spares_requests_of_another_kind(filled: Any, fault: str) -> None:
    filled.service.faults.on(fault, kind="read activity")
    assert not SEEN[fault](filled)
    filled.service.faults.on(fault, kind="read ")
    assert SEEN[fault](filled)


def test_it_cannot_be_limited_to_a_kind_that_nobody_knows_yet(filled: Any) -> None:
    with pytest.raises(ValueError, match="before the kind"):
        filled.service.faults.on("json_bodies_ok", kind="read")


def test_what_happens_to_created_rows_can_be_limited_to_a_kind(client: Any) -> None:
    client.service.faults.on("created_rows_appear_late", kind="write activity")
    (made,) = client.write(PEOPLE, {"name": "Ada"})["affected_objects"]
    assert client.ids(PEOPLE, ALL) == [made["id"]]
    client.service.faults.on("created_rows_appear_late", kind=f"write {PEOPLE}")
    client.write(PEOPLE, {"name": "Bo"})
    assert client.ids(PEOPLE, ALL) == [made["id"]]
