"""Whom a request for erasure concerned: ids only, kept so that they are never created again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


class Forgotten:
    """The table of forgotten prospects and Persons."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def prospects(self) -> frozenset[int]:
        """Return the ids of forgotten prospects: few, since each was asked for by hand."""
        return self._ids("prospect")

    def people(self) -> frozenset[int]:
        """Return the Workbooks ids of forgotten people."""
        return self._ids("person")

    def add(self, kind: str, record_id: int) -> None:
        """Remember an id (`prospect` or `person`); call it inside a transaction."""
        self._connection.execute("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", (kind, record_id))

    def _ids(self, kind: str) -> frozenset[int]:
        return frozenset(row[0] for row in self._connection.execute("SELECT id FROM forgotten WHERE kind = ?", (kind,)))
