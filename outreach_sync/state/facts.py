"""Single named values that outlive a run: fingerprints of the rules in force, what was last heard of quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


class Facts:
    """Named texts in the state file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def get(self, name: str) -> str | None:
        """Return the value of a fact, None where it was never set."""
        row = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, value: str) -> None:
        """Set a fact; call it inside a transaction."""
        self._connection.execute(
            "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )
