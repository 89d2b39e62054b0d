"""What the stream of events said, and the records that are to be read again by id because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.records import Event, Stream
from outreach_sync.store.sql import IDS, id_list

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from outreach_sync.instants import Instant

_COLUMNS = ", ".join(Event._fields)


class Events:
    """The tables of events and of what they concern. Call what changes them inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def keep(self, events: Iterable[Event]) -> list[Event]:
        """Store events; return those that were not known. They are never changed, and come again with each overlap."""
        latest = {event.id: event for event in events}
        rows = self._connection.execute(f"SELECT id FROM event WHERE id IN {IDS}", (id_list(latest),))
        known = {row[0] for row in rows}
        fresh = [event for event in latest.values() if event.id not in known]
        self._connection.executemany(
            f"INSERT INTO event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(tuple, fresh)
        )
        return fresh

    def skips_of(self, task_ids: Collection[int], names: Collection[str]) -> dict[int, Event]:
        """Return, by task, the first event of these names that says it was skipped."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM event WHERE task_id IN {IDS} AND name IN {IDS} ORDER BY id DESC",
            (id_list(task_ids), id_list(names)),
        )
        return {event.task_id: event for event in map(Event._make, rows) if event.task_id is not None}

    def forget_before(self, instant: Instant) -> None:
        """Drop events that no walk can read again; those of tasks are kept, as witnesses."""
        self._connection.execute("DELETE FROM event WHERE task_id IS NULL AND at < ?", (instant,))

    def add_concerns(self, stream: Stream, ids: Iterable[int], *, removed: bool) -> None:
        """Note records to be read again by id; `removed`: an event says that they are gone."""
        self._connection.executemany(
            "INSERT INTO concern VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET removed = excluded.removed",
            ((stream.value, one, removed) for one in ids),
        )

    def concerns(self, stream: Stream, limit: int) -> dict[int, bool]:
        """Return records to be read again by id, and whether an event says that they are gone."""
        rows = self._connection.execute(
            "SELECT id, removed FROM concern WHERE stream = ? ORDER BY id LIMIT ?", (stream.value, limit)
        )
        return {one: bool(removed) for one, removed in rows}

    def any_concern(self) -> bool:
        """Say whether any record is to be read again by id."""
        return bool(self._connection.execute("SELECT EXISTS (SELECT 1 FROM concern)").fetchone()[0])

    def concerns_read(self, stream: Stream, ids: Iterable[int]) -> None:
        """Note that records have been read again."""
        self._connection.executemany(
            "DELETE FROM concern WHERE stream = ? AND id = ?", ((stream.value, one) for one in ids)
        )
