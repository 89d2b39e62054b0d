from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError as Disconnected

from outreach_sync import instants

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


def test_bad_gateway_strikes_large_pages_only(service: OutreachSandbox, client: Client) -> None:
    service.faults.on("bad_gateway_large_pages", threshold=500)
    sizes = ("1000", "501", "500", "250")
    assert [client.get("tasks", params={"page[size]": size}).status_code for size in sizes] == [502, 502, 200, 200]


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


@pytest.mark.parametrize("skew", [-7_200_000, 86_400_000])
def test_clock_skew_moves_the_date_header_only(
    service: OutreachSandbox, client: Client, states: list[int], skew: int
) -> None:
    service.faults.on("clock_skew", ms=skew)
    answer = client.get("sequenceStates")
    assert abs(instants.parse_http_date(answer.headers["Date"]) - service.clock.now() - skew) < 2000
    assert answer.json()["data"][0]["attributes"]["updatedAt"] == "2026-09-02T00:00:00.000Z"


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


def test_governance_hides_rows_everywhere(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("governance_hides", every=2, type="sequenceState")
    assert client.ids("sequenceStates") == [id_ for id_ in states if id_ % 2]
    assert client.get("sequenceStates/2").status_code == 404
    service.faults.on("governance_hides", every=1, type="prospect")
    answer = client.get("sequenceStates", params={"include": "prospect"}).json()
    assert len(answer["data"]) == 10
    assert answer["included"] == []


@pytest.mark.parametrize(
    ("fault", "options", "pages"),
    [
        ("out_of_order", {}, [[3, 2, 1], [6, 5, 4], [9, 8, 7], [10]]),
        ("duplicate_across_pages", {}, [[1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10]]),
        ("short_pages", {"rows": 2, "times": 2}, [[1, 2], [3, 4], [5, 6, 7], [8, 9, 10]]),
        ("empty_page_with_next", {"times": 1}, [[], [1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]),
        ("empty_page_with_next", {"times": 1, "after": 1}, [[1, 2, 3], [], [4, 5, 6], [7, 8, 9], [10]]),
    ],
)
def test_pages_come_as_a_fault_has_them_and_nothing_is_lost(
    client: Client, states: list[int], fault: str, options: Any, pages: list[list[int]]
) -> None:
    client.service.faults.on(fault, **options)
    assert client.walk("sequenceStates", WALK) == pages


def test_changes_while_paged_move_rows_to_the_end(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("changes_while_paged", times=1, count=1)
    pages = client.walk("sequenceStates", WALK)
    assert pages[0] == [1, 2, 3]
    assert pages[1] == [5, 6, 7]
    assert [id_ for page in pages[2:] for id_ in page] == [8, 9, 10, 1, 4]


def test_late_visibility_hides_what_just_changed(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.store.update("sequenceState", 1, state="paused")
    service.faults.on("late_visibility", ms=60_000)
    assert client.ids("sequenceStates") == states[1:]
    service.clock.advance(61_000)
    assert sorted(client.ids("sequenceStates")) == states


def test_cursor_bound_to_size_leaves_a_link_alone_that_is_followed_as_it_stands(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.faults.on("cursor_bound_to_size")
    assert client.walk("sequenceStates", WALK) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    onward = client.get("sequenceStates", params=WALK).json()["links"]["next"]
    assert client.get(onward.replace("size%5D=3", "size%5D=2")).status_code == 422
    service.faults.off("cursor_bound_to_size")
    assert client.get(onward.replace("size%5D=3", "size%5D=2")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "shape"), [("to_one_null", {"data": None}), ("to_one_links_only", {"links"}), ("to_one_empty", {})]
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


def test_ids_as_strings_everywhere(service: OutreachSandbox, client: Client, states: list[int]) -> None:
    service.faults.on("ids_as_strings")
    answer = client.get("sequenceStates", params={"page[size]": "1", "include": "prospect"}).json()
    assert answer["data"][0]["id"] == "1"
    assert answer["data"][0]["relationships"]["prospect"]["data"]["id"] == "1"
    assert answer["included"][0]["id"] == "1"


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


def told(answer: requests.Response) -> Any:
    return answer.json()["errors"][0]["id"]


def first(answer: requests.Response) -> Any:
    return answer.json()["data"][0]["attributes"]


STATES = "sequenceStates"
EXPIRED = {"headers": {"Authorization": "Bearer none"}}
CASES: list[tuple[str, dict[str, Any], tuple[str, dict[str, Any]], Any]] = [
    ("remaining_two_numbers", {}, (STATES, {}), lambda one: one.headers["X-RateLimit-Remaining"] == "9999, 19999"),
    (
        "remaining_two_numbers",
        {"swapped": True},
        (STATES, {}),
        lambda one: one.headers["X-RateLimit-Remaining"] == "19999, 9999",
    ),
    ("reset_in_form", {"form": "seconds"}, (STATES, {}), lambda one: int(one.headers["X-RateLimit-Reset"]) <= 3600),
    ("reset_in_form", {"form": "none"}, (STATES, {}), lambda one: "X-RateLimit-Reset" not in one.headers),
    ("rate_headers_missing", {}, (STATES, {}), lambda one: "X-RateLimit-Limit" not in one.headers),
    ("rate_limited", {"form": "none"}, (STATES, {}), lambda one: "Retry-After" not in one.headers),
    ("rate_limited", {"form": "odd"}, (STATES, {}), lambda one: one.headers["Retry-After"] == "\u00b2 \x1f0"),
    ("maintenance_503", {}, (STATES, {}), lambda one: told(one) == "scheduledServerMaintenance"),
    ("server_error_500", {}, (STATES, {}), lambda one: (one.status_code, one.text[:8]) == (500, "Internal")),
    ("gateway_timeout_504", {}, (STATES, {}), lambda one: (one.status_code, one.text[:8]) == (504, "upstream")),
    ("html_with_200", {}, (STATES, {}), lambda one: (one.status_code, one.text[:6]) == (200, "<html>")),
    ("url_too_long", {"bytes": 20}, (STATES, {"params": {"count": "false"}}), lambda one: one.status_code == 414),
    (
        "redirect_elsewhere",
        {"host": "https://evil.example"},
        (STATES, {}),
        lambda one: one.headers["Location"] == f"https://evil.example/api/v2/{STATES}",
    ),
    ("unauthorized_without_body", {}, (STATES, EXPIRED), lambda one: (one.status_code, one.text) == (401, "")),
    ("second_access_token_refused", {"nth": 1}, (STATES, {}), lambda one: one.status_code == 401),
    ("token_expired_mid_walk", {}, (STATES, {}), lambda one: one.status_code == 401),
    ("scope_missing", {"scope": "tasks.read"}, ("tasks", {}), lambda one: told(one) == "unauthorizedOauthScope"),
    ("scope_missing", {"scope": "tasks.read"}, (STATES, {}), lambda one: one.ok),
    ("governance_refuses", {}, (STATES, {}), lambda one: told(one) == "unauthorizedRequest"),
    ("upper_bound_ignored", {}, (STATES, {"params": {"filter[updatedAt]": "neginf..2026-09-02T00:00:01Z"}}), 10),
    ("cursor_refused", {}, (STATES, {"params": {"page[size]": "2", "page[after]": "x"}}), 422),
    ("offset_cap", {"rows": 5}, (STATES, {"params": {"page[offset]": "3", "page[limit]": "5"}}), 422),
    ("next_link_null", {}, (STATES, {}), lambda one: one.json()["links"]["next"] is None),
    (
        "next_link_other_host",
        {"host": "https://evil.example"},
        (STATES, {"params": WALK}),
        lambda one: one.json()["links"]["next"].startswith("https://evil.example/api/v2/"),
    ),
    ("next_link_missing_links", {}, (STATES, {"params": WALK}), lambda one: "links" not in one.json()),
    ("trashed_listed", {}, ("prospects", {}), 2),
    ("included_missing", {}, (STATES, {"params": {"include": "prospect"}}), lambda one: one.json()["included"] == []),
    ("unknown_state", {"state": "frozen"}, (STATES, {}), lambda one: first(one)["state"] == "frozen"),
    (
        "unknown_attributes_added",
        {},
        ("prospects", {"params": {"fields[prospect]": "firstName"}}),
        lambda one: set(first(one)) == {"firstName", "smsOptedOut", "stageName", "futureFlags"},
    ),
    ("stamps_ahead", {"ms": 60_000}, (STATES, {}), lambda one: first(one)["updatedAt"] == "2026-09-02T00:01:00.000Z"),
    ("skip_destroys_task", {}, ("tasks", {}), 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1] or ''}".strip())
def test_a_fault_shows_in_the_answer(
    service: OutreachSandbox, client: Client, states: list[int], case: tuple[str, dict[str, Any], Any, Any]
) -> None:
    fault, options, (path, request), expected = case
    service.store.add_prospect(trashedAt="2026-09-02T00:00:00Z")
    service.store.add_task(state="skipped")
    service.faults.on(fault, **options)
    answer = client.get(path, **request)
    if callable(expected):
        assert expected(answer)
    else:  # a status, or a number of rows
        assert expected == (answer.status_code if expected > 400 else len(answer.json()["data"]))


@pytest.mark.parametrize(
    ("fault", "options", "statuses"),
    [
        ("refresh_refused_once", {}, [503, 200]),
        ("refresh_revoked", {"status": 401}, [401, 401]),
        ("refresh_revoked", {"form": "html"}, [400, 400]),
        ("token_minute_rule", {}, [429, 429]),
    ],
)
def test_the_token_endpoint_can_refuse(
    service: OutreachSandbox, client: Client, fault: str, options: dict[str, Any], statuses: list[int]
) -> None:
    service.faults.on(fault, **options)
    assert [client.refresh().status_code for _ in statuses] == statuses
