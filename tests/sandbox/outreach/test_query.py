from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Client


@pytest.mark.parametrize(
    "parameters",
    [
        {"fields[task]": "state,nonsense"},
        {"fields[prospect]": "custom151"},
        {"sort": "note"},
        {"sort": "id"},
        {"include": "nonsense"},
        {"include": "calls"},
        {"page[size]": "1001"},
        {"page[after]": "abc"},
        {"page[size]": "10", "page[after]": "abc"},
        {"page[size]": "10", "page[offset]": "5"},
        {"page[limit]": "50", "page[offset]": "9951"},
        {"page[number]": "2"},
    ],
)
def test_parameters_that_the_api_does_not_have_are_refused(client: Client, parameters: dict[str, str]) -> None:
    answer = client.get("tasks", params=parameters)
    assert answer.status_code == 422
    assert set(answer.json()["errors"][0]) >= {"id", "title", "detail"}
