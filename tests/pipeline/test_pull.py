from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.errors import UnavailableError
from outreach_sync.instants import Back
from outreach_sync.outreach.client import CursorRefusedError
from outreach_sync.pull import pull
from outreach_sync.records import Refused, Stream
from tests.harness import DAY, RUNNING, STATE
from tests.pipeline.conftest import NOON

STATES, TASKS, PROSPECTS = Stream.SEQUENCE_STATES, Stream.TASKS, Stream.PROSPECTS


def walk_states(bench: Any, *pages: Any, **options: Any) -> Any:
    bench.source.script[STATES] = list(pages)
    run = bench.run(**options)
    pull(run, STATES)
    return run


def test_a_clock_of_this_machine_that_runs_slow_costs_the_newest_rows_and_no_sweep(bench: Any) -> None:
    bench.now = NOON - 400 * DAY
    newest = bench.source.page(states=bench.states(1, "active"))
    stamp = max(state.updated_at for state in newest.states)
    walk_states(bench, newest)
    for _ in range(2):
        walk_states(bench)
    assert bench.source.first_urls[1:] == [(STATES, stamp - 600_000)] * 2


def test_a_server_whose_date_is_always_ahead_never_moves_the_watermark_past_its_rows(bench: Any) -> None:
    bench.source.clock = NOON + DAY
    walk_states(bench, bench.source.page(states=bench.states(1, "active")))
    assert bench.state.progress.of(STATES).watermark == NOON


@pytest.mark.parametrize("hours", [1, 800])
def test_a_server_that_once_named_a_time_ahead_of_its_own_loses_nothing_of_what_came_meanwhile(
    bench: Any, hours: int
) -> None:
    walk_states(bench)
    bench.source.clock = NOON + 30 * DAY
    walk_states(bench)
    bench.source.clock = bench.now = NOON + hours * 3_600_000
    bench.source.first_urls.clear()
    walk_states(bench)
    assert bench.source.first_urls[-1][1] <= NOON - DAY
    assert bench.state.progress.of(STATES).watermark == bench.now
    walk_states(bench)
    assert bench.source.first_urls[-1] == (STATES, bench.now - 600_000)


def test_a_refused_page_token_begins_the_walk_again(bench: Any) -> None:
    page = bench.source.page(states=bench.states(1, "active"))
    bench.source.script[STATES] = [page, CursorRefusedError("gone")]
    with pytest.raises(CursorRefusedError):
        pull(bench.run(), STATES)
    assert bench.source.walked == ["sequence_states?0"] * 3
    assert [event for event, _ in bench.log.events].count("walk_restarted") == 3
    walk_states(bench, page)
    assert bench.source.walked[-1] == "sequence_states?0"


def test_full_reads_from_the_start_and_never_moves_the_watermark_back(bench: Any) -> None:
    walk_states(bench)
    bench.source.clock = NOON - 30_000
    bench.source.first_urls.clear()
    walk_states(bench, full=True)
    assert bench.source.first_urls == [(STATES, NOON - 30_000 - 90 * DAY)]
    assert bench.state.progress.of(STATES).watermark == NOON


def test_what_makes_no_sense_counts_an_attempt_whenever_the_overlap_shows_it(bench: Any) -> None:
    page = bench.source.page(refused=[Refused(STATES, 100, 1, "no state")])
    counts = [walk_states(bench, page).summary.people.rejected for _ in range(3)]
    (entry,) = bench.state.outbox.failures()
    assert (counts, entry.attempts, entry.state) == ([1, 0, 0], 1, "queued")
    worse = bench.source.page(refused=[Refused(STATES, 100, 1, "no id")])
    assert walk_states(bench, worse).summary.people.rejected == 1
    assert bench.state.outbox.failures()[0].reason == "no id"


def test_a_state_that_makes_sense_again_is_refused_no_more_beside_a_refused_prospect_of_its_id(bench: Any) -> None:
    (state,) = bench.states(1, "active")
    walk_states(bench, bench.source.page(refused=[Refused(STATES, state.id, 1, "no state")]))
    prospect = Refused(PROSPECTS, state.id, state.id, "no address")
    walk_states(bench, bench.source.page(states=[state], refused=[prospect]))
    assert [one.reason for one in bench.state.outbox.failures()] == ["no address"]


def pull_tasks(bench: Any, *tasks: Any, **page: Any) -> Any:
    bench.source.script[TASKS] = [bench.source.page(tasks=tasks, **page)]
    run = bench.run(sync={"max_attempts": 1})
    pull(run, TASKS)
    return run.summary


def test_what_makes_no_sense_is_parked_at_once_where_one_attempt_is_all(bench: Any) -> None:
    summary = pull_tasks(bench, refused=[Refused(TASKS, 100, 1, "no state")])
    assert [entry.state for entry in bench.state.outbox.failures()] == ["parked"]
    assert (summary.tasks.rejected, summary.people.rejected) == (1, 0)


@pytest.mark.parametrize("may_have_been_sent", [False, True])
def test_a_task_that_is_no_longer_skipped_leaves_the_queue_unless_it_may_have_been_sent(
    bench: Any, *, may_have_been_sent: bool
) -> None:
    pull_tasks(bench, bench.skipped(7, 1))
    (entry,) = bench.state.outbox.find(record="task", key=7)
    with bench.state.transaction():
        bench.state.outbox.mark([entry.id], in_doubt=may_have_been_sent)
    pull_tasks(bench, bench.skipped(7, 1, state="incomplete", at=NOON))
    assert len(bench.state.outbox.find(record="task", key=7)) == may_have_been_sent


def test_rows_without_a_stamp_are_stored_and_reported(bench: Any) -> None:
    state = bench.states(1, "active")[0]._replace(updated_at=None)
    walk_states(bench, bench.source.page(states=[state])._replace(without_stamp=1))
    assert bench.count("sequence_state") == 1
    assert bench.log.of("rows_without_updated_at")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["run", "cut", "full", "since"]), st.integers(0, 3 * DAY), st.integers(-DAY, DAY)),
        max_size=6,
    )
)
def test_the_watermark_never_passes_a_row_that_was_not_read(bench: Any, steps: list[tuple[str, int, int]]) -> None:
    """Whatever is interrupted and whatever the clocks say, a row that exists is read by the walks up to its stamp."""
    bench.state.progress.reset(STATES)
    bench.source.clock = bench.now = NOON
    walk_states(bench)
    true_time = NOON
    for kind, passes, skew in steps:
        true_time += passes
        bench.source.clock, bench.now = true_time, true_time + skew
        before = bench.state.progress.of(STATES).watermark
        asked = len(bench.source.first_urls)
        bench.source.script[STATES] = [bench.source.page(), UnavailableError("down")] if kind == "cut" else []
        try:
            pull(bench.run(full=kind == "full", since=true_time - 5 if kind == "since" else None), STATES)
        except UnavailableError:
            assert bench.state.progress.of(STATES).watermark == before
            continue
        after = bench.state.progress.of(STATES).watermark
        assert before <= after <= true_time
        if after > before and len(bench.source.first_urls) > asked:
            assert bench.source.first_urls[-1][1] <= before, "moved without having read what lies between"


def test_a_while_ago_is_counted_by_the_clock_of_this_machine(bench: Any) -> None:
    walk_states(bench)
    bench.now = NOON + 30 * DAY
    walk_states(bench, since=Back(7 * DAY))
    assert bench.source.first_urls[-1] == (STATES, NOON - 7 * DAY)


# -- refused records, read again


@pytest.fixture
def refused(world: Any) -> int:
    """A sequence state whose time makes no sense; it was read once."""
    state_id: int = world.states_of(world.prospect(email="ada@example.com"))[0]
    world.outreach.get("sequenceState", state_id).values["stateChangedAt"] = "soon"
    assert world.run().exit_status == 1
    return state_id


def test_a_record_put_right_without_a_new_stamp_is_read_when_its_pause_is_over(world: Any, refused: int) -> None:
    world.pass_the_overlap()
    stamp = world.outreach.get("sequenceState", refused).values["updatedAt"]
    world.outreach.update("sequenceState", refused, stateChangedAt="2026-09-01T10:00:00.000Z", updatedAt=stamp)
    ended = world.run()
    assert (ended.exit_status, ended.document["requests"]["outreach"]) == (1, 4), "nothing more is asked for before"
    world.retry()
    assert (world.run().exit_status, world.failures(), world.person()[STATE]) == (0, [], RUNNING)


def test_a_record_that_still_makes_no_sense_keeps_its_id_and_is_parked_in_the_end(world: Any, refused: int) -> None:
    world.pass_the_overlap()
    entry, told = world.failures()[0].id, []
    world.retry()
    for _ in range(2):
        world.run(sync={"max_attempts": 2})
        told += [(one.id, one.state, one.attempts) for one in world.failures()]
        world.sql("UPDATE outbox SET next_attempt_at = NULL")
    assert told == [(entry, "queued", 1), (entry, "parked", 2)]


def test_a_record_that_is_gone_from_outreach_is_refused_no_more(world: Any, refused: int) -> None:
    world.outreach.delete("sequenceState", refused)
    world.retry()
    assert (world.run().exit_status, world.failures()) == (0, [])
