from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import requests
    from conftest import Client

    from outreach_sync.sandbox.workbooks import WorkbooksSandbox

PEOPLE = "crm/people"


@pytest.fixture
def session(service: WorkbooksSandbox, connect: type[Client]) -> Client:
    """A client that logged in and sends its cookie, and its token, instead of the key."""
    client = connect(service)
    answer = client.post("login", [("_per_object_transactions", "1"), ("_strict_attribute_checking", "1")])
    client.key = {"client": "api", "_authenticity_token": answer.json()["authenticity_token"]}
    return client


def failure(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["failure_reason"]


def sent_to_login(session: Client) -> bool:
    response = session.post(PEOPLE, [("_method", "GET")])
    return (response.status_code, response.headers["Location"]) == (302, f"{session.service.url}/login")


def test_a_login_gives_a_cookie_a_token_and_the_documented_facts(client: Client) -> None:
    response = client.post("login", [])
    document: dict[str, Any] = response.json()
    assert response.cookies["Workbooks-Session"] == document["session_id"]
    assert {"authenticity_token", "user_id", "timezone", "my_queues", "databases"} <= set(document)


def test_a_session_reads_and_writes_and_remembers_its_manner(session: Client) -> None:
    created = session.post(PEOPLE, session.write_pairs([{"name": "Ada", "nonsense": "x"}, {"name": "Bo"}], {})).json()
    assert [one["success"] for one in created["affected_object_information"]] == [False, True]
    assert session.ids(PEOPLE) == [1001]


def test_a_write_in_a_session_needs_the_token(session: Client) -> None:
    del session.key["_authenticity_token"]
    assert session.put(PEOPLE, {"name": "Ada Example"}).status_code == 401
    assert session.ids(PEOPLE) == []


def test_a_session_ends_after_eight_idle_hours(session: Client) -> None:
    session.service.clock.advance(7 * 3_600_000)
    assert session.ids(PEOPLE) == []
    session.service.clock.advance(8 * 3_600_000 + 1000)
    assert failure(session.post(PEOPLE, [("_method", "GET")])) == (401, "session_expired")


def test_session_expires_when_maintenance_ends_it(session: Client) -> None:
    session.service.faults.on("session_expires", times=1)
    assert failure(session.post(PEOPLE, [("_method", "GET")])) == (401, "session_expired")


def test_a_session_ends_at_logout_with_a_redirect(session: Client) -> None:
    address = f"{session.service.url}/logout"
    response = session.session.post(address, data="client=api", allow_redirects=False, timeout=5)
    assert (response.status_code, response.headers["Location"]) == (302, f"{session.service.url}/")
    assert sent_to_login(session)


def test_a_cookie_that_was_never_given_is_sent_to_the_login_page(session: Client) -> None:
    session.session.cookies.clear()
    session.session.cookies["Workbooks-Session"] = "0123456789abcdef"
    assert sent_to_login(session)


def test_a_session_that_expired_says_so_each_time(session: Client) -> None:
    session.service.clock.advance(8 * 3_600_000 + 1000)
    answers = [failure(session.post(PEOPLE, [("_method", "GET")])) for _ in range(2)]
    assert answers == [(401, "session_expired")] * 2


def test_requests_of_a_session_need_not_name_the_client_as_a_login_must(session: Client) -> None:
    del session.key["client"]
    assert session.write(PEOPLE, {"name": "Ada Example"})["success"]
    assert session.ids(PEOPLE) == [1001]
    assert session.post("login", [("api_key", session.service.api_key), ("api_version", "1")]).status_code == 406


@pytest.mark.parametrize("path", ["/", "/login"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_where_redirects_lead_is_a_page_with_200_that_is_no_success(client: Client, path: str, method: str) -> None:
    response = client.session.request(method, f"{client.service.url}{path}", timeout=5)
    assert (response.status_code, response.text[:9]) == (200, "<!DOCTYPE")


def test_cookie_changes_and_the_old_one_is_worth_nothing(session: Client) -> None:
    old = session.session.cookies["Workbooks-Session"]
    session.service.faults.on("cookie_changes", times=1)
    assert session.get(PEOPLE)["success"]
    assert session.session.cookies["Workbooks-Session"] != old
    assert session.get(PEOPLE)["success"]
    session.session.cookies.clear()
    session.session.cookies["Workbooks-Session"] = old
    assert sent_to_login(session)


def test_the_time_zone_of_a_session_is_where_times_without_zone_are_read(
    service: WorkbooksSandbox, connect: type[Client]
) -> None:
    client = connect(service)
    token = client.post("login", [("_time_zone", "Pacific/Kiritimati")]).json()["authenticity_token"]
    client.key = {"client": "api", "_authenticity_token": token}
    client.write(PEOPLE, {"name": "Ada Example", "cf_person_state_updated_at": "2026-09-01T10:00:00"})
    row = client.get(PEOPLE, columns="cf_person_state_updated_at")["data"][0]
    assert row == {"cf_person_state_updated_at": "Mon Aug 31 20:00:00 UTC 2026"}


@pytest.mark.parametrize(("named", "shown"), [("London", "London"), ("Tokyo", "Tokyo"), ("Asia/Tokyo", "Tokyo")])
def test_a_zone_may_be_named_as_rails_does_and_is_answered_so(client: Client, named: str, shown: str) -> None:
    assert client.post("login", [("_time_zone", named)]).json()["timezone"] == shown
    assert client.post("login", []).json()["timezone"] == "London"


@pytest.mark.parametrize("named", ["Nowhere/Land", "Europe", "../zone", "", "x" * 300])
def test_a_zone_that_does_not_exist_is_refused_at_the_login_and_not_later(client: Client, named: str) -> None:
    assert client.post("login", [("_time_zone", named)]).status_code == 406


def test_a_filter_on_days_works_in_a_session_with_a_zone_of_rails(
    service: WorkbooksSandbox, connect: type[Client]
) -> None:
    client = connect(service)
    token = client.post("login", [("_time_zone", "London")]).json()["authenticity_token"]
    client.key = {"client": "api", "_authenticity_token": token}
    assert client.ids(PEOPLE, ("created_at", "today", "")) == []


def test_a_wrong_key_no_key_and_a_reserved_name_are_refused(client: Client) -> None:
    key = client.key.pop("api_key")
    assert failure(client.post(PEOPLE, [("_method", "GET")])) == (401, "no_session")
    assert failure(client.post("login", [])) == (401, "unrecognised_name_or_password")
    client.key["api_key"] = key[:-1]
    assert failure(client.post(PEOPLE, [("_method", "GET")])) == (401, "unrecognised_name_or_password")
    client.key["api_key"] = key
    assert failure(client.post("login", [("_application_name", "Workbooks")])) == (403, "invalid_application_name")


def test_a_request_without_user_agent_is_refused(client: Client) -> None:
    connection = http.client.HTTPConnection(client.service.url.removeprefix("http://"), timeout=5)
    for content_type in (client.FORM, "text/plain"):
        connection.request("POST", f"/{PEOPLE}.api", "client=api", {"Content-Type": content_type})
        answer = connection.getresponse()
        assert (answer.status, b"user_agent_required" in answer.read()) == (403, True)
    connection.close()


@pytest.mark.parametrize(
    ("reason", "status"),
    [("password_expired", 401), ("licence_expired", 401), ("no_permission_for_api", 403), ("database_archived", 403)],
)
def test_key_refused_with_any_documented_reason(client: Client, reason: str, status: int) -> None:
    client.service.faults.on("key_refused", reason=reason)
    assert failure(client.put(PEOPLE, {"name": "Ada Example"})) == (status, reason)


def test_key_refused_with_a_status_of_ones_choice(client: Client) -> None:
    client.service.faults.on("key_refused", reason="ip_not_permitted", status=401)
    assert failure(client.post(PEOPLE, [("_method", "GET")])) == (401, "ip_not_permitted")


def test_database_being_migrated_is_403(client: Client) -> None:
    client.service.faults.on("database_being_migrated", times=1)
    assert failure(client.put(PEOPLE, {"name": "Ada"})) == (403, "database_being_migrated")
    assert client.service.store.writes == []
