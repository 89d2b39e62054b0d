"""How far each stream is: the watermark, and apart from it the progress of a walk that is not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import Instant
from outreach_sync.records import Stream
from outreach_sync.rules.watermark import Progress, Walk

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


class ProgressStore:
    """The table of streams."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def of(self, stream: Stream) -> Progress:
        """Return where a stream stands."""
        row = self._connection.execute(
            "SELECT watermark, sweep_began_at, walk_moves, walk_since, walk_sweeps, walk_next, walk_began_at,"
            " walk_local_at, walk_newest FROM progress WHERE stream = ?",
            (stream.value,),
        ).fetchone()
        if row is None:
            return Progress(None, None, None)
        watermark, swept, moves, since, sweeps, *rest = row
        return Progress(watermark, swept, None if moves is None else Walk(since, bool(moves), bool(sweeps), *rest))

    def watermarks(self) -> dict[Stream, Instant]:
        """Return the watermarks there are."""
        rows = self._connection.execute("SELECT stream, watermark FROM progress WHERE watermark IS NOT NULL")
        return {Stream(stream): Instant(watermark) for stream, watermark in rows}

    def any_walk_open(self, streams: Iterable[Stream]) -> bool:
        """Say whether any of these streams has a walk that is not complete.

        One that the config no longer names is never completed, and must hold nothing up.
        """
        rows = self._connection.execute("SELECT stream FROM progress WHERE walk_moves IS NOT NULL")
        return not {row[0] for row in rows}.isdisjoint(stream.value for stream in streams)

    def keep_walk(self, stream: Stream, walk: Walk | None) -> None:
        """Store how far a walk is (None: there is none to go on with); call it inside a transaction."""
        columns = (None,) * 7 if walk is None else (walk.moves_watermark, walk.since, walk.counts_as_sweep, *walk[3:])
        self._connection.execute(
            "INSERT INTO progress (stream, walk_moves, walk_since, walk_sweeps, walk_next, walk_began_at,"
            " walk_local_at, walk_newest) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET"
            " walk_moves = excluded.walk_moves, walk_since = excluded.walk_since, walk_sweeps = excluded.walk_sweeps,"
            " walk_next = excluded.walk_next, walk_began_at = excluded.walk_began_at,"
            " walk_local_at = excluded.walk_local_at, walk_newest = excluded.walk_newest",
            (stream.value, *columns),
        )

    def complete(self, stream: Stream, watermark: Instant | None, sweep_began_at: Instant | None) -> None:
        """End the walk and set the marks (None: leave as it is); call it inside a transaction."""
        self.keep_walk(stream, None)
        self._connection.execute(
            "UPDATE progress SET watermark = coalesce(?, watermark), sweep_began_at = coalesce(?, sweep_began_at)"
            " WHERE stream = ?",
            (watermark, sweep_began_at, stream.value),
        )

    def reset(self, stream: Stream) -> None:
        """Forget the watermark of a stream, so that the next run reads it as for the first time."""
        self._connection.execute("DELETE FROM progress WHERE stream = ?", (stream.value,))
