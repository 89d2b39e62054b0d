"""How far each walk is, what events and `reconcile` find out, single facts that outlive a run, and what was done.

The watermark of a stream and the progress of a walk that is not complete are kept apart. Which states the walk of
`reconcile` has seen outlives the process, so that an interrupted one goes on. What follows from it is kept in temporary
tables: it is proven anew each time, and lost if the guard stops.

Runs are ordered by their number, never by a clock. Days are UTC days, stored as the instant at which they begin.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import Instant
from outreach_sync.records import Event, Stream
from outreach_sync.rules.person import OPTED_OUT
from outreach_sync.rules.watermark import Progress, Walk, Watched
from outreach_sync.store.schema import IDS, Table, id_list, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from outreach_sync.records import Scalar


SURVEY = "survey"
"""The name under which the walk through all sequence states is kept that `reconcile` makes."""
_WALK = (
    "walk_since, walk_moves, walk_sweeps, walk_next, walk_began_at, walk_local_at, walk_newest, walk_as_is"  # as `Walk`
)


class ProgressStore(Table):
    """The table of walks: one row for each stream, one for the survey.

    What changes something must be called inside a transaction.
    """

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


ENDED = ("finished", "opted_out", "bounced", "failed")
"""States in which a sequence has ended for a person: its open tasks were withdrawn, not skipped."""
_TEMPORARY = """
DROP TABLE IF EXISTS temp.missing;
DROP TABLE IF EXISTS temp.gone;
DROP TABLE IF EXISTS temp.disagreement;
DROP TABLE IF EXISTS temp.task_finding;
CREATE TEMP TABLE missing (state_id INTEGER PRIMARY KEY);
DROP TABLE IF EXISTS temp.hidden_task;
CREATE TEMP TABLE hidden_task (id INTEGER PRIMARY KEY, prospect_id INTEGER, workbooks_id INTEGER, sent_at INTEGER);
CREATE TEMP TABLE gone (prospect_id INTEGER PRIMARY KEY);
CREATE TEMP TABLE disagreement (person_id INTEGER PRIMARY KEY, gone INTEGER NOT NULL, watched TEXT);
CREATE TEMP TABLE task_finding (task_id INTEGER PRIMARY KEY, prospect_id INTEGER, vanished INTEGER NOT NULL)
"""
_KEEP = """
INSERT INTO changed SELECT DISTINCT prospect_id, 0 FROM sequence_state
  WHERE id IN (SELECT state_id FROM temp.missing) ON CONFLICT DO NOTHING;
DELETE FROM sequence_state WHERE id IN (SELECT state_id FROM temp.missing);
UPDATE prospect SET gone = 1 WHERE id IN (SELECT prospect_id FROM temp.gone);
INSERT INTO changed SELECT prospect_id, 0 FROM temp.gone WHERE TRUE ON CONFLICT DO NOTHING;
INSERT INTO changed SELECT id, 0 FROM prospect
  WHERE person_id IN (SELECT person_id FROM temp.disagreement) ON CONFLICT DO NOTHING;
UPDATE person SET lock_version = NULL, deleted = 0
  WHERE id IN (SELECT person_id FROM temp.disagreement WHERE gone);
INSERT INTO changed SELECT DISTINCT prospect_id, 0 FROM temp.task_finding WHERE vanished ON CONFLICT DO NOTHING;
UPDATE task SET workbooks_id = NULL WHERE id IN (SELECT task_id FROM temp.task_finding WHERE NOT vanished);
UPDATE task SET skipped = 1 WHERE id IN (SELECT task_id FROM temp.task_finding WHERE vanished)
"""


class SentTask(NamedTuple):
    """A skipped task and the Workbooks Task that was made of it; `sent_at` None: it was found there."""

    id: int
    prospect_id: int
    workbooks_id: int
    sent_at: Instant | None


class OpenTask(NamedTuple):
    """A sequence task that was open when last read, although its sequence state is at another step now."""

    id: int
    prospect_id: int


class Survey(Table):
    """The findings of one `reconcile`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin without findings on an open connection."""
        super().__init__(connection)
        for statement in _TEMPORARY.split(";\n"):
            connection.execute(statement)

    # -- the walk through all sequence states

    def begin(self) -> None:
        """Forget what an earlier walk has seen."""
        self._connection.execute("DELETE FROM survey_seen")

    def saw(self, state_ids: Iterable[int]) -> None:
        """Note which states a page held."""
        self._each("INSERT OR IGNORE INTO survey_seen VALUES (?)", state_ids)

    def unseen(self, after: int, limit: int) -> list[int]:
        """Return cached sequence states above `after` that the walk has not seen, in order."""
        return self._column(
            "SELECT id FROM sequence_state s WHERE id > ?"
            " AND NOT EXISTS (SELECT 1 FROM survey_seen WHERE state_id = s.id) ORDER BY id LIMIT ?",
            (after, limit),
        )

    def people_with_unseen(self) -> int:
        """Count the linked people of whom the walk did not show every sequence state that is cached."""
        return self._count(
            "(SELECT DISTINCT p.person_id FROM sequence_state s JOIN prospect p ON p.id = s.prospect_id WHERE"
            " p.person_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM survey_seen WHERE state_id = s.id))"
        )

    def with_unnamed_sequence(self) -> list[int]:
        """Return one sequence state of each sequence whose name was never seen."""
        return self._column(
            "SELECT min(id) FROM sequence_state WHERE sequence_id IS NOT NULL"
            " AND sequence_id NOT IN (SELECT id FROM sequence) GROUP BY sequence_id"
        )

    # -- findings

    def note_missing(self, state_ids: Iterable[int]) -> None:
        """Note sequence states that certainly do not exist any more."""
        self._each("INSERT OR IGNORE INTO temp.missing VALUES (?)", state_ids)

    def missing_among(self, state_ids: Iterable[int]) -> set[int]:
        """Return which of these states count no more: they do not exist, or their prospect does not.

        An opt-out counts all the same.
        """
        ids = id_list(state_ids)
        return set(
            self._column(
                f"SELECT state_id FROM temp.missing WHERE state_id IN {IDS} UNION SELECT id FROM sequence_state"
                f" WHERE id IN {IDS} AND state <> ? AND prospect_id IN (SELECT prospect_id FROM temp.gone)",
                (ids, ids, OPTED_OUT),
            )
        )

    def linked_prospects(self, after: int, limit: int) -> list[int]:
        """Return the ids of linked prospects above `after`, in order: a way through all of them."""
        return self._column(
            "SELECT id FROM prospect WHERE person_id IS NOT NULL AND id > ? ORDER BY id LIMIT ?", (after, limit)
        )

    def note_gone(self, prospect_ids: Iterable[int]) -> None:
        """Note prospects that certainly are not there any more, unless it was known."""
        self._connection.execute(
            f"INSERT INTO temp.gone SELECT id FROM prospect WHERE NOT gone AND id IN {IDS} ON CONFLICT DO NOTHING",
            (id_list(prospect_ids),),
        )

    def note_disagreement(self, person_id: int, *, gone: bool, watched: Watched | None) -> None:
        """Note a Person that says something else than it should, or is gone; `watched`: as what the guard counts it."""
        self._connection.execute(
            "INSERT OR REPLACE INTO temp.disagreement VALUES (?, ?, ?)", (person_id, gone, watched and watched.value)
        )

    def note_tasks(self, tasks: Iterable[tuple[int, int]], *, vanished: bool) -> None:
        """Note tasks (id, prospect id) that are gone: from Workbooks, or (`vanished`) from Outreach."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO temp.task_finding VALUES (?, ?, ?)",
            ((task_id, prospect_id, vanished) for task_id, prospect_id in tasks),
        )

    def note_hidden_tasks(self, tasks: Iterable[SentTask]) -> None:
        """Note tasks whose Workbooks Task is not to be seen, those left out that were refused for it before."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO temp.hidden_task SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM outbox"
            " WHERE record = 'task' AND stream = '' AND key = ?1 AND action = 'hidden')",
            tasks,
        )

    def hidden_tasks(self) -> list[SentTask]:
        """Return the tasks whose Workbooks Task is not to be seen."""
        return [SentTask._make(row) for row in self._connection.execute("SELECT * FROM temp.hidden_task ORDER BY id")]

    def sent_tasks(self, after: int, limit: int) -> list[SentTask]:
        """Return skipped tasks above `after` that a Workbooks Task was made of, in order."""
        rows = self._connection.execute(
            "SELECT id, prospect_id, workbooks_id, sent_at FROM task WHERE skipped AND prospect_id IS NOT NULL"
            " AND workbooks_id IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [SentTask._make(row) for row in rows]

    def overtaken_tasks(self, after: int, limit: int) -> list[OpenTask]:
        """Return open tasks above `after` whose sequence state is still there, has not ended and is at another step.

        One whose state ended (finished, replied, opted out, bounced, failed) was withdrawn with it.
        """
        rows = self._connection.execute(
            "SELECT t.id, t.prospect_id FROM task t JOIN sequence_state s ON s.id = t.sequence_state_id"
            " WHERE t.id > ? AND NOT t.skipped AND t.prospect_id IS NOT NULL AND t.workbooks_id IS NULL"
            " AND coalesce(json_extract(t.attributes, '$.state'), '') <> 'complete'"
            " AND s.sequence_step_id <> CAST(json_extract(t.attributes, '$.sequenceStep') AS INTEGER)"
            f" AND s.replied_at IS NULL AND s.state NOT IN ({', '.join('?' * len(ENDED))})"
            " AND NOT EXISTS (SELECT 1 FROM temp.missing WHERE state_id = s.id) ORDER BY t.id LIMIT ?",
            (after, *ENDED, limit),
        )
        return [OpenTask._make(row) for row in rows]

    # -- what the findings come to

    def counts(self) -> dict[str, int]:
        """Count findings by kind, such as states_missing, people_differ or tasks_gone."""
        queries = {
            "states_missing": "temp.missing",
            "prospects_gone": "temp.gone",
            "people_differ": "temp.disagreement WHERE NOT gone",
            "people_gone": "temp.disagreement WHERE gone",
            "tasks_gone": "temp.task_finding WHERE NOT vanished",
            "tasks_hidden": "temp.hidden_task",
            "tasks_vanished": "temp.task_finding WHERE vanished",
        }
        return {kind: self._count(query) for kind, query in queries.items()}

    def people_to_change(self) -> dict[Watched, int]:
        """Count the people that would be changed or lost, and that no passed guard has counted."""
        waiting = "outbox WHERE record = 'person' AND action = 'recreate' AND state = 'queued' AND NOT admitted"
        return {
            Watched.UPDATES: self._count(f"temp.disagreement WHERE watched = '{Watched.UPDATES}'"),
            Watched.LOSSES: self._count(f"temp.disagreement WHERE watched = '{Watched.LOSSES}'") + self._count(waiting),
        }

    def keep(self) -> None:
        """Put the findings into effect: remove the missing states, have every Person concerned looked at again."""
        for statement in _KEEP.split(";\n"):
            self._connection.execute(statement)

    def tasks_to_send(self) -> Iterator[tuple[int, int]]:
        """Yield (task id, prospect id) of every task that has to be made in Workbooks, again or at last."""
        yield from self._connection.execute("SELECT task_id, prospect_id FROM temp.task_finding ORDER BY task_id")

    def _count(self, rows: str) -> int:
        return self._number(f"SELECT count(*) FROM {rows}")


class Facts(Table):
    """Named texts in the state file."""

    def get(self, name: str) -> str | None:
        """Return the value of a fact, None where it was never set."""
        value: str | None = self._first("SELECT value FROM fact WHERE name = ?", (name,))
        return value

    def put(self, name: str, value: str) -> None:
        """Set a fact; call it inside a transaction."""
        self._connection.execute(
            "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )


_EVENT = ", ".join(Event._fields)


class Events(Table):
    """The tables of events and of what they concern. Call what changes them inside a transaction."""

    def keep(self, events: Iterable[Event]) -> list[Event]:
        """Store events; return those that were not known. They are never changed, and come again with each overlap."""
        latest = {event.id: event for event in events}
        known = set(self._column(f"SELECT id FROM event WHERE id IN {IDS}", (id_list(latest),)))
        fresh = [event for event in latest.values() if event.id not in known]
        self._connection.executemany(f"INSERT INTO event ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(tuple, fresh))
        return fresh

    def skips_of(self, task_ids: Collection[int], names: Collection[str]) -> dict[int, Event]:
        """Return, by task, the first event of these names that says it was skipped."""
        rows = self._connection.execute(
            f"SELECT {_EVENT} FROM event WHERE task_id IN {IDS} AND name IN {IDS} ORDER BY id DESC",
            (id_list(task_ids), id_list(names)),
        )
        return {event.task_id: event for event in map(Event._make, rows) if event.task_id is not None}

    def of_prospects(self, prospect_ids: Collection[int], names: Collection[str]) -> list[Event]:
        """Return the events of these names that say something of these prospects, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_EVENT} FROM event WHERE prospect_id IN {IDS} AND name IN {IDS} ORDER BY id",
            (id_list(prospect_ids), id_list(names)),
        )
        return list(map(Event._make, rows))

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
        return bool(self._number("SELECT EXISTS (SELECT 1 FROM concern)"))

    def concerns_read(self, stream: Stream, ids: Iterable[int]) -> None:
        """Note that records have been read again."""
        self._connection.executemany(
            "DELETE FROM concern WHERE stream = ? AND id = ?", ((stream.value, one) for one in ids)
        )


DAY_MS = 86_400_000
_LABELS_KEPT = 40  # a picklist has a dozen; a text field that people fill in by hand may hold anything


class LabelCount(NamedTuple):
    """How many linked people said one label at the end of the first run of a day; '' is an empty field."""

    day: Instant
    label: str
    people: int


class SkippedBySequence(NamedTuple):
    """The skipped tasks of one sequence.

    `sequence_id` and `name` are None where Outreach gave none. `recent` counts those last changed in the period,
    `kept` all in the cache, `sent` those that have a Workbooks Task.
    """

    sequence_id: int | None
    name: str | None
    recent: int
    kept: int
    sent: int


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


class History(Table):
    """Counts by day, and every accepted write. Call what changes them inside a transaction."""

    def wrote(self, fields: Iterable[Written]) -> None:
        """Record fields that Workbooks accepted; never a name or an address."""
        self._connection.executemany(
            f"INSERT INTO write ({', '.join(Written._fields)}) VALUES ({', '.join('?' * len(Written._fields))})",
            ((*one[:8], json.dumps(one.old), json.dumps(one.new), one.because) for one in fields),
        )

    def writes(self, *, since: Instant | None = None, limit: int = -1, **of: int | str | None) -> list[Written]:
        """Return accepted fields, newest first.

        Args:
            since: only those accepted from then on, by the clock of this machine.
            limit: at most so many; negative: all.
            of: values that columns must have (run_id, record, prospect_id, task_id, workbooks_id, field...); None: any.
        """
        asked = {name: value for name, value in of.items() if value is not None}
        clauses = [f"{name} = :{name}" for name in asked] + (["at >= :since"] if since is not None else [])
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        rows = self._connection.execute(
            f"SELECT {', '.join(Written._fields)} FROM write{where} ORDER BY number DESC LIMIT :limit",
            {**asked, "since": since, "limit": limit},
        )
        return [
            Written._make((*row[:8], json.loads(row[8] or "null"), json.loads(row[9] or "null"), row[10]))
            for row in rows
        ]

    def count_writes(self, run_id: str) -> int:
        """Count the fields that a run wrote."""
        return self._number("SELECT count(*) FROM write WHERE run_id = ?", (run_id,))

    def lags(self, field: str, since: Instant) -> list[int]:
        """Return how many milliseconds lie between each time that was written to a field and its write, sorted.

        Only of updates that replaced another time: what a first load writes may be of any age.
        """
        return self._column(
            "SELECT at - CAST(round((julianday(json_extract(new, '$')) - 2440587.5) * 86400000) AS INTEGER) AS lag"
            " FROM write WHERE at >= ? AND field = ? AND action = 'update' AND coalesce(old, 'null') <> 'null'"
            " AND lag >= 0 ORDER BY lag",
            (since, field),
        )

    def note_day(self, now: Instant) -> None:
        """Record how many linked people say which label, unless it was recorded today: counting reads everybody."""
        today = day_of(now)
        if not self._number("SELECT EXISTS (SELECT 1 FROM label_count WHERE day = ?)", (today,)):
            self._connection.executemany(
                "INSERT INTO label_count VALUES (?, ?, ?)", ((today, *row) for row in self.labels_now())
            )

    def forget_before(self, instant: Instant) -> None:
        """Drop the days before `instant`."""
        self._connection.execute("DELETE FROM label_count WHERE day < ?", (instant,))

    def labels_now(self) -> list[tuple[str, int]]:
        """Return (label, linked people that say it), the most frequent first, at most forty.

        Counted here: SQLite would sort everybody for it, in as many megabytes as it may use.
        """
        rows = self._connection.execute("SELECT coalesce(sequence_state, '') FROM person WHERE NOT deleted")
        people = Counter(label for (label,) in rows)
        return sorted(people.items(), key=lambda one: (-one[1], one[0]))[:_LABELS_KEPT]

    def labels_since(self, instant: Instant) -> list[LabelCount]:
        """Return what was recorded on the days from `instant` on, in order."""
        rows = self._connection.execute(
            "SELECT day, label, people FROM label_count WHERE day >= ? ORDER BY day, label", (instant,)
        )
        return [LabelCount._make(row) for row in rows]

    def opt_outs_since(self, instant: Instant) -> dict[Instant, int]:
        """Return day -> prospects whose first opt-out that still holds fell on it; one without a time is left out.

        Opted out is a prospect by itself, by its e-mail opt-out, or by a sequence state (contract 1.2).
        """
        rows = self._connection.execute(
            "WITH moment (prospect_id, at) AS ("
            " SELECT id, coalesce(opted_out_at, opt_out_seen_at) FROM prospect WHERE opted_out"
            " UNION ALL SELECT id, coalesce(emails_opted_at, opt_out_seen_at) FROM prospect WHERE email_opted_out"
            " UNION ALL SELECT prospect_id, coalesce(state_changed_at, updated_at) FROM sequence_state WHERE state = ?"
            "), first (at) AS (SELECT min(at) FROM moment GROUP BY prospect_id)"
            " SELECT at / ? * ?, count(*) FROM first WHERE at >= ? GROUP BY 1 ORDER BY 1",
            (OPTED_OUT, DAY_MS, DAY_MS, instant),
        )
        return {Instant(day): count for day, count in rows}

    def skipped_by_sequence(self, since: Instant) -> list[SkippedBySequence]:
        """Return the skipped tasks of each sequence, the one with the most in the period first."""
        rows = self._connection.execute(
            "SELECT t.sequence_id, q.name, sum(coalesce(t.updated_at >= ?, 0)) AS recent, count(*) AS kept,"
            " count(t.workbooks_id) FROM task t LEFT JOIN sequence q ON q.id = t.sequence_id WHERE t.skipped"
            " GROUP BY t.sequence_id ORDER BY recent DESC, kept DESC, t.sequence_id",
            (since,),
        )
        return [SkippedBySequence._make(row) for row in rows]


def day_of(instant: Instant) -> Instant:
    """Return the beginning of an instant's UTC day."""
    return Instant(instant // DAY_MS * DAY_MS)


_GRACE_MS = 86_400_000
"""Two clocks that are both right for all purposes here may differ by so much."""


class RunRecord(NamedTuple):
    """One run. `finished_at` is None while it goes on, or for ever where the process was killed.

    `number` says in which order runs were made; the times are this machine's, and may be wrong.
    """

    id: str
    command: str
    started_at: Instant
    finished_at: Instant | None
    exit_status: int | None
    outcome: str | None
    summary: Mapping[str, Any]
    number: int = 0


_COLUMNS = "id, command, started_at, finished_at, exit_status, outcome, summary, number"


class Runs(Table):
    """The table of runs."""

    def begin(self, run_id: str, command: str, started_at: Instant) -> None:
        """Record that a run began; call it inside a transaction."""
        self._connection.execute(
            "INSERT INTO run (id, command, started_at) VALUES (?, ?, ?)", (run_id, command, started_at)
        )

    def finish(
        self,
        run_id: str,
        finished_at: Instant,
        exit_status: int,
        outcome: str,
        summary: Mapping[str, Any],
        *,
        heard_at: Instant | None = None,
    ) -> None:
        """Record how a run ended; call it inside a transaction. `heard_at` is Outreach's clock, None: not heard."""
        self._connection.execute(
            "UPDATE run SET finished_at = ?, exit_status = ?, outcome = ?, summary = ?, heard_at = ? WHERE id = ?",
            (finished_at, exit_status, outcome, json.dumps(summary), heard_at, run_id),
        )

    def forget_before(self, instant: Instant, now: Instant) -> bool:
        """Drop the runs made before the first one of the time from `instant` to `now`, by Outreach's clock.

        By their order, since a time that a wrong clock put down proves nothing: a run that is newer than one to be kept
        is kept, whatever it says. A run that heard nothing of Outreach's clock is dated by this machine's. Nothing is
        dropped where the run before heard a time that is not between the two: one of both was wrong, and the next run
        will tell. Call it inside a transaction; returns whether `now` is believed.
        """
        before = self._connection.execute(
            "SELECT heard_at FROM run WHERE heard_at IS NOT NULL ORDER BY number DESC LIMIT 1 OFFSET 1"
        ).fetchone()
        if before is not None and not instant <= before[0] <= now + _GRACE_MS:
            return False
        kept = self._connection.execute(
            "SELECT min(number) FROM run WHERE coalesce(heard_at, started_at) BETWEEN ? AND ?",
            (instant, now + _GRACE_MS),
        ).fetchone()[0]
        if kept is not None:
            self._connection.execute("DELETE FROM write WHERE run_id IN (SELECT id FROM run WHERE number < ?)", (kept,))
            self._connection.execute("DELETE FROM run WHERE number < ?", (kept,))
        return True

    def latest(self, count: int = 1) -> list[RunRecord]:
        """Return the newest runs, newest first."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM run ORDER BY number DESC LIMIT ?", (count,))
        return [_record(row) for row in rows]

    def latest_of(self, command: str) -> RunRecord | None:
        """Return the newest run of a command, None where there is none."""
        query = f"SELECT {_COLUMNS} FROM run WHERE command = ? ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query, (command,)).fetchone()
        return None if row is None else _record(row)

    def oldest(self) -> RunRecord | None:
        """Return the oldest run that is still recorded, None where there is none."""
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM run ORDER BY number LIMIT 1").fetchone()
        return None if row is None else _record(row)

    def since(self, instant: Instant) -> list[RunRecord]:
        """Return all runs that say they began at or after `instant`, in the order in which they were made."""
        query = f"SELECT {_COLUMNS} FROM run WHERE started_at >= ? ORDER BY number"
        return [_record(row) for row in self._connection.execute(query, (instant,))]


def _record(row: tuple[Any, ...]) -> RunRecord:
    record = RunRecord._make(row)
    return record._replace(summary=parsed(row[6]) if row[6] else {})
