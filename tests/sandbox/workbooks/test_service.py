"""Who is let in, what a request as a whole is answered, and how an answer can go wrong on its way."""

import json
from typing import Any

import pytest
import requests

from tests.sandbox.workbooks.conftest import PEOPLE, STATE, Client


def finished(client: Client, person: int) -> bool:
    return bool(client.kept(person)[STATE] == "Finished")


def read(client: Client) -> requests.Response:
    return client.post(PEOPLE, [("_method", "GET")])


def test_a_wrong_key_no_key_and_a_reserved_name_are_refused_and_no_session_has_to_log_in(client: Client) -> None:
    def failure(controller: str, *pairs: tuple[str, str]) -> tuple[int, str]:
        response = client.post(controller, pairs)
        return response.status_code, response.json()["failure_reason"]

    key = client.key.pop("api_key")
    assert failure(PEOPLE) == (401, "no_session")
    client.key["api_key"] = key[:-1]
    assert failure(PEOPLE) == failure("login") == (401, "unrecognised_name_or_password")
    client.store.account.api_key = key[:-1]
    assert client.get(PEOPLE)["success"]
    assert failure("login", ("_application_name", "Workbooks")) == (403, "invalid_application_name")
    del client.key["api_key"]
    client.session.cookies["Workbooks-Session"] = "0123456789abcdef"
    response = read(client)
    assert (response.status_code, response.headers["Location"]) == (302, f"{client.service.url}/login")
    assert client.session.post(response.headers["Location"], timeout=5).text.startswith("<!DOCTYPE")
    client.session.headers["User-Agent"] = ""
    assert failure(PEOPLE) == (403, "user_agent_required")


def test_a_refusal_names_its_reason(client: Client) -> None:
    for fault, options, status, reason in (
        ("key_refused", {}, 401, "unrecognised_name_or_password"),
        ("key_refused", {"reason": "no_permission_for_api"}, 403, "no_permission_for_api"),
        ("key_refused", {"reason": "ip_not_permitted", "status": 401}, 401, "ip_not_permitted"),
        ("database_being_migrated", {}, 403, "database_being_migrated"),
    ):
        client.faults.clear()
        client.faults.on(fault, **options)
        response = client.put(PEOPLE, {"name": "Ada"})
        assert (response.status_code, response.json()) == (status, {"failure_reason": reason})
        client.faults.on("failure_message")
        assert client.put(PEOPLE, {"name": "Ada"}).json() == {"failure_message": reason}
    assert client.store.writes == []


def test_the_suffix_the_version_and_a_form_are_mandatory(client: Client) -> None:
    address = f"{client.service.url}/{PEOPLE}"
    assert client.session.post(address, data=client.key, timeout=5).status_code == 404
    assert requests.post(f"{address}.api", json=client.key, headers={"User-Agent": "x"}, timeout=5).status_code == 406
    client.key["_api_version"] = client.key.pop("api_version")
    assert read(client).status_code == 200
    del client.key["_api_version"]
    assert read(client).status_code == 406


def test_the_journal_tells_what_was_asked_without_the_key_and_which_faults_fired(client: Client) -> None:
    client.write(PEOPLE, {"name": "Ada Example"}, {"name": "Bo Example"})
    client.faults.on("unavailable_503", kind="read")
    client.post(PEOPLE, [("_method", "GET"), ("_fc[]", "1001")])
    write, asked = client.service.journal.entries()
    assert (write.kind, write.faults, asked.kind) == (f"write {PEOPLE}", (), f"read {PEOPLE}")
    assert (asked.status, asked.faults) == (503, ("unavailable_503",))
    assert dict(write.form)["objects"] == "2"
    assert ("_fc[]", "1001") in asked.form
    assert client.service.api_key not in str((write, asked))


HERE, HTML, TEXT = "/crm/people.api?_delayed=", "text/html; charset=utf-8", "text/plain"


def test_a_broken_answer_says_nothing_of_what_was_done(client: Client) -> None:
    cases: tuple[tuple[str, dict[str, Any], tuple[int, str] | None, bool], ...] = (
        ("answer_lost_after_commit", {}, None, True),
        ("reset_before_answer", {}, None, False),
        ("reset_before_answer", {"committed": True}, None, True),
        ("body_cut_short", {}, None, True),
        ("hang", {"seconds": 0.01}, None, False),
        ("date_missing", {}, (200, "application/json; charset=utf-8"), True),
        ("html_with_200", {}, (200, HTML), False),
        ("gateway_page", {}, (403, HTML), False),
        ("gateway_page", {"status": 404, "text": True, "committed": True}, (404, TEXT), True),
        ("error_500", {"kind": "write"}, (500, "application/json; charset=utf-8"), False),
        ("error_500", {"committed": True, "status": 502}, (502, HTML), True),
        ("not_taken", {"status": 405}, (405, "application/json; charset=utf-8"), False),
        ("rate_limited_429", {"retry_after": 7}, (429, TEXT), False),
        ("unavailable_503", {"retry_after": 7}, (503, TEXT), False),
        ("redirect_302", {}, (302, HERE), False),
        ("redirect_302", {"committed": True}, (302, HERE), True),
        ("redirect_302", {"location": "login"}, (302, "/login"), False),
        ("redirect_302", {"location": "other"}, (302, "https://delay.example.net/"), False),
    )
    for fault, options, answer, done in cases:
        person = client.store.add_person(name="Bo")
        client.faults.on(fault, times=1, **{"kind": "write", **options})
        if answer is None:
            with pytest.raises(requests.RequestException):
                client.finish(person)
        else:
            response = client.finish(person)
            kind = response.headers.get("Location", response.headers["Content-Type"]).removeprefix(client.service.url)
            assert (response.status_code, kind[: len(answer[1])]) == answer
            assert response.headers.get("Retry-After") == ("7" if "retry_after" in options else None)
            assert ("Date" in response.headers) is (fault != "date_missing")
        assert finished(client, person) is done, fault


def test_answers_come_slowly_broken_in_bytes_that_are_no_utf8_and_huge_but_small_on_the_wire(client: Client) -> None:
    client.faults.on("slow", times=1, seconds=0.01)
    client.faults.on("broken_json", times=1)
    with pytest.raises(requests.JSONDecodeError):
        read(client).json()
    client.faults.on("invalid_utf8", times=1)
    content = read(client).content
    assert json.loads(content.decode("utf-8", "replace"))["success"]
    with pytest.raises(UnicodeDecodeError):
        content.decode()
    client.faults.on("huge_answer", times=1, megabytes=8)
    huge = read(client)
    assert int(huge.headers["Content-Length"]) < 100_000
    assert len(huge.content) > 8 * 2**20
    assert huge.json()["success"]


def test_a_delaying_redirect_comes_as_often_as_was_asked_for_and_the_same_each_time(client: Client) -> None:
    def statuses() -> list[int]:
        client.faults.on("delaying_redirect")
        return [read(client).status_code for _ in range(50)]

    first = statuses()
    assert 20 <= first.count(302) <= 40
    assert statuses() == first


@pytest.mark.parametrize("follow", ["repeat", "same", "get", "back", "elsewhere"])
@pytest.mark.parametrize("done", [0, 1])
def test_what_a_delaying_address_answers(client: Client, ada: int, follow: str, done: int) -> None:
    client.faults.on("delaying_redirect", times=1, probability=1, follow=follow, done=done)
    response = client.finish(ada)
    assert (response.status_code, finished(client, ada)) == (302, bool(done))
    location = response.headers["Location"]
    assert location.startswith(client.service.url) is (follow != "elsewhere")
    if follow == "elsewhere":
        return
    method, body = ("GET", None) if follow == "get" else ("POST", response.request.body)
    answer = client.session.request(method, location, data=body, allow_redirects=False, timeout=5)
    if follow == "back":
        assert answer.headers["Location"] == response.request.url
    else:
        assert answer.json()["success"] is not (follow == "repeat" and done == 1)  # then it is stale


def test_a_redirected_write_that_becomes_a_read_looks_like_success_and_writes_nothing(client: Client, ada: int) -> None:
    for fault, options in (("redirect_302", {}), ("delaying_redirect", {"probability": 1, "follow": "same"})):
        client.faults.on(fault, times=1, **options)
        followed = client.session.get(client.finish(ada).headers["Location"], timeout=5)
        assert followed.status_code == 200
    assert not finished(client, ada)
    assert client.session.get(f"{client.service.url}/crm/people.api?_delayed=0123", timeout=5).status_code == 401
