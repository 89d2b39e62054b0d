"""What is believed of Outreach, and what is not: stamps that prove nothing, links that are taken away, what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cycle import pull_streams
from outreach_sync.errors import QuotaSpentError
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.pull import keep_page, pull
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Event, Prospect, SequenceState, SourceTask, Stream
from outreach_sync.store import Store
from outreach_sync.store.cache import Cache, CachedTask, Trust
from tests.harness import RUNNING, STATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outreach_sync.run import RunSummary
    from tests.conftest import World

NOW, EARLIER, AHEAD = Instant(10_000), Instant(9_000), Instant(11_000)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Store.open(tmp_path / "state.db") as state, state.transaction():
        yield state.cache


def repair(world: World, *, allow_bulk: bool = False) -> RunSummary:
    return world.do(lambda run: reconcile(run, allow_bulk=allow_bulk))


def state_of(word: str, at: Instant) -> SequenceState:
    return SequenceState(1, 18, 1, word, at, at)


def prospect_of(at: Instant, *, opted_out: bool) -> Prospect:
    return Prospect(18, None, None, (), None, opted_out, None, False, None, None, at)


def task_of(at: Instant, word: str) -> SourceTask:
    return SourceTask(7, 18, 1, None, None, "sequence_step_call", "call", None, None, at, {"state": word})


BOTH_PROVEN = (EARLIER, NOW, Trust(NOW))
STORED_AHEAD = (EARLIER, AHEAD, Trust(NOW))


@pytest.mark.parametrize(
    ("older", "newer", "trust", "replaced"),
    [
        (*BOTH_PROVEN, False),
        (*STORED_AHEAD, True),
        (EARLIER, NOW, Trust(NOW, as_is=True), True),
        (EARLIER, NOW, Trust(None), False),
    ],
    ids=["both proven", "the stored stamp was ahead of the Date", "asked for by id", "no Date"],
)
def test_an_older_version_is_passed_over_only_where_both_stamps_are_proven(
    cache: Cache, older: Instant, newer: Instant, trust: Trust, replaced: bool
) -> None:
    cache.keep_states([state_of("active", newer)], trust)
    cache.keep_states([state_of("opted_out", older)], trust)
    assert cache.pooled([18])[1][18][0].state == ("opted_out" if replaced else "active")
    cache.keep_prospects([prospect_of(newer, opted_out=False)], trust)
    cache.keep_prospects([prospect_of(older, opted_out=True)], trust)
    assert cache.prospects([18])[18].prospect.opted_out is replaced
    cache.keep_tasks([CachedTask(task_of(newer, "incomplete"), skipped=False)], trust)
    cache.keep_tasks([CachedTask(task_of(older, "skipped"), skipped=True)], trust)
    cached = cache.task(7)
    assert cached is not None
    assert cached.skipped is replaced


def test_a_stamp_that_was_ahead_when_it_was_stored_proves_nothing_later_either(cache: Cache) -> None:
    cache.keep_states([state_of("active", AHEAD)], Trust(NOW))
    cache.keep_states([state_of("opted_out", NOW)], Trust(Instant(AHEAD + 60_000)))
    assert cache.pooled([18])[1][18][0].state == "opted_out"


def test_since_when_an_opt_out_was_seen_is_not_kept_from_a_stamp_that_was_ahead(world: World) -> None:
    prospect = world.prospect(email="ada@example.com", emailOptedOut=True)
    world.sandbox.outreach.faults.on("stamps_ahead", ms=3_600_000)
    world.run()
    wrong = world.person()["cf_person_state_updated_at"]
    world.sandbox.outreach.faults.off("stamps_ahead")
    repair(world)
    right = world.person()["cf_person_state_updated_at"]
    assert right is not None
    assert wrong != right
    (updated,) = [one.values["updatedAt"] for one in world.outreach.all("prospect") if one.id == prospect]
    assert parse_iso(updated) // 1000 == right // 1000


def test_a_relationship_that_an_answer_does_not_tell_is_as_before_and_one_that_is_null_is_gone(cache: Cache) -> None:
    cache.keep_states([state_of("active", NOW)])
    untold = state_of("paused", NOW)._replace(
        prospect_id=None, sequence_id=None, untold=frozenset({"prospect", "sequence"})
    )
    assert cache.keep_states([untold]) == ({18}, 1)
    assert [(one.state, one.sequence_id) for one in cache.pooled([18])[1][18]] == [("paused", 1)]
    assert cache.keep_states([untold._replace(untold=frozenset())]) == ({18}, 1)
    assert cache.pooled([18])[1] == {}


@pytest.mark.parametrize("how", ["full", "reconcile"])
def test_full_and_reconcile_take_a_row_as_it_is_though_its_stamp_is_older(world: World, how: str) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    (state,) = world.states_of(prospect)
    world.outreach.update("sequenceState", state, state="opted_out", updatedAt="2026-01-01T00:00:00Z")
    world.run()
    assert world.person()[STATE] == RUNNING
    ended = world.run(full=True) if how == "full" else repair(world)
    assert (ended.exit_status, world.person()[STATE]) == (0, "Opted Out")


def test_a_full_walk_that_is_cut_off_goes_on_taking_rows_as_they_are(bench: Any) -> None:
    states = Stream.SEQUENCE_STATES
    pages = [bench.source.page(states=bench.states(one, "active")) for one in (1, 2)]
    bench.source.script[states] = pages
    pull(bench.run(), states)
    older = bench.source.page(states=bench.states(2, "opted_out", at=bench.now - 2 * 86_400_000))
    bench.source.script[states] = [pages[0], QuotaSpentError("spent")]
    with pytest.raises(QuotaSpentError):
        pull(bench.run(full=True), states)
    bench.source.script[states] = [pages[0], older]
    pull(bench.run(), states)
    assert bench.state.cache.pooled([2])[1][2][0].state == "opted_out"


def test_a_state_that_loses_its_prospect_no_longer_counts_for_it(world: World) -> None:
    prospect = world.prospect(email="ada@example.com", states=("active", "finished"))
    world.run()
    assert world.person()[STATE] == "Finished"
    world.outreach.update("sequenceState", world.states_of(prospect)[1], prospect=None)
    world.run()
    assert world.person()[STATE] == RUNNING


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"optedOut": True}, "Opted Out"), ({"trashedAt": "2026-09-01T00:00:00Z"}, "Not Active"), (None, "Not Active")],
    ids=["opted out without a stamp", "trashed without a stamp", "hidden from lists"],
)
def test_reconcile_reads_linked_prospects_by_id(world: World, change: dict[str, Any] | None, shown: str) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    world.outreach.keep_events = False
    stamp = world.outreach.get("prospect", prospect).values["updatedAt"]
    if change is None:
        world.outreach.update("prospect", prospect, hidden=True)
    else:
        world.outreach.update("prospect", prospect, updatedAt=stamp, **change)
    with world.state() as state, state.transaction():
        state.connection.execute("UPDATE progress SET watermark = watermark + 3600000")  # beyond the overlap
    world.run()
    assert world.person()[STATE] == RUNNING
    assert repair(world).exit_status == 0
    assert world.person()[STATE] == shown
    world.outreach.update("prospect", prospect, hidden=False, trashedAt=None)
    repair(world)
    assert world.person()[STATE] == ("Opted Out" if change and "optedOut" in change else RUNNING)


def test_refused_rows_of_any_answer_are_listed_and_leave_the_list_when_they_make_sense(world: World) -> None:
    prospect = world.prospect(email="ada@example.com", states=("active", "opted_out"))
    old = world.states_of(prospect)[1]
    world.outreach.update("sequenceState", old, updatedAt="2019-01-01T00:00:00Z")
    world.outreach.get("sequenceState", old).values["stateChangedAt"] = "soon"

    def by_id(run: Any) -> None:
        with run.store.transaction():
            for page in run.source.by_id(Stream.SEQUENCE_STATES, [old]):
                keep_page(run, page)

    assert world.do(by_id).exit_status == 1
    world.outreach.update("sequenceState", old, stateChangedAt=None, updatedAt="2019-01-01T00:00:00Z")
    assert world.do(by_id).exit_status == 0


# -- turns at a quota's end


def cut_off_at(bench: Any, stream: Stream) -> list[str]:
    """Run a cycle whose quota is spent at a stream; return which streams were read, in order."""
    bench.source.walked.clear()
    bench.source.script = {stream: [QuotaSpentError("spent")]}
    assert isinstance(pull_streams(bench.run()), QuotaSpentError)
    return [url.partition("?")[0] for url in bench.source.walked]


def test_prospects_are_read_first_and_the_others_take_turns_at_a_quotas_end(bench: Any) -> None:
    assert cut_off_at(bench, Stream.SEQUENCE_STATES) == ["prospects", "sequence_states"]
    assert cut_off_at(bench, Stream.SEQUENCE_STATES) == ["prospects", "tasks", "sequence_states"]
    assert cut_off_at(bench, Stream.TASKS) == ["prospects", "tasks"]
    assert cut_off_at(bench, Stream.TASKS) == ["prospects", "sequence_states", "tasks"]


# -- reading from a time that is named, while a walk is open


def test_since_leaves_an_open_walk_open_and_releases_nothing_of_it(world: World) -> None:
    world.settings["outreach"]["page_size"] = 1
    for number in range(3):
        world.prospect(email=f"p{number}@example.com")
    world.sandbox.outreach.faults.on("server_error_500", after=1, kind="sequenceState")
    assert world.run().exit_status == 4
    world.sandbox.outreach.faults.clear()
    with world.state() as state:
        walk = state.progress.of(Stream.SEQUENCE_STATES).walk
        assert walk is not None
        held = state.connection.execute("SELECT count(*) FROM changed WHERE held").fetchone()[0]
        assert held
    assert world.run(since=Instant(world.sandbox.clock.now() - 1)).exit_status == 4
    with world.state() as state:
        assert state.progress.of(Stream.SEQUENCE_STATES).walk == walk
        assert state.connection.execute("SELECT count(*) FROM changed WHERE held").fetchone()[0] >= held
    assert world.people() == []
    assert world.run().exit_status == 0
    assert len(world.people()) == 3


def test_events_are_kept_as_long_as_a_walk_may_read_them_again_and_those_of_tasks_for_ever(bench: Any) -> None:
    def event(number: int, task: int | None) -> Event:
        return Event(number, "skip_task" if task else "opt_out", bench.now, None, task, 18, None, None)

    bench.source.script[Stream.EVENTS] = [bench.source.page(events=[event(1, None), event(2, 7)])]
    pull(bench.run(), Stream.EVENTS)
    bench.source.script.clear()
    for days in range(6):
        assert bench.count("event") == 2 or days > 3
        bench.now = bench.source.clock = Instant(bench.now + 86_400_000)
        pull(bench.run(), Stream.EVENTS)
        bench.source.script.clear()
    assert bench.count("event") == 1
