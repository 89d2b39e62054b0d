"""Opening the state file, keeping it whole, and the one way to change it.

Durability: WAL with `synchronous=FULL`, so that what was committed before a request left is still there after a power
cut.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from outreach_sync.errors import StateError
from outreach_sync.files import make_directory, open_private, refusal, resolved
from outreach_sync.state.facts import Facts
from outreach_sync.state.forgotten import Forgotten
from outreach_sync.state.history import History
from outreach_sync.state.outbox import Outbox
from outreach_sync.state.people import People
from outreach_sync.state.progress import ProgressStore
from outreach_sync.state.runs import Runs
from outreach_sync.state.undecided import Undecided

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from outreach_sync.state.cache import Cache

CURRENT_VERSION = 2
_BUSY_MS = 10_000
_MAGIC = b"SQLite format 3\0"
_CACHE_KIB = 8_192


class State:
    """An open state file and the stores in it.

    Attributes:
        people: links, and what Workbooks last accepted.
        undecided: prospects whose Person has to be decided again.
        outbox: what waits to be written, or was refused.
        progress: watermarks and walks.
        runs: the runs that were made.
        history: accepted writes, and counts by day.
        facts: single named values.
        forgotten: whom a request for erasure concerned.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        """Wrap a connection whose tables are current; `path` is None for a scratch copy."""
        self.connection = connection
        self.path = path
        self.people = People(connection)
        self.undecided = Undecided(connection)
        self.outbox = Outbox(connection)
        self.progress = ProgressStore(connection)
        self.runs = Runs(connection)
        self.history = History(connection)
        self.facts = Facts(connection)
        self.forgotten = Forgotten(connection)

    @cached_property
    def cache(self) -> Cache:
        """What Outreach said. The records take a while to import, and `status` never looks at one."""
        from outreach_sync.state.cache import Cache  # noqa: PLC0415

        return Cache(self.connection)

    def count_states(self) -> int:
        """Count the sequence states that are cached."""
        return int(self.connection.execute("SELECT count(*) FROM sequence_state").fetchone()[0])

    @classmethod
    def open(cls, path: Path) -> State:
        """Open the file, creating it (0600, in a directory that is created) or bringing it up to date.

        Raises:
            StateError: it cannot be opened, is damaged, or was written by a newer version.
        """
        path = resolved(path)
        with _as_state_error(path):
            _create_private(path)
            connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
            try:
                _version_of_ours(connection, path)
                _make_durable(connection)
                _bring_up_to_date(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    @classmethod
    def open_to_read(cls, path: Path) -> State | None:
        """Open the file without ever changing it; None where there is none yet.

        Raises:
            StateError: as for `open`.
        """
        if not is_there(path):
            return None
        with _as_state_error(path), ExitStack() as unless_ours:
            connection = unless_ours.enter_context(closing(_connect(f"{path.absolute().as_uri()}?mode=ro")))
            version = _version_of_ours(connection, path)
            if version == 0:
                return None
            if version == CURRENT_VERSION:
                unless_ours.pop_all()
                return cls(connection, path)
        return cls.open_scratch(path)  # of an older version: the next run brings the file itself up to date

    @classmethod
    def open_scratch(cls, path: Path) -> State:
        """Return a copy of the file, or an empty state where there is none, leaving no trace on the disk.

        It can be changed freely and is gone when closed: what a dry run works on. It is SQLite's unnamed temporary
        database: in memory while small, else in a file that has no name.

        Raises:
            StateError: as for `open`.
        """
        copy = sqlite3.connect("", isolation_level=None)
        with _as_state_error(path):
            if path.exists():
                with closing(_connect(_read_only(path))) as connection:
                    _version_of_ours(connection, path)
                    connection.backup(copy)
            copy.execute("PRAGMA journal_mode = MEMORY")
            if copy.execute("PRAGMA user_version").fetchone()[0] != CURRENT_VERSION:
                _migrate(copy)
        return cls(copy, None)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction: all of it is in the file afterwards, or nothing.

        IMMEDIATE, since a read that turns into a write would fail at once where another process holds the file.

        Raises:
            StateError: the file could not be written (disk full, read-only, damaged, locked for too long).
        """
        with _as_state_error(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.rollback()
                raise
            self.connection.commit()

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with _as_state_error(self.path):
            if self.path is not None:
                with suppress(sqlite3.OperationalError):  # no reason to fail a run that is done
                    self.connection.execute("PRAGMA optimize")
            self.connection.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def is_there(path: Path) -> bool:
    """Say whether there is a state file.

    Raises:
        StateError: its directory may not be entered, so that nobody can say.
    """
    with _as_state_error(path):
        return path.exists()


def _create_private(path: Path) -> None:
    """Make the directory and an empty file that only its owner can read, before SQLite opens it."""
    make_directory(path.parent)
    descriptor = open_private(path)
    try:
        beginning = os.pread(descriptor, len(_MAGIC), 0)
    finally:
        os.close(descriptor)
    if beginning not in {b"", _MAGIC}:  # SQLite takes a file of a few bytes for an empty one and overwrites it
        raise sqlite3.DatabaseError("file is not a database")


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_MS / 1000)
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


def _make_durable(connection: sqlite3.Connection) -> None:
    """Set the journal up, which changes the file: only once it is known to be ours."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > CURRENT_VERSION:
        connection.close()
        raise StateError(
            f"the state {path} was written by a newer version of outreach-sync (format {version}, this one knows "
            f"{CURRENT_VERSION}); it was left untouched.",
            advice="Use the newer program, or `state restore` a backup from before the upgrade.",
        )
    return version


def _version_of_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables, 0: there are none; refuse a file that is newer, or another program's."""
    version = _version(connection, path)
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StateError(
            f"{path} is a database, but not one of outreach-sync; it was left untouched.",
            advice="Name another file as state.path.",
        )
    return version


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection, path)
    if version == CURRENT_VERSION:
        return
    if version:
        _back_up_before_migration(connection, path, version)
    _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, all of it or nothing.

    sqlite-utils makes its own table outside of its transactions, and a file that holds only that would look like
    somebody else's.
    """
    from sqlite_utils import Database  # noqa: PLC0415 - slow to import, rarely needed

    from outreach_sync.state.schema import migrations  # noqa: PLC0415

    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(Database(connection, execute_plugins=False))
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _read_only(path: Path) -> str:
    """Return how to open the file under the run lock and leave no helper files where it was closed cleanly."""
    clean = not path.with_name(path.name + "-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if clean else ''}"


def _back_up_before_migration(connection: sqlite3.Connection, path: Path, version: int) -> None:
    target = path.with_name(f"{path.name}.before-{CURRENT_VERSION}-from-{version}")
    _create_private(target)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


@contextmanager
def _as_state_error(path: Path | None) -> Iterator[None]:
    """Turn what SQLite and the file system say into one line that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(f"the state {path or 'copy'} cannot be used: {error}.", advice=_advice(str(error))) from error
    except OSError as error:
        why = error.strerror if path is None else refusal(path, error)
        raise StateError(f"the state {path} cannot be used: {why}.", advice=_advice("")) from error


def _advice(text: str) -> str:
    lowered = text.lower()
    if "full" in lowered:
        return "Free some disk space; nothing that was committed is lost."
    if "malformed" in lowered or "not a database" in lowered:
        return "It was left untouched: restore a backup with `state restore`, or move it away and run again."
    if "locked" in lowered:
        return "Another program holds it open; close that and run again."
    return "Check that its directory exists and is writable by this user."
