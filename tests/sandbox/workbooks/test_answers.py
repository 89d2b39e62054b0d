from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox.workbooks.planning import STALE_TEXT
from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
STATE = "cf_person_sequence_state"


@pytest.fixture
def ids(client: Client) -> list[int]:
    return [client.service.store.add_person(name=f"Person {number}") for number in range(3)]


def finish(client: Client, ids: list[int], **more: str) -> Any:
    return client.write(PEOPLE, *({"id": id_, STATE: "Finished", **more} for id_ in ids))


def affected(answer: Any) -> list[int]:
    return [one["id"] for one in answer["affected_objects"]]


def all_finished(client: Client) -> bool:
    return all(one[STATE] == "Finished" for one in client.service.store.all(PERSON))


def test_results_longer_has_a_stranger_among_them(client: Client, ids: list[int]) -> None:
    client.service.faults.on("results_longer")
    answer = finish(client, ids)
    assert (len(affected(answer)), affected(answer)[1:]) == (4, ids)
    assert len(answer["affected_object_information"]) == 4


def test_results_shorter_lacks_one_that_was_written(client: Client, ids: list[int]) -> None:
    client.service.faults.on("results_shorter", index=0)
    assert affected(finish(client, ids)) == ids[1:]
    assert all_finished(client)


def test_results_reordered_come_backwards(client: Client, ids: list[int]) -> None:
    client.service.faults.on("results_reordered")
    assert affected(finish(client, ids)) == ids[::-1]


@pytest.mark.parametrize(("form", "entry"), [("empty", {}), ("message", "message")])
def test_information_missing_gives_the_old_forms(client: Client, ids: list[int], form: str, entry: Any) -> None:
    client.service.faults.on("information_missing", form=form)
    information = finish(client, ids)["affected_object_information"]
    assert [one if entry == {} else next(iter(one)) for one in information] == [entry] * 3


def test_information_missing_can_be_absent_and_errors_then_stand_beside(client: Client, ids: list[int]) -> None:
    client.service.faults.on("information_missing", form="absent")
    answer = finish(client, ids[:1], name="")
    assert "affected_object_information" not in answer
    assert answer["affected_object_errors"] == [{"name": ["is a required field"]}]


def test_top_level_success_true_on_partial(client: Client, ids: list[int]) -> None:
    client.service.faults.on("refuse_one", times=1)
    client.service.faults.on("top_level_success_true_on_partial", times=1)
    answer = finish(client, ids)
    assert answer["success"]
    assert [one["success"] for one in answer["affected_object_information"]] == [False, True, True]


def test_top_level_success_false_on_success_info_missing(client: Client, ids: list[int]) -> None:
    client.service.faults.on("top_level_success_false_on_success_info_missing")
    answer = finish(client, ids)
    assert (answer["success"], "affected_object_information" in answer) == (False, False)
    assert all_finished(client)


@pytest.mark.parametrize("place", ["failures", "errors", "affected_object_errors", "information"])
def test_stale_text_in_one_place_only(client: Client, ids: list[int], place: str) -> None:
    client.service.faults.on("stale_some", times=1)
    client.service.faults.on("stale_text_in", times=1, place=place)
    answer = finish(client, ids)
    key = "affected_object_information" if place == "information" else place
    assert [name for name, value in answer.items() if STALE_TEXT in str(value)] == [key]


def test_stale_without_text_is_just_a_failure(client: Client, ids: list[int]) -> None:
    client.service.faults.on("stale_some", times=1)
    client.service.faults.on("stale_without_text", times=1)
    answer = finish(client, ids)
    assert STALE_TEXT not in str(answer)
    assert [one["success"] for one in answer["affected_object_information"]] == [False, True, True]
