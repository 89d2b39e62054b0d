from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Client


@pytest.mark.parametrize(
    "parameters",
    [
        {"fields[task]": "state,nonsense"},
        {"fields[nonsense]": "state"},
        {"fields[prospect]": "custom151"},
        {"sort": "note"},
        {"sort": "id"},
        {"sort": "prospect.updatedAt"},
        {"include": "nonsense"},
        {"include": "calls"},
        {"page[size]": "0"},
        {"page[size]": "1001"},
        {"page[size]": "many"},
        {"page[after]": "abc"},
        {"page[size]": "10", "page[after]": "abc"},
        {"page[size]": "10", "page[after]": "WzFd"},
        {"page[size]": "10", "page[offset]": "5"},
        {"page[limit]": "50", "page[offset]": "9951"},
        {"page[number]": "2"},
        {"limit": "5"},
    ],
)
def test_parameters_that_the_api_does_not_have_are_refused(client: Client, parameters: dict[str, str]) -> None:
    answer = client.get("tasks", params=parameters)
    assert answer.status_code == 422
    assert set(answer.json()["errors"][0]) >= {"id", "title", "detail"}


def test_parameters_that_change_nothing_are_accepted(client: Client, states: list[int]) -> None:
    harmless = {"provideDataConnections": "true", "count": "false", "fields[prospect]": "custom1,custom150"}
    assert len(client.rows("sequenceStates", **harmless)) == 10


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("updatedAt", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("-updatedAt", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ("state,-updatedAt", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ("-state,updatedAt", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_every_sort_can_be_walked_without_losing_a_row(
    client: Client, states: list[int], sort: str, expected: list[int]
) -> None:
    pages = client.walk("sequenceStates", {"sort": sort, "page[size]": "3"})
    assert [id_ for page in pages for id_ in page] == expected
