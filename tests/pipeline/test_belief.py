"""What is believed of Outreach, and what is not: stamps that prove nothing, links that are taken away, what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cycle import pull_streams
from outreach_sync.errors import QuotaSpentError
from outreach_sync.pull import keep_page, pull
from outreach_sync.records import Event, Stream
from tests.harness import DAY, RUNNING, STATE

if TYPE_CHECKING:
    from tests.conftest import World


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


def test_a_full_walk_that_is_cut_off_goes_on_taking_rows_as_they_are(bench: Any) -> None:
    first, second = (bench.source.page(states=bench.states(one, "active")) for one in (1, 2))
    older = bench.source.page(states=bench.states(2, "opted_out", at=bench.now - 2 * DAY))
    script = bench.source.script[Stream.SEQUENCE_STATES] = [first, second]
    pull(bench.run(), Stream.SEQUENCE_STATES)
    script[1] = QuotaSpentError("spent")
    with pytest.raises(QuotaSpentError):
        pull(bench.run(full=True), Stream.SEQUENCE_STATES)
    script[1] = older
    pull(bench.run(), Stream.SEQUENCE_STATES)
    assert bench.state.cache.pooled([2])[1][2][0].state == "opted_out"


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
        ({"optedOut": True}, "Opted Out", "Opted Out"),
        ({"trashedAt": "2026-09-01T00:00:00Z"}, "Not Active", RUNNING),
        ({"hidden": True}, "Not Active", RUNNING),
    ],
)
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
    world.outreach.get("sequenceState", old).values["stateChangedAt"] = "soon"

    def by_id(run: Any) -> None:
        with run.store.transaction():
            for page in run.source.by_id(Stream.SEQUENCE_STATES, [old]):
                keep_page(run, page)

    assert world.do(by_id).exit_status == 1
    world.outreach.update("sequenceState", old, stateChangedAt=None, updatedAt="2019-01-01T00:00:00Z")
    assert world.do(by_id).exit_status == 0


def test_prospects_are_read_first_and_the_others_take_turns_at_a_quotas_end(bench: Any) -> None:
    for spent_at, read in (
        (Stream.SEQUENCE_STATES, ["prospects", "sequence_states"]),
        (Stream.SEQUENCE_STATES, ["prospects", "tasks", "sequence_states"]),
        (Stream.TASKS, ["prospects", "tasks"]),
        (Stream.TASKS, ["prospects", "sequence_states", "tasks"]),
    ):
        bench.source.walked.clear()
        bench.source.script = {spent_at: [QuotaSpentError("spent")]}
        assert isinstance(pull_streams(bench.run()), QuotaSpentError)
        assert [url.partition("?")[0] for url in bench.source.walked] == read


def test_since_leaves_an_open_walk_open_and_releases_nothing_of_it(world: World) -> None:
    def left_open() -> tuple[Any, int]:
        with world.state() as state:
            held = state.connection.execute("SELECT count(*) FROM changed WHERE held").fetchone()[0]
            return state.progress.of(Stream.SEQUENCE_STATES).walk, held

    world.settings["outreach"]["page_size"] = 1
    for number in range(3):
        world.prospect(email=f"p{number}@example.com")
    world.sandbox.outreach.faults.on("server_error_500", after=1, kind="sequenceState")
    assert world.run().exit_status == 4
    world.sandbox.outreach.faults.clear()
    walk, held = left_open()
    assert (walk is not None, held > 0) == (True, True)
    assert world.run(since=world.sandbox.clock.now() - 1).exit_status == 4
    assert (left_open()[0] == walk, left_open()[1] >= held, world.people()) == (True, True, [])
    assert (world.run().exit_status, len(world.people())) == (0, 3)


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
