"""Every fault shows: in the answer, on the wire, at the token endpoint, or in how pages and records come."""

import re
from typing import Any

import pytest
import requests

from outreach_sync import instants
from tests.sandbox.outreach.conftest import STATES, Client

WALK = {"filter[updatedAt]": "2026-09-01T00:00:00Z..inf", "sort": "updatedAt", "page[size]": "3"}
NAMED = [("newFilterSyntax", "true"), ("filter[name][]", "skip_task")]
EVIL = "https://evil.example"
INCLUDING = {"params": {"include": "prospect"}}
STRANGE = {"firstName", "smsOptedOut", "stageName", "futureFlags"}
SPARSE = {"params": {"fields[prospect]": "firstName"}}
EXPIRED = {"headers": {"Authorization": "Bearer none"}}
ID = '{"errors":[{"id":"'
NAIVE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


def ahead(answer: requests.Response) -> int:
    return instants.parse_http_date(answer.headers["Date"]) - instants.now()


def header(name: str, value: str | None) -> Any:
    return lambda one: one.headers.get(name) == value


def first(answer: requests.Response) -> Any:
    return answer.json()["data"][0]["attributes"]


def onward(answer: requests.Response) -> Any:
    return answer.json()["links"]["next"]


def shows(answer: requests.Response, expected: Any) -> bool:
    """Compare status or number of rows, status and begin of the text, Retry-After on a 429, or the first attributes."""
    match expected:
        case int():
            return bool(expected == (answer.status_code if expected > 400 else len(answer.json()["data"])))
        case (status, text):
            return bool(answer.status_code == status and answer.text.startswith(text))
        case re.Pattern():
            error, matched = answer.json()["errors"][0], expected.fullmatch(answer.headers["Retry-After"])
            limited = (answer.status_code, error["id"]) == (429, "rateLimitExceeded")
            return bool(matched and limited and re.search(f"please try again at {NAIVE}[.]$", error["detail"]))
        case dict():
            return bool(expected.items() <= first(answer).items())
    return bool(expected(answer))


# fault, its options, what is expected of the answer, and, if not the list of sequence states, where it is asked for
CASES: list[tuple[Any, ...]] = [
    ("rate_limited", {"form": "seconds", "wait": 7}, re.compile(r"\d")),
    ("rate_limited", {}, re.compile(r"\d{10}")),
    ("rate_limited", {"form": "iso"}, re.compile(NAIVE + "Z")),
    ("rate_limited", {"form": "iso_naive"}, re.compile(NAIVE)),
    ("rate_limited", {"form": "http_date"}, re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")),
    ("rate_limited", {"form": "none"}, header("Retry-After", None)),
    ("rate_limited", {"form": "odd"}, header("Retry-After", "\u00b2 \x1f0")),
    ("quota_nearly_spent", {"remaining": 5}, header("X-RateLimit-Remaining", "4")),
    ("remaining_two_numbers", {}, header("X-RateLimit-Remaining", "9999, 19999")),
    ("remaining_two_numbers", {"swapped": True}, header("X-RateLimit-Remaining", "19999, 9999")),
    ("reset_in_form", {"form": "seconds"}, lambda one: int(one.headers["X-RateLimit-Reset"]) <= 3600),
    ("reset_in_form", {"form": "none"}, header("X-RateLimit-Reset", None)),
    ("rate_headers_missing", {}, header("X-RateLimit-Limit", None)),
    ("clock_skew", {"ms": -7_200_000}, lambda one: abs(ahead(one) + 7_200_000) < 5000),
    ("date_missing", {}, header("Date", None)),
    ("maintenance_503", {}, (503, ID + "scheduledServerMaintenance")),
    ("server_error_500", {}, (500, "Internal")),
    ("gateway_timeout_504", {}, (504, "upstream")),
    ("html_with_200", {}, (200, "<html>")),
    ("url_too_long", {"bytes": 20}, 414),
    ("bad_gateway_large_pages", {}, 502, STATES, {"params": {"page[size]": "501"}}),
    ("bad_gateway_large_pages", {"threshold": 501}, 10, STATES, {"params": {"page[size]": "501"}}),
    ("redirect_elsewhere", {"host": EVIL}, header("Location", f"{EVIL}/api/v2/{STATES}")),
    ("unauthorized_without_body", {}, lambda one: (one.status_code, one.text) == (401, ""), STATES, EXPIRED),
    ("second_access_token_refused", {"nth": 1}, 401),
    ("token_expired_mid_walk", {}, 401),
    ("scope_missing", {"scope": "tasks.read"}, (403, ID + "unauthorizedOauthScope"), "tasks"),
    ("scope_missing", {"scope": "tasks.read"}, 10),
    ("governance_refuses", {}, (403, ID + "unauthorizedRequest")),
    ("governance_hides", {"type": "sequenceState"}, 5),
    ("governance_hides", {"type": "sequenceState"}, 404, f"{STATES}/2"),
    ("governance_hides", {"every": 1, "type": "prospect"}, lambda one: one.json()["included"] == [], STATES, INCLUDING),
    ("cursor_refused", {}, 422, STATES, {"params": {"page[size]": "2", "page[after]": "x"}}),
    ("next_link_null", {}, lambda one: onward(one) is None),
    ("next_link_other_host", {"host": EVIL}, lambda one: onward(one).startswith(EVIL), STATES, {"params": WALK}),
    ("next_link_missing_links", {}, lambda one: "links" not in one.json(), STATES, {"params": WALK}),
    ("event_names_refused", {}, 422, "events", {"params": [*NAMED, ("filter[name][]", "opt_out")]}),
    ("event_names_refused", {}, 1, "events", {"params": NAMED}),
    ("trashed_listed", {}, 2, "prospects"),
    ("included_missing", {}, lambda one: one.json()["included"] == [], STATES, INCLUDING),
    ("unknown_state", {"state": "frozen"}, {"state": "frozen"}),
    ("unknown_attributes_added", {}, lambda one: set(first(one)) == STRANGE, "prospects", SPARSE),
    ("stamps_ahead", {"ms": 60_000}, {"updatedAt": "2026-09-02T00:01:00.000Z"}),
    ("huge_answer", {"megabytes": 1}, lambda one: len(one.content) > 2**20),
    ("slow", {"seconds": 0.01}, 10),
    ("skip_is_not_completed", {}, {"state": "complete", "completed": False, "completedAt": None}, "tasks"),
    ("skip_is_another_word", {}, {"state": "bypassed"}, "tasks"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1] or ''}".strip())
def test_a_fault_shows_in_the_answer(client: Client, states: list[int], case: tuple[Any, ...]) -> None:
    fault, options, expected, *where = case
    path, request = (*where, *(STATES, {})[len(where) :])
    client.store.add_prospect(trashedAt="2026-09-02T00:00:00Z")
    client.store.add_task(state="skipped")
    client.faults.on(fault, **options)
    assert shows(client.get(path, **request), expected)


@pytest.mark.parametrize("status", [401, 429, 503])
def test_a_gateway_answers_in_a_form_of_its_own(client: Client, status: int) -> None:
    client.faults.on("gateway_page", status=status)
    answer = client.get("tasks")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert client.refresh().status_code == 200
    client.faults.on("gateway_page", status=status, text=True, kind="token")
    assert client.get("tasks").status_code == 200
    assert (client.refresh().status_code, client.refresh().text[0] in "Rn") == (status, True)
    client.faults.on("gateway_page", status=status, kind="s2s")
    address = f"{client.service.url}/api/app/installs/{client.service.app.install_id}/actions/accessToken"
    assert requests.post(address, timeout=5).text.startswith("<html>")


def test_a_refresh_token_can_die_when_it_is_used_and_there_can_be_one_token_a_minute(client: Client) -> None:
    client.faults.on("refresh_rotates_hard")
    new = client.refresh().json()["refresh_token"]
    assert client.refresh().json()["error"] == "invalid_grant"
    assert client.refresh(refresh_token=new).status_code == 200
    client.faults.clear()
    client.faults.on("token_minute_rule", retry_after=60)
    assert client.refresh().headers["Retry-After"] == "60"
    client.service.clock.advance(60_000)
    client.refresh_token = client.service.tokens.new_refresh()
    assert client.refresh().status_code == 200
    client.faults.on("refresh_revoked", status=401, form="html")
    assert (client.refresh().status_code, client.refresh().text[:6]) == (401, "<html>")


def test_pages_come_as_a_fault_has_them_and_nothing_is_lost(client: Client, states: list[int]) -> None:
    cases: tuple[tuple[str, dict[str, Any], list[list[int]]], ...] = (
        ("out_of_order", {}, [[3, 2, 1], [6, 5, 4], [9, 8, 7], [10]]),
        ("duplicate_across_pages", {}, [[1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, 10]]),
        ("short_pages", {"rows": 2, "times": 2}, [[1, 2], [3, 4], [5, 6, 7], [8, 9, 10]]),
        ("empty_page_with_next", {"times": 1}, [[], [1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]),
        ("empty_page_with_next", {"times": 1, "after": 1}, [[1, 2, 3], [], [4, 5, 6], [7, 8, 9], [10]]),
        ("cursor_loops", {"times": 1}, [[1, 2, 3], [4, 5, 6], [4, 5, 6], [7, 8, 9], [10]]),
        ("cursor_bound_to_size", {}, [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]),
        ("changes_while_paged", {"times": 1}, [[1, 2, 3], [5, 6, 7], [8, 9, 10], [1, 4]]),
    )
    for fault, options, pages in cases:
        client.faults.clear()
        client.faults.on(fault, **options)
        assert client.walk(STATES, WALK) == pages, fault


def test_late_visibility_hides_what_just_changed(client: Client, states: list[int]) -> None:
    client.store.update("sequenceState", 1, state="paused")
    client.faults.on("late_visibility", ms=60_000)
    assert client.ids(STATES) == states[1:]
    client.service.clock.advance(61_000)
    assert sorted(client.ids(STATES)) == states


def test_relationships_can_point_nowhere_in_three_ways_and_ids_be_strings(client: Client, states: list[int]) -> None:
    for fault in ("to_one_null", "to_one_links_only", "to_one_empty"):
        client.faults.clear()
        client.faults.on(fault, relationship="prospect")
        client.faults.on("ids_as_strings")
        answer = client.get(STATES, params={"page[size]": "1", "include": "prospect,sequence"}).json()
        (row,), (included,) = answer["data"], answer["included"]
        for name in ("prospect", "mailbox"):
            one = row["relationships"][name]
            assert (set(one) == {"links"}) if "links" in fault else (one == ({"data": None} if "null" in fault else {}))
        assert row["relationships"]["sequence"] == {"data": {"type": "sequence", "id": "1"}}
        assert (row["id"], included["type"], included["id"]) == ("1", "sequence", "1")
