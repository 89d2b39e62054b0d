from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
STATE = "cf_person_sequence_state"


@pytest.fixture
def three(client: Client) -> list[int]:
    return [client.service.store.add_person(name=f"Person {number}") for number in range(3)]


def write(client: Client, ids: list[int]) -> list[bool]:
    answer = client.write(PEOPLE, *({"id": id_, STATE: "Finished"} for id_ in ids))
    return [one["success"] for one in answer["affected_object_information"]]


@pytest.mark.parametrize(
    ("fault", "options", "expected"),
    [
        ("stale_some", {}, [False, True, True]),
        ("stale_some", {"indexes": [1, 2]}, [True, False, False]),
        ("stale_some", {"ids": [1002]}, [True, False, True]),
        ("stale_all", {}, [False, False, False]),
        ("stale_again_and_again", {"ids": [1003]}, [True, True, False]),
        ("delete_between_read_and_write", {}, [False, True, True]),
        ("merge_between_read_and_write", {"indexes": [2]}, [True, True, False]),
        ("read_only_between_read_and_write", {"ids": [1001, 1002]}, [False, False, True]),
        ("refuse_one", {}, [False, True, True]),
        ("refuse_one", {"index": 2}, [True, True, False]),
        ("refuse_all", {}, [False, False, False]),
        ("refuse_value", {"field": STATE}, [False, False, False]),
        ("refuse_value", {"field": STATE, "value": "Bounced"}, [True, True, True]),
    ],
)
def test_a_fault_concerns_the_objects_it_names(
    client: Client, three: list[int], fault: str, options: dict[str, Any], expected: list[bool]
) -> None:
    client.service.faults.on(fault, times=1, **options)
    assert write(client, three) == expected
    kept = [one[STATE] for one in client.service.store.all(PERSON) if one["id"] in three]
    assert kept.count("Finished") == expected.count(True)


def test_stale_again_and_again_never_lets_a_reread_win(client: Client, three: list[int]) -> None:
    client.service.faults.on("stale_again_and_again")
    for version in range(3):
        answer = client.write(PEOPLE, {"id": three[0], "lock_version": version, STATE: "Finished"})
        assert not answer["success"]
    assert client.service.store.get(PERSON, three[0])["lock_version"] == 3


def test_stale_some_can_be_got_over_by_reading_again(client: Client, three: list[int]) -> None:
    client.service.faults.on("stale_some", times=1)
    assert write(client, three[:1]) == [False]
    assert client.write(PEOPLE, {"id": three[0], "lock_version": 1, STATE: "Finished"})["success"]


def test_merge_between_read_and_write_leaves_the_winner_alive(client: Client, three: list[int]) -> None:
    client.service.faults.on("merge_between_read_and_write", times=1, into=three[1])
    assert write(client, three[:1]) == [False]
    assert [one["id"] for one in client.service.store.all(PERSON)] == three[1:]


def test_a_refusal_says_what_it_was_told_to_say(client: Client, three: list[int]) -> None:
    client.service.faults.on("refuse_one", times=1, text="needs an employer", field="employer_link")
    answer = client.write(PEOPLE, {"id": three[0], STATE: "Finished"})
    assert answer["errors"] == {"[]": {"employer_link": "needs an employer"}}


def test_refuse_value_waits_for_the_value(client: Client, three: list[int]) -> None:
    client.service.faults.on("refuse_value", times=1, field=STATE, value="Bounced")
    assert write(client, three) == [True, True, True]
    assert not client.write(PEOPLE, {"id": three[0], "lock_version": 1, STATE: "Bounced"})["success"]


def test_creates_are_not_meddled_with(client: Client) -> None:
    client.service.faults.on("stale_all", times=1)
    assert client.write(PEOPLE, {"name": "Ada Example"})["success"]
