"""What goes wrong on the machine that the program runs on. Each returns the exit statuses of the cycles under it."""

from __future__ import annotations

import itertools
import signal
import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from outreach_sync.connections import Transport
from outreach_sync.errors import InterruptedByError, OutreachSyncError
from outreach_sync.store import run_lock
from tests.harness import NoWaiting
from tests.torture.world import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.torture.world import World


def status_of(world: World, **options: Any) -> int:
    """Do one run; return its exit status, as the command would."""
    try:
        ended = world.run(**options)
    except OutreachSyncError as error:
        return error.exit_status
    if isinstance(ended.error, InterruptedByError):
        return 128 + ended.error.signal_number
    return ended.exit_status


def disk_full(world: World) -> list[int]:
    """No page more fits into the file, at one moment after another."""
    connect = sqlite3.connect
    statuses = []
    for room in (0, 2, 6):
        for number in range(20):
            world.outreach.add_prospect(
                firstName=f"{room}-{number} " + "x" * 200, emails=[f"{room}.{number}@example.com"]
            )
            world.outreach.add_state(len(world.outreach.all("prospect")), 1, "active")
        world.note()

        def full_connect(*args: Any, room: int = room, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **options)
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + room}")
            return connection

        with mock.patch.object(sqlite3, "connect", full_connect):
            statuses.append(status_of(world))
    assert 2 in statuses
    return statuses


def damaged_database(world: World) -> list[int]:
    """The file is no database any more: it is left as it is, and the administrator moves it away."""
    status_of(world)
    world.state_path.write_bytes(b"\xff" * 4096 + world.state_path.read_bytes()[4096:])
    before, statuses = world.state_path.read_bytes(), [status_of(world)]
    assert (statuses, world.state_path.read_bytes()) == ([2], before), "a state that cannot be used was overwritten"
    world.lose_the_state()
    return statuses


def two_runs_at_once(world: World) -> list[int]:
    """Another run holds the lock."""
    writes = len(world.workbooks.writes)
    with run_lock(world.state_path, "run"):
        statuses = [status_of(world)]
    assert statuses == [5]
    assert len(world.workbooks.writes) == writes
    return statuses


def sigterm_in_a_batch(world: World) -> list[int]:
    """Somebody asks to stop while a write is under way, with one object in a batch."""
    world.change("workbooks", batch_size=1, concurrency=1)
    statuses = []
    for moment in (1, 2, 4):
        stop, send, count = NoWaiting(world.time), Transport.send, itertools.count(1)

        def send_and_stop(
            *args: Any, stop: NoWaiting = stop, at: int = moment, count: Any = count, send: Any = send, **options: Any
        ) -> Any:
            if "_method=PUT" in str(options.get("body")) and next(count) == at:
                stop.set(signal.SIGTERM)
            return send(*args, **options)

        with mock.patch.object(Transport, "send", send_and_stop):
            statuses.append(status_of(world, stop=stop))
    assert 143 in statuses
    return statuses


def config_changes(world: World) -> list[int]:
    """Between two runs other labels, another mode and other pages are configured."""
    statuses = [status_of(world)]
    world.change("sync", multiple_sequences="precedence", labels={"paused": "Pending"})
    world.change("outreach", page_size=3)
    return [*statuses, status_of(world)]


def lost_state(world: World) -> list[int]:
    """The database is gone after a run: people and tasks are found again by reference."""
    statuses = [status_of(world)]
    world.lose_the_state()
    return statuses


def lost_state_and_tokens(world: World) -> list[int]:
    """Everything beside the config is gone."""
    statuses = [status_of(world)]
    for path in filter(Path.is_file, world.state_path.parent.glob("state.db*")):
        path.unlink()
    return statuses


def wrong_clock(world: World, by: int) -> list[int]:
    """This machine's clock is more than a day fast or slow for some runs."""
    world.pass_time(by)
    world.sandbox.clock.advance(-by)
    statuses = [status_of(world), status_of(world)]
    world.outreach.add_state(1, 3, "bounced", stateChangedAt=world.now())
    world.note()
    statuses.append(status_of(world))
    world.pass_time(-by)
    world.sandbox.clock.advance(by)
    return statuses


def thousand_of_one_stamp(world: World) -> list[int]:
    """Far more records than fit on a page share one time stamp."""
    at = world.now()
    for number in range(60):
        world.outreach.add_state(1 + number % 12, 1 + number % 3, "finished", stateChangedAt=at, updatedAt=at)
    world.note()
    return [status_of(world)]


def visible_late(world: World) -> list[int]:
    """A state and an opt-out become visible minutes and hours after their time stamps."""
    for hours, state in ((0.2, "bounced"), (5, "opted_out"), (20, "paused")):
        values = {"prospect": 1 + int(hours) % 12, "sequence": 2, "state": state, "stateChangedAt": world.now()}
        world.outreach.add("sequenceState", values, visible_after_ms=int(hours * HOUR))
    statuses = []
    for _ in range(5):
        statuses.append(status_of(world))
        world.pass_time(9 * HOUR)
    return statuses


LOCAL: dict[str, Callable[[World], list[int]]] = {
    **{
        scenario.__name__: scenario
        for scenario in (
            *(disk_full, damaged_database, two_runs_at_once, sigterm_in_a_batch),
            *(config_changes, lost_state, lost_state_and_tokens, thousand_of_one_stamp, visible_late),
        )
    },
    "clock_ahead": partial(wrong_clock, by=DAY + HOUR),
    "clock_behind": partial(wrong_clock, by=-DAY - HOUR),
}
