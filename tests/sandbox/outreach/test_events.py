"""The stream of events: what it says of a change, how it is filtered, and every way in which it may disappoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox, OutreachStore

SKIPS = {"newFilterSyntax": "true", "filter[name][]": "skip_task", "filter[createdAt][gte]": "2026-01-01T00:00:00Z"}
_ASK_TASK = {"fields[task]": "state,completed,completedAt,autoskipAt,completer,updatedAt"}


@pytest.fixture
def open_task(service: OutreachSandbox) -> int:
    """A task at the first of two steps of a sequence, for prospect 1 and by its sequence state 1."""
    store = service.store
    sequence = store.add_sequence("Trial follow-up")
    first, _ = (store.add_step(sequence, order=order) for order in (1, 2))
    prospect = store.add_prospect(emails=["ada@example.com"], updatedAt="2026-09-01T00:00:00Z")
    state = store.add_state(prospect, sequence, sequenceStep=first, updatedAt="2026-09-01T00:00:00Z")
    related = {"sequence": sequence, "sequenceState": state, "sequenceStep": first}
    return store.add_task(prospect, taskType="sequence_step_email", updatedAt="2026-09-01T00:00:00Z", **related)


def names(client: Client) -> list[str]:
    """Name every event in the order in which they were written."""
    return [row["attributes"]["name"] for row in client.rows("events", sort="id")]


def pointers(row: dict[str, Any]) -> dict[str, int]:
    """Give the ids that an event names."""
    return {name: one["data"]["id"] for name, one in row["relationships"].items() if one.get("data")}


def test_a_skip_leaves_an_event_that_names_whom_it_concerns_and_moves_the_state_on(
    client: Client, open_task: int
) -> None:
    client.service.store.skip_task(open_task)
    (event,) = client.rows("events", **SKIPS)
    assert pointers(event) == {"task": open_task, "prospect": 1, "sequence": 1, "sequenceStep": 1}
    assert event["attributes"]["eventAt"] == event["attributes"]["createdAt"]
    assert "updatedAt" not in event["attributes"]
    assert client.rows("sequenceStates")[0]["relationships"]["sequenceStep"]["data"]["id"] == 2
    assert names(client)[-2:] == ["skip_task", "sequence_state_advanced"]
    assert client.get("events/1").json()["data"]["id"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda store: store.update("task", 1, state="complete", completed=True), ["complete_task"]),
        (lambda store: store.update("task", 1, note="x"), ["task_updated"]),
        (lambda store: store.delete("task", 1), ["task_destroyed"]),
        (lambda store: store.update("sequenceState", 1, state="paused"), ["sequence_state_paused"]),
        (lambda store: store.update("sequenceState", 1, state="finished"), ["sequence_state_finished"]),
        (lambda store: store.delete("sequenceState", 1), ["sequence_state_destroyed"]),
        (lambda store: store.end_state(1), ["sequence_state_finished", "task_destroyed"]),
        (lambda store: store.opt_out(1), ["opt_out", "emails_opt_out"]),
        (lambda store: store.update("prospect", 1, title="CEO"), ["prospect_updated"]),
        (lambda store: store.delete("prospect", 1), ["prospect_destroyed"]),
        (
            lambda store: store.merge_prospects(store.add_prospect(), 1),
            ["prospect_created", "task_updated", "prospect_updated", "prospect_merged"],
        ),
    ],
)
def test_each_change_leaves_its_events(
    client: Client, open_task: int, change: Callable[[OutreachStore], None], told: list[str]
) -> None:
    began = names(client)
    assert began == ["prospect_created", "sequence_state_created", "task_created"]
    assert open_task == 1
    change(client.service.store)
    assert names(client)[len(began) :] == told


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"filter[name]": "skip_task"}, 200),
        ({"newFilterSyntax": "true", "filter[name]": "skip_task", "sort": "createdAt"}, 200),
        ({"filter[task][id]": "1", "sort": "-eventAt"}, 200),
        ({"filter[id]": "2..inf", "sort": "id", "page[limit]": "1000"}, 200),
        ({"include": "prospect,task", "fields[event]": "name,createdAt,task,prospect", "page[size]": "5"}, 200),
        ({"sort": "name"}, 422),
        ({"sort": "updatedAt"}, 422),
        ({"filter[updatedAt]": "2026-09-01T10:00:00Z..inf"}, 422),
        ({"filter[payload]": "x"}, 422),
        ({"filter[sequence][id]": "1"}, 422),
        ({"filter[prospect][emails]": "ada@example.com"}, 422),
        ({"fields[event]": "name,updatedAt"}, 422),
    ],
)
def test_events_are_filtered_and_sorted_by_what_the_published_schema_names(
    client: Client, open_task: int, parameters: dict[str, str], status: int
) -> None:
    client.service.store.skip_task(open_task)
    assert client.get("events", params=parameters).status_code == status


def test_an_event_can_be_missing_renamed_repeated_misdated_or_say_less(client: Client, open_task: int) -> None:
    store, faults = client.service.store, client.service.faults
    faults.on("event_missing", kind="skip_task", times=1)
    store.skip_task(open_task, by="system")
    assert client.rows("events", **SKIPS) == []
    faults.on("event_renamed", kind="skip_task", name="task_skipped")
    store.update("task", store.add_task(1), state="skipped")
    assert "task_skipped" in names(client)
    assert client.rows("events", **SKIPS) == []
    faults.clear()
    faults.on("event_repeated", kind="skip_task", times_each=3, times=1)
    faults.on("event_without", kind="skip_task", relationship="task")
    faults.on("event_stamped", kind="skip_task", ms=-7_200_000)
    store.skip_task(store.add_task(1))
    events = client.rows("events", **SKIPS)
    assert len(events) == 3
    assert all("task" not in pointers(event) and pointers(event)["prospect"] == 1 for event in events)
    assert all(event["attributes"]["createdAt"] < store.get("task", 3).values["updatedAt"] for event in events)


def test_an_event_can_lose_what_is_gone(client: Client, open_task: int) -> None:
    client.service.store.skip_task(open_task)
    client.service.store.delete("task", open_task)
    assert pointers(client.rows("events", **SKIPS)[0])["task"] == open_task
    for shape in ("null", "links", "empty"):
        client.service.faults.on("event_relations_die", shape=shape)
        (event,) = client.rows("events", **SKIPS)
        assert ("task" in pointers(event), pointers(event)["prospect"]) == (False, 1)


def test_a_skip_looks_as_the_hypothesis_has_it(client: Client, open_task: int) -> None:
    client.service.store.skip_task(open_task)

    def shown() -> dict[str, Any]:
        (row,) = client.rows("tasks", **_ASK_TASK)
        return {**row["attributes"], "completer": row["relationships"].get("completer", {}).get("data")}

    asked = {"fields[task]": f"{_ASK_TASK['fields[task]']},completer"}
    client.service.faults.on("skip_is_like_done", exactly=True)
    (row,) = client.rows("tasks", **asked)
    done = row["attributes"]
    assert (done["state"], done["completed"], done["autoskipAt"]) == ("complete", True, None)
    assert done["completedAt"] is not None
    assert row["relationships"]["completer"]["data"] == {"type": "user", "id": 1}
    client.service.faults.clear()
    assert shown()["state"] == "skipped"
    client.service.faults.on("skip_destroys_task")
    assert client.rows("tasks") == []
    client.service.store.skip_task(client.service.store.add_task(1))
    assert names(client)[-1] == "task_destroyed"


def test_a_skip_and_an_opt_out_can_keep_every_stamp_and_the_step(client: Client, open_task: int) -> None:
    before = client.rows("tasks")[0]["attributes"]["updatedAt"]
    client.service.faults.on("skip_keeps_updated_at", times=1)
    client.service.store.skip_task(open_task)
    assert client.rows("tasks")[0]["attributes"]["updatedAt"] == before
    (state,) = client.rows("sequenceStates")
    assert state["attributes"]["updatedAt"] == "2026-09-01T00:00:00.000Z"
    assert state["relationships"]["sequenceStep"]["data"]["id"] == 2
    client.service.faults.on("skip_keeps_step")
    client.service.store.update("sequenceState", 1, sequenceStep=1)
    client.service.store.skip_task(client.service.store.add_task(1, sequence=1, sequenceState=1, sequenceStep=1))
    assert client.rows("sequenceStates")[0]["relationships"]["sequenceStep"]["data"]["id"] == 1
    client.service.faults.on("opt_out_keeps_updated_at")
    client.service.store.opt_out(1)
    attributes = client.rows("prospects")[0]["attributes"]
    assert (attributes["optedOut"], attributes["updatedAt"]) == (True, "2026-09-01T00:00:00.000Z")
    assert names(client)[-2:] == ["opt_out", "emails_opt_out"]


@pytest.mark.parametrize(("which", "named"), [("loser", [1]), ("winner", [2]), ("both", [1, 2])])
def test_a_merge_names_one_prospect_or_both(client: Client, open_task: int, which: str, named: list[int]) -> None:
    assert open_task
    client.service.store.add_prospect(emails=["a.example@example.org"])
    client.service.faults.on("merge_names", which=which)
    client.service.store.merge_prospects(2, 1)
    events = client.rows("events", **{"filter[name]": "prospect_merged"})
    assert [pointers(event)["prospect"] for event in events] == named
    assert client.ids("prospects") == [2]
    assert client.rows("prospects")[0]["attributes"]["emails"] == ["a.example@example.org", "ada@example.com"]
    assert client.ids("sequenceStates", **{"filter[prospect][id]": "2"}) == [1]
    assert client.ids("tasks", **{"filter[prospect][id]": "2"}) == [1]


def test_what_happened_earlier_is_told_as_of_then(client: Client) -> None:
    past = Instant(client.service.clock.now() - 86_400_000)
    client.service.store.add_task(None, state="skipped", updatedAt=past)
    (event,) = client.rows("events", **SKIPS)
    assert event["attributes"]["createdAt"] == client.service.store.get("task", 1).values["updatedAt"]
