"""One run as a whole: what is recorded, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from outreach_sync import instants
from outreach_sync.conduct import outcome
from outreach_sync.errors import GuardStoppedError, InterruptedByError, LockHeldError, UnavailableError
from outreach_sync.instants import Instant
from outreach_sync.pipeline.tally import StreamTally, Tally
from outreach_sync.records import Stream
from outreach_sync.scrubbing import keep_secret
from outreach_sync.state.lock import run_lock

if TYPE_CHECKING:
    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.pipeline.run import Run
    from tests.conftest import World

DOWN = UnavailableError("down")


def tally(read: int) -> Tally:
    return Tally("1", Instant(0), dry_run=False, streams={Stream.TASKS: StreamTally(read=read)})


@pytest.mark.parametrize(
    ("read", "status", "error", "word"),
    [
        (0, 0, None, "ok"),
        (5, 0, None, "ok"),
        (0, 1, None, "partial"),
        (5, 4, DOWN, "partial"),
        (0, 4, DOWN, "failed"),
        (5, 6, GuardStoppedError("x"), "failed"),
        (5, 143, InterruptedByError(15), "partial"),
        (0, 143, InterruptedByError(15), "failed"),
    ],
)
def test_the_outcome_in_a_word(read: int, status: int, error: OutreachSyncError | None, word: str) -> None:
    assert outcome(tally(read), status, error) == word


def test_a_run_is_recorded_with_what_it_did_and_how_it_ended(world: World) -> None:
    world.prospect(email="ada@example.com")
    ended = world.run()
    with world.state() as state:
        (record,) = state.runs.latest()
    assert (record.exit_status, record.outcome, record.id) == (0, "ok", ended.document["run_id"])
    assert record.summary == json.loads(json.dumps(ended.document))


def test_a_run_that_fails_is_recorded_with_its_error(world: World) -> None:
    world.sandbox.outreach.stop()
    ended = world.run(sync={"patience": "1s"})
    with world.state() as state:
        (record,) = state.runs.latest()
    assert (ended.exit_status, record.exit_status, record.outcome) == (4, 4, "failed")
    assert "Outreach" in record.summary["error"]


def test_a_dry_run_is_not_recorded(world: World) -> None:
    world.run()
    world.run(dry_run=True)
    with world.state() as state:
        assert len(state.runs.latest(9)) == 1


def test_old_runs_are_dropped_and_young_ones_kept(world: World) -> None:
    world.run()
    with world.state() as state, state.transaction():
        state.runs.begin("old", "run", Instant(instants.now() - instants.parse_duration("91d")))
        state.runs.begin("young", "run", Instant(instants.now() - instants.parse_duration("89d")))
    world.run()
    with world.state() as state:
        assert {record.id for record in state.runs.latest(9)} >= {"young"}
        assert "old" not in {record.id for record in state.runs.latest(9)}


def test_two_runs_at_once_are_one_run_and_an_error_that_names_the_holder(world: World) -> None:
    with run_lock(world.state_path, "run"), pytest.raises(LockHeldError, match=r"process \d+ \(run\), since 20"):
        world.run()


def test_a_lock_is_free_again_after_the_run(world: World) -> None:
    world.run()
    assert world.run().exit_status == 0


def test_a_key_that_a_service_repeats_is_neither_printed_nor_stored(world: World) -> None:
    keep_secret("S3CRETKEYWB")

    def fail(_run: Run) -> None:
        raise UnavailableError("Workbooks refused: bad key S3CRETKEYWB")

    ended = world.do(fail)
    with world.state() as state:
        (record,) = state.runs.latest()
    assert "refused" in ended.document["error"]
    assert "S3CRETKEYWB" not in json.dumps([ended.document, record.summary])
