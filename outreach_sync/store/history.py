"""What was done: the runs, every field that was written, and who said what on each day.

Runs are ordered by their number, never by a clock. Days are UTC days, stored as the instant at which they begin.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import Instant
from outreach_sync.rules.person import OPTED_OUT
from outreach_sync.store.sql import Table, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from outreach_sync.records import Scalar


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
