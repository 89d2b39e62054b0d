"""What is read of Outreach, from where, and what of it is believed: stamps that prove nothing, what makes no sense."""

import sqlite3
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st

from outreach_sync.cycle import pull_streams
from outreach_sync.errors import QuotaSpentError, StateError, UnavailableError
from outreach_sync.instants import to_iso
from outreach_sync.outreach.client import CursorRefusedError
from outreach_sync.pull import absent_among, pull
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Event, Refused, Stream
from outreach_sync.store.cache import Cache
from tests.conftest import World
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


@pytest.mark.parametrize("hours", [1, 800])
def test_a_server_that_once_named_a_time_ahead_of_its_own_loses_nothing_that_came_meanwhile(
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
@pytest.mark.parametrize(("prospect", "state"), [(1, "incomplete"), (None, "skipped")])
def test_a_task_that_is_no_longer_skipped_or_of_nobody_leaves_the_queue_unless_it_may_have_been_sent(
    bench: Any, *, may_have_been_sent: bool, prospect: Any, state: str
) -> None:
    pull_tasks(bench, bench.skipped(7, 1))
    (entry,) = bench.state.outbox.find(record="task", key=7)
    with bench.state.transaction():
        bench.state.outbox.mark([entry.id], in_doubt=may_have_been_sent)
    pull_tasks(bench, bench.skipped(7, prospect, state=state, at=NOON))
    assert len(bench.state.outbox.find(record="task", key=7)) == may_have_been_sent


def test_rows_without_a_stamp_are_stored_and_reported(bench: Any) -> None:
    state = bench.states(1, "active")[0]._replace(updated_at=None)
    walk_states(bench, bench.source.page(states=[state])._replace(without_stamp=1))
    assert bench.count("sequence_state") == 1
    assert bench.log.of("rows_without_updated_at")


@given(
    st.lists(
        st.tuples(st.sampled_from(["run", "cut", "full", "since"]), st.integers(0, 3 * DAY), st.integers(-DAY, DAY)),
        max_size=6,
    )
)
def test_the_watermark_never_passes_a_row_that_was_not_read(bench: Any, steps: list[tuple[str, int, int]]) -> None:
    """Whatever is interrupted and whatever the clocks say, a row that exists is read by the walks up to its stamp."""
    true_time = bench.source.clock = bench.now = NOON
    bench.state.progress.reset(STATES)
    walk_states(bench)
    for kind, passes, skew in steps:
        true_time += passes
        bench.source.clock, bench.now = true_time, true_time + skew
        before, asked = bench.state.progress.of(STATES).watermark, len(bench.source.first_urls)
        cut_off = [bench.source.page(), UnavailableError("down")] if kind == "cut" else []
        with suppress(UnavailableError):
            walk_states(bench, *cut_off, full=kind == "full", since=true_time - 5 if kind == "since" else None)
        after = bench.state.progress.of(STATES).watermark
        assert before <= after <= (before if cut_off else true_time)
        if after > before and len(bench.source.first_urls) > asked:
            assert bench.source.first_urls[-1][1] <= before, "moved without having read what lies between"


# -- refused records, read again


@pytest.fixture
def refused(world: World) -> int:
    """A sequence state whose time makes no sense; it was read once."""
    state_id: int = world.states_of(world.prospect(email="ada@example.com"))[0]
    world.outreach.get("sequenceState", state_id).values["stateChangedAt"] = "soon"
    assert world.run().exit_status == 1
    return state_id


def test_a_record_put_right_without_a_new_stamp_is_read_when_its_pause_is_over(world: World, refused: int) -> None:
    world.pass_the_overlap()
    stamp = world.outreach.get("sequenceState", refused).values["updatedAt"]
    world.outreach.update("sequenceState", refused, stateChangedAt="2026-09-01T10:00:00.000Z", updatedAt=stamp)
    ended = world.run()
    assert (ended.exit_status, ended.document["requests"]["outreach"]) == (1, 4), "nothing more is asked for before"
    world.retry()
    assert (world.run().exit_status, world.failures(), world.person()[STATE]) == (0, [], RUNNING)


def test_a_record_that_still_makes_no_sense_keeps_its_id_and_is_parked_in_the_end(world: World, refused: int) -> None:
    world.pass_the_overlap()
    entry, told = world.failures()[0].id, []
    world.retry()
    for _ in range(2):
        world.run(sync={"max_attempts": 2})
        told += [(one.id, one.state, one.attempts) for one in world.failures()]
        world.sql("UPDATE outbox SET next_attempt_at = NULL")
    assert told == [(entry, "queued", 1), (entry, "parked", 2)]


def test_a_record_that_is_gone_from_outreach_is_refused_no_more(world: World, refused: int) -> None:
    world.outreach.delete("sequenceState", refused)
    world.retry()
    assert (world.run().exit_status, world.failures()) == (0, [])


# -- believed


@pytest.mark.parametrize("how", ["full", "reconcile"])
def test_full_and_reconcile_take_a_row_as_it_is_though_its_stamp_is_older(world: World, how: str) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    (state,) = world.states_of(prospect)
    world.outreach.update("sequenceState", state, state="opted_out", updatedAt="2026-01-01T00:00:00Z")
    world.run()
    assert world.person()[STATE] == RUNNING
    ended = world.run(full=True) if how == "full" else world.repair()
    assert (ended.exit_status, world.person()[STATE]) == (0, "Opted Out")


def test_a_state_that_loses_its_prospect_no_longer_counts_for_it(world: World) -> None:
    prospect = world.prospect(email="ada@example.com", states=("active", "finished"))
    world.run()
    assert world.person()[STATE] == "Finished"
    world.outreach.update("sequenceState", world.states_of(prospect)[1], prospect=None)
    world.run()
    assert world.person()[STATE] == RUNNING


@pytest.mark.parametrize(
    ("change", "shown", "shown_when_it_is_back"),
    [
        ({"optedOut": True}, "Opted Out", "Opted Out"), ({"hidden": True}, "Not Active", RUNNING),
        ({"trashedAt": "2026-09-01T00:00:00Z"}, "Not Active", RUNNING),
    ],
)  # fmt: skip
def test_reconcile_reads_linked_prospects_by_id_where_their_stamps_tell_nothing(
    world: World, change: dict[str, Any], shown: str, shown_when_it_is_back: str
) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    world.outreach.keep_events = False
    stamp = world.outreach.get("prospect", prospect).values["updatedAt"]
    world.outreach.update("prospect", prospect, **{"updatedAt": stamp, **change})
    world.pass_the_overlap()
    world.run()
    assert world.person()[STATE] == RUNNING
    assert (world.repair().exit_status, world.person()[STATE]) == (0, shown)
    world.outreach.update("prospect", prospect, hidden=False, trashedAt=None)
    world.repair()
    assert world.person()[STATE] == shown_when_it_is_back


def test_refused_rows_of_any_answer_are_listed_and_leave_the_list_when_they_make_sense(world: World) -> None:
    old = world.states_of(world.prospect(email="ada@example.com", states=("active", "opted_out")))[1]
    world.outreach.update("sequenceState", old, updatedAt="2019-01-01T00:00:00Z")
    world.run()
    for read in (reconcile, lambda run: absent_among(run, STATES, [old])):
        world.outreach.get("sequenceState", old).values["stateChangedAt"] = "soon"
        assert world.do(read).exit_status == 1
        world.outreach.update("sequenceState", old, stateChangedAt=None, updatedAt="2019-01-01T00:00:00Z")
        assert world.do(read).exit_status == 0


def test_prospects_are_read_first_and_the_others_take_turns_at_a_quotas_end(bench: Any) -> None:
    for spent_at, read in (
        (STATES, ["prospects", "sequence_states"]),
        (STATES, ["prospects", "tasks", "sequence_states"]),
        (TASKS, ["prospects", "tasks"]),
        (TASKS, ["prospects", "sequence_states", "tasks"]),
    ):
        bench.source.walked.clear()
        bench.source.script = {spent_at: [QuotaSpentError("spent")]}
        assert isinstance(pull_streams(bench.run()), QuotaSpentError)
        assert [url.partition("?")[0] for url in bench.source.walked] == read


def test_since_leaves_an_open_walk_open_and_releases_nothing_of_it(world: World) -> None:
    def left_open() -> tuple[Any, int]:
        with world.state() as state:
            held = state.connection.execute("SELECT count(*) FROM changed WHERE held").fetchone()[0]
            return state.progress.of(STATES).walk, held

    world.settings["outreach"]["page_size"] = 1
    for number in range(3):
        world.prospect(email=f"p{number}@example.com")
    world.sandbox.outreach.faults.on("server_error_500", after=1, kind="sequenceState")
    assert world.run().exit_status == 4
    world.sandbox.outreach.faults.clear()
    walk, held = left_open()
    assert (walk is not None, held > 0) == (True, True)
    beside = world.run(since=world.sandbox.clock.now() + 1)
    assert (beside.exit_status, beside.streams[STATES].read) == (4, 0)
    assert (left_open()[0] == walk, left_open()[1] >= held, world.people()) == (True, True, [])
    assert (world.run().exit_status, len(world.people())) == (0, 3)


def test_a_time_to_read_from_that_is_still_to_come_is_a_mistake_and_leaves_nothing_behind(world: World) -> None:
    world.prospect(email="ada@example.com")
    for asked in ({"since": world.sandbox.clock.now() + DAY}, {"sync": {"start": "2999-01-01"}}):
        ended = world.run(**asked)
        assert (ended.exit_status, "is still to come" in str(ended.error)) == (2, True)
    assert (world.run().exit_status, len(world.people())) == (0, 1)


def test_events_are_kept_as_long_as_a_walk_may_read_them_again_and_those_of_tasks_for_ever(bench: Any) -> None:
    events = [Event(one, "", bench.now, None, task, 18, None, None) for one, task in ((1, None), (2, 7))]
    bench.source.script[Stream.EVENTS] = [bench.source.page(events=events)]
    kept = []
    for _ in range(6):
        pull(bench.run(), Stream.EVENTS)
        kept.append(bench.count("event"))
        bench.source.script.clear()
        bench.now = bench.source.clock = bench.now + DAY
    assert (kept[:4], kept[-1]) == ([2, 2, 2, 2], 1)


@pytest.mark.parametrize("pages", [1, 2])
def test_neither_watermark_nor_walk_moves_past_a_page_that_could_not_be_stored(
    bench: Any, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr(Cache, "keep_states", Mock(side_effect=sqlite3.OperationalError("disk I/O error")))
    with pytest.raises(StateError):
        walk_states(bench, *[bench.source.page(states=bench.states(1, "active"))] * pages)
    progress = bench.state.progress.of(STATES)
    assert (progress.watermark, progress.walk and progress.walk.next_url) == (None, None)


def test_a_row_stamped_ahead_of_the_answers_date_is_replaced_by_the_next_one_that_comes(world: World) -> None:
    (state,) = world.states_of(world.known(1)[0])
    for word, ahead, label in (("paused", 86_400_000, "Active \u2013 Paused"), ("finished", 0, "Finished")):
        stamp = to_iso(world.sandbox.now() + ahead)
        world.outreach.update("sequenceState", state, state=word, updatedAt=stamp)
        world.run()
        assert world.person()[STATE] == label
