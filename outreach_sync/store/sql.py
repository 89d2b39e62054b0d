"""What every table shares: a connection that says its failures in one line, lists of ids, and JSON in a column.

SQLite notices damage only when it comes to it, which may be at any row of any question. So the connection itself turns
what goes wrong into a `StateError`, wherever it happens.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from outreach_sync.errors import StateError
from outreach_sync.files import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Self

IDS = "(SELECT value FROM json_each(?))"
"""Stands for a list of ids in a statement; `id_list` makes its value."""

_BUSY_MS = 10_000
_CACHE_KIB = 8_192


class Cursor(sqlite3.Cursor):
    """A cursor whose failures are each a `StateError` that names the file: damaged, unusable, or a number too large."""

    def execute(self, *arguments: Any) -> Self:
        """Execute a statement."""
        with state_errors(self.connection.path):  # type: ignore[attr-defined]  # it is one of ours
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Self:
        """Execute a statement for each of many rows."""
        with state_errors(self.connection.path):  # type: ignore[attr-defined]
            return super().executemany(*arguments)

    def __next__(self) -> Any:
        """Return the next row."""
        try:
            return super().__next__()
        except sqlite3.Error as error:
            raise state_error(self.connection.path, error) from error  # type: ignore[attr-defined]

    def fetchone(self) -> Any:
        """Return the next row, None where there is none."""
        return next(self, None)

    def fetchall(self) -> list[Any]:
        """Return all other rows."""
        with state_errors(self.connection.path):  # type: ignore[attr-defined]
            return super().fetchall()


class Connection(sqlite3.Connection):
    """A connection to the state at `path` (None: a copy), with such cursors."""

    path: Path | None = None

    def cursor(self, *_: Any) -> Cursor:  # type: ignore[override]  # no other class of cursor is ever wanted
        """Make a cursor."""
        return super().cursor(Cursor)

    def execute(self, *arguments: Any) -> Cursor:
        """Execute a statement. Raises as the cursor does."""
        return self.cursor().execute(*arguments)

    def executemany(self, *arguments: Any) -> Cursor:
        """Execute a statement for each of many rows. Raises as the cursor does."""
        return self.cursor().executemany(*arguments)


def connect(address: str, path: Path | None, *, is_uri: bool = True) -> Connection:
    """Open a database.

    Args:
        address: a URI of SQLite's, or a name ("": a database without a name).
        path: what failures call it; None: a copy.
        is_uri: whether the address is a URI.

    Raises:
        StateError: it cannot be opened.
    """
    with state_errors(path):
        connection = sqlite3.connect(
            address, uri=is_uri, isolation_level=None, timeout=_BUSY_MS / 1000, factory=Connection
        )
    connection.path = path
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


@contextmanager
def state_errors(path: Path | None) -> Iterator[None]:
    """Turn what SQLite and the file system say into one line that names the file."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        raise state_error(path, error) from error
    except OSError as error:
        why = error.strerror if path is None else refusal(path, error)
        raise StateError(f"the state {path} cannot be used: {why}.", advice=_advice("")) from error


def state_error(path: Path | None, error: Exception) -> StateError:
    """Say as one line what SQLite said."""
    return StateError(f"the state {path or 'copy'} cannot be used: {error}.", advice=_advice(str(error)))


def id_list(ids: Iterable[int] | Iterable[str]) -> str:
    """Write ids, or texts, as `IDS` takes them."""
    return json.dumps(list(ids))


class Table:
    """What the classes of the tables share. What changes a table must be called inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def _column(self, query: str, values: Any = ()) -> list[Any]:
        """Return the first column of what a query finds."""
        return [row[0] for row in self._connection.execute(query, values).fetchall()]

    def _first(self, query: str, values: Any = ()) -> Any:
        """Return the first value of the first row that a query finds, None where there is no row."""
        return next(iter(self._connection.execute(query, values).fetchone() or ()), None)

    def _number(self, query: str, values: Any = ()) -> int:
        """Return what a query counts, or 1 or 0: whether there is something."""
        return int(self._first(query, values))

    def _each(self, statement: str, ids: Iterable[int]) -> None:
        """Execute a statement for each of these ids."""
        self._connection.executemany(statement, ((one,) for one in ids))

    def _sample(self, table: str, condition: str, most: int) -> list[int]:
        """Return a few ids of a table's rows: half of them the lowest, half the highest."""
        query = f"SELECT id FROM {table} WHERE {condition} ORDER BY id {{}} LIMIT {most // 2}"
        return sorted({one for order in ("ASC", "DESC") for one in self._column(query.format(order))})


def parsed(text: str) -> Any:
    """Read a JSON text of a column.

    Raises:
        StateError: it is damaged.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise StateError("the state holds a text that is not what was stored.", advice=_advice("malformed")) from error


def _advice(text: str) -> str:
    lowered = text.lower()
    if "full" in lowered:
        return "Free some disk space; nothing that was committed is lost."
    if "malformed" in lowered or "not a database" in lowered:
        return "It was left untouched: restore a backup with `state restore`, or move it away and run again."
    if "locked" in lowered:
        return "Another program holds it open; close that and run again."
    return "Check that its directory exists and is writable by this user."
