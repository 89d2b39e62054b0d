"""How far each walk is, what events and `reconcile` find out, single facts that outlive a run, and what was done.

The watermark of a stream and the progress of a walk that is not complete are kept apart. Which states the walk of
`reconcile` has seen outlives the process, so that an interrupted one goes on. What follows from it is kept in a
temporary table: it is proven anew each time, and lost if the guard stops.

Runs are ordered by their number, never by a clock. Days are UTC days, stored as the instant at which they begin.
"""

from __future__ import annotations

import json
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import LONGEST_MS
from outreach_sync.records import Event, Scalar, Stream
from outreach_sync.rules.person import OPTED_OUT
from outreach_sync.rules.watermark import Progress, Walk, Watched
from outreach_sync.store.schema import IDS, Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from outreach_sync.instants import Instant

SURVEY = "survey"  # the name under which the walk through all sequence states is kept that `reconcile` makes
_MARKS = "watermark, sweep_began_at"
_WALK = "walk_since, walk_moves, walk_sweeps, walk_next, walk_began_at, walk_local_at, walk_newest, walk_as_is"


class ProgressStore(Table):
    """The table of walks: one row for each stream, one for the survey."""

    def of(self, name: str) -> Progress:
        """Return where a stream (or the survey) stands."""
        row = self.do(f"SELECT {_MARKS}, {_WALK} FROM progress WHERE stream = ?", name).fetchone()
        if row is None:
            return Progress(None, None, None)
        watermark, swept, since, moves, sweeps, *rest, as_is = row
        walk = None if moves is None else Walk._make((since, bool(moves), bool(sweeps), *rest, bool(as_is)))
        return Progress(watermark, swept, walk)

    def watermarks(self) -> dict[Stream, Instant]:
        """Return the watermarks there are."""
        return {stream: mark for stream in Stream if (mark := self.of(stream).watermark) is not None}

    def keep_walk(
        self, name: str, walk: Walk | None, *, watermark: Instant | None = None, swept: Instant | None = None
    ) -> None:
        """Store how far a walk is (None: there is none), and its marks: one that is None stays as it is."""
        row = (name, watermark, swept, *(walk or (None,) * len(Walk._fields)))
        marks = {mark: f"coalesce(excluded.{mark}, {mark})" for mark in _MARKS.split(", ")}
        self.write("progress", f"stream, {_MARKS}, {_WALK}", [row], **marks)

    def reset(self, name: str) -> None:
        """Forget the watermark of a stream, so that the next run reads it as for the first time."""
        self.db.table("progress").delete_where("stream = ?", [name])


class Facts(Table):
    """Named texts in the state file."""

    def get(self, name: str) -> str | None:
        """Return the value of a fact, None where it was never set."""
        return next((fact["value"] for fact in self.db.table("fact").rows_where("name = ?", [name])), None)

    def put(self, name: str, value: str) -> None:
        """Set a fact."""
        self.write("fact", "name, value", [(name, value)])


class Events(Table):
    """The tables of events and of what they concern."""

    def keep(self, events: Iterable[Event]) -> list[Event]:
        """Store events; return those that were not known. They are never changed, and come again with each overlap."""
        latest = {event.id: event for event in events}
        known = set(self.column(f"SELECT id FROM event WHERE id IN {IDS}", latest)) if latest else ()
        fresh = [event for event in latest.values() if event.id not in known]
        self.write("event", ", ".join(Event._fields), fresh)
        return fresh

    def skips_of(self, task_ids: Collection[int], names: Collection[str]) -> dict[int, Event]:
        """Return, by task, the first event of these names that says it was skipped."""
        told = reversed(self.told("task_id", task_ids, names))
        return {event.task_id: event for event in told if event.task_id is not None}

    def told(self, column: str, ids: Collection[int], names: Collection[str]) -> list[Event]:
        """Return the events of these names that have one of these ids in a column, oldest first."""
        return self.records(Event, f"event WHERE {column} IN {IDS} AND name IN {IDS} ORDER BY id", ids, names)

    def forget_before(self, instant: Instant) -> None:
        """Drop events that no walk can read again; those of tasks are kept, as witnesses."""
        self.db.table("event").delete_where("task_id IS NULL AND at < ?", [instant])

    def add_concerns(self, stream: Stream, ids: Iterable[int], *, removed: bool) -> None:
        """Note records to be read again by id; `removed`: an event says that they are gone, whatever another says."""
        self.do(
            "INSERT INTO concern SELECT ?, value, ? FROM json_each(?) WHERE true"
            " ON CONFLICT DO UPDATE SET removed = max(removed, excluded.removed)",
            *(stream, removed, ids),
        )

    def concerns(self, stream: Stream, limit: int) -> dict[int, bool]:
        """Return records to be read again by id, and whether an event says that they are gone."""
        rows = self.do("SELECT id, removed FROM concern WHERE stream = ? ORDER BY id LIMIT ?", stream, limit)
        return {one: bool(removed) for one, removed in rows}

    def concerns_read(self, stream: Stream, ids: Iterable[int]) -> None:
        """Note that records have been read again."""
        self.do(f"DELETE FROM concern WHERE stream = ? AND id IN {IDS}", stream, ids)


ENDED = ("finished", "opted_out", "bounced", "failed")  # then open tasks were withdrawn, not skipped
_OF_TASKS = ("tasks_gone", "tasks_hidden", "tasks_vanished")  # the first two from Workbooks, the last from Outreach
FINDINGS = ("states_missing", "prospects_gone", "people_differ", "people_gone", *_OF_TASKS)
_FOUND = "(SELECT id FROM temp.finding WHERE kind = '{}')"
_MISSING, _GONE, _VANISHED = map(_FOUND.format, ("states_missing", "prospects_gone", "tasks_vanished"))
_KEEP = f"""
INSERT INTO changed SELECT DISTINCT prospect_id, 0 FROM sequence_state WHERE id IN {_MISSING} ON CONFLICT DO NOTHING;
DELETE FROM sequence_state WHERE id IN {_MISSING};
UPDATE prospect SET gone = 1 WHERE id IN {_GONE};
INSERT INTO changed SELECT id, 0 FROM {_GONE} WHERE true ON CONFLICT DO NOTHING;
INSERT INTO changed SELECT id, 0 FROM prospect WHERE person_id IN
  (SELECT id FROM temp.finding WHERE kind IN ('people_differ', 'people_gone')) ON CONFLICT DO NOTHING;
UPDATE person SET lock_version = NULL, deleted = 0 WHERE id IN {_FOUND.format("people_gone")};
INSERT INTO changed SELECT DISTINCT prospect_id, 0 FROM temp.finding WHERE kind = 'tasks_vanished'
  ON CONFLICT DO NOTHING;
UPDATE task SET workbooks_id = NULL WHERE id IN {_FOUND.format("tasks_gone")};
UPDATE task SET skipped = 1 WHERE id IN {_VANISHED}
"""
_UNSEEN = "NOT EXISTS (SELECT 1 FROM survey_seen WHERE state_id = s.id)"
UNSEEN, LINKED_PROSPECTS, LINKED_PEOPLE = (
    f"sequence_state s WHERE {_UNSEEN}",
    "prospect WHERE person_id IS NOT NULL",
    "person WHERE true",
)
"""What `Survey.following` goes through: cached states that the walk has not seen, linked prospects, linked people."""


class SentTask(NamedTuple):
    """A skipped task and the Workbooks Task that was made of it; `sent_at` None: it was found there."""

    id: int
    prospect_id: int
    workbooks_id: int
    sent_at: Instant | None


class Survey(Table):
    """What one `reconcile` has seen, and its findings."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin without findings on an open connection."""
        super().__init__(connection)
        self.do("DROP TABLE IF EXISTS temp.finding")
        self.do(
            "CREATE TEMP TABLE finding (kind TEXT, id INTEGER, prospect_id INTEGER, workbooks_id INTEGER, watched TEXT,"
            " PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )

    def begin(self) -> None:
        """Forget how far an earlier walk is, and what it has seen, so that the next one begins anew."""
        self.db.table("survey_seen").delete_where()
        self.db.table("progress").delete_where("stream = ?", [SURVEY])

    def saw(self, state_ids: Iterable[int]) -> None:
        """Note which states a page held."""
        self.do("INSERT OR IGNORE INTO survey_seen SELECT value FROM json_each(?)", state_ids)

    def following(self, kind: str, after: int, limit: int) -> list[int]:
        """Return ids above `after`, in order: a way through all `UNSEEN`, `LINKED_PROSPECTS` or `LINKED_PEOPLE`."""
        return self.column(f"SELECT id FROM {kind} AND id > ? ORDER BY id LIMIT ?", after, limit)

    def people_with_unseen(self) -> int:
        """Count the linked people of whom the walk did not show every sequence state that is cached."""
        query = (
            "SELECT count(DISTINCT p.person_id) FROM sequence_state s JOIN prospect p ON p.id = s.prospect_id"
            f" WHERE p.person_id IS NOT NULL AND {_UNSEEN}"
        )
        return int(self.value(query))

    def one_of_each_sequence(self) -> list[int]:
        """Return one sequence state of each sequence, the newest."""
        return self.column("SELECT max(id) FROM sequence_state WHERE sequence_id IS NOT NULL GROUP BY sequence_id")

    def note(self, kind: str, found: Iterable[tuple[int | str | None, ...]]) -> None:
        """Note findings: (id, prospect id, Workbooks id, what the guard counts it as); what was known is left out."""
        self.connection.executemany(
            "INSERT OR REPLACE INTO temp.finding SELECT ?1, ?2, ?3, ?4, ?5"
            " WHERE (?1 <> 'tasks_hidden' OR NOT EXISTS (SELECT 1 FROM outbox WHERE record = 'task' AND stream = ''"
            " AND key = ?2 AND action = 'hidden'))"
            " AND (?1 <> 'prospects_gone' OR EXISTS (SELECT 1 FROM prospect WHERE id = ?2 AND NOT gone))",
            ((kind, *one, *(None,) * (4 - len(one))) for one in found),
        )

    def missing_among(self, state_ids: Collection[int]) -> set[int]:
        """Return which of these states do not exist, or their prospect does not; an opt-out counts all the same."""
        query = (
            f"SELECT id FROM temp.finding WHERE kind = 'states_missing' AND id IN {IDS} UNION SELECT id FROM"
            f" sequence_state WHERE id IN {IDS} AND state <> ? AND prospect_id IN {_GONE}"
        )
        return set(self.column(query, state_ids, state_ids, OPTED_OUT))

    def tasks(self, *kinds: str) -> list[tuple[int, int, int]]:
        """Return the tasks (id, prospect id, Workbooks id) that were noted under these kinds."""
        query = f"SELECT id, prospect_id, workbooks_id FROM temp.finding WHERE kind IN {IDS} ORDER BY id"
        return self.do(query, kinds).fetchall()

    def sent_tasks(self, after: int, limit: int) -> list[SentTask]:
        """Return skipped tasks above `after` that a Workbooks Task was made of, in order."""
        sent = "task WHERE skipped AND prospect_id IS NOT NULL AND workbooks_id IS NOT NULL"
        return self.records(SentTask, f"{sent} AND id > ? ORDER BY id LIMIT ?", after, limit)

    def overtaken_tasks(self, after: int, limit: int) -> dict[int, int]:
        """Return task -> prospect of open tasks above `after` whose state is there, not ended, and at another step."""
        rows = self.do(
            "SELECT t.id, t.prospect_id FROM task t JOIN sequence_state s ON s.id = t.sequence_state_id"
            " WHERE t.id > ? AND NOT t.skipped AND t.prospect_id IS NOT NULL AND t.workbooks_id IS NULL"
            " AND coalesce(json_extract(t.attributes, '$.state'), '') <> 'complete'"
            " AND s.sequence_step_id <> CAST(json_extract(t.attributes, '$.sequenceStep') AS INTEGER)"
            f" AND s.replied_at IS NULL AND s.state NOT IN {IDS} AND s.id NOT IN {_MISSING} ORDER BY t.id LIMIT ?",
            *(after, ENDED, limit),
        )
        return dict(rows.fetchall())

    def counts(self) -> dict[str, int]:
        """Count findings by kind (`FINDINGS`)."""
        rows = self.do("SELECT kind, count(*) FROM temp.finding GROUP BY kind")
        return {**dict.fromkeys(FINDINGS, 0), **dict(rows.fetchall())}

    def people_to_change(self) -> dict[Watched, int]:
        """Count the people that would be changed or lost, and that no passed guard has counted."""
        found = dict(self.do("SELECT watched, count(*) FROM temp.finding GROUP BY watched").fetchall())
        which = "record = 'person' AND action = 'recreate' AND state = 'queued' AND NOT admitted"
        waiting = self.value(f"SELECT count(*) FROM outbox WHERE {which}")
        return {Watched.UPDATES: found.get(Watched.UPDATES, 0), Watched.LOSSES: found.get(Watched.LOSSES, 0) + waiting}

    def keep(self) -> None:
        """Put the findings into effect: remove the missing states, have every Person concerned looked at again."""
        for statement in _KEEP.split(";\n"):
            self.do(statement)


DAY_MS = 86_400_000
_LABELS_KEPT = 40  # a picklist has a dozen; a text field that people fill in by hand may hold anything
_GRACE_MS = DAY_MS  # two clocks that are both right for all purposes here may differ by so much


class SkippedBySequence(NamedTuple):
    """The skipped tasks of one sequence; `sequence_id` and `name` are None where Outreach gave none."""

    sequence_id: int | None
    name: str | None
    recent: int  # those last changed in the period
    kept: int  # all in the cache
    sent: int  # those that have a Workbooks Task


class Written(NamedTuple):
    """One field that Workbooks accepted. `at` is this machine's clock; `because` says which rule asked for it."""

    at: Instant
    run_id: str
    record: str
    action: str
    prospect_id: int | None
    task_id: int | None
    workbooks_id: int
    field: str
    old: Scalar
    new: Scalar
    because: str | None


class RunRecord(NamedTuple):
    """One run. The times are this machine's, and may be wrong."""

    id: str
    command: str
    started_at: Instant
    finished_at: Instant | None  # None while it goes on, or for ever where the process was killed
    exit_status: int | None
    outcome: str | None
    summary: Mapping[str, Any]
    number: int = 0  # in which order runs were made
    heard_at: Instant | None = None  # Outreach's clock at its end


class History(Table):
    """The runs, every field that was written, and how many people said what on each day."""

    def begin(self, run_id: str, command: str, started_at: Instant) -> None:
        """Record that a run began."""
        self.db.table("run").insert({"id": run_id, "command": command, "started_at": started_at})

    def finish(
        self,
        run_id: str,
        finished_at: Instant,
        exit_status: int,
        outcome: str,
        summary: Mapping[str, Any],
        *,
        heard_at: Instant | None = None,
        keep_ms: int = LONGEST_MS,
    ) -> None:
        """Record how a run ended. `heard_at` is Outreach's clock, None: not heard.

        If it was heard, record also what people say today, unless that was done, and drop what is older than `keep_ms`.
        The runs that go are those made before the first one of that time, by Outreach's clock: by their order, since a
        time that a wrong clock put down proves nothing. A run that heard nothing of Outreach's clock is dated by this
        machine's. Nothing is dropped where the run before heard a time that is not of that time either: one of both was
        wrong, and the next run will tell.
        """
        self.do(
            "UPDATE run SET finished_at = ?, exit_status = ?, outcome = ?, summary = ?, heard_at = ? WHERE id = ?",
            *(finished_at, exit_status, outcome, json.dumps(summary), heard_at, run_id),
        )
        if heard_at is None:
            return
        now, oldest = heard_at, heard_at - keep_ms
        before = "SELECT heard_at FROM run WHERE heard_at IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET 1"
        heard_before = self.value(before)
        if heard_before is not None and not oldest <= heard_before <= now + _GRACE_MS:
            return
        kept = self.value(
            "SELECT min(number) FROM run WHERE coalesce(heard_at, started_at) BETWEEN ? AND ?", oldest, now + _GRACE_MS
        )
        if kept is not None:
            self.db.table("write").delete_where("run_id IN (SELECT id FROM run WHERE number < ?)", [kept])
            self.db.table("run").delete_where("number < ?", [kept])
        today, counts = now // DAY_MS * DAY_MS, self.db.table("label_count")
        if not counts.count_where("day = ?", [today]):  # counting people reads everybody
            counts.insert_all({"day": today, "label": label, "people": people} for label, people in self.labels_now())
        counts.delete_where("day < ?", [oldest])

    def runs(
        self, limit: int = -1, *, command: str = "%", since: float = -inf, until: float = inf, order: str = "DESC"
    ) -> list[RunRecord]:
        """Return at most `limit` runs (negative: all) in order, of a command (`%`: any), begun between two times."""
        rows = f"run WHERE command LIKE ? AND started_at BETWEEN ? AND ? ORDER BY number {order} LIMIT ?"
        return self.records(RunRecord, rows, command, since, until, limit)

    def last_ended(self, command: str) -> tuple[RunRecord | None, Instant | None]:
        """Return the last run of a command that ended, and when one last ended with 0 or 1, however long ago."""
        last = "run WHERE command = ? AND finished_at IS NOT NULL ORDER BY number DESC LIMIT 1"
        well = "SELECT finished_at FROM run WHERE command = ? AND exit_status IN (0, 1) ORDER BY number DESC LIMIT 1"
        return next(iter(self.records(RunRecord, last, command)), None), self.value(well, command)

    def wrote(self, fields: Iterable[Written]) -> None:
        """Record fields that Workbooks accepted; never a name or an address."""
        self.connection.executemany(
            f"INSERT INTO write ({', '.join(Written._fields)}) VALUES ({', '.join('?' * len(Written._fields))})",
            (one._replace(old=json.dumps(one.old), new=json.dumps(one.new)) for one in fields),
        )

    def writes(self, *, since: Instant | None = None, limit: int = -1, **of: int | str | None) -> list[Written]:
        """Return accepted fields, newest first, by this machine's clock; `of`: values of columns, where None is any."""
        asked = {name: value for name, value in of.items() if value is not None}
        which = "".join(f" AND {name} = ?" for name in asked)
        rows = f"write WHERE at >= coalesce(?, at){which} ORDER BY number DESC LIMIT ?"
        return self.records(Written, rows, since, *asked.values(), limit)

    def count_writes(self, run_id: str) -> int:
        """Count the fields that a run wrote."""
        return self.db.table("write").count_where("run_id = ?", [run_id])

    def lags(self, field: str, since: Instant) -> list[int]:
        """Return how late in ms, sorted, times were written in place of others; a first load's may be of any age."""
        return self.column(
            "SELECT at - CAST(round((julianday(json_extract(new, '$')) - 2440587.5) * 86400000) AS INTEGER) AS lag"
            " FROM write WHERE at >= ? AND field = ? AND action = 'update' AND coalesce(old, 'null') <> 'null'"
            " AND lag >= 0 ORDER BY lag",
            *(since, field),
        )

    def labels_now(self) -> list[tuple[str, int]]:
        """Return (label, linked people that say it), the most frequent first, at most forty; '' is an empty field."""
        rows = self.do("SELECT coalesce(sequence_state, '') FROM person WHERE NOT deleted")
        people = Counter(label for (label,) in rows)
        return sorted(people.items(), key=lambda one: (-one[1], one[0]))[:_LABELS_KEPT]

    def labels_since(self, instant: Instant) -> list[tuple[Instant, str, int]]:
        """Return (day, label, people) of the days from `instant` on, in order, each at the end of its first run."""
        query = "SELECT day, label, people FROM label_count WHERE day >= ? ORDER BY day, label"
        return self.do(query, instant).fetchall()

    def opt_outs_since(self, instant: Instant) -> dict[Instant, int]:
        """Return day -> prospects whose first opt-out that still holds, of whatever kind, is known to fall on it."""
        rows = self.do(
            "WITH moment (prospect_id, at) AS ("
            " SELECT id, coalesce(opted_out_at, opt_out_seen_at) FROM prospect WHERE opted_out"
            " UNION ALL SELECT id, coalesce(emails_opted_at, opt_out_seen_at) FROM prospect WHERE email_opted_out"
            " UNION ALL SELECT prospect_id, coalesce(state_changed_at, updated_at) FROM sequence_state WHERE state = ?"
            "), first (at) AS (SELECT min(at) FROM moment GROUP BY prospect_id)"
            " SELECT at / ? * ?, count(*) FROM first WHERE at >= ? GROUP BY 1 ORDER BY 1",
            *(OPTED_OUT, DAY_MS, DAY_MS, instant),
        )
        return dict(rows.fetchall())

    def skipped_by_sequence(self, since: Instant) -> list[SkippedBySequence]:
        """Return the skipped tasks of each sequence, the one with the most in the period first."""
        rows = self.do(
            "SELECT t.sequence_id, q.name, sum(coalesce(t.updated_at >= ?, 0)) AS recent, count(*) AS kept,"
            " count(t.workbooks_id) FROM task t LEFT JOIN sequence q ON q.id = t.sequence_id WHERE t.skipped"
            " GROUP BY t.sequence_id ORDER BY recent DESC, kept DESC, t.sequence_id",
            since,
        )
        return list(map(SkippedBySequence._make, rows))
