"""Switches for what a real account shows: hidden people, delaying redirects, text kept otherwise, gateways."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
import requests

from outreach_sync.sandbox.workbooks import WorkbooksSandbox
from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
EMAIL = "main_location[email]"
STATE = "cf_person_sequence_state"


@pytest.fixture
def ada(client: Client) -> int:
    return client.service.store.add_person(name="Ada Example", email="ada@example.com")


def by_id(*ids: int) -> tuple[tuple[str, str, str], ...]:
    return (
        ("id", "eq", ",".join(map(str, ids))),
        ("is_deleted", "true", ""),
        ("is_deleted", "false", ""),
    )


def told_by(client: Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("login", []).json()
    return answer


def test_a_hidden_person_is_in_no_answer_and_comes_back_unharmed(client: Client, ada: int) -> None:
    bo = client.service.store.add_person(name="Bo Example", email="bo@example.com")
    client.service.faults.on("records_hidden", ids=[ada])
    assert client.ids(PEOPLE, *by_id(ada, bo), _fm="1 AND (2 OR 3)") == [bo]
    assert client.ids(PEOPLE, (EMAIL, "eq", "ada@example.com")) == []
    refused = client.write(PEOPLE, {"id": ada, "person_job_title": "Head"})
    assert refused["affected_object_information"][0]["errors"] == {"base": ["could not be found"]}
    client.service.faults.clear()
    assert client.ids(PEOPLE) == [ada, bo]


def test_all_people_are_hidden_where_no_ids_are_named_but_tasks_are_not(client: Client, ada: int) -> None:
    client.service.store.add_task(name="Call", primary_contact_id=ada)
    client.service.faults.on("records_hidden")
    assert (client.ids(PEOPLE), client.ids("activity/tasks")) == ([], [4001])


def test_a_login_says_whose_database_it_is_and_that_can_be_another(client: Client) -> None:
    assert told_by(client)["logical_database_id"] == 3
    with WorkbooksSandbox() as other:
        other.store.account.logical_database_id = 8
        other.store.account.user_id = 77
        other.store.account.created_at = "Tue Jan 06 09:00:00 UTC 2026"
        answer = told_by(type(client)(other))
    assert (answer["logical_database_id"], answer["user_id"]) == (8, 77)
    assert answer["databases"] == [{"id": 8, "name": "Example", "created_at": "Tue Jan 06 09:00:00 UTC 2026"}]


def test_a_delaying_redirect_comes_as_often_as_was_asked_for_and_the_same_each_time(client: Client) -> None:
    def statuses() -> list[int]:
        client.service.faults.on("delaying_redirect")
        return [client.post(PEOPLE, [("_method", "GET")]).status_code for _ in range(50)]

    first = statuses()
    assert 20 <= first.count(302) <= 40
    assert statuses() == first


@pytest.mark.parametrize("follow", ["repeat", "same", "get", "back", "elsewhere"])
@pytest.mark.parametrize("done", [0, 1])
def test_what_a_delaying_address_answers(client: Client, ada: int, follow: str, done: int) -> None:
    client.service.faults.on("delaying_redirect", times=1, probability=1, follow=follow, done=done)
    pairs = client.write_pairs([{"id": ada, STATE: "Finished"}], client.PER_OBJECT)
    response = client.post(PEOPLE, pairs)
    assert response.status_code == 302
    assert (client.service.store.get(PERSON, ada)[STATE] == "Finished") is bool(done)
    location = response.headers["Location"]
    if follow == "elsewhere":
        assert not location.startswith(client.service.url)
        return
    body = None if follow == "get" else response.request.body
    headers = {"User-Agent": "outreach_sync/1.0", "Content-Type": client.FORM}
    answer = requests.request(
        "GET" if follow == "get" else "POST", location, data=body, headers=headers, allow_redirects=False, timeout=5
    )
    if follow == "back":
        assert answer.headers["Location"] == response.request.url
    else:
        stale = follow == "repeat" and done == 1
        assert answer.json()["success"] is not stale


def test_a_write_that_follows_to_a_delaying_address_as_a_read_finds_a_page(client: Client, ada: int) -> None:
    client.service.faults.on("delaying_redirect", times=1, probability=1, follow="same")
    response = client.put(PEOPLE, {"id": ada, STATE: "Finished"})
    page = requests.get(response.headers["Location"], headers={"User-Agent": "x"}, timeout=5)
    assert page.headers["Content-Type"].startswith("text/html")
    assert client.service.store.get(PERSON, ada)[STATE] is None


@pytest.mark.parametrize(
    ("fault", "options", "text"),
    [
        ("emoji_lost", {}, ("Ada \N{SPARKLES} \N{ROCKET}", "Ada \N{SPARKLES} ?")),
        ("ampersand_escaped", {}, ("R&D", "R&amp;D")),
        ("text_cut", {"length": 3}, ("Ada Example", "Ada")),
        ("blanks_trimmed", {}, (" Ada ", "Ada")),
    ],
)
def test_text_is_kept_otherwise_than_it_was_sent(
    client: Client, ada: int, fault: str, options: dict[str, Any], text: tuple[str, str]
) -> None:
    sent, kept = text
    client.service.faults.on(fault, **options)
    client.write(PEOPLE, {"id": ada, "name": sent})
    assert client.get(PEOPLE, columns="name")["data"] == [{"name": kept}]
    again = client.write(PEOPLE, {"id": ada, "lock_version": 1, "name": sent})
    assert again["affected_objects"] == [{"id": ada, "lock_version": 1}]


@pytest.mark.parametrize(
    ("fault", "asked", "kept", "alone"),
    [
        ("eq_without_accents", "info@strasse.example", "info@stra\u00dfe.example", False),
        ("eq_without_accents", "rene@example.com", "Ren\u00e9@example.com", False),
        ("eq_without_blanks", "ada@example.com", " Ada@example.com ", False),
        ("eq_case_sensitive", "ada@example.com", "Ada@example.com", True),
    ],
)
def test_eq_takes_more_or_less_for_the_same(client: Client, fault: str, asked: str, kept: str, *, alone: bool) -> None:
    client.service.store.add_person(name="X", email=kept)
    assert len(client.ids(PEOPLE, (EMAIL, "eq", asked))) == alone
    client.service.faults.on(fault)
    assert len(client.ids(PEOPLE, (EMAIL, "eq", asked))) != alone


def test_a_huge_answer_is_small_on_the_wire(client: Client) -> None:
    client.service.faults.on("huge_answer", megabytes=8)
    with requests.post(
        f"{client.service.url}/crm/people.api", data=client.key, headers={"User-Agent": "x"}, stream=True, timeout=5
    ) as answer:
        packed = answer.raw.read(decode_content=False)
    assert len(packed) < 100_000
    assert len(gzip.decompress(packed)) > 8 * 2**20


def test_a_field_can_be_required_at_creation(client: Client) -> None:
    client.service.faults.on("field_required", field="person_last_name")
    refused = client.write(PEOPLE, {"name": "Ada"})
    assert refused["affected_object_information"][0]["errors"] == {"person_last_name": ["is a required field"]}
    assert client.write(PEOPLE, {"name": "Ada", "person_last_name": "Example"})["success"]
    fields = client.post("metadata/types", [("_method", "GET"), ("class_names[]", PERSON)]).json()["data"][0]["fields"]
    assert {one["name"] for one in fields if one["required"]} == {"name", "person_last_name"}


def test_the_fields_of_the_vendors_own_integration_are_found_by_their_titles(bare: Client) -> None:
    bare.service.store.install_plugin()
    fields = bare.post("metadata/types", [("_method", "GET"), ("class_names[]", PERSON)]).json()["data"][0]["fields"]
    found = {one["title"]: one["datatype"] for one in fields if one["name"].startswith("cf_")}
    assert found == {"Outreach Id": "string", "Sequence State": "picklist_data", "State Updated at": "date"}


@pytest.mark.parametrize("status", [401, 403, 404, 422])
@pytest.mark.parametrize("text", [True, False])
def test_a_gateway_answers_in_a_form_of_its_own(client: Client, status: int, *, text: bool) -> None:
    client.service.faults.on("gateway_page", status=status, text=text)
    response = client.post(PEOPLE, [("_method", "GET")])
    kind = "text/plain" if text else "text/html; charset=utf-8"
    assert (response.status_code, response.headers["Content-Type"]) == (status, kind)
