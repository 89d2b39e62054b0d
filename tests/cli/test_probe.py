from __future__ import annotations

from typing import Any

import pytest
import yaml

from outreach_sync.instants import Instant, to_iso
from outreach_sync.store import run_lock


@pytest.fixture
def life(empty: Any) -> dict[str, int]:
    """One prospect in a sequence with a done task, a skipped one, and a manual one that was skipped: their ids."""
    store = empty.outreach
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    sequence = store.add_sequence("Trial follow-up")
    state = store.add_state(prospect, sequence, "active")
    step = {"taskType": "sequence_step_email", "action": "email", "sequence": sequence, "sequenceState": state}
    done = {"state": "complete", "completed": True, "completedAt": "2026-09-01T10:00:00.000Z", "completer": 1}
    return {
        "done": store.add_task(prospect, **step, **done),
        "skipped": store.add_task(prospect, **step, state="skipped"),
        "manual": store.add_task(prospect, taskType="manual", action="call", state="skipped"),
    }


def _skips(document: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {one["task_id"]: one for one in document["skips"]}


def test_every_skip_is_shown_with_its_task_and_what_the_rule_says_of_it(life: dict[str, int], empty: Any) -> None:
    document = empty.document("probe-skips")
    skips = _skips(document)
    assert skips.keys() == {life["skipped"], life["manual"]}
    ours = skips[life["skipped"]]
    assert (ours["state"], ours["gone"], ours["in_sequence"], ours["rule_takes_it"]) == ("skipped", False, True, True)
    assert skips[life["manual"]]["in_sequence"] is False
    assert (document["read"], document["sequence_tasks"], document["taken"]) == (3, 2, 1)
    counts = {one["name"]: one["count"] for one in document["events"]["names"]}
    assert (counts["skip_task"], document["events"]["skips"], document["disagreements"]) == (2, 2, [])
    assert "Events suffice" in document["recommendations"][0]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("skip_destroys_task", "an event says skipped, and the task is gone"),
        ("skip_is_another_word", "an event says skipped, the rule does not"),
    ],
)
def test_where_the_witnesses_disagree_is_said_whatever_a_skip_leaves(
    fault: str, says: str, life: dict[str, int], empty: Any
) -> None:
    empty.sandbox.outreach.faults.on(fault)
    document = empty.document("probe-skips")
    assert [(one["says"], one["examples"]) for one in document["disagreements"]] == [(says, [life["skipped"]])]
    assert says in empty("probe-skips").out
    assert _skips(document)[life["skipped"]]["gone"] is (fault == "skip_destroys_task")


def test_a_task_that_the_rule_takes_and_no_event_names_keeps_tasks_in_the_streams(
    life: dict[str, int], empty: Any
) -> None:
    empty.change("sync", tasks={"skipped_when": [{"state": "complete"}, {"state": "skipped"}]})
    document = empty.document("probe-skips")
    (one,) = document["disagreements"]
    assert (one["says"], one["examples"]) == ("the rule says skipped, no event does", [life["done"]])
    assert document["recommendations"][0].startswith("Keep `tasks` in sync.streams: the rule takes 1 tasks")


def test_absence_is_tested_by_asking_for_the_open_tasks_of_states_that_moved_on(empty: Any) -> None:
    store = empty.outreach
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    sequence = store.add_sequence("Trial follow-up")
    first, second = store.add_step(sequence), store.add_step(sequence)
    state = store.add_state(prospect, sequence, "active", sequenceStep=first)
    step = {"taskType": "sequence_step_email", "action": "email", "state": "incomplete", "sequence": sequence}
    there, gone, current = (
        store.add_task(prospect, **step, sequenceState=state, sequenceStep=at) for at in (first, first, second)
    )
    empty("run")
    store.update("sequenceState", state, sequenceStep=second)
    for task in (gone, current):
        store.delete("task", task)
    absence = empty.document("probe-skips")["absence"]
    assert absence == {"asked_for": 2, "gone": 1, "gone_without_event": 1, "examples": [gone]}
    assert there != gone


def test_where_events_may_not_be_read_the_rest_is_shown_and_the_scope_is_named(
    life: dict[str, int], empty: Any
) -> None:
    empty.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    ran = empty("probe-skips", "--json")
    assert (ran.status, "events.read" in ran.document["events"]["problem"]) == (0, True)
    assert "events.read" in ran.document["recommendations"][0]
    assert (ran.document["read"], ran.document["skips"]) == (3, [])


def test_events_of_every_name_are_counted_newest_first_in_ten_requests_at_most(empty: Any) -> None:
    for number in range(1, 25):
        at = to_iso(Instant(empty.sandbox.clock.now() - (25 - number) * 1000))
        empty.sandbox.outreach.store.add("event", {"name": "odd" if number % 2 else "even", "createdAt": at})
    empty.change("outreach", page_size=2)
    events = empty.document("probe-skips")["events"]
    assert (events["read"], events["complete"]) == (20, False)
    assert [(one["name"], one["count"], one["examples"]) for one in events["names"]] == [
        ("even", 10, [24, 22, 20, 18, 16]), ("odd", 10, [23, 21, 19, 17, 15]),
    ]  # fmt: skip
    empty.change("outreach", page_size=3)
    assert empty.document("probe-skips")["events"]["complete"]


def test_every_task_is_counted_once_and_the_rule_takes_what_a_run_takes(setup: Any) -> None:
    setup.change("outreach", page_size=7)
    setup.change("sync", streams=["sequence_states", "tasks", "prospects"])
    document = setup.document("probe-skips", "--days", "90")
    assert document["read"] == sum(one["count"] for one in document["combinations"]) == 80
    assert document["taken"] == setup("run", "--json").document["streams"]["tasks"]["skipped"]


def test_only_the_last_days_are_read_by_the_services_clock(setup: Any) -> None:
    whole = setup.document("probe-skips", "--days", "90")["read"]
    assert 0 < setup.document("probe-skips")["read"] < whole
    setup.sandbox.clock.advance(10 * 86_400_000)
    assert setup("probe-skips", "--days", "10", "--json").document["read"] == 0


def test_a_rule_that_is_recommended_is_one_that_the_config_takes(setup: Any) -> None:
    setup.change("sync", tasks={"skipped_when": [{"state": "nothing"}]})
    setup.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    out = setup("probe-skips", "--days", "90").out
    rule = yaml.safe_load(out[out.index("\nsync:") : out.index("\nTo settle it")])
    setup.change("sync", **rule["sync"])
    document = setup.document("probe-skips", "--days", "90")
    assert document["recommended"] == document["rule"] == rule["sync"]["tasks"]["skipped_when"]
    assert len(document["rule"]) > 1


def test_it_keeps_nothing_but_a_token_asks_outreach_alone_and_ends_as_a_run_does_where_it_refuses(setup: Any) -> None:
    with run_lock(setup.state_path, "run"):
        assert setup("probe-skips").status == 0
    assert (setup.state_path.exists(), setup.sandbox.workbooks.journal.total()) == (False, 0)
    setup.sandbox.outreach.faults.on("scope_missing", scope="tasks.read")
    assert setup("probe-skips").status == 3
    setup.sandbox.outreach.stop()
    assert setup("probe-skips").status == 4
