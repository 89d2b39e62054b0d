"""What Outreach said: the newest version of each record, stored a page at a time.

A version that is older than the stored one is passed over (records come out of order and twice); of two versions with
one stamp the one read later wins. Only what differs is written, and only prospects whose Person could say something
else because of it are reported as concerned.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.records import Prospect, Sequence, SequenceState, SourceTask
from outreach_sync.rules.person import OPTED_OUT, PooledProspect, PooledState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Container, Iterable

    from outreach_sync.instants import Instant

_IDS = "(SELECT value FROM json_each(?))"
_PROSPECT_COLUMNS = (
    "first_name, last_name, emails, external_id, opted_out, opted_out_at, email_opted_out, emails_opted_at,"
    " trashed_at, updated_at, extra"
)
_TASK_COLUMNS = (
    "id, prospect_id, sequence_id, sequence_state_id, task_type, action, due_at, note, updated_at, attributes, skipped,"
    " workbooks_id, sent_at"
)
_UPDATED_AT = 9
_DECIDING = slice(4, 9)
"""Where in `_PROSPECT_COLUMNS` stands what a decision about a linked Person looks at: opt-outs and deletion."""


class JudgedTask(NamedTuple):
    """A sequence task as read, and what the rule made of it."""

    task: SourceTask
    skipped: bool


class CachedProspect(NamedTuple):
    """A prospect as last read. `known` is False where only its id was ever seen."""

    prospect: Prospect
    person_id: int | None
    known: bool
    history_read: bool


class CachedTask(NamedTuple):
    """A sequence task as last read, and what became of it."""

    task: SourceTask
    skipped: bool
    workbooks_id: int | None
    sent_at: Instant | None


class Cache:
    """The tables of source records. Every method that changes them must be called inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def keep_states(self, states: Iterable[SequenceState], *, written: Container[int] = ()) -> tuple[set[int], int]:
        """Store sequence states; return the prospects concerned and how many states changed.

        States without a prospect are left out: there is nobody to show them on. `written` holds prospects that
        certainly have a row.
        """
        latest = _latest_by_id([state for state in states if state.prospect_id is not None])
        if not latest:
            return set(), 0
        stored = {
            row[0]: row
            for row in self._connection.execute(
                f"SELECT id, prospect_id, sequence_id, state, state_changed_at, updated_at FROM sequence_state"
                f" WHERE id IN {_IDS}",
                (_id_list(latest),),
            )
        }
        fresh = [state for state in latest.values() if _supersedes(state, stored.get(state.id), 5)]
        self._write_states(fresh)
        concerned, changed = set[int](), 0
        for state in fresh:
            before = stored.get(state.id)
            if before is None:
                changed += 1
                concerned.add(state.prospect_id)
            elif before[1:5] != state[1:5] or (before[4] is None and before[5] != state[5]):
                changed += 1
                concerned.update((state.prospect_id, before[1]))
        self.know(one for one in concerned if one not in written)
        return concerned, changed

    def _write_states(self, states: Iterable[SequenceState]) -> None:
        self._connection.executemany(
            "INSERT INTO sequence_state (id, prospect_id, sequence_id, state, state_changed_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " prospect_id = excluded.prospect_id, sequence_id = excluded.sequence_id, state = excluded.state,"
            " state_changed_at = excluded.state_changed_at, updated_at = excluded.updated_at",
            (tuple(state[:6]) for state in states),  # SQLite's module takes plain tuples in half the time
        )

    def keep_prospects(self, prospects: Iterable[Prospect]) -> tuple[set[int], int]:
        """Store prospects; return those whose Person may have to say something else, and how many changed at all."""
        latest = _latest_by_id(prospects)
        if not latest:
            return set(), 0
        stored = {
            row[0]: row
            for row in self._connection.execute(
                f"SELECT id, {_PROSPECT_COLUMNS}, known, person_id FROM prospect WHERE id IN {_IDS}",
                (_id_list(latest),),
            )
        }
        fresh, concerned = [], set[int]()
        for prospect in latest.values():
            before, row = stored.get(prospect.id), _prospect_row(prospect)
            if before is not None and before[12] and _says_nothing_new(row, before[1:12]):
                continue
            fresh.append((prospect.id, *row, prospect.updated_at if _opted_out(prospect) else None))
            if before is None or not before[12] or before[13] is None or before[1:12][_DECIDING] != row[_DECIDING]:
                concerned.add(prospect.id)
        self._write_prospects(fresh)
        return concerned, len(fresh)

    def _write_prospects(self, rows: list[tuple[Any, ...]]) -> None:
        assignments = ", ".join(f"{name} = excluded.{name}" for name in _PROSPECT_COLUMNS.split(", "))
        self._connection.executemany(
            f"INSERT INTO prospect (id, {_PROSPECT_COLUMNS}, opt_out_seen_at, known, history_read)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0)"
            f" ON CONFLICT (id) DO UPDATE SET known = 1, {assignments}, listed = listed AND emails IS excluded.emails,"
            " opt_out_seen_at ="
            " iif(excluded.opted_out OR excluded.email_opted_out,"
            " coalesce(opt_out_seen_at, excluded.opt_out_seen_at), NULL)",
            rows,
        )

    def know(self, prospect_ids: Iterable[int]) -> None:
        """Make sure there is a row for each prospect, even one that was never seen itself."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO prospect (id, known, opted_out, email_opted_out, history_read)"
            " VALUES (?, 0, 0, 0, 0)",
            ((prospect_id,) for prospect_id in prospect_ids),
        )

    def keep_sequences(self, sequences: Iterable[Sequence]) -> None:
        """Store the names of sequences."""
        self._connection.executemany(
            "INSERT INTO sequence VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            " WHERE name <> excluded.name",
            {sequence.id: sequence for sequence in sequences}.values(),
        )

    def keep_tasks(self, judged: Iterable[JudgedTask]) -> list[JudgedTask]:
        """Store sequence tasks; return those that changed, or that the rule judges otherwise than before."""
        latest: dict[int, JudgedTask] = {}
        for one in judged:
            other = latest.get(one.task.id)
            if other is None or _newer(one.task.updated_at, other.task.updated_at):
                latest[one.task.id] = one
        stored = {
            row[0]: row
            for row in self._connection.execute(
                f"SELECT id, updated_at, attributes, skipped, prospect_id FROM task WHERE id IN {_IDS}",
                (_id_list(latest),),
            )
        }
        fresh = []
        for one in latest.values():
            before = stored.get(one.task.id)
            row = (one.task.updated_at, _attributes_text(one.task), int(one.skipped), one.task.prospect_id)
            if before is None or (_newer(row[0], before[1]) and before[1:] != row):
                fresh.append(one)
        self._write_tasks(fresh)
        self.know({one.task.prospect_id for one in fresh if one.task.prospect_id is not None})
        return fresh

    def _write_tasks(self, judged: list[JudgedTask]) -> None:
        self._connection.executemany(
            "INSERT INTO task (id, prospect_id, sequence_id, sequence_state_id, task_type, action, due_at, note,"
            " updated_at, attributes, skipped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET prospect_id = excluded.prospect_id, sequence_id = excluded.sequence_id,"
            " sequence_state_id = excluded.sequence_state_id, task_type = excluded.task_type,"
            " action = excluded.action, due_at = excluded.due_at, note = excluded.note,"
            " updated_at = excluded.updated_at, attributes = excluded.attributes, skipped = excluded.skipped",
            [
                (
                    *(task.id, task.prospect_id, task.sequence_id, task.sequence_state_id, task.task_type),
                    *(task.action, task.due_at, task.note if skipped else None, task.updated_at),
                    *(_attributes_text(task), skipped),
                )
                for task, skipped in judged
            ],
        )

    def task(self, task_id: int) -> CachedTask | None:
        """Return a sequence task as last read."""
        row = self._connection.execute(f"SELECT {_TASK_COLUMNS} FROM task WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else _cached_task(row)

    def skipped_tasks_of(self, prospect_ids: Collection[int]) -> list[CachedTask]:
        """Return the skipped tasks of prospects, in the order of their ids."""
        rows = self._connection.execute(
            f"SELECT {_TASK_COLUMNS} FROM task WHERE skipped AND prospect_id IN {_IDS} ORDER BY id",
            (_id_list(prospect_ids),),
        )
        return [_cached_task(row) for row in rows]

    def task_was_sent(self, task_id: int, workbooks_id: int, sent_at: Instant | None) -> None:
        """Record which Workbooks Task was made of a skipped task; `sent_at` None: it was found there."""
        self._connection.execute(
            "UPDATE task SET workbooks_id = ?, sent_at = coalesce(?, sent_at) WHERE id = ?",
            (workbooks_id, sent_at, task_id),
        )

    def sequence_name(self, sequence_id: int | None) -> str | None:
        """Return the name of a sequence, None where it was never seen."""
        row = self._connection.execute("SELECT name FROM sequence WHERE id = ?", (sequence_id,)).fetchone()
        return None if row is None else str(row[0])

    def prospects(self, prospect_ids: Collection[int]) -> dict[int, CachedProspect]:
        """Return prospects by id; those never heard of are absent."""
        rows = self._connection.execute(
            f"SELECT id, {_PROSPECT_COLUMNS}, person_id, known, history_read FROM prospect WHERE id IN {_IDS}",
            (_id_list(prospect_ids),),
        )
        return {row[0]: _cached_prospect(row) for row in rows}

    def history_was_read(self, prospect_ids: Iterable[int]) -> None:
        """Record that all sequence states of these prospects are in the cache, whatever their age."""
        self._connection.executemany(
            "UPDATE prospect SET history_read = 1 WHERE id = ?", ((prospect_id,) for prospect_id in prospect_ids)
        )

    def pooled_prospects(self, prospect_ids: Collection[int]) -> dict[int, PooledProspect]:
        """Return what a decision needs of each prospect."""
        rows = self._connection.execute(
            "SELECT id, opted_out, opted_out_at, email_opted_out, emails_opted_at, opt_out_seen_at,"
            f" trashed_at IS NOT NULL, no_email_kept, history_read FROM prospect WHERE id IN {_IDS}",
            (_id_list(prospect_ids),),
        )
        return {row[0]: PooledProspect._make(row) for row in rows}

    def pooled_states(self, prospect_ids: Collection[int]) -> dict[int, list[PooledState]]:
        """Return the sequence states of each prospect that has any."""
        rows = self._connection.execute(
            "SELECT s.id, s.prospect_id, s.sequence_id, s.state, coalesce(s.state_changed_at, s.updated_at), q.name"
            " FROM sequence_state s LEFT JOIN sequence q ON q.id = s.sequence_id"
            f" WHERE s.prospect_id IN {_IDS}",
            (_id_list(prospect_ids),),
        )
        states: dict[int, list[PooledState]] = {}
        for row in rows:
            states.setdefault(row[1], []).append(PooledState._make(row))
        return states

    def with_skipped_tasks(self, prospect_ids: Collection[int]) -> set[int]:
        """Return which of the prospects have a skipped task."""
        rows = self._connection.execute(
            f"SELECT DISTINCT prospect_id FROM task WHERE skipped AND prospect_id IN {_IDS}",
            (_id_list(prospect_ids),),
        )
        return {row[0] for row in rows}

    def opted_out_among(self, prospect_ids: Collection[int]) -> set[int]:
        """Return for which of the prospects an opt-out is known, whatever else there may be."""
        rows = self._connection.execute(
            f"SELECT id FROM prospect p WHERE id IN {_IDS} AND (opted_out OR email_opted_out OR EXISTS"
            " (SELECT 1 FROM sequence_state s WHERE s.prospect_id = p.id AND s.state = ?))",
            (_id_list(prospect_ids), OPTED_OUT),
        )
        return {row[0] for row in rows}

    def with_reason(self, prospect_ids: Collection[int]) -> set[int]:
        """Return which of the prospects have a sequence state, an opt-out or a skipped task."""
        with_states = set(self.pooled_states(prospect_ids))
        return with_states | self.opted_out_among(prospect_ids) | self.with_skipped_tasks(prospect_ids)

    def opted_out_among_held(self, after: int, limit: int) -> list[int]:
        """Return prospects above `after`, held back by an incomplete walk, for which an opt-out holds; in order."""
        rows = self._connection.execute(
            "SELECT c.prospect_id FROM changed c JOIN prospect p ON p.id = c.prospect_id"
            " WHERE c.held AND c.prospect_id > ? AND (p.opted_out OR p.email_opted_out OR EXISTS (SELECT 1 FROM"
            " sequence_state s WHERE s.prospect_id = p.id AND s.state = ?)) ORDER BY c.prospect_id LIMIT ?",
            (after, OPTED_OUT, limit),
        )
        return [row[0] for row in rows]


def _latest_by_id(records: Iterable[Any]) -> dict[int, Any]:
    """Keep the newest version of each record of a page; of equal ones the later."""
    listed = list(records)
    latest: dict[int, Any] = {record.id: record for record in listed}
    if len(latest) == len(listed):
        return latest
    latest.clear()
    for record in listed:
        other = latest.get(record.id)
        if other is None or _newer(record.updated_at, other.updated_at):
            latest[record.id] = record
    return latest


def _newer(incoming: Instant | None, stored: Instant | None) -> bool:
    """Say whether a version is at least as new as another; without a stamp, what was read later is."""
    return incoming is None or stored is None or incoming >= stored


def _supersedes(record: Any, stored: tuple[Any, ...] | None, stamp: int) -> bool:
    return stored is None or (_newer(record.updated_at, stored[stamp]) and stored != tuple(record))


def _says_nothing_new(row: tuple[Any, ...], stored: tuple[Any, ...]) -> bool:
    return row == stored or not _newer(row[_UPDATED_AT], stored[_UPDATED_AT])


def _opted_out(prospect: Prospect) -> bool:
    return prospect.opted_out or prospect.email_opted_out


def _prospect_row(prospect: Prospect) -> tuple[Any, ...]:
    _, first, last, emails, external_id, out, out_at, email_out, emails_at, trashed_at, updated_at, extra = prospect
    lines = "\n".join(emails)
    if lines.count("\n") >= len(emails) > 0:
        lines = "\n".join(address for address in emails if "\n" not in address)
    return (
        *(first, last, lines or None, external_id, int(out), out_at, int(email_out), emails_at),
        *(trashed_at, updated_at, json.dumps(extra) if extra else None),
    )


def _cached_prospect(row: tuple[Any, ...]) -> CachedProspect:
    emails = tuple(row[3].split("\n")) if row[3] else ()
    prospect = Prospect(
        *(row[0], row[1], row[2], emails, row[4], bool(row[5]), row[6], bool(row[7]), row[8], row[9], row[10]),
        extra=json.loads(row[11]) if row[11] else {},
    )
    return CachedProspect(prospect, row[12], bool(row[13]), bool(row[14]))


def _cached_task(row: tuple[Any, ...]) -> CachedTask:
    task = SourceTask._make((*row[:4], None, *row[4:9], json.loads(row[9]), frozenset()))
    return CachedTask(task, bool(row[10]), row[11], row[12])


def _attributes_text(task: SourceTask) -> str:
    return json.dumps(dict(task.attributes), separators=(",", ":"), sort_keys=True)


def _id_list(ids: Iterable[int]) -> str:
    return json.dumps(list(ids))
