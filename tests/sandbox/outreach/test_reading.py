"""Who may read what; filters, parameters and pages; what records may be."""

from typing import Any

import pytest
import requests

from outreach_sync.sandbox.outreach.trouble import JSON_API
from tests.sandbox.outreach.conftest import STATES, Client

T2, T4 = "2026-09-02T00:00:02Z", "2026-09-02T00:00:04Z"
NEW = {"newFilterSyntax": "true"}
WALK = {"sort": "updatedAt", "page[size]": "4"}
DATETIME = "filterParameter.invalidDatetimeFormat"
SCOPE = (403, "unauthorizedOauthScope")


def told(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["id"]


def test_a_token_reads_only_what_its_scopes_name_and_writes_nothing(client: Client) -> None:
    task = f"{client.service.url}/api/v2/tasks/{client.store.add_task()}"
    for method, path in (("DELETE", ""), ("PATCH", ""), ("POST", ""), ("POST", "/actions/markComplete")):
        assert told(client.session.request(method, f"{task}{path}", timeout=5)) == SCOPE
    client.log_in(client.service.tokens.new_refresh(("sequenceStates.read", "tasks.write", "tasks.delete")))
    assert client.get(STATES).status_code == 200
    assert told(client.get("tasks")) == told(client.get(STATES, params={"include": "prospect"})) == SCOPE


def test_a_wrong_content_type_is_refused_none_at_all_is_not(client: Client) -> None:
    for right in (JSON_API, f"{JSON_API}; charset=utf-8", None):
        assert client.get("tasks", headers={"Content-Type": right}).status_code == 200
    for wrong in ("application/json", "text/plain"):
        answer = client.get("tasks", headers={"Content-Type": wrong})
        assert (answer.status_code, set(answer.json()["errors"][0])) == (415, {"id", "title", "details"})


def test_the_hourly_quota_counts_down_ends_in_429_and_begins_anew(client: Client) -> None:
    client.service.limit.limit = 2
    answers = [client.get("tasks") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    reset = answers[0].headers["X-RateLimit-Reset"]
    assert answers[2].headers["Retry-After"] == reset
    assert 0 < int(reset) - client.service.clock.now() // 1000 <= 3600
    client.service.clock.advance(3_600_000)
    assert client.get("tasks").status_code == 200


def test_the_requests_of_a_singer_tap_are_answered(client: Client, states: list[int]) -> None:
    """tap-outreach 1.2: no Content-Type, unencoded brackets, old ranges, its parameters again with the next link."""
    client.store.add("stage", {"name": "New"})
    tap = {"Content-Type": None, "Accept": "*/*"}
    assert client.get("stages", headers=tap).status_code == 200
    asked = "page[size]=4&count=false&filter[updatedAt]=2020-01-01T00:00:00Z..inf&sort=updatedAt"
    again = dict(pair.split("=", 1) for pair in asked.split("&"))
    answer = client.get(f"{STATES}?{asked}", headers=tap).json()
    rows = answer["data"]
    while "next" in answer["links"]:
        answer = client.get(answer["links"]["next"], params=again, headers=tap).json()
        rows += answer["data"]
    assert [row["id"] for row in rows] == states
    assert all("id" in row["relationships"]["prospect"]["data"] for row in rows)


def test_links_lead_back_to_the_name_the_client_asked_under(client: Client, states: list[int]) -> None:
    """Clients follow links to the configured host only, and localhost is another name than 127.0.0.1."""
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:80"):
        answer = client.get(STATES, params={"page[size]": "2"}, headers={"Host": host}).json()
        found = [answer["links"]["next"], answer["data"][0]["links"]["self"]]
        found.append(answer["data"][0]["relationships"]["calls"]["links"]["related"])
        assert [link.partition("/api/v2/")[0] for link in found] == [f"http://{host}"] * 3


def test_each_record_can_point_nowhere_in_its_own_way(client: Client) -> None:
    for shape in ("null", "links", "empty"):
        client.store.add("task", {"note": shape}, shapes={"prospect": shape})
    link = f"{client.service.url}/api/v2/prospects?filter%5Btask%5D%5Bid%5D=2"
    shown = [row["relationships"]["prospect"] for row in client.rows("tasks")]
    assert shown == [{"data": None}, {"links": {"related": link}}, {}]


def test_rows_of_one_stamp_are_split_across_pages_and_a_changed_one_comes_last(client: Client, states: Any) -> None:
    ids = [client.store.add_task(updatedAt=T2) for _ in range(11)]
    assert client.walk("tasks", WALK) == [ids[:4], ids[4:8], ids[8:]]
    first = client.get(STATES, params=WALK).json()
    for id_ in (1, 6):
        client.store.update("sequenceState", id_, state="finished")
    assert client.walk(first["links"]["next"], {}) == [[5, 7, 8, 9], [10, 1, 6]]


@pytest.mark.parametrize("sort", ["-updatedAt", "createdAt", "state", "replyCount", "updatedAt,createdAt"])
def test_a_cursor_fits_the_sort_it_was_made_with_and_no_other(client: Client, states: list[int], sort: str) -> None:
    assert sorted(id_ for page in client.walk(STATES, {**WALK, "sort": sort}) for id_ in page) == states
    for made, used in (("updatedAt", sort), (sort, "updatedAt")):
        onward = client.get(STATES, params={**WALK, "sort": made}).json()["links"]["next"]
        encoded = (f"sort={one.replace(',', '%2C')}" for one in (made, used))
        assert client.get(onward.replace(*encoded)).status_code == 422


def test_filters_select_inclusive_ranges_lists_and_nulls(client: Client, states: list[int]) -> None:
    cases: tuple[tuple[dict[str, str], list[int]], ...] = (
        ({"filter[updatedAt]": f"{T2}..{T4}"}, [3, 4, 5]),
        ({"filter[updatedAt]": f"{T4}..inf"}, [5, 6, 7, 8, 9, 10]),
        ({"filter[updatedAt]": f"neginf..{T2}"}, [1, 2, 3]),
        ({"filter[updatedAt]": "2026-09-02T00:00:02.000Z"}, [3]),
        ({"filter[id]": "1,3,99"}, [1, 3]),
        ({"filter[id]": "2..4"}, [2, 3, 4]),
        ({"filter[prospect][id]": "1,2"}, states),
        ({"filter[prospect][id]": "2"}, []),
        ({"filter[prospect][emails]": "ada@example.com", "filter[id]": "1"}, [1]),
        ({"filter[sequence][name]": "Trial follow-up", "filter[id]": "2"}, [2]),
        ({"filter[state]": "paused,active", "filter[id]": "1,2"}, [1, 2]),
        ({"filter[pauseReason]": "__notnull__"}, []),
        ({"filter[pauseReason]": "__null__", "filter[id]": "1"}, [1]),
        ({**NEW, "filter[updatedAt][gte]": T2, "filter[updatedAt][lte]": T4}, [3, 4, 5]),
        ({**NEW, "filter[state]": "active", "filter[id][lte]": "2"}, [1, 2]),
        ({**NEW, "filter[updatedAt][lte]": "2026-09-02T01:00:01+01:00"}, [1, 2]),
    )
    for filters, expected in cases:
        assert client.ids(STATES, **filters) == expected, filters


def test_what_the_api_does_not_have_or_call_filterable_and_a_mixture_of_syntaxes_are_refused(client: Client) -> None:
    parameters: tuple[dict[str, str], ...] = (
        {"fields[task]": "state,nonsense"}, {"fields[prospect]": "custom151"}, {"sort": "note"}, {"sort": "id"},
        {"include": "nonsense"}, {"include": "calls"}, {"page[size]": "1001"}, {"page[after]": "abc"},
        {"page[size]": "10", "page[after]": "abc"}, {"page[size]": "10", "page[offset]": "5"},
        {"page[limit]": "50", "page[offset]": "9951"}, {"page[number]": "2"},
    )  # fmt: skip
    fields: tuple[tuple[str, dict[str, str]], ...] = (
        (STATES, {"filter[updatedAt][gte]": T2}), (STATES, {"filter[errorReason]": "x"}),
        (STATES, {"filter[creator][id]": "1"}), (STATES, {"filter[prospect][lastName]": "x"}),
        (STATES, {"filter[nonsense]": "1"}), (STATES, {**NEW, "filter[id]": "1,2"}),
        ("tasks", {"filter[completed]": "true"}), ("tasks", {"filter[completedAt]": "__null__"}),
        ("prospects", {"filter[optedOut]": "true"}), ("prospects", {"filter[externalId]": "PERS-1"}),
        ("prospects", {"filter[custom1]": "x"}),
    )  # fmt: skip
    ranges = ({**NEW, "filter[updatedAt]": f"{T2}..inf"}, {**NEW, "filter[updatedAt]": f"{T2}..{T4}"})
    moments = ({**NEW, "filter[updatedAt][gte]": "yesterday"}, {"filter[updatedAt]": "soon..inf"})
    for path, asked, id_ in (
        *(("tasks", one, "") for one in parameters),
        *((path, one, "filterParameter.invalid") for path, one in fields),
        *((STATES, one, DATETIME) for one in (*ranges, *moments)),
    ):
        answer = client.get(path, params=asked)
        error = answer.json()["errors"][0]
        assert (answer.status_code, error["id"].startswith(id_)) == (422, True), asked
        assert error.keys() >= {"id", "title", "detail"}


def test_a_null_stamp_is_in_no_range_but_in_the_unfiltered_list(client: Client, states: list[int]) -> None:
    client.store.update("sequenceState", 1, updatedAt=None)
    assert client.ids(STATES) == [*states[1:], 1]
    for stamp in ("2000-01-01T00:00:00Z..inf", f"neginf..{T4}"):
        assert 1 not in client.ids(STATES, **{"filter[updatedAt]": stamp})
    assert client.ids(STATES, **{"filter[updatedAt]": "__null__"}) == [1]


def test_a_change_moves_the_stamp_unless_told_and_what_the_api_does_not_have_cannot_be_set(client: Client) -> None:
    store = client.store
    task = store.add_task(updatedAt="2026-01-01T00:00:00Z")
    for changes, year in (({"updatedAt": 0, "note": "old"}, "1970"), ({"hidden": True}, "1970"), ({"note": "x"}, "20")):
        store.update("task", task, **changes)  # type: ignore[arg-type]
        assert store.get("task", task).values["updatedAt"].startswith(year)
    wrong: dict[str, Any] = {"has no 'nonsense'": {"nonsense": 1}, "already": {"id": task}, "an instant": {"dueAt": []}}
    for said, attributes in wrong.items():
        with pytest.raises(ValueError, match=said):
            store.add_task(**attributes)
    with pytest.raises(ValueError, match="no resource type"):
        store.add("account", {})
