from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"


def test_answers_are_compressed_only_for_a_user_agent_that_says_gzip(client: Client) -> None:
    assert client.post(PEOPLE, [("_method", "GET")]).headers["Content-Encoding"] == "gzip"
    client.session.headers["User-Agent"] = "plain/1.0"
    assert "Content-Encoding" not in client.post(PEOPLE, [("_method", "GET")]).headers


def test_a_wrong_controller_or_a_missing_suffix_is_404(client: Client) -> None:
    assert client.post("crm/persons", [("_method", "GET")]).status_code == 404
    address = f"{client.service.url}/{PEOPLE}"
    assert client.session.post(address, data=client.key, timeout=5).status_code == 404


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
def test_only_get_and_put_are_allowed_on_a_list(client: Client, method: str) -> None:
    assert client.post(PEOPLE, [("_method", method)]).status_code == 405


@pytest.mark.parametrize("controller", ["metadata/types", "picklist_data/Private_PicklistEntry/id/value"])
def test_what_can_only_be_read_is_405_for_a_write(client: Client, controller: str) -> None:
    assert client.post(controller, [("_method", "PUT")]).status_code == 405


def test_the_type_of_a_body_is_compared_without_case(client: Client) -> None:
    client.session.headers["Content-Type"] = "Application/X-WWW-Form-UrlEncoded; charset=UTF-8"
    assert client.get(PEOPLE)["success"]


@pytest.mark.parametrize("missing", ["client", "api_version"])
def test_the_client_and_the_version_are_mandatory(client: Client, missing: str) -> None:
    del client.key[missing]
    assert client.post(PEOPLE, [("_method", "GET")]).status_code == 406


def test_a_binding_may_spell_the_version_its_own_way(client: Client) -> None:
    client.key["_api_version"] = client.key.pop("api_version")
    assert client.get(PEOPLE)["success"]


def test_a_json_body_is_refused_unless_json_bodies_are_ok(client: Client) -> None:
    client.session.headers["Content-Type"] = "application/json"
    body = json.dumps({**client.key, "_method": "GET", "_ff[]": ["id"], "_ft[]": ["eq"], "_fc[]": ["1001"]})
    client.service.store.add_person(name="Ada Example")
    address = f"{client.service.url}/{PEOPLE}.api"
    assert client.session.post(address, data=body, timeout=5).status_code == 406
    client.service.faults.on("json_bodies_ok")
    assert len(client.session.post(address, data=body, timeout=5).json()["data"]) == 1
    assert client.session.post(address, data="[1]", timeout=5).status_code == 406


def test_a_real_put_works_like_a_post_that_says_put(client: Client) -> None:
    pairs = client.write_pairs([{"name": "Ada Example"}], client.PER_OBJECT)[1:]
    address = f"{client.service.url}/{PEOPLE}.api"
    assert client.session.put(address, data=[*client.key.items(), *pairs], timeout=5).json()["success"]


def test_the_journal_tells_what_was_asked_without_the_key(client: Client) -> None:
    client.write(PEOPLE, {"name": "Ada Example"}, {"name": "Bo Example"})
    client.get(PEOPLE, ("id", "eq", "1001"))
    write, read = client.service.journal.entries()
    assert (write.kind, read.kind) == (f"write {PEOPLE}", f"read {PEOPLE}")
    assert dict(write.form)["objects"] == "2"
    assert ("_fc[]", "1001") in read.form
    assert client.service.api_key not in str(client.service.journal.entries())


def test_the_journal_names_the_faults_that_fired(client: Client) -> None:
    client.service.faults.on("unavailable_503", times=1)
    client.post(PEOPLE, [("_method", "GET")])
    entry = client.service.journal.entries()[0]
    assert (entry.status, entry.faults) == (503, ("unavailable_503",))


def test_the_back_door_changes_records_and_faults_and_is_not_in_the_journal(client: Client) -> None:
    door = f"{client.service.url}/_sandbox"
    person = {"do": "add", "class": PERSON, "fields": {"name": "Ada Example"}}
    assert client.session.post(f"{door}/records", json=person, timeout=5).json() == {"id": 1001}
    fault = {"name": "error_500", "times": 1}
    client.session.post(f"{door}/faults", json=fault, timeout=5)
    summary = client.session.get(f"{door}/", timeout=5).json()
    assert (summary["records"][PERSON], summary["faults"]) == (1, ["error_500"])
    assert client.service.journal.entries() == []


def test_100_objects_are_written_in_one_request(client: Client) -> None:
    ids = [client.service.store.add_person(name=f"Person {number}") for number in range(100)]
    answer = client.write(PEOPLE, *({"id": id_, "cf_person_sequence_state": "Finished"} for id_ in ids))
    assert [one["lock_version"] for one in answer["affected_objects"]] == [1] * 100


def test_requests_that_come_at_once_do_not_give_an_id_twice(client: Client, connect: type[Client]) -> None:
    def create(number: int) -> list[int]:
        one = connect(client.service)
        answer = one.write(PEOPLE, *({"name": f"Person {number}"} for _ in range(20)))
        one.session.close()
        return [result["id"] for result in answer["affected_objects"]]

    with ThreadPoolExecutor(4) as pool:
        ids = [id_ for created in pool.map(create, range(8)) for id_ in created]
    assert sorted(ids) == list(range(1001, 1161))
