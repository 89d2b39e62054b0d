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
