"""The tables, and the way from one version of them to the next.

Importing this module loads sqlite-utils, which is slow: only a file that is new or of an older version needs it.

Sizes matter (250 bytes for a sequence state, its share of prospects and people included): times are integers, flags are
0 or 1 (no payload in SQLite), and nothing is stored that can be derived.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("outreach_sync")

_VERSION_1 = """
-- What Outreach said, newest version of each record.
CREATE TABLE prospect (
  id INTEGER PRIMARY KEY,
  person_id INTEGER,                -- the Workbooks Person; NULL: none yet
  known INTEGER NOT NULL,           -- 0: only the id was ever seen (hidden, deleted, or not read yet)
  first_name TEXT,
  last_name TEXT,
  emails TEXT,                      -- one address a line, in Outreach's order
  external_id TEXT,
  opted_out INTEGER NOT NULL,
  opted_out_at INTEGER,
  email_opted_out INTEGER NOT NULL,
  emails_opted_at INTEGER,
  trashed_at INTEGER,
  updated_at INTEGER,
  extra TEXT,                       -- JSON: the attributes that sync.people.create_fields names
  opt_out_seen_at INTEGER,          -- updatedAt with which an opt-out of the prospect was first seen
  history_read INTEGER NOT NULL,    -- 1: all its sequence states are here, whatever their age
  no_email_kept INTEGER NOT NULL DEFAULT 0 -- 1: its Person had No Email when it was deleted in Workbooks
);
CREATE INDEX prospect_by_person ON prospect (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX prospect_without_person ON prospect (id) WHERE person_id IS NULL;

CREATE TABLE sequence_state (
  id INTEGER PRIMARY KEY,
  prospect_id INTEGER NOT NULL,
  sequence_id INTEGER,
  state TEXT NOT NULL,
  state_changed_at INTEGER,
  updated_at INTEGER
);
CREATE INDEX sequence_state_by_prospect ON sequence_state (prospect_id);

CREATE TABLE sequence (id INTEGER PRIMARY KEY, name TEXT NOT NULL);

CREATE TABLE task (                 -- sequence tasks only
  id INTEGER PRIMARY KEY,
  prospect_id INTEGER,
  sequence_id INTEGER,
  sequence_state_id INTEGER,
  task_type TEXT NOT NULL,
  action TEXT NOT NULL,
  due_at INTEGER,
  note TEXT,                        -- of skipped tasks only
  updated_at INTEGER,
  attributes TEXT NOT NULL,         -- JSON: what the skip rule and `explain` look at
  skipped INTEGER NOT NULL,
  workbooks_id INTEGER,             -- the Task that was made of it
  sent_at INTEGER
);
CREATE INDEX task_skipped ON task (prospect_id) WHERE skipped;

-- What Workbooks last accepted, or was last read to say.
CREATE TABLE person (
  id INTEGER PRIMARY KEY,
  lock_version INTEGER,             -- NULL: the record must be read before it is written
  deleted INTEGER NOT NULL DEFAULT 0,
  sequence_state TEXT,
  state_updated_at INTEGER,
  no_email INTEGER,
  outreach_id TEXT,
  sequences TEXT,
  linked_at INTEGER NOT NULL,
  rule TEXT NOT NULL,               -- which match rule found it, or 'created'
  written_at INTEGER                -- when a write of ours was last accepted
);

-- What is to be looked at, and what is to be sent.
CREATE TABLE changed (              -- prospects whose Person has to be decided again
  prospect_id INTEGER PRIMARY KEY,
  held INTEGER NOT NULL             -- 1: seen in a walk that is not complete; only an opt-out may be acted on
);
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  record TEXT NOT NULL,             -- person, task, or source: a record of Outreach's that makes no sense
  key INTEGER NOT NULL,             -- person: lead prospect; task: its Outreach id; source: see outbox.py
  prospect_id INTEGER,
  task_id INTEGER,
  person_id INTEGER,                -- NULL: to be created
  action TEXT NOT NULL,             -- create, recreate, update, or resolve: what to write could not be decided
  fields TEXT NOT NULL,             -- JSON: role -> value
  pool TEXT NOT NULL DEFAULT '[]',  -- JSON: the prospects that a Person to be created will be
  state TEXT NOT NULL,              -- queued, sending, parked, waiting (for a Person, no failure)
  held INTEGER NOT NULL DEFAULT 0,
  in_doubt INTEGER NOT NULL DEFAULT 0, -- it was sent and the answer is not known
  admitted INTEGER NOT NULL DEFAULT 0, -- a passed guard has counted it
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at INTEGER,
  reason TEXT,
  run_id TEXT,                      -- the run that planned it
  UNIQUE (record, key)
);
CREATE INDEX outbox_by_prospect ON outbox (prospect_id);

-- How far each stream is. The walk columns are progress, kept apart from the watermark.
CREATE TABLE progress (
  stream TEXT PRIMARY KEY,
  watermark INTEGER,
  sweep_began_at INTEGER,
  walk_since INTEGER,               -- lower bound asked for; NULL with a walk: unbounded
  walk_moves INTEGER,               -- 1: the watermark may move when it is complete
  walk_sweeps INTEGER,              -- 1: it counts as a late sweep
  walk_next TEXT,                   -- links.next of the last page that is stored
  walk_began_at INTEGER,            -- server's clock
  walk_local_at INTEGER,            -- this machine's clock at the same moment
  walk_newest INTEGER               -- newest updatedAt seen
);

-- How far `reconcile` is in going through all sequence states, and which of them it has seen.
CREATE TABLE survey (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  began_at INTEGER NOT NULL,        -- this machine's clock
  next_url TEXT,                    -- links.next of the last page that is stored
  complete INTEGER NOT NULL
);
CREATE TABLE survey_seen (state_id INTEGER PRIMARY KEY);

CREATE TABLE run (
  id TEXT PRIMARY KEY,
  command TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  exit_status INTEGER,
  outcome TEXT,
  summary TEXT                      -- JSON, as `run --json` prints it
);
CREATE INDEX run_by_start ON run (started_at);

-- How many linked people said which label, once a day: what `report` draws over time.
CREATE TABLE label_count (
  day INTEGER NOT NULL,             -- when the UTC day began
  label TEXT NOT NULL,
  people INTEGER NOT NULL,
  PRIMARY KEY (day, label)
) WITHOUT ROWID;

CREATE TABLE forgotten (kind TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@migrations()
def version_1(db: Database) -> None:
    """Create the tables of the first version."""
    for statement in _VERSION_1.split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.execute("PRAGMA user_version = 1")


VERSION = 1
