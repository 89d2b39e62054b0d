from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox

T2, T4 = "2026-09-02T00:00:02Z", "2026-09-02T00:00:04Z"
NEW = {"newFilterSyntax": "true"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"filter[updatedAt]": f"{T2}..{T4}"}, [3, 4, 5]),
        ({"filter[updatedAt]": f"{T4}..inf"}, [5, 6, 7, 8, 9, 10]),
        ({"filter[updatedAt]": f"neginf..{T2}"}, [1, 2, 3]),
        ({"filter[updatedAt]": "2026-09-02T00:00:02.000Z"}, [3]),
        ({"filter[id]": "1,3,99"}, [1, 3]),
        ({"filter[id]": "2..4"}, [2, 3, 4]),
        ({"filter[prospect][id]": "1,2"}, list(range(1, 11))),
        ({"filter[prospect][id]": "2"}, []),
        ({"filter[prospect][emails]": "ada@example.com", "filter[id]": "1"}, [1]),
        ({"filter[sequence][name]": "Trial follow-up", "filter[id]": "2"}, [2]),
        ({"filter[state]": "paused,active", "filter[id]": "1,2"}, [1, 2]),
        ({"filter[pauseReason]": "__notnull__"}, []),
        ({"filter[pauseReason]": "__null__", "filter[id]": "1"}, [1]),
        ({**NEW, "filter[updatedAt][gte]": T2, "filter[updatedAt][lte]": T4}, [3, 4, 5]),
        ({**NEW, "filter[state]": "active", "filter[id][lte]": "2"}, [1, 2]),
        ({**NEW, "filter[updatedAt][lte]": "2026-09-02T01:00:01+01:00"}, [1, 2]),
    ],
)
def test_filters_select_inclusive_ranges_lists_and_nulls(
    client: Client, states: list[int], filters: dict[str, str], expected: list[int]
) -> None:
    assert client.ids("sequenceStates", **filters) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {**NEW, "filter[updatedAt]": f"{T2}..inf"},
        {**NEW, "filter[updatedAt]": f"{T2}..{T4}"},
        {**NEW, "filter[updatedAt][gte]": "yesterday"},
        {"filter[updatedAt]": "soon..inf"},
    ],
)
def test_mixing_the_syntaxes_is_refused_as_a_bad_datetime(client: Client, filters: dict[str, str]) -> None:
    answer = client.get("sequenceStates", params=filters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["id"] == "filterParameter.invalidDatetimeFormat"


@pytest.mark.parametrize(
    ("path", "filters"),
    [
        ("sequenceStates", {"filter[updatedAt][gte]": T2}),
        ("sequenceStates", {"filter[errorReason]": "x"}),
        ("sequenceStates", {"filter[creator][id]": "1"}),
        ("sequenceStates", {"filter[prospect][lastName]": "x"}),
        ("sequenceStates", {"filter[nonsense]": "1"}),
        ("sequenceStates", {**NEW, "filter[id]": "1,2"}),
        ("tasks", {"filter[completed]": "true"}),
        ("tasks", {"filter[completedAt]": "__null__"}),
        ("prospects", {"filter[optedOut]": "true"}),
        ("prospects", {"filter[externalId]": "PERS-1"}),
        ("prospects", {"filter[custom1]": "x"}),
    ],
)
def test_what_the_spec_does_not_call_filterable_is_refused(client: Client, path: str, filters: dict[str, str]) -> None:
    answer = client.get(path, params=filters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["id"].startswith("filterParameter.invalid")


def test_a_null_stamp_is_in_no_range_but_in_the_unfiltered_list(
    service: OutreachSandbox, client: Client, states: list[int]
) -> None:
    service.store.update("sequenceState", 1, updatedAt=None)
    assert client.ids("sequenceStates") == [*states[1:], 1]
    for filters in ({"filter[updatedAt]": "2000-01-01T00:00:00Z..inf"}, {"filter[updatedAt]": f"neginf..{T4}"}):
        assert 1 not in client.ids("sequenceStates", **filters)
    assert client.ids("sequenceStates", **{"filter[updatedAt]": "__null__"}) == [1]
