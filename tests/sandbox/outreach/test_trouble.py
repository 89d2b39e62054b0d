from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError as Disconnected, ReadTimeout

from outreach_sync import instants
from outreach_sync.sandbox.outreach.faults import FAULTS

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox

WALK = {"filter[updatedAt]": "2026-09-01T00:00:00Z..inf", "sort": "updatedAt", "page[size]": "3"}


def ids(answer: requests.Response) -> list[Any]:
    return [row["id"] for row in answer.json()["data"]]


@pytest.fixture
def first_page(client: Client, states: list[int]) -> list[int]:
    """The page that a fault must change."""
    page = client.ids("sequenceStates", **WALK)
    assert page == states[:3]
    return page


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("seconds", r"\d{1,2}"),
        ("epoch", r"\d{10}"),
        ("iso", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("iso_naive", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
        ("http_date", r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"),
    ],
)
def test_rate_limited_tells_the_end_in_the_form_that_was_asked_for(
    service: OutreachSandbox, client: Client, form: str, pattern: str
) -> None:
    service.faults.on("rate_limited", times=1, form=form, wait=7)
    answer = client.get("tasks")
    assert answer.status_code == 429
    assert re.fullmatch(pattern, answer.headers["Retry-After"])
    error = answer.json()["errors"][0]
    assert error["id"] == "rateLimitExceeded"
    assert re.search(r"try again at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.$", error["detail"])
    assert client.get("tasks").status_code == 200


def test_rate_limited_can_leave_out_when_it_ends(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("rate_limited", form="none")
    assert "Retry-After" not in client.get("tasks").headers


def test_quota_nearly_spent_lets_a_few_requests_through_and_then_refuses(
    service: OutreachSandbox, client: Client
) -> None:
    service.faults.on("quota_nearly_spent", remaining=2)
    answers = [client.get("tasks") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]


def test_remaining_two_numbers_breaks_a_plain_int(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("remaining_two_numbers")
    numbers = client.get("tasks").headers["X-RateLimit-Remaining"].split(", ")
    assert [int(number) for number in numbers] == [9999, 19999]


def test_two_numbers_can_be_swapped(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("remaining_two_numbers", swapped=True)
    assert client.get("tasks").headers["X-RateLimit-Remaining"] == "19999, 9999"


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("seconds", r"\d{1,4}"),
        ("epoch", r"\d{10}"),
        ("iso", r"\d{4}-\d\d-\d\dT\d\d:00:00Z"),
        ("iso_naive", r"\d{4}-\d\d-\d\dT\d\d:00:00"),
        ("http_date", r"\w{3}, \d\d \w{3} \d{4} \d\d:00:00 GMT"),
        ("none", ""),
    ],
)
def test_reset_in_form_is_on_answers_that_are_no_refusal(
    service: OutreachSandbox, client: Client, form: str, pattern: str
) -> None:
    service.faults.on("reset_in_form", form=form)
    answer = client.get("tasks")
    assert answer.status_code == 200
    assert re.fullmatch(pattern, answer.headers.get("X-RateLimit-Reset", ""))
    assert answer.headers["X-RateLimit-Remaining"] == "9999"


def test_rate_headers_missing(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("rate_headers_missing")
    assert [name for name in client.get("tasks").headers if name.startswith("X-RateLimit")] == []


def test_url_too_long_counts_the_address_as_it_was_sent(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("url_too_long", bytes=200)
    assert client.get("tasks", params={"filter[id]": "1,2,3"}).status_code == 200
    answer = client.get("tasks", params={"filter[id]": ",".join(["1"] * 60)})  # each comma takes three bytes
    assert (answer.status_code, answer.headers["Content-Type"]) == (414, "text/html; charset=utf-8")


@pytest.mark.parametrize(("fault", "status"), [("server_error_500", 500), ("gateway_timeout_504", 504)])
def test_server_errors_have_a_body_that_is_not_json(
    service: OutreachSandbox, client: Client, fault: str, status: int
) -> None:
    service.faults.on(fault, times=1)
    answer = client.get("tasks")
    assert answer.status_code == status
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert client.get("tasks").status_code == 200


def test_bad_gateway_strikes_large_pages_only(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("bad_gateway_large_pages", threshold=500)
    sizes = ("1000", "501", "500", "250")
    assert [client.get("tasks", params={"page[size]": size}).status_code for size in sizes] == [502, 502, 200, 200]


def test_maintenance_tells_its_end_as_iso_time(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("maintenance_503", wait=120)
    answer = client.get("tasks")
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (503, "scheduledServerMaintenance")
    until = instants.parse_iso(answer.headers["Retry-After"])
    assert 110_000 < until - service.clock.now() <= 121_000


def test_html_with_200_is_no_json(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("html_with_200")
    answer = client.get("tasks")
    assert answer.status_code == 200
    assert answer.text.startswith("<html>")


def test_broken_json_arrives_whole_by_its_length(
    service: OutreachSandbox, client: Client, first_page: list[int]
) -> None:
    service.faults.on("broken_json", times=1)
    answer = client.get("sequenceStates", headers={"Accept-Encoding": "identity"})
    assert len(answer.content) == int(answer.headers["Content-Length"])
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("body_cut_short", ChunkedEncodingError),
        ("reset_during_answer", ChunkedEncodingError),
        ("reset_before_answer", Disconnected),
        ("hang", Disconnected),
    ],
)
def test_broken_connections_end_the_request(
    service: OutreachSandbox, client: Client, states: list[int], fault: str, error: type[Exception]
) -> None:
    service.faults.on(fault, times=1, **({"seconds": 0.05} if fault == "hang" else {}))
    with pytest.raises(error):
        client.get("sequenceStates")
    assert client.get("sequenceStates").status_code == 200


def test_hang_outlasts_a_timeout(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("hang", seconds=5)
    with pytest.raises(ReadTimeout):
        client.get("tasks", timeout=0.1)


def test_slow_takes_its_time_and_says_everything(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("slow", seconds=0.2)
    start = instants.now()
    assert len(client.rows("sequenceStates")) == 10
    assert instants.now() - start >= 190


def test_redirect_elsewhere_names_another_host(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("redirect_elsewhere", host="https://evil.example")
    answer = client.get("tasks")
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://evil.example/api/v2/tasks")


@pytest.mark.parametrize("skew", [-7_200_000, 86_400_000])
def test_clock_skew_moves_the_date_header_only(
    service: OutreachSandbox, client: Client, states: list[int], skew: int
) -> None:
    service.faults.on("clock_skew", ms=skew)
    answer = client.get("sequenceStates")
    assert abs(instants.parse_http_date(answer.headers["Date"]) - service.clock.now() - skew) < 2000
    assert answer.json()["data"][0]["attributes"]["updatedAt"] == "2026-09-02T00:00:00.000Z"


def test_token_expired_mid_walk_is_cured_by_a_refresh(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("token_expired_mid_walk", times=1, after=1)
    assert [client.get("tasks").status_code for _ in range(3)] == [200, 401, 401]
    client.log_in()
    assert client.get("tasks").status_code == 200


def test_second_access_token_is_refused_for_ever(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("second_access_token_refused")
    assert client.get("tasks").status_code == 200
    for _ in range(2):
        client.log_in()
        assert client.get("tasks").status_code == 401


def test_refresh_refused_once_is_transient(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("refresh_refused_once")
    assert [client.refresh().status_code for _ in range(2)] == [503, 200]


@pytest.mark.parametrize("status", [400, 401])
def test_refresh_revoked_says_invalid_grant(service: OutreachSandbox, client: Client, status: int) -> None:
    service.faults.on("refresh_revoked", status=status)
    answer = client.refresh()
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("status", [400, 401])
def test_refresh_revoked_can_use_another_word_or_none(service: OutreachSandbox, client: Client, status: int) -> None:
    service.faults.on("refresh_revoked", status=status, error="token_revoked")
    assert (client.refresh().status_code, client.refresh().json()["error"]) == (status, "token_revoked")
    for form, body in (("html", "<html>"), ("empty", "")):
        service.faults.on("refresh_revoked", status=status, form=form)
        answer = client.refresh()
        assert (answer.status_code, answer.text[:6]) == (status, body)


@pytest.mark.parametrize(("form", "body"), [("empty", ""), ("html", "<h1>401 Authorization Required</h1>")])
def test_unauthorized_without_body(service: OutreachSandbox, client: Client, form: str, body: str) -> None:
    service.faults.on("unauthorized_without_body", form=form)
    assert client.get("tasks").status_code == 200
    answer = client.get("tasks", headers={"Authorization": "Bearer none"})
    assert (answer.status_code, answer.text) == (401, body)


def test_consent_state_lost(service: OutreachSandbox) -> None:
    service.faults.on("consent_state_lost")
    asked = {
        "client_id": service.client_id,
        "redirect_uri": "https://localhost/",
        "response_type": "code",
        "scope": "tasks.read",
        "state": "ours",
        "auto_approve": "1",
    }
    url = f"{service.url}/oauth/authorize"
    location = requests.get(url, params=asked, allow_redirects=False, timeout=5).headers["Location"]
    assert "code=" in location
    assert "state" not in location


def test_refresh_rotates_hard_kills_the_token_that_was_used(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("refresh_rotates_hard")
    new = client.refresh().json()["refresh_token"]
    assert client.refresh().json()["error"] == "invalid_grant"
    assert client.refresh(refresh_token=new).status_code == 200


def test_token_minute_rule_allows_one_token_a_minute(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("token_minute_rule")
    assert client.refresh().status_code == 429
    service.clock.advance(60_000)
    assert client.refresh().status_code == 200
    service.faults.on("token_minute_rule", retry_after=60)
    assert client.refresh().headers["Retry-After"] == "60"


def test_whole_answer_faults_strike_the_token_endpoint_only_if_told_so(
    service: OutreachSandbox, client: Client
) -> None:
    service.faults.on("server_error_500", times=1)
    assert client.refresh().status_code == 200
    service.faults.on("server_error_500", times=1, kind="token")
    assert client.get("tasks").status_code == 200
    assert [client.refresh().status_code for _ in range(2)] == [500, 200]


def test_scope_missing_concerns_the_named_scope_only(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("scope_missing", scope="tasks.read")
    answer = client.get("tasks")
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (403, "unauthorizedOauthScope")
    assert client.get("prospects").status_code == 200


def test_governance_refuses_is_another_403(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("governance_refuses")
    answer = client.get("tasks")
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (403, "unauthorizedRequest")


def test_governance_hides_rows_everywhere(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("governance_hides", every=2, type="sequenceState")
    assert client.ids("sequenceStates") == [id_ for id_ in states if id_ % 2]
    assert client.get("sequenceStates/2").status_code == 404
    service.faults.on("governance_hides", every=1, type="prospect")
    answer = client.get("sequenceStates", params={"include": "prospect"}).json()
    assert len(answer["data"]) == 10
    assert answer["included"] == []


def test_out_of_order_reverses_each_page_and_loses_nothing(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.faults.on("out_of_order")
    assert client.walk("sequenceStates", WALK) == [[3, 2, 1], [6, 5, 4], [9, 8, 7], [10]]


def test_duplicate_across_pages_repeats_the_last_row(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.faults.on("duplicate_across_pages")
    assert client.walk("sequenceStates", WALK) == [[1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10]]


def test_changes_while_paged_move_rows_to_the_end(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("changes_while_paged", times=1, count=1)
    pages = client.walk("sequenceStates", WALK)
    assert pages[0] == [1, 2, 3]
    assert pages[1] == [5, 6, 7]
    assert [id_ for page in pages[2:] for id_ in page] == [8, 9, 10, 1, 4]


def test_upper_bound_ignored_lets_later_rows_through(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    bounded = {"filter[updatedAt]": "2026-09-01T00:00:00Z..2026-09-02T00:00:04Z"}
    assert client.ids("sequenceStates", **bounded) == states[:5]
    service.faults.on("upper_bound_ignored")
    assert client.ids("sequenceStates", **bounded) == states


def test_late_visibility_hides_what_just_changed(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.store.update("sequenceState", 1, state="paused")
    service.faults.on("late_visibility", ms=60_000)
    assert client.ids("sequenceStates") == states[1:]
    service.clock.advance(61_000)
    assert sorted(client.ids("sequenceStates")) == states


def test_short_pages_go_on_until_the_last_link(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("short_pages", rows=2, times=2)
    assert client.walk("sequenceStates", WALK) == [[1, 2], [3, 4], [5, 6, 7], [8, 9, 10]]


def test_empty_page_with_next_is_not_the_end(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("empty_page_with_next", times=1)
    assert client.walk("sequenceStates", WALK)[:2] == [[], [1, 2, 3]]
    service.faults.on("empty_page_with_next", times=1, after=1)
    assert client.walk("sequenceStates", WALK)[:3] == [[1, 2, 3], [], [4, 5, 6]]


def test_cursor_loops_never_end(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("cursor_loops")
    assert client.walk("sequenceStates", WALK, limit=5) == [[1, 2, 3], *[[4, 5, 6]] * 4]


def test_cursor_refused_leaves_the_first_page_alone(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    first = client.get("sequenceStates", params=WALK).json()
    service.faults.on("cursor_refused")
    assert client.get("sequenceStates", params=WALK).status_code == 200
    assert client.get(first["links"]["next"]).status_code == 422


def test_cursor_bound_to_size_leaves_a_link_alone_that_is_followed_as_it_stands(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.faults.on("cursor_bound_to_size")
    assert client.walk("sequenceStates", WALK) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    onward = client.get("sequenceStates", params=WALK).json()["links"]["next"]
    assert client.get(onward.replace("size%5D=3", "size%5D=2")).status_code == 422
    service.faults.off("cursor_bound_to_size")
    assert client.get(onward.replace("size%5D=3", "size%5D=2")).status_code == 200


def test_offset_cap(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    beyond = {"page[limit]": "500", "page[offset]": "501"}
    assert client.get("sequenceStates", params=beyond).status_code == 200
    service.faults.on("offset_cap")
    assert client.get("sequenceStates", params=beyond).status_code == 422
    assert client.get("sequenceStates", params={**beyond, "page[offset]": "500"}).status_code == 200
    service.faults.on("offset_cap", rows=5)
    assert client.get("sequenceStates", params=WALK).status_code == 200


def test_next_link_null_ends_the_last_page_only(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("next_link_null")
    assert client.walk("sequenceStates", WALK) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    links = client.get("sequenceStates").json()["links"]
    assert links["next"] is None


def test_next_link_other_host(service: OutreachSandbox, client: Client, first_page: list[int]) -> None:
    service.faults.on("next_link_other_host", host="https://evil.example")
    links = client.get("sequenceStates", params=WALK).json()["links"]
    assert links["next"].startswith("https://evil.example/api/v2/sequenceStates?")


def test_next_link_missing_links_though_there_is_more(
    service: OutreachSandbox, client: Client, first_page: list[int]
) -> None:
    service.faults.on("next_link_missing_links")
    answer = client.get("sequenceStates", params=WALK)
    assert ids(answer) == first_page
    assert "links" not in answer.json()


def test_neginf_refused(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    endless = {"filter[updatedAt]": "neginf..2026-09-02T00:00:02Z"}
    assert client.ids("sequenceStates", **endless) == states[:3]
    service.faults.on("neginf_refused")
    assert client.get("sequenceStates", params=endless).status_code == 422
    assert client.get("sequenceStates", params=WALK).status_code == 200


def test_counts_can_be_truncated_or_come_unasked(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    assert "meta" not in client.get("sequenceStates").json()
    service.faults.on("count_by_default")
    assert client.get("sequenceStates").json()["meta"]["count"] == 10
    assert "meta" not in client.get("sequenceStates", params={"count": "false"}).json()
    service.faults.on("count_truncated")
    truncated = client.get("sequenceStates", params={"count": "true"}).json()["meta"]
    assert truncated == {"count": 0, "count_truncated": True}


def test_trashed_listed(service: OutreachSandbox, client: Client) -> None:
    service.store.add_prospect(trashedAt="2026-09-01T00:00:00Z")
    assert client.ids("prospects") == []
    service.faults.on("trashed_listed")
    assert client.ids("prospects") == [1]


@pytest.mark.parametrize(
    ("fault", "shape"),
    [("to_one_null", {"data": None}), ("to_one_links_only", {"links"}), ("to_one_empty", {})],
)
def test_to_one_relationships_can_point_nowhere_in_three_ways(
    service: OutreachSandbox, client: Client, states: list[int], fault: str, shape: Any
) -> None:
    service.faults.on(fault, relationship="prospect")
    answer = client.get("sequenceStates", params={"page[size]": "1", "include": "prospect,sequence"}).json()
    relationships = answer["data"][0]["relationships"]
    for name in ("prospect", "mailbox"):
        assert (set(relationships[name]) if isinstance(shape, set) else relationships[name]) == shape
    assert relationships["sequence"] == {"data": {"type": "sequence", "id": 1}}
    assert [resource["type"] for resource in answer["included"]] == ["sequence"]


def test_included_missing_by_type(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    asked = {"include": "prospect,sequence"}
    service.faults.on("included_missing", type="prospect")
    assert [one["type"] for one in client.get("sequenceStates", params=asked).json()["included"]] == ["sequence"]
    service.faults.on("included_missing")
    assert client.get("sequenceStates", params=asked).json()["included"] == []


def test_unknown_state(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("unknown_state", state="frozen")
    assert {row["attributes"]["state"] for row in client.rows("sequenceStates")} == {"frozen"}


def test_unknown_attributes_come_even_with_sparse_fields(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.faults.on("unknown_attributes_added")
    attributes = client.rows("prospects", **{"fields[prospect]": "firstName"})[0]["attributes"]
    assert set(attributes) == {"firstName", "smsOptedOut", "stageName", "futureFlags"}


def test_opt_status_can_be_the_text_null(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    asked = {"fields[prospect]": "emailsOptStatus"}
    assert client.rows("prospects", **asked)[0]["attributes"] == {"emailsOptStatus": None}
    service.faults.on("opt_status_null_text")
    assert client.rows("prospects", **asked)[0]["attributes"] == {"emailsOptStatus": "null"}


def test_ids_as_strings_everywhere(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("ids_as_strings")
    answer = client.get("sequenceStates", params={"page[size]": "1", "include": "prospect"}).json()
    assert answer["data"][0]["id"] == "1"
    assert answer["data"][0]["relationships"]["prospect"]["data"]["id"] == "1"
    assert answer["included"][0]["id"] == "1"


def test_sequences_renamed(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("sequences_renamed", suffix=" 2")
    answer = client.get("sequenceStates", params={"include": "sequence"}).json()
    assert answer["included"][0]["attributes"]["name"] == "Trial follow-up 2"


SKIPPED = {"state": "skipped", "stateChangedAt": "2026-09-02T00:00:00.000Z", "completed": False}
LOOKS = {
    "skip_is_not_completed": {"state": "complete", "completed": False, "completedAt": None, "autoskipAt": None},
    "skip_is_like_done": {
        "state": "complete",
        "completed": True,
        "completedAt": SKIPPED["stateChangedAt"],
        "autoskipAt": SKIPPED["stateChangedAt"],
    },
    "skip_is_another_word": {"state": "bypassed", "completed": False, "completedAt": None, "autoskipAt": None},
}


@pytest.mark.parametrize("fault", LOOKS)
def test_a_skip_looks_as_its_hypothesis_says_and_other_tasks_as_they_are(
    service: OutreachSandbox, client: Client, fault: str
) -> None:
    service.store.add_task(**SKIPPED)
    service.store.add_task(state="incomplete")
    asked = {"fields[task]": "state,completed,completedAt,autoskipAt,completer"}
    plain = client.rows("tasks", **asked)
    service.faults.on(fault)
    skipped, other = client.rows("tasks", **asked)
    assert skipped["attributes"] == LOOKS[fault]
    assert skipped["relationships"]["completer"] == {"data": None}
    assert other == plain[1]


def test_skip_destroys_task(service: OutreachSandbox, client: Client) -> None:
    service.store.add_task(**SKIPPED)
    service.store.add_task(state="incomplete")
    assert client.ids("tasks") == [1, 2]
    service.faults.on("skip_destroys_task")
    assert client.ids("tasks") == [2]
    assert client.get("tasks/1").status_code == 404


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 503])
def test_a_gateway_answers_in_a_form_of_its_own(service: OutreachSandbox, client: Client, status: int) -> None:
    service.faults.on("gateway_page", status=status)
    answer = client.get("tasks")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert "errors" not in answer.text
    assert client.refresh().status_code == 200
    service.faults.on("gateway_page", status=status, text=True, kind="token")
    assert client.get("tasks").status_code == 200
    assert (client.refresh().status_code, client.refresh().text[0] in "Rn") == (status, True)
    service.faults.on("gateway_page", status=status, kind="s2s")
    address = f"{service.url}/api/app/installs/{service.app.install_id}/actions/accessToken"
    assert requests.post(address, timeout=5).text.startswith("<html>")


def test_a_huge_answer_is_small_on_the_wire(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("huge_answer", megabytes=3)
    with client.get("sequenceStates", stream=True) as answer:
        assert int(answer.headers["Content-Length"]) < 40_000
        assert len(answer.content) > 3_000_000
        assert [row["id"] for row in answer.json()["data"]] == states


def test_stamps_can_lie_ahead_of_the_date(service: OutreachSandbox, client: Client) -> None:
    service.store.add_state(1, 1, stateChangedAt="2026-09-02T00:00:00Z", updatedAt="2026-09-02T00:00:00Z")
    service.faults.on("stamps_ahead", ms=60_000)
    (row,) = client.rows("sequenceStates", **{"fields[sequenceState]": "updatedAt,stateChangedAt"})
    assert set(row["attributes"].values()) == {"2026-09-02T00:01:00.000Z"}


def test_an_end_in_a_form_that_is_no_time_has_odd_characters(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("rate_limited", form="odd")
    assert client.get("tasks").headers["Retry-After"] == "\u00b2 \x1f0"


def test_a_fault_limited_to_a_kind_spares_the_others(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("server_error_500", kind="list tasks")
    assert [client.get(path).status_code for path in ("prospects", "tasks", "tasks/1")] == [200, 500, 404]


def test_every_fired_fault_is_in_the_journal(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("out_of_order", times=1)
    client.get("sequenceStates")
    client.get("sequenceStates")
    assert [entry.faults for entry in service.journal.entries("list sequenceStates")] == [("out_of_order",), ()]


def test_every_fault_has_a_test_here() -> None:
    """Keeps the catalogue honest: a name that no test switches on may do nothing at all."""
    text = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert [name for name in FAULTS if f'"{name}"' not in text] == []
