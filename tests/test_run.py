"""One run as a whole: what is recorded, and how it ends."""

import json
import sqlite3
import time
from typing import Any

import pytest

from outreach_sync import instants
from outreach_sync.errors import OutreachSyncError, UnavailableError
from outreach_sync.instants import Instant
from outreach_sync.log import keep_secret
from outreach_sync.records import Stream
from outreach_sync.run import Run, RunSummary, StreamSummary
from outreach_sync.store import run_lock
from outreach_sync.store.outbox import Outbox
from outreach_sync.store.progress import History, RunRecord
from tests.conftest import World


def recorded(world: World) -> list[RunRecord]:
    with world.state() as state:
        return state.history.runs(9)


@pytest.mark.parametrize(  # with 3, Workbooks refused the key, and what was read is queued
    ("read", "status", "word"),
    [(5, 0, "ok"), (0, 1, "partial"), (5, 3, "partial"), (0, 3, "failed"), (5, 143, "partial")],
)
def test_the_outcome_in_a_word(read: int, status: int, word: str) -> None:
    summary = RunSummary("1", Instant(0), dry_run=False, streams={Stream.TASKS: StreamSummary(read=read)})
    if status > 1:
        summary.error = OutreachSyncError("x")
        summary.error.exit_status = status
    summary.failing = status
    assert summary.outcome == word


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_is_recorded_with_what_it_did_and_how_it_ended(world: World, *, fails: bool) -> None:
    world.prospect(email="ada@example.com")
    if fails:
        world.sandbox.outreach.stop()
    ended = world.run(sync={"patience": "1s"})
    (record,) = recorded(world)
    assert (record.exit_status, record.outcome) == ((4, "failed") if fails else (0, "ok"))
    assert (record.id, record.summary) == (ended.run_id, json.loads(json.dumps(ended.document)))
    assert ("Outreach" in record.summary.get("error", "")) is fails


def test_a_dry_run_is_not_recorded_takes_no_lock_and_leaves_no_file(world: World) -> None:
    def files() -> list[str]:
        return sorted(one.name for one in world.state_path.parent.iterdir() if "token" not in one.name)

    assert (world.run(dry_run=True).exit_status, files()) == (0, [])
    world.run()
    before = files()
    with run_lock(world.state_path, "run"):
        assert world.run(dry_run=True).exit_status == 0
    assert (files(), len(recorded(world))) == (before, 1)


@pytest.mark.parametrize(("kept", "old", "young"), [(None, "91d", "89d"), ("10d", "11d", "9d")])
def test_old_runs_are_dropped_and_young_ones_kept(world: World, kept: str | None, old: str, young: str) -> None:
    if kept:
        world.change("state", keep_runs=kept)
    with world.state() as state, state.transaction():
        for span in (old, young):
            state.history.begin(span, "run", Instant(instants.now() - instants.parse_duration(span)))
    world.run()
    assert [record.id for record in recorded(world)][1:] == [young]


@pytest.mark.parametrize("whose", ["this machine's clock", "Outreach's clock"])
def test_a_run_in_the_wrong_year_drops_and_hides_no_other(whose: str, world: World, monkeypatch: Any) -> None:
    world.run()
    world.run()
    for wrong in (300_000_000_000, -1_000_000_000_000):
        if whose == "Outreach's clock":
            world.sandbox.outreach.faults.on("clock_skew", ms=wrong)
        else:
            monkeypatch.setattr(instants, "now", lambda by=wrong: Instant(time.time_ns() // 10**6 + by))
        world.run()
        monkeypatch.undo()
        world.sandbox.outreach.faults.clear()
    last = world.run()
    assert (len(recorded(world)), recorded(world)[0].id) == (5, last.run_id)


def test_a_key_that_a_service_repeats_is_neither_printed_nor_stored(world: World) -> None:
    keep_secret("S3CRETKEYWB")

    def fail(_run: Run) -> None:
        raise UnavailableError("Workbooks refused: bad key S3CRETKEYWB")

    ended = world.do(fail)
    assert "refused" in ended.document["error"]
    assert "S3CRETKEYWB" not in json.dumps([ended.document, recorded(world)[0].summary])


@pytest.mark.parametrize(("where", "step"), [(History, "begin"), (History, "finish"), (Outbox, "counts")])
def test_a_state_that_fails_at_the_record_of_a_run_hides_nothing_it_did(
    where: type, step: str, world: World, monkeypatch: Any
) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(where, step, full)
    world.prospect(email="ada@example.com")
    ended = world.run()
    assert (ended.exit_status, ended.document["outcome"]) == (2, "failed" if step == "begin" else "partial")
    assert "disk is full" in ended.document["error"]
    assert ended.document["people"]["created"] == (0 if step == "begin" else 1)
    if step == "counts":
        assert recorded(world)[0].exit_status == 2
    if step == "finish":  # a service that failed is not forgotten for it
        world.sandbox.outreach.stop()
        assert world.run(sync={"patience": "1s"}).exit_status == 4


def test_a_pilot_lets_nothing_pass_the_guard_but_what_it_writes(world: World) -> None:
    prospects = world.known(15)
    world.outreach.keep_events = False
    for prospect in prospects:
        world.outreach.update("sequenceState", world.states_of(prospect)[0], prospect=None)
    assert world.run().exit_status == 6
    assert world.run(limit=2).document["people"]["updated"] == 2
    assert world.run(prospects=(prospects[-1],)).document["people"]["updated"] == 1
    for full in (False, True):
        ended = world.run(full=full)
        assert (ended.exit_status, ended.document["people"]["updated"]) == (6, 0)


def test_what_waits_is_said_by_a_run_that_cannot_begin_too_and_what_was_discarded_does_not(world: World) -> None:
    prospect = world.prospect(email="ada@example.com", states=("hibernating",))
    world.outreach.get("task", world.skipped_task(prospect)).values["dueAt"] = "soon"
    document = world.run().document
    assert [(document[part]["rejected"], document[part]["queued"]) for part in ("people", "tasks")] == [(1, 1)] * 2
    tokens = world.state_path.with_name("state.db.tokens")
    kept = tokens.read_text()
    tokens.write_text("no tokens")
    ended = world.run()
    assert (ended.exit_status, ended.failing, ended.document["people"]["queued"]) == (2, 2, 1)
    tokens.write_text(kept)
    with world.state() as state, state.transaction():
        state.outbox.discard([entry.id for entry in state.outbox.failures()])
    assert world.run().document["people"]["queued"] == 0
