"""What the stream of events makes of a cycle: skips, removals and opt-outs that no list shows."""

from typing import Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Stream
from tests.conftest import World
from tests.harness import NO_EMAIL, PERSON, RUNNING, STATE

NEVER: dict[str, Any] = {"tasks": {"skipped_when": []}}
"""No rule on attributes: only events say that a task was skipped."""


def open_task(world: World, prospect: int | None, **attributes: Any) -> int:
    steps = {} if attributes.get("taskType") == "manual" else {"sequenceStep": world.outreach.add_step(1)}
    return world.skipped_task(prospect or 0, state="incomplete", completed=False, **{**steps, **attributes})


def next_minute(world: World) -> None:
    world.sandbox.clock.advance(60_000)


def asked(world: World, **sync: Any) -> int:
    """Run a minute later; return how many requests went to Outreach."""
    next_minute(world)
    ended = world.run(sync=sync)
    assert ended.exit_status == 0
    return int(ended.document["requests"]["outreach"])


@pytest.mark.parametrize(
    "fault", ["skip_is_not_completed", "skip_is_like_done", "skip_is_another_word", "skip_destroys_task", None]
)
@pytest.mark.parametrize("seen", ["before the skip", "after the skip"])
def test_an_event_makes_one_task_whatever_the_skip_leaves(world: World, fault: str | None, seen: str) -> None:
    if fault:
        world.sandbox.outreach.faults.on(fault)
    task = open_task(world, world.prospect(email="ada@example.com"), dueAt="2026-08-01T00:00:00.000Z", note="Call back")
    if seen == "before the skip":
        asked(world, **NEVER)
        next_minute(world)
    world.outreach.skip_task(task)
    for _ in range(3):
        asked(world, **NEVER)
    (made,) = world.tasks()
    assert made["created_through_reference"] == f"outreach-task-{task}"
    assert made["primary_contact_id"] == world.person()["id"]
    if fault != "skip_destroys_task":
        assert "Call back" in made["description"]
        return
    event = [one for one in world.outreach.all("event") if one.values["name"] == "skip_task"][-1]
    with world.state() as state:
        assert state.cache.task(task).task.due_at == parse_iso(event.values["eventAt"])


@pytest.mark.parametrize(
    ("fault", "options", "made"),
    [
        ("event_repeated", {"kind": "skip_task"}, 1),
        ("event_without", {"kind": "skip_task", "relationship": "prospect"}, 1),
        ("event_without", {"kind": "skip_task", "relationship": "sequence"}, 1),
        ("event_without", {"kind": "skip_task", "relationship": "task"}, 0),
        ("event_renamed", {"kind": "skip_task"}, 0), ("event_stamped", {"kind": "skip_task", "ms": -600_000}, 1),
        ("event_names_refused", {}, 1), ("ids_as_strings", {}, 1), ("late_visibility", {"ms": 30_000}, 1),
    ],
)  # fmt: skip
def test_a_strange_stream_makes_one_task_or_none(world: World, fault: str, options: Any, made: int) -> None:
    task = open_task(world, world.prospect(email="ada@example.com"))
    world.run(sync=NEVER)
    world.sandbox.outreach.faults.on(fault, **options)
    next_minute(world)
    world.outreach.skip_task(task)
    told = world.run(sync=NEVER).streams[Stream.EVENTS].skips
    next_minute(world)
    ended = world.run(sync=NEVER)
    told += ended.streams[Stream.EVENTS].skips
    assert (ended.exit_status, told > 0, len(world.tasks())) == (0, fault != "event_renamed", made)


def test_a_manual_task_stays_out_and_a_task_without_a_prospect_is_no_failure(world: World) -> None:
    manual = open_task(world, world.prospect(email="ada@example.com"), taskType="manual", sequence=None)
    nobody = world.outreach.add_task(None, taskType="sequence_step_call", action="call", state="incomplete", sequence=1)
    world.run(sync=NEVER)
    for task in (manual, nobody):
        world.outreach.skip_task(task)
    ended = world.run(sync=NEVER)
    assert (ended.exit_status, ended.document["streams"]["events"]["skips"], world.tasks()) == (0, 2, [])


@pytest.mark.parametrize("fate", ["trashed", "hidden", "destroyed", "unlinked"])
def test_skips_of_people_who_are_gone_or_unknown_are_never_a_failure(world: World, fate: str) -> None:
    prospect = world.prospect(email="ada@example.com", states=())
    task = open_task(world, prospect)
    if fate == "trashed":
        world.outreach.update("prospect", prospect, trashedAt="2026-09-01T00:00:00Z")
    elif fate == "hidden":
        world.outreach.update("prospect", prospect, hidden=True)
    world.outreach.skip_task(task)
    if fate == "destroyed":
        world.outreach.delete("prospect", prospect)
    for _ in range(2):
        assert world.run(sync=NEVER).exit_status == 0
    assert len(world.tasks()) == len(world.people()) == (fate == "unlinked")


def test_a_thousand_skips_cost_one_request_for_the_events_and_ten_for_the_tasks(world: World) -> None:
    world.settings["sync"]["guard"] = {"create": 5_000}
    prospects = [world.prospect(email=f"p{number}@example.com") for number in range(20)]
    open_one = {"state": "incomplete", "completed": False, "sequenceStep": world.outreach.add_step(1)}
    tasks = [world.skipped_task(prospects[number % 20], **open_one) for number in range(1_000)]
    world.run(sync=NEVER)
    next_minute(world)
    world.sandbox.outreach.faults.on("skip_keeps_updated_at")
    for task in tasks:
        world.outreach.skip_task(task)
    ended = world.run(sync=NEVER)
    assert len(world.tasks()) == 1_000
    assert ended.document["streams"]["events"]["requests"] <= 11
    assert ended.document["requests"]["workbooks"] <= 25  # ten writes, as many look-ups by reference, a few of people


def test_removed_states_show_in_the_same_cycle_at_one_read_for_a_hundred_people(world: World) -> None:
    guard = {"guard": {"lost_share": 1, "lost_count": 1_000}}
    prospects = world.known(100)
    next_minute(world)
    for prospect in prospects:
        world.outreach.delete("sequenceState", world.states_of(prospect)[0])
    assert asked(world, **guard) <= 5
    assert {one[STATE] for one in world.people()} == {"Not Active"}
    assert asked(world, **guard) == 4


def test_what_the_other_streams_have_shown_is_not_read_again_for_its_event(world: World) -> None:
    first, second, _ = world.known(3)
    task = open_task(world, first)
    asked(world)
    next_minute(world)
    world.outreach.opt_out(second)
    world.outreach.skip_task(task)
    ended = world.run()
    assert ended.document["requests"]["outreach"] == 4
    assert (len(world.tasks()), ended.document["streams"]["events"]["skips"]) == (1, 1)
    world.outreach.update("prospect", second, optedOut=False, emailOptedOut=False)
    assert world.run().document["requests"]["outreach"] == 4
    assert world.workbooks.get(PERSON, world.people()[1]["id"])[NO_EMAIL] is True


def test_a_state_that_an_event_calls_removed_and_that_is_there_stays(world: World) -> None:
    for prospect, sequence in zip(world.known(3), (None, 98, 99), strict=True):
        world.outreach.add("event", {"name": "sequence_state_destroyed", "prospect": prospect, "sequence": sequence})
    world.sandbox.outreach.faults.on("id_list_cut", ids=1)
    assert (world.run().exit_status, {one[STATE] for one in world.people()}) == (0, {RUNNING})


def test_a_destroyed_prospect_counts_no_more_and_keeps_its_opt_out(world: World) -> None:
    prospects = [*world.known(1), world.prospect(email="bo@example.com", states=("opted_out",))]
    world.run()
    for prospect in prospects:
        world.outreach.delete("prospect", prospect)
    assert world.run().exit_status == 0
    assert [one[STATE] for one in world.people()] == ["Not Active", "Opted Out"]


@pytest.mark.parametrize("lost", [False, True], ids=["", "after a lost state"])
def test_an_opt_out_of_a_prospect_who_is_gone_at_the_next_run_is_not_missed(world: World, *, lost: bool) -> None:
    out, back, removed = (world.prospect(email=f"{name}@example.com") for name in ("ada", "bo", "cy"))
    world.run()
    next_minute(world)
    world.outreach.opt_out(out)
    world.outreach.opt_out(back)
    world.outreach.update("prospect", back, optedOut=False, emailOptedOut=False)
    for prospect in (out, back, removed):
        world.outreach.delete("prospect", prospect)
    if lost:
        world.lose_the_state()
    world.run()
    shown = [(one[NO_EMAIL], one[STATE]) for one in world.people()]
    assert shown == [(True, "Opted Out"), (False, "Not Active"), (False, "Not Active")]


@pytest.mark.parametrize("which", ["loser", "winner", "both"])
def test_a_merged_prospect_hands_its_states_over(world: World, which: str) -> None:
    world.sandbox.outreach.faults.on("merge_names", which=which)
    winner = world.prospect(email="ada@example.com", states=("finished",))
    loser = world.prospect(email="a.example@example.com")
    world.run()
    (state,) = world.states_of(loser)
    stamp = world.outreach.get("sequenceState", state).values["updatedAt"]
    world.outreach.merge_prospects(winner, loser)
    world.outreach.update("sequenceState", state, updatedAt=stamp)
    world.outreach.add("event", {"name": "opt_out", "prospect": winner})  # it was taken back since
    world.sql("UPDATE progress SET watermark = watermark + 3600000 WHERE stream = 'sequence_states'")
    world.run()  # so that only the event tells of it
    shown = {one["main_location[email]"]: one[STATE] for one in world.people()}
    assert shown == {"ada@example.com": RUNNING, "a.example@example.com": "Not Active"}


def test_events_that_may_not_be_read_hold_nothing_up_and_are_named_each_time(world: World) -> None:
    world.sandbox.outreach.faults.on("scope_missing", scope="events.read")
    world.prospect(email="ada@example.com")
    for _ in range(2):
        ended = world.run()
        (warning,) = ended.document["warnings"]
        assert (ended.exit_status, "events.read" in warning) == (0, True)
    assert world.person()[STATE] == RUNNING
    with world.state() as state:
        assert state.facts.get("first_load_done") is not None
        assert all(state.progress.of(one).walk is None for one in Stream)


def test_records_that_an_event_concerns_are_read_by_the_next_run_where_outreach_fails(world: World) -> None:
    task = open_task(world, world.prospect(email="ada@example.com"))
    world.run(sync=NEVER)
    world.outreach.skip_task(task)
    world.sandbox.outreach.faults.on("server_error_500", after=4)
    assert (world.run(sync=NEVER).exit_status, world.tasks()) == (4, [])
    world.sandbox.outreach.faults.clear()
    assert (world.run(sync=NEVER).exit_status, len(world.tasks())) == (0, 1)


def test_other_names_of_skips_in_the_config_are_read_from_the_start(world: World) -> None:
    world.sandbox.outreach.faults.on("event_renamed", kind="skip_task", name="task_skipped")
    world.outreach.skip_task(open_task(world, world.prospect(email="ada@example.com")))
    world.run(sync=NEVER)
    world.sandbox.clock.advance(7_200_000)
    world.outreach.opt_out(world.prospect())  # which moves the watermark of the events on
    world.run(sync=NEVER)
    assert world.tasks() == []
    world.run(sync={"tasks": {"skipped_when": [], "skip_events": ["task_skipped"]}})
    assert len(world.tasks()) == 1


@pytest.mark.parametrize("flag", ["optedOut", "emailOptedOut"])
@pytest.mark.parametrize("stamp", ["kept", "older"])
def test_an_opt_out_and_its_revert_are_not_missed_though_the_prospect_kept_its_stamp(
    world: World, flag: str, stamp: str
) -> None:
    (prospect,) = world.known(1)
    at = world.outreach.get("prospect", prospect).values["updatedAt"] if stamp == "kept" else "2020-01-01T00:00:00.000Z"
    world.sql("UPDATE progress SET watermark = watermark + 3600000 WHERE stream <> 'events'")  # only events tell of it
    for out, label in ((True, "Opted Out"), (False, RUNNING)):
        world.outreach.update("prospect", prospect, updatedAt=at, **{flag: out})
        assert world.run().exit_status == 0
        assert (world.person()[STATE], world.person()[NO_EMAIL]) == (label, True)


@pytest.mark.parametrize("relationship", ["sequence", "user"])
def test_a_removed_state_shows_though_its_event_names_no_sequence(world: World, relationship: str) -> None:
    world.sandbox.outreach.faults.on("event_without", kind="sequence_state_destroyed", relationship=relationship)
    (prospect,) = world.known(1)
    world.outreach.delete("sequenceState", world.states_of(prospect)[0])
    assert (world.run().exit_status, world.person()[STATE]) == (0, "Not Active")
