"""The SQLite file: what was read, what Workbooks last accepted, what waits, how far each stream is.

One run at a time holds its lock, and everything reaches it through `Store.transaction`. Durability: WAL with
`synchronous=FULL`, so that what was committed before a request left is still there after a power cut.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlite_utils import Database

from outreach_sync import instants
from outreach_sync.errors import LockHeldError, StateError
from outreach_sync.files import beside, flush_directory, make_directory, open_private, refusal, resolved
from outreach_sync.store.cache import Cache
from outreach_sync.store.outbox import Outbox
from outreach_sync.store.people import People, Undecided
from outreach_sync.store.progress import Events, Facts, History, ProgressStore
from outreach_sync.store.schema import TABLES, VERSION, connect, migrations, state_error, state_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from outreach_sync.instants import Instant

PARTIAL = ".partial"
_MAGIC = b"SQLite format 3\0"
_NOTHING_BESIDE_IT = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}  # it cannot make what it wants beside a state


class Store(AbstractContextManager["Store"]):
    """An open state file. What SQLite says inside a `with` block, or a transaction, leaves that as a `StateError`."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        """Wrap a connection whose tables are current; `path` is None for a scratch copy."""
        self.connection = connection
        self.path = path
        self.cache = Cache(connection)  # what Outreach said
        self.people = People(connection)  # links, and what Workbooks last accepted
        self.undecided = Undecided(connection)  # prospects whose Person has to be decided again
        self.outbox = Outbox(connection)  # what waits to be written, or was refused
        self.progress = ProgressStore(connection)  # watermarks and walks
        self.events = Events(connection)  # what they said, and what is to be read again because of it
        self.history = History(connection)  # the runs that were made, accepted writes, and counts by day
        self.facts = Facts(connection)  # single named values

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the file, made with 0600 where there is none, brought up to date; StateError: it is damaged or newer."""
        path = resolved(path)
        with state_errors(path), ExitStack() as unless_ours:
            make_directory(path.parent)
            with os.fdopen(open_private(path), "rb") as file:  # private before SQLite opens it
                # It overwrites a file of a few bytes. Of a pipe, nothing may ever come.
                if not path.is_file() or file.read(len(_MAGIC)) not in {b"", _MAGIC}:
                    raise sqlite3.DatabaseError("file is not a database")
            connection = unless_ours.enter_context(closing(connect(path)))
            version = version_of_ours(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")  # changes the file: only once it is known to be ours
            connection.execute("PRAGMA synchronous = FULL")
            if version not in {0, VERSION}:
                copy_whole(connection, path.with_name(f"{path.name}.before-{VERSION}-from-{version}"))
            if version != VERSION:
                _migrate(connection)
            unless_ours.pop_all()
        return cls(connection, path)

    @classmethod
    def open_to_read(cls, path: Path) -> Store | None:
        """Open the file, or a copy of it, without ever changing it; None where there is none. Raises as `open` does."""
        path = resolved(path)
        if not is_there(path):
            return None
        with state_errors(path), ExitStack() as unless_ours:
            try:
                connection = unless_ours.enter_context(closing(connect(path, "mode=ro")))
                version = version_of_ours(connection, path)
            except sqlite3.Error as error:
                if primary_code(error) not in _NOTHING_BESIDE_IT:
                    raise
            else:
                if version == 0:
                    return None
                if version == VERSION:
                    unless_ours.pop_all()
                    return cls(connection, path)
        return cls.open_scratch(path)

    @classmethod
    def open_scratch(cls, path: Path) -> Store:
        """Return a copy of the file, or an empty state, for a dry run to change; it has no name on the disk."""
        path = resolved(path)
        with state_errors(path):
            copy = connect(None)
            if is_there(path):
                _copy_into(copy, path)
            copy.execute("PRAGMA journal_mode = MEMORY")
            if copy.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                _migrate(copy)
        return cls(copy, None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction, all of it or nothing; StateError where the file cannot be written."""
        with state_errors(self.path), self.connection:
            self.connection.execute("BEGIN IMMEDIATE")  # a read that turns into a write would fail at once
            yield

    def sample_ids(self, table: str, most: int) -> list[int]:
        """Return the ids of a few prospects that were read, or linked people: those with the lowest and the highest."""
        known = f"SELECT id FROM {table} WHERE {'known AND NOT gone' if table == 'prospect' else 'NOT deleted'}"
        query = f"SELECT * FROM ({known} ORDER BY id LIMIT ?1) UNION SELECT * FROM ({known} ORDER BY id DESC LIMIT ?1)"
        return [one for (one,) in self.connection.execute(query, (most // 2,))]

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with state_errors(self.path):
            if self.path is not None:
                with suppress(sqlite3.Error):  # by the figures of a small state SQLite scans tables that grew since
                    self.connection.execute("DROP TABLE IF EXISTS sqlite_stat1")
            self.connection.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close, and say of SQLite's errors what they mean."""
        self.close()
        if isinstance(error, sqlite3.Error) or (isinstance(error, OverflowError) and "SQLite" in str(error)):
            raise state_error(self.path, error) from error


def is_there(path: Path) -> bool:
    """Say whether there is a state file; StateError where it is none, or its directory may not be entered."""
    with state_errors(path):
        if path.exists() and not path.is_file():  # to read a pipe, say, would be to wait for ever
            raise OSError(errno.EINVAL, "it is not a regular file")
        return path.exists()


def copy_whole(connection: sqlite3.Connection, target: Path) -> None:
    """Copy a database that may be written to meanwhile; the copy is private, and appears whole or not at all."""
    partial = target.with_name(target.name + PARTIAL)
    partial.unlink(missing_ok=True)
    try:
        os.close(open_private(partial))
        with closing(connect(partial)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, that a look at it does not change
        with partial.open("rb") as written:
            os.fsync(written)
        partial.replace(target)
        flush_directory(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def version_of_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables, 0: there are none; refuse a file that is newer, or another program's."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise StateError(
            f"the state {path} was written by a newer version of outreach-sync (format {version}, this one knows "
            f"{VERSION}); it was left untouched.",
            advice="Use the newer program, or `state restore` a backup from before the upgrade.",
        )
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    wanted = TABLES.get(version, set())
    if there and wanted.isdisjoint(there):
        raise StateError(
            f"{path} is a database, but not one of outreach-sync; it was left untouched.",
            advice="Name another file as state.path.",
        )
    if not wanted <= there:
        raise sqlite3.DatabaseError(f"database disk image is malformed: no table {', '.join(sorted(wanted - there))}")
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, all of it or nothing."""
    with connection:  # sqlite-utils makes its own table outside of its transactions, and that alone looks like no state
        connection.execute("BEGIN IMMEDIATE")
        migrations.apply(Database(connection, execute_plugins=False))


@contextmanager
def as_it_lies(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file to read, or a copy of it with its log where SQLite may make nothing beside it. Nothing is changed."""
    with ExitStack() as until_read:
        try:
            connection = until_read.enter_context(closing(connect(path, "mode=ro")))
            version_of_ours(connection, path)
        except sqlite3.Error as error:
            if primary_code(error) not in _NOTHING_BESIDE_IT:
                raise
            lies_at = Path(until_read.enter_context(tempfile.TemporaryDirectory()), "state.db")
            for ending in ("", "-wal") if _has_log(path) else ("",):
                shutil.copyfile(path.with_name(path.name + ending), f"{lies_at}{ending}")
            connection = until_read.enter_context(closing(connect(lies_at)))
            version_of_ours(connection, path)
        yield connection


def _copy_into(copy: sqlite3.Connection, path: Path) -> None:
    """Copy a state that may be written to meanwhile, and make no file beside it where none is in use.

    Without a log nobody has it open, and it is read as it lies there; if somebody opened it meanwhile, that is done
    again.
    """
    while not _has_log(path):
        before = _looks(path)
        with closing(connect(path, "mode=ro&immutable=1")) as connection:
            version_of_ours(connection, path)
            connection.backup(copy)
        if _looks(path) == before and not _has_log(path):
            return
    with as_it_lies(path) as connection:
        connection.backup(copy)


def _has_log(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _looks(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def primary_code(error: sqlite3.Error) -> int:
    """Return what SQLite says is wrong, without how exactly."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Holder(NamedTuple):
    """Who holds the run lock: its process, its command, and since when by this machine's clock."""

    pid: int
    command: str
    since: Instant


@contextmanager
def run_lock(state_path: Path, command: str) -> Iterator[None]:
    """Hold the kernel's lock on the state, whatever name leads to it, for the block; LockHeldError says who has it."""
    path = beside(state_path, ".lock")
    with ExitStack() as in_the_end:  # the file stays: removing it would let two processes lock two different files
        try:
            make_directory(path.parent)
            descriptor = open_private(path)
            in_the_end.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            by = _noted(os.pread(descriptor, 1024, 0))
            who = f": process {by.pid} ({by.command}), since {instants.to_iso(by.since)}" if by else ""
            does_it = command == "run" and by is not None and by.command in {"run", "reconcile"}
            advice = "Nothing to do: that run does the work." if does_it else "Try again when that run has ended."
            raise LockHeldError(f"another run holds {path}{who}.", advice=advice) from error
        except OSError as error:
            raise StateError(
                f"the lock {path} cannot be made: {refusal(path, error)}.",
                advice="Run this as the user that the state belongs to, or name another place as state.path.",
            ) from error
        note = {"pid": os.getpid(), "command": command, "since": instants.to_iso(instants.now())}
        with suppress(OSError):  # on a full disk nobody is told who holds it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield


def holder(state_path: Path) -> Holder | None:
    """Say who holds the lock of a state, by the kernel's list: trying it would keep a run that begins from it."""
    path = beside(state_path, ".lock")
    try:
        inode = path.stat().st_ino
        held = any(f":{inode} " in line for line in Path("/proc/locks").read_text(encoding="ascii").splitlines())
        return _noted(path.read_bytes()) if held else None
    except (OSError, ValueError):
        return None


def _noted(text: bytes) -> Holder | None:
    """Read what the holder of a lock wrote into its file; None where that makes no sense."""
    try:
        note = json.loads(text)
        return Holder(int(note["pid"]), str(note["command"]), instants.parse_iso(note["since"]))
    except (ValueError, KeyError, TypeError):
        return None
