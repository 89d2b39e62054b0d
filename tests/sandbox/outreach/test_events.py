"""The stream of events: what it says of a change, how it is filtered, and every way in which it may disappoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachStore

LONG_AGO = "2026-09-01T00:00:00.000Z"
SKIPS = {"newFilterSyntax": "true", "filter[name][]": "skip_task", "filter[createdAt][gte]": "2026-01-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def store(client: Client) -> OutreachStore:
    """Make task 1, at the first of two steps of a sequence, for prospect 1 and by its sequence state 1."""
    store = client.store
    sequence = store.add_sequence("Trial follow-up")
    first, _ = (store.add_step(sequence, order=order) for order in (1, 2))
    prospect = store.add_prospect(emails=["ada@example.com"], updatedAt=LONG_AGO)
    state = store.add_state(prospect, sequence, sequenceStep=first, updatedAt=LONG_AGO)
    related = {"sequence": sequence, "sequenceState": state, "sequenceStep": first}
    store.add_task(prospect, taskType="sequence_step_email", updatedAt=LONG_AGO, **related)
    return store


def names(client: Client) -> list[str]:
    """Name every event in the order in which they were written."""
    return [row["attributes"]["name"] for row in client.rows("events", sort="id")]


def pointers(row: dict[str, Any]) -> dict[str, int]:
    """Give the ids that an event, or another record, names."""
    return {name: one["data"]["id"] for name, one in row["relationships"].items() if one.get("data")}


def test_a_skip_leaves_an_event_and_moves_the_state_on(client: Client, store: OutreachStore) -> None:
    store.skip_task(1)
    (event,) = client.rows("events", **SKIPS)
    assert pointers(event) == {"task": 1, "prospect": 1, "sequence": 1, "sequenceStep": 1}
    assert event["attributes"]["eventAt"] == event["attributes"]["createdAt"]
    assert "updatedAt" not in event["attributes"]
    assert pointers(client.rows("sequenceStates")[0])["sequenceStep"] == 2
    assert names(client)[-2:] == ["skip_task", "sequence_state_advanced"]
    assert client.get("events/1").json()["data"]["id"] == 1
    store.add_task(None, state="skipped", updatedAt=parse_iso("2026-09-01T10:00:00.123Z"))
    assert client.rows("events", **SKIPS)[0]["attributes"]["createdAt"] == "2026-09-01T10:00:00.123Z"


def test_each_change_leaves_its_events(client: Client, store: OutreachStore) -> None:
    told = names(client)
    assert told == ["prospect_created", "sequence_state_created", "task_created"]
    for change, news in (
        (lambda: store.update("task", 1, note="x"), "task_updated"),
        (lambda: store.update("sequenceState", 1, state="paused"), "sequence_state_paused"),
        (lambda: store.end_state(1), "sequence_state_finished task_destroyed"),
        (lambda: store.delete("sequenceState", 1), "sequence_state_destroyed"),
        (lambda: store.add_task(1), "task_created"),
        (lambda: store.update("task", 2, state="complete", completed=True), "complete_task"),
        (lambda: store.delete("task", 2), "task_destroyed"),
        (lambda: store.opt_out(1), "opt_out emails_opt_out"),
        (lambda: store.update("prospect", 1, title="CEO"), "prospect_updated"),
        (lambda: store.delete("prospect", 1), "prospect_destroyed"),
    ):
        change()
        told += news.split()
        assert names(client) == told


@pytest.mark.parametrize(("which", "named"), [("loser", [1]), ("winner", [2]), ("both", [1, 2])])
def test_a_merge_names_one_prospect_or_both(client: Client, store: OutreachStore, which: str, named: list[int]) -> None:
    store.add_prospect(emails=["a.example@example.org"])
    client.faults.on("merge_names", which=which)
    store.merge_prospects(2, 1)
    events = client.rows("events", **{"filter[name]": "prospect_merged"})
    assert [pointers(event)["prospect"] for event in events] == named
    assert names(client)[4:] == ["task_updated", "prospect_updated", *["prospect_merged"] * len(named)]
    (left,) = client.rows("prospects")
    assert (left["id"], left["attributes"]["emails"]) == (2, ["a.example@example.org", "ada@example.com"])
    assert [client.ids(path, **{"filter[prospect][id]": "2"}) for path in ("sequenceStates", "tasks")] == [[1], [1]]


def test_events_are_filtered_and_sorted_by_what_the_published_schema_names(client: Client) -> None:
    answered: tuple[dict[str, str], ...] = (
        {"filter[name]": "skip_task"},
        {"newFilterSyntax": "true", "filter[name]": "skip_task", "sort": "createdAt"},
        {"filter[task][id]": "1", "sort": "-eventAt"},
        {"filter[id]": "2..inf", "sort": "id", "page[limit]": "1000"},
        {"include": "prospect,task", "fields[event]": "name,createdAt,task,prospect", "page[size]": "5"},
    )
    filters = {"updatedAt": f"{LONG_AGO}..inf", "payload": "x", "sequence][id": "1", "prospect][emails": "a@b.c"}
    refused = [{"sort": "name"}, {"sort": "updatedAt"}, {"fields[event]": "name,updatedAt"}]
    refused += [{f"filter[{name}]": value} for name, value in filters.items()]
    for parameters in (*answered, *refused):
        status = 200 if parameters in answered else 422
        assert client.get("events", params=parameters).status_code == status, parameters


def test_an_event_can_be_missing_renamed_repeated_misdated_or_say_less(client: Client, store: OutreachStore) -> None:
    client.faults.on("event_missing", kind="skip_task", times=1)
    store.skip_task(1, by="system")
    assert client.rows("events", **SKIPS) == []
    client.faults.on("event_renamed", kind="skip_task", name="task_skipped")
    store.update("task", store.add_task(1), state="skipped")
    assert "task_skipped" in names(client)
    assert client.rows("events", **SKIPS) == []
    client.faults.clear()
    client.faults.on("event_repeated", kind="skip_task", times_each=3, times=1)
    client.faults.on("event_without", kind="skip_task", relationship="task")
    client.faults.on("event_stamped", kind="skip_task", ms=-7_200_000)
    store.skip_task(store.add_task(1))
    events = client.rows("events", **SKIPS)
    assert [pointers(event) for event in events] == [{"prospect": 1}] * 3
    assert all(event["attributes"]["createdAt"] < store.get("task", 3).values["updatedAt"] for event in events)


def test_an_event_can_lose_what_is_gone(client: Client, store: OutreachStore) -> None:
    store.skip_task(1)
    store.delete("task", 1)
    assert pointers(client.rows("events", **SKIPS)[0])["task"] == 1
    for shape in ("null", "links", "empty"):
        client.faults.on("event_relations_die", shape=shape)
        (event,) = client.rows("events", **SKIPS)
        assert ("task" in pointers(event), pointers(event)["prospect"]) == (False, 1)


def test_a_skip_looks_as_the_hypothesis_has_it(client: Client, store: OutreachStore) -> None:
    store.skip_task(1)
    assert client.rows("tasks")[0]["attributes"]["state"] == "skipped"
    client.faults.on("skip_is_like_done", exactly=True)
    (row,) = client.rows("tasks", **{"fields[task]": "state,completed,completedAt,autoskipAt,completer"})
    done, at = row["attributes"], row["attributes"].pop("completedAt")
    assert (done, pointers(row)) == ({"state": "complete", "completed": True, "autoskipAt": None}, {"completer": 1})
    assert at is not None
    client.faults.clear()
    client.faults.on("skip_destroys_task")
    assert client.rows("tasks") == []
    store.skip_task(store.add_task(1))
    assert names(client)[-1] == "task_destroyed"


def test_a_skip_and_an_opt_out_can_keep_every_stamp_and_the_step(client: Client, store: OutreachStore) -> None:
    client.faults.on("skip_keeps_updated_at", times=1)
    store.skip_task(1)
    (task,), (state,) = client.rows("tasks"), client.rows("sequenceStates")
    assert task["attributes"]["updatedAt"] == state["attributes"]["updatedAt"] == LONG_AGO
    assert pointers(state)["sequenceStep"] == 2
    client.faults.on("skip_keeps_step")
    store.update("sequenceState", 1, sequenceStep=1)
    store.skip_task(store.add_task(1, sequence=1, sequenceState=1, sequenceStep=1))
    assert pointers(client.rows("sequenceStates")[0])["sequenceStep"] == 1
    client.faults.on("opt_out_keeps_updated_at")
    store.opt_out(1)
    attributes = client.rows("prospects")[0]["attributes"]
    assert (attributes["optedOut"], attributes["updatedAt"]) == (True, LONG_AGO)
    assert names(client)[-2:] == ["opt_out", "emails_opt_out"]
