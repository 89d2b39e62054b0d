"""How far each stream is: the watermark, and apart from it the progress of a walk that is not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import Instant
from outreach_sync.records import Stream
from outreach_sync.rules.watermark import Progress, Walk

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


SURVEY = "survey"
"""The name under which the walk through all sequence states is kept that `reconcile` makes."""
_WALK = (
    "walk_since, walk_moves, walk_sweeps, walk_next, walk_began_at, walk_local_at, walk_newest, walk_as_is"  # as `Walk`
)


class ProgressStore:
    """The table of walks: one row for each stream, one for the survey.

    What changes something must be called inside a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def of(self, name: str) -> Progress:
        """Return where a stream (or the survey) stands."""
        row = self._connection.execute(
            f"SELECT watermark, sweep_began_at, {_WALK} FROM progress WHERE stream = ?", (str(name),)
        ).fetchone()
        if row is None:
            return Progress(None, None, None)
        watermark, swept, since, moves, sweeps, *rest, as_is = row
        walk = None if moves is None else Walk._make((since, bool(moves), bool(sweeps), *rest, bool(as_is)))
        return Progress(watermark, swept, walk)

    def watermarks(self) -> dict[Stream, Instant]:
        """Return the watermarks there are."""
        rows = self._connection.execute(
            "SELECT stream, watermark FROM progress WHERE watermark IS NOT NULL AND stream <> ?", (SURVEY,)
        )
        return {Stream(stream): Instant(watermark) for stream, watermark in rows}

    def any_walk_open(self, streams: Iterable[Stream]) -> bool:
        """Say whether any of these streams has a walk that is not complete.

        One that the config no longer names is never completed, and must hold nothing up.
        """
        rows = self._connection.execute("SELECT stream FROM progress WHERE walk_moves IS NOT NULL")
        return not {row[0] for row in rows}.isdisjoint(stream.value for stream in streams)

    def keep_walk(self, name: str, walk: Walk | None) -> None:
        """Store how far a walk is (None: there is none to go on with)."""
        assignments = ", ".join(f"{column} = excluded.{column}" for column in _WALK.split(", "))
        self._connection.execute(
            f"INSERT INTO progress (stream, {_WALK}) VALUES (?{', ?' * len(Walk._fields)})"
            f" ON CONFLICT (stream) DO UPDATE SET {assignments}",
            (str(name), *(walk or (None,) * len(Walk._fields))),
        )

    def complete(self, name: str, watermark: Instant | None, sweep_began_at: Instant | None) -> None:
        """End the walk and set the marks (None: leave as it is)."""
        self.keep_walk(name, None)
        self._connection.execute(
            "UPDATE progress SET watermark = coalesce(?, watermark), sweep_began_at = coalesce(?, sweep_began_at)"
            " WHERE stream = ?",
            (watermark, sweep_began_at, str(name)),
        )

    def reset(self, name: str) -> None:
        """Forget the watermark of a stream, so that the next run reads it as for the first time."""
        self._connection.execute("DELETE FROM progress WHERE stream = ?", (str(name),))
