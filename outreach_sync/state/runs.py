"""The history of runs: what each did and how it ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.state.sql import parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from outreach_sync.instants import Instant


_GRACE_MS = 86_400_000
"""Two clocks that are both right for all purposes here may differ by so much."""


class RunRecord(NamedTuple):
    """One run. `finished_at` is None while it goes on, or for ever where the process was killed.

    `number` says in which order runs were made; the times are this machine's, and may be wrong.
    """

    id: str
    command: str
    started_at: Instant
    finished_at: Instant | None
    exit_status: int | None
    outcome: str | None
    summary: Mapping[str, Any]
    number: int = 0


_COLUMNS = "id, command, started_at, finished_at, exit_status, outcome, summary, number"


class Runs:
    """The table of runs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def begin(self, run_id: str, command: str, started_at: Instant) -> None:
        """Record that a run began; call it inside a transaction."""
        self._connection.execute(
            "INSERT INTO run (id, command, started_at) VALUES (?, ?, ?)", (run_id, command, started_at)
        )

    def finish(
        self,
        run_id: str,
        finished_at: Instant,
        exit_status: int,
        outcome: str,
        summary: Mapping[str, Any],
        *,
        heard_at: Instant | None = None,
    ) -> None:
        """Record how a run ended; call it inside a transaction. `heard_at` is Outreach's clock, None: not heard."""
        self._connection.execute(
            "UPDATE run SET finished_at = ?, exit_status = ?, outcome = ?, summary = ?, heard_at = ? WHERE id = ?",
            (finished_at, exit_status, outcome, json.dumps(summary), heard_at, run_id),
        )

    def forget_before(self, instant: Instant, now: Instant) -> bool:
        """Drop the runs made before the first one of the time from `instant` to `now`, by Outreach's clock.

        By their order, since a time that a wrong clock put down proves nothing: a run that is newer than one to be kept
        is kept, whatever it says. A run that heard nothing of Outreach's clock is dated by this machine's. Nothing is
        dropped where the run before heard a time that is not between the two: one of both was wrong, and the next run
        will tell. Call it inside a transaction; returns whether `now` is believed.
        """
        before = self._connection.execute(
            "SELECT heard_at FROM run WHERE heard_at IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET 1"
        ).fetchone()
        if before is not None and not instant <= before[0] <= now + _GRACE_MS:
            return False
        kept = self._connection.execute(
            "SELECT min(number) FROM run WHERE coalesce(heard_at, started_at) BETWEEN ? AND ?",
            (instant, now + _GRACE_MS),
        ).fetchone()[0]
        if kept is not None:
            self._connection.execute("DELETE FROM write WHERE run_id IN (SELECT id FROM run WHERE number < ?)", (kept,))
            self._connection.execute("DELETE FROM run WHERE number < ?", (kept,))
        return True

    def latest(self, count: int = 1) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM run ORDER BY number DESC LIMIT ?", (count,))
        return [_record(row) for row in rows]

    def latest_of(self, command: str) -> RunRecord | None:
        """Return the newest run of a command, None where there is none."""
        query = f"SELECT {_COLUMNS} FROM run WHERE command = ? ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query, (command,)).fetchone()
        return None if row is None else _record(row)

    def oldest(self) -> RunRecord | None:
        """Return the oldest run that is still recorded, None where there is none."""
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM run ORDER BY number LIMIT 1").fetchone()
        return None if row is None else _record(row)

    def since(self, instant: Instant) -> list[RunRecord]:
        """Return all runs that say they began at or after `instant`, in the order in which they were made."""
        query = f"SELECT {_COLUMNS} FROM run WHERE started_at >= ? ORDER BY number"
        return [_record(row) for row in self._connection.execute(query, (instant,))]


def _record(row: tuple[Any, ...]) -> RunRecord:
    record = RunRecord._make(row)
    return record._replace(summary=parsed(row[6]) if row[6] else {})
