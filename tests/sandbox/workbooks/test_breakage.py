from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from outreach_sync.sandbox.workbooks.faults import FAULTS
from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
STATE = "cf_person_sequence_state"


@pytest.fixture
def ada(client: Client) -> int:
    return client.service.store.add_person(name="Ada Example")


def finish(client: Client, ada: int) -> requests.Response:
    return client.put(PEOPLE, {"id": ada, STATE: "Finished"})


def finished(client: Client, ada: int) -> bool:
    return bool(client.service.store.get(PERSON, ada)[STATE] == "Finished")


def read(client: Client, *, timeout: float = 5) -> requests.Response:
    return client.post(PEOPLE, [("_method", "GET")], timeout=timeout)


def test_answer_lost_after_commit_leaves_the_write_done(client: Client, ada: int) -> None:
    client.service.faults.on("answer_lost_after_commit", times=1)
    assert read(client).status_code == 200
    with pytest.raises(requests.ConnectionError):
        finish(client, ada)
    assert finished(client, ada)


@pytest.mark.parametrize("committed", [True, False])
def test_reset_before_answer_leaves_open_what_was_done(client: Client, ada: int, *, committed: bool) -> None:
    client.service.faults.on("reset_before_answer", times=1, committed=committed)
    with pytest.raises(requests.ConnectionError):
        finish(client, ada)
    assert finished(client, ada) is committed


def test_body_cut_short_is_noticed_and_the_write_is_done(client: Client, ada: int) -> None:
    client.service.faults.on("body_cut_short", times=1)
    with pytest.raises(requests.RequestException):
        finish(client, ada)
    assert finished(client, ada)


@pytest.mark.parametrize("committed", [True, False])
def test_hang_outlasts_the_clients_patience(client: Client, ada: int, *, committed: bool) -> None:
    client.service.faults.on("hang", times=1, seconds=5, committed=committed)
    pairs = client.write_pairs([{"id": ada, STATE: "Finished"}], client.PER_OBJECT)
    with pytest.raises(requests.Timeout):
        client.post(PEOPLE, pairs, timeout=0.1)
    assert finished(client, ada) is committed


def test_slow_takes_its_time_and_answers(client: Client) -> None:
    client.service.faults.on("slow", times=1, seconds=0.1)
    began = time.monotonic()
    assert read(client).json()["success"]
    assert time.monotonic() - began > 0.09


@pytest.mark.parametrize("committed", [True, False])
def test_html_with_200_says_nothing_of_what_was_done(client: Client, ada: int, *, committed: bool) -> None:
    client.service.faults.on("html_with_200", times=1, committed=committed)
    response = finish(client, ada)
    assert (response.status_code, response.text[:9], finished(client, ada)) == (200, "<!DOCTYPE", committed)


def test_broken_json_comes_with_200_after_the_write(client: Client, ada: int) -> None:
    client.service.faults.on("broken_json", times=1)
    response = finish(client, ada)
    with pytest.raises(ValueError, match=r".+"):
        json.loads(response.content)
    assert (response.status_code, finished(client, ada)) == (200, True)


def test_invalid_utf8_is_one_byte_in_otherwise_good_json(client: Client) -> None:
    client.service.faults.on("invalid_utf8", times=1)
    content = read(client).content
    with pytest.raises(UnicodeDecodeError):
        content.decode()
    assert json.loads(content.decode("utf-8", "replace"))["success"]


@pytest.mark.parametrize(("name", "status"), [("rate_limited_429", 429), ("unavailable_503", 503)])
def test_please_wait_is_said_with_or_without_how_long(client: Client, ada: int, name: str, status: int) -> None:
    client.service.faults.on(name, times=1, retry_after=7)
    response = finish(client, ada)
    assert (response.status_code, response.headers["Retry-After"]) == (status, "7")
    client.service.faults.on(name, times=1)
    assert "Retry-After" not in finish(client, ada).headers
    assert not finished(client, ada)


@pytest.mark.parametrize(("name", "done"), [("error_500_after_commit", True), ("error_500_before_commit", False)])
def test_error_500_may_come_before_or_after_a_write_and_never_on_a_read(
    client: Client, ada: int, name: str, *, done: bool
) -> None:
    client.service.faults.on(name, times=1)
    assert read(client).status_code == 200
    response = finish(client, ada)
    assert (response.status_code, "exception_reference" in response.json()) == (500, True)
    assert finished(client, ada) is done


def test_error_500_concerns_reads_too(client: Client) -> None:
    client.service.faults.on("error_500", times=1)
    assert read(client).status_code == 500


@pytest.mark.parametrize(("name", "done"), [("redirect_delay_302", False), ("redirect_after_commit_302", True)])
def test_a_delaying_redirect_says_nothing_of_whether_the_write_was_done(
    client: Client, ada: int, name: str, *, done: bool
) -> None:
    client.service.faults.on(name, times=1)
    response = finish(client, ada)
    assert response.status_code == 302
    assert response.headers["Location"].startswith(f"{client.service.url}/crm/people.api?_delayed=")
    assert finished(client, ada) is done


def test_a_redirected_write_that_becomes_a_get_looks_like_success_and_writes_nothing(client: Client, ada: int) -> None:
    client.service.faults.on("redirect_delay_302", times=1)
    location = finish(client, ada).headers["Location"]
    followed = client.session.get(location, timeout=5)
    assert (followed.status_code, followed.json()["success"]) == (200, True)
    assert not finished(client, ada)


def test_a_redirected_request_that_keeps_method_and_body_is_carried_out(client: Client, ada: int) -> None:
    client.service.faults.on("redirect_delay_302", times=1)
    pairs = client.write_pairs([{"id": ada, STATE: "Finished"}], client.PER_OBJECT)
    location = client.post(PEOPLE, pairs).headers["Location"]
    followed = client.session.post(location, data=[*client.key.items(), *pairs], timeout=5)
    assert followed.json()["success"]
    assert finished(client, ada)


def test_a_get_keeps_its_query_through_a_delaying_redirect(client: Client, ada: int) -> None:
    client.service.store.add_person(name="Bo Example")
    client.service.faults.on("redirect_delay_302", times=2)
    query = {**client.key, "_ff[]": "id", "_ft[]": "eq", "_fc[]": str(ada)}
    followed = client.session.get(f"{client.service.url}/{PEOPLE}.api", params=query, timeout=5)
    assert ([row["id"] for row in followed.json()["data"]], len(followed.history)) == ([ada], 2)
    assert followed.url.count("_delayed") == 1


def test_an_invented_delaying_address_lets_nobody_in(client: Client) -> None:
    followed = client.session.get(f"{client.service.url}/crm/people.api?_delayed=0123", timeout=5)
    assert followed.status_code == 401


@pytest.mark.parametrize(
    ("wanted", "expected"), [("other", "https://delay.example.net/"), ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x")]
)
def test_a_redirect_may_lead_to_another_host(client: Client, wanted: str, expected: str) -> None:
    client.service.faults.on("redirect_delay_302", times=1, location=wanted)
    assert read(client).headers["Location"].startswith(expected)


def test_redirect_to_login_302_is_no_rate_limit(client: Client, ada: int) -> None:
    client.service.faults.on("redirect_to_login_302", times=1)
    assert finish(client, ada).headers["Location"] == f"{client.service.url}/login"
    assert not finished(client, ada)


def test_a_fault_can_be_limited_to_one_kind_of_request(client: Client, ada: int) -> None:
    client.service.faults.on("unavailable_503", kind="write")
    assert read(client).status_code == 200
    assert finish(client, ada).status_code == 503


def test_every_fault_is_tested_here_or_next_door() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    untested = [name for name in FAULTS if f'"{name}"' not in tests]
    assert untested == []
