"""The history of runs: what each did and how it ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


class RunRecord(NamedTuple):
    """One run. `finished_at` is None while it goes on, or for ever where the process was killed."""

    id: str
    command: str
    started_at: Instant
    finished_at: Instant | None
    exit_status: int | None
    outcome: str | None
    summary: Mapping[str, Any]


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
        self, run_id: str, finished_at: Instant, exit_status: int, outcome: str, summary: Mapping[str, Any]
    ) -> None:
        """Record how a run ended; call it inside a transaction."""
        self._connection.execute(
            "UPDATE run SET finished_at = ?, exit_status = ?, outcome = ?, summary = ? WHERE id = ?",
            (finished_at, exit_status, outcome, json.dumps(summary), run_id),
        )

    def forget_before(self, instant: Instant) -> None:
        """Drop runs that began before `instant`; call it inside a transaction."""
        self._connection.execute("DELETE FROM run WHERE started_at < ?", (instant,))

    def latest(self, count: int = 1) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        rows = self._connection.execute("SELECT * FROM run ORDER BY started_at DESC, rowid DESC LIMIT ?", (count,))
        return [_record(row) for row in rows]

    def latest_of(self, command: str) -> RunRecord | None:
        """Return the newest run of a command, None where there is none."""
        query = "SELECT * FROM run WHERE command = ? ORDER BY started_at DESC, rowid DESC LIMIT 1"
        row = self._connection.execute(query, (command,)).fetchone()
        return None if row is None else _record(row)

    def oldest(self) -> RunRecord | None:
        """Return the oldest run that is still recorded, None where there is none."""
        row = self._connection.execute("SELECT * FROM run ORDER BY started_at, rowid LIMIT 1").fetchone()
        return None if row is None else _record(row)

    def since(self, instant: Instant) -> list[RunRecord]:
        """Return all runs that began at or after `instant`, oldest first."""
        query = "SELECT * FROM run WHERE started_at >= ? ORDER BY started_at, rowid"
        return [_record(row) for row in self._connection.execute(query, (instant,))]


def _record(row: tuple[Any, ...]) -> RunRecord:
    run_id, command, started_at, finished_at, exit_status, outcome, summary = row
    return RunRecord(
        run_id, command, Instant(started_at), finished_at, exit_status, outcome, json.loads(summary) if summary else {}
    )
