"""The tables, the way from one version of them to the next, and what the classes that work on them share.

Sizes matter (250 bytes for a sequence state, its share of prospects and people included): times are integers, flags are
0 or 1 (no payload in SQLite), and nothing is stored that can be derived.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from sqlite_utils import Database, Migrations

from outreach_sync.errors import StateError
from outreach_sync.files import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_Record = TypeVar("_Record", bound=NamedTuple)
IDS = "(SELECT value FROM json_each(?))"  # stands for a list of ids, or texts, in a statement of `Table`
# A `+` before a column there keeps SQLite from an index by which it would read all that waits in the outbox.

# Left to itself, sqlite3 looks for an adapter of each None anew, which costs much: this one, in C, gives None for None.
sqlite3.register_adapter(NoneType, dict[None, None]().get)
_BUSY_MS = 10_000
_CACHE_KIB = 8_192
_DAMAGED = "It was left untouched: restore a backup with `state restore`, or move it away and run again."
_ADVICE = {  # What to do about what is said, by a part of that.
    **dict.fromkeys(("full", "no space", "quota"), "Free some disk space; nothing that was committed is lost."),
    **dict.fromkeys(("malformed", "not a database"), _DAMAGED),
    "i/o error": "The disk, or what this user may use of it, is full, or it fails; what was committed is not lost.",
    **dict.fromkeys(("regular file", "is a directory"), "Name another path."),
    "locked": "Another program holds it open; close that and run again.",
}


def connect(path: Path | None, options: str = "mode=rw") -> sqlite3.Connection:
    """Open a database that is there, with options of SQLite's URIs; None: a temporary one without a name."""
    address = "" if path is None else f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_BUSY_MS / 1000)
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except UnicodeDecodeError:  # SQLite quotes what is damaged
        raise sqlite3.DatabaseError("database disk image is malformed") from None
    return connection


@contextmanager
def state_errors(path: Path | None, *, writes_copy: bool = False) -> Iterator[None]:
    """Turn what SQLite and the file system say into one line that names the file (None: a copy without a name)."""
    try:
        yield
    except (sqlite3.Error, OverflowError, OSError) as error:
        raise state_error(path, error, writes_copy=writes_copy) from error


def state_error(path: Path | None, error: Exception, *, writes_copy: bool = False) -> StateError:
    """Say as one line why a state cannot be used and what to do about it, or why a copy cannot be written."""
    why: object = error
    if isinstance(error, OSError):
        why = error.strerror if path is None or writes_copy else refusal(path, error)
    if writes_copy:
        return StateError(f"{path} cannot be written: {why}.")
    advice = (advice for part, advice in _ADVICE.items() if part in str(why).lower())
    usual = "Check that its directory exists and is writable by this user."
    return StateError(f"the state {path or 'copy'} cannot be used: {why}.", advice=next(advice, usual))


def parsed(text: str | None) -> Any:
    """Read a JSON text of a column; NULL is an object without keys. Raises StateError where it is damaged."""
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise StateError("the state holds a text that is not what was stored.", advice=_DAMAGED) from error


_READ: dict[str, Callable[[Any], Any]] = {  # How the columns are read that are not used as SQLite has them.
    **dict.fromkeys(("held", "in_doubt", "admitted"), bool),
    **dict.fromkeys(("fields", "before", "summary"), parsed),
    "pool": lambda text: tuple(parsed(text)),
    **dict.fromkeys(("old", "new"), lambda text: parsed(text or "null")),
}


@dataclass(eq=False)
class Table:
    """What the classes of the tables share. What changes a table must be called inside a transaction.

    What is counted, dropped or added a row at a time goes through sqlite-utils, pages and batches through statements.
    """

    connection: sqlite3.Connection

    @cached_property
    def db(self) -> Database:
        """The same connection, as sqlite-utils works with it."""
        return Database(self.connection, execute_plugins=False)

    def do(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement; a value that is neither a text nor a number is a list (`IDS`)."""
        plain = (str, int, float, NoneType)
        return self.connection.execute(
            statement, [one if isinstance(one, plain) else msgspec.json.encode(list(one)).decode() for one in values]
        )

    def column(self, query: str, *values: Any) -> list[Any]:
        """Return the first column of what a query finds."""
        return [row[0] for row in self.do(query, *values)]

    def value(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row that a query finds; None: it finds none."""
        return next(iter(self.column(query, *values)), None)

    def records(self, kind: type[_Record], rows: str, *values: Any) -> list[_Record]:
        """Return rows of a table, given with what selects them, as records whose fields are its columns."""
        reads = [_READ.get(name) for name in kind._fields]
        found = self.do(f"SELECT {', '.join(kind._fields)} FROM {rows}", *values)
        return [
            kind._make([value if read is None else read(value) for read, value in zip(reads, row, strict=True)])
            for row in found
        ]

    def write(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]], **otherwise: str) -> None:
        """Write rows in place of those with the same first column; `otherwise`: what columns become in such a row."""
        names = columns.split(", ")
        become = {name: f"excluded.{name}" for name in names[1:]} | otherwise
        self.connection.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
            f" ON CONFLICT ({names[0]}) DO UPDATE SET {', '.join(f'{name} = {new}' for name, new in become.items())}",
            rows,
        )


_VERSION_1 = """
-- What Outreach said, newest version of each record. `person_id`: the Workbooks Person; NULL: none yet. `known` 0: only
-- the id was ever seen (hidden, deleted, or not read yet). `emails`: one address a line, in Outreach's order. `extra`:
-- JSON, the attributes that sync.people.create_fields names. `opt_out_seen_at`: updatedAt with which an opt-out of the
-- prospect was first seen. `history_read` 1: all its sequence states are here, whatever their age. `no_email_kept` 1:
-- its Person had No Email when it was deleted in Workbooks.
CREATE TABLE prospect (
  id INTEGER PRIMARY KEY, person_id INTEGER, known INTEGER NOT NULL, first_name TEXT, last_name TEXT, emails TEXT,
  external_id TEXT, opted_out INTEGER NOT NULL, opted_out_at INTEGER, email_opted_out INTEGER NOT NULL,
  emails_opted_at INTEGER, trashed_at INTEGER, updated_at INTEGER, extra TEXT, opt_out_seen_at INTEGER,
  history_read INTEGER NOT NULL, no_email_kept INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX prospect_by_person ON prospect (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX prospect_without_person ON prospect (id) WHERE person_id IS NULL;
CREATE TABLE sequence_state (
  id INTEGER PRIMARY KEY, prospect_id INTEGER NOT NULL, sequence_id INTEGER, state TEXT NOT NULL,
  state_changed_at INTEGER, updated_at INTEGER
);
CREATE INDEX sequence_state_by_prospect ON sequence_state (prospect_id);
CREATE TABLE sequence (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
-- Sequence tasks only. `note`: of skipped ones only. `attributes`: JSON, what the skip rule and `explain` look at.
-- `workbooks_id`: the Task that was made of it.
CREATE TABLE task (
  id INTEGER PRIMARY KEY, prospect_id INTEGER, sequence_id INTEGER, sequence_state_id INTEGER, task_type TEXT NOT NULL,
  action TEXT NOT NULL, due_at INTEGER, note TEXT, updated_at INTEGER, attributes TEXT NOT NULL,
  skipped INTEGER NOT NULL, workbooks_id INTEGER, sent_at INTEGER
);
CREATE INDEX task_skipped ON task (prospect_id) WHERE skipped;

-- What Workbooks last accepted, or was last read to say. `lock_version` NULL: the record must be read before it is
-- written. `rule`: which match rule found it, or 'created'. `written_at`: when a write of ours was last accepted.
CREATE TABLE person (
  id INTEGER PRIMARY KEY, lock_version INTEGER, deleted INTEGER NOT NULL DEFAULT 0, sequence_state TEXT,
  state_updated_at INTEGER, no_email INTEGER, outreach_id TEXT, sequences TEXT, linked_at INTEGER NOT NULL,
  rule TEXT NOT NULL, written_at INTEGER
);

-- Prospects whose Person has to be decided again. `held` 1: seen in a walk that is not complete; only an opt-out may be
-- acted on.
CREATE TABLE changed (prospect_id INTEGER PRIMARY KEY, held INTEGER NOT NULL);
-- Version 2 makes this one and the runs anew: their columns are explained there.
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL, key INTEGER NOT NULL, prospect_id INTEGER,
  task_id INTEGER, person_id INTEGER, action TEXT NOT NULL, fields TEXT NOT NULL, pool TEXT NOT NULL DEFAULT '[]',
  state TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 0, in_doubt INTEGER NOT NULL DEFAULT 0,
  admitted INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at INTEGER, reason TEXT,
  run_id TEXT, UNIQUE (record, key)
);
CREATE INDEX outbox_by_prospect ON outbox (prospect_id);

-- How far each stream is. The walk columns are progress, kept apart from the watermark; they are explained in `Walk`.
CREATE TABLE progress (
  stream TEXT PRIMARY KEY, watermark INTEGER, sweep_began_at INTEGER, walk_since INTEGER, walk_moves INTEGER,
  walk_sweeps INTEGER, walk_next TEXT, walk_began_at INTEGER, walk_local_at INTEGER, walk_newest INTEGER
);
-- Which states `reconcile` has seen on its way through all of them.
CREATE TABLE survey (
  one INTEGER PRIMARY KEY CHECK (one = 1), began_at INTEGER NOT NULL, next_url TEXT, complete INTEGER NOT NULL
);
CREATE TABLE survey_seen (state_id INTEGER PRIMARY KEY);
CREATE TABLE run (
  id TEXT PRIMARY KEY, command TEXT NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER, exit_status INTEGER,
  outcome TEXT, summary TEXT
);
CREATE INDEX run_by_start ON run (started_at);
-- How many linked people said which label, once a day: what `report` draws over time. `day`: when the UTC day began.
CREATE TABLE label_count (
  day INTEGER NOT NULL, label TEXT NOT NULL, people INTEGER NOT NULL, PRIMARY KEY (day, label)
) WITHOUT ROWID;
CREATE TABLE forgotten (kind TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID
"""
_VERSION_2 = """
-- `ahead`: its stamp lay ahead of the answer's Date, so that it proves nothing.
ALTER TABLE prospect ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sequence_state ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;
-- The step that a state is at, and its repliedAt: an open task that is gone may have been skipped, or withdrawn.
ALTER TABLE sequence_state ADD COLUMN sequence_step_id INTEGER;
ALTER TABLE sequence_state ADD COLUMN replied_at INTEGER;
ALTER TABLE progress ADD COLUMN walk_as_is INTEGER;
-- `gone`: asked for by its id and not there; it counts as trashed until it is read again. `person_lost`: its Person
-- was deleted in Workbooks, so that the next one is that one again.
ALTER TABLE prospect ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prospect ADD COLUMN person_lost INTEGER NOT NULL DEFAULT 0;
CREATE INDEX prospect_bereft ON prospect (id) WHERE person_lost AND person_id IS NULL;
-- The folded addresses of prospects without a Person. `listed`: they are in this table as they were last read.
ALTER TABLE prospect ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
CREATE TABLE address (
  address TEXT NOT NULL, prospect_id INTEGER NOT NULL, PRIMARY KEY (address, prospect_id)
) WITHOUT ROWID;
-- `hidden`: Workbooks did not show it when it was last asked for; `untouched`: not among those that
-- sync.people.only_where names; `kept_as`: JSON, role -> what Workbooks made of the value that was sent.
ALTER TABLE person ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE person ADD COLUMN untouched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE person ADD COLUMN kept_as TEXT;

-- What the stream of events said: the witnesses of skips for ever, others until no walk can read them again. `at`:
-- createdAt. `concern`: the records to be read again by id because of one; `removed`: it said that they are gone.
CREATE TABLE event (
  id INTEGER PRIMARY KEY, at INTEGER, event_at INTEGER, task_id INTEGER, prospect_id INTEGER, sequence_id INTEGER,
  sequence_step_id INTEGER, name TEXT NOT NULL
);
CREATE INDEX event_of_task ON event (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX event_of_prospect ON event (prospect_id) WHERE prospect_id IS NOT NULL;
CREATE INDEX event_of_no_task ON event (at) WHERE task_id IS NULL;
CREATE TABLE concern (
  stream TEXT NOT NULL, id INTEGER NOT NULL, removed INTEGER NOT NULL, PRIMARY KEY (stream, id)
) WITHOUT ROWID;

-- Every field that Workbooks accepted, in order: what `history` shows. `old`, `new`: JSON.
CREATE TABLE write (
  number INTEGER PRIMARY KEY, at INTEGER NOT NULL, prospect_id INTEGER, task_id INTEGER, workbooks_id INTEGER,
  run_id TEXT NOT NULL, record TEXT NOT NULL, action TEXT NOT NULL, field TEXT NOT NULL, old TEXT, new TEXT,
  because TEXT
);
CREATE INDEX idx_write_run_id ON write (run_id);
CREATE INDEX idx_write_prospect_id ON write (prospect_id);
CREATE INDEX idx_write_task_id ON write (task_id);
CREATE INDEX idx_write_workbooks_id ON write (workbooks_id);
-- Keyed hashes of the addresses of those who were forgotten: nobody is created again under a new prospect id.
CREATE TABLE forgotten_address (hash TEXT PRIMARY KEY);

-- Runs in the order in which they were made, whatever the clock said. `started_at`, `finished_at`: this machine's
-- clock; `heard_at`: Outreach's, as last heard in the run. `summary`: JSON, as `run --json` prints it.
CREATE TABLE run_2 (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, command TEXT NOT NULL,
  started_at INTEGER NOT NULL, finished_at INTEGER, exit_status INTEGER, outcome TEXT, summary TEXT, heard_at INTEGER
);
INSERT INTO run_2 (id, command, started_at, finished_at, exit_status, outcome, summary)
  SELECT id, command, started_at, finished_at, exit_status, outcome, summary FROM run ORDER BY rowid;
DROP TABLE run;
ALTER TABLE run_2 RENAME TO run;

-- The columns are those of `Entry`. `stream`: of a source entry; its key is the record's id in Outreach, which may be
-- as large as an integer can be; 0: it has none. `fields`, `pool`, `before`: JSON.
CREATE TABLE outbox_2 (
  id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL, stream TEXT NOT NULL DEFAULT '', key INTEGER NOT NULL,
  prospect_id INTEGER, task_id INTEGER, person_id INTEGER, action TEXT NOT NULL, fields TEXT NOT NULL,
  pool TEXT NOT NULL DEFAULT '[]', state TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 0,
  in_doubt INTEGER NOT NULL DEFAULT 0, admitted INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at INTEGER, reason TEXT, run_id TEXT, before TEXT NOT NULL DEFAULT '{}', because TEXT,
  UNIQUE (record, stream, key)
);
INSERT INTO outbox_2 SELECT id, record, iif(record = 'source',
    CASE key % 3 WHEN 0 THEN 'sequence_states' WHEN 1 THEN 'tasks' ELSE 'prospects' END, ''),
  iif(record = 'source', key / 3, key), prospect_id, task_id, person_id, action, fields, pool, state, held, in_doubt,
  admitted, attempts, next_attempt_at, reason, run_id, '{}', NULL FROM outbox;
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'outbox') WHERE name = 'outbox_2';
DROP TABLE outbox;
ALTER TABLE outbox_2 RENAME TO outbox;
-- How far the survey of `reconcile` is stands with the streams.
DROP TABLE survey;

-- No statement of a cycle may read a table that grows from end to end: each of these serves one that would.
CREATE INDEX outbox_of_prospect ON outbox (prospect_id, record);
CREATE INDEX outbox_due ON outbox (record, action, state, held, id);
CREATE INDEX outbox_sending ON outbox (prospect_id) WHERE state = 'sending';
CREATE INDEX outbox_in_doubt ON outbox (prospect_id) WHERE in_doubt;
CREATE INDEX outbox_held ON outbox (id) WHERE held;
CREATE INDEX outbox_not_admitted ON outbox (record, state) WHERE NOT admitted;
CREATE INDEX outbox_refused ON outbox (id) WHERE reason IS NOT NULL;
CREATE INDEX outbox_discarded ON outbox (id) WHERE state = 'discarded';
CREATE INDEX outbox_of_person ON outbox (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX changed_ready ON changed (prospect_id) WHERE NOT held;
CREATE INDEX changed_held ON changed (prospect_id) WHERE held;
CREATE INDEX prospect_unlisted ON prospect (id) WHERE person_id IS NULL AND NOT listed;
CREATE INDEX task_of_state ON task (sequence_state_id) WHERE sequence_state_id IS NOT NULL;
CREATE INDEX task_unsent ON task (id) WHERE skipped AND workbooks_id IS NULL
"""
_VERSIONS = (_VERSION_1, _VERSION_2)
VERSION = len(_VERSIONS)  # the version of the tables that this program works with
_MADE = [set(re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE)) for text in _VERSIONS]
TABLES = {1: _MADE[0], 2: (_MADE[0] | _MADE[1]) - {"survey", "run_2", "outbox_2"}}
"""Version -> the names of its tables. A table that is not there is damage: sqlite-utils would make it as it goes."""


def _bring_up(db: Database, number: int) -> None:
    """Bring the tables from the version before to this one."""
    for statement in f"{_VERSIONS[number - 1]};\nPRAGMA user_version = {number}".split(";\n"):
        db.execute(statement)


migrations = Migrations("outreach_sync")
for _number in range(1, VERSION + 1):
    migrations(name=f"version_{_number}")(lambda db, number=_number: _bring_up(db, number))
