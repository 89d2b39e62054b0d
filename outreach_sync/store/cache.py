"""What Outreach said: the newest version of each record, stored a page at a time.

A version that is older than the stored one is passed over, since records come out of order and twice; of two versions
with one stamp the one read later wins. A stamp that lies ahead of the answer's `Date` proves nothing: a version with
such a stamp is replaced by the next one that comes. What was asked for by id is taken as it is. Only what differs is
written, and only prospects whose Person could say something else because of it are reported as concerned.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.records import Event, Prospect, Sequence, SequenceState, SourceTask
from outreach_sync.rules.person import OPTED_OUT, PooledProspect, PooledState, mailbox
from outreach_sync.store.schema import IDS, Table, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable

    from outreach_sync.instants import Instant

_STATE_COLUMNS = (
    "id, prospect_id, sequence_id, state, state_changed_at, updated_at, sequence_step_id, replied_at, ahead"
)
_PROSPECT_COLUMNS = (
    "first_name, last_name, emails, external_id, opted_out, opted_out_at, email_opted_out, emails_opted_at,"
    " trashed_at, updated_at, extra"
)
_OPT_OUT_COLUMNS = {
    "opt_out": ("opted_out", "opted_out_at"),
    "emails_opt_out": ("email_opted_out", "emails_opted_at"),
}
"""What an event of this name sets: a flag, and since when."""
_TASK_COLUMNS = (
    "id, prospect_id, sequence_id, sequence_state_id, task_type, action, due_at, note, updated_at, attributes, skipped,"
    " workbooks_id, sent_at"
)
_TASK_WRITTEN = _TASK_COLUMNS.replace("workbooks_id, sent_at", "ahead")
_TASK_PLACES = {
    "prospect": ("prospect_id", 4),
    "sequence": ("sequence_id", 5),
    "sequenceState": ("sequence_state_id", 6),
}
"""The field of each relationship of a task, and where it stands in what `keep_tasks` looks at."""
_UPDATED_AT = 9
_DECIDING = slice(4, 9)
"""Where in `_PROSPECT_COLUMNS` stands what a decision about a linked Person looks at: opt-outs and deletion."""
_OPTED_OUT = (
    "(p.opted_out OR p.email_opted_out OR EXISTS"
    " (SELECT 1 FROM sequence_state s WHERE s.prospect_id = p.id AND s.state = ?))"
)
"""Whether an opt-out of the prospect `p` is known; takes the name of that state."""
_SHOWN = slice(1, 5)
"""Where in `_STATE_COLUMNS` stands what a Person shows of a state."""
_STATE_PLACES = {"prospect": 1, "sequence": 2, "sequenceStep": 6}
"""Where in `_STATE_COLUMNS` each relationship stands."""


class Trust(NamedTuple):
    """How far what was read is to be believed.

    Attributes:
        now: the answer's `Date`; stamps that lie ahead of it prove nothing. None: it had none.
        as_is: take every row as it is, whatever is stored of it: it was asked for by its id, or everything is read.
    """

    now: Instant | None = None
    as_is: bool = False

    def ahead(self, stamp: Instant | None) -> int:
        """Say (1 or 0) whether a stamp proves nothing."""
        return int(stamp is not None and self.now is not None and stamp > self.now)

    def replaces(self, stamp: Instant | None, stored: Instant | None, stored_ahead: int) -> bool:
        """Say whether a version is to be stored in place of another; without a stamp, what was read later is."""
        newer = stamp is None or stored is None or stamp >= stored
        return newer or self.as_is or bool(stored_ahead or self.ahead(stamp))


_STAMPS_COUNT = Trust()


class JudgedTask(NamedTuple):
    """A sequence task as read, and what the rule made of it."""

    task: SourceTask
    skipped: bool


class CachedProspect(NamedTuple):
    """A prospect as last read.

    `known` is False where only its id was ever seen; `gone`: when it was last asked for by its id, it was not there.
    """

    prospect: Prospect
    person_id: int | None
    known: bool
    history_read: bool
    gone: bool = False


class CachedTask(NamedTuple):
    """A sequence task as last read, and what became of it."""

    task: SourceTask
    skipped: bool
    workbooks_id: int | None
    sent_at: Instant | None


class Cache(Table):
    """The tables of source records. Every method that changes them must be called inside a transaction."""

    def keep_states(
        self, states: Iterable[SequenceState], trust: Trust = _STAMPS_COUNT, *, written: Container[int] = ()
    ) -> tuple[set[int], int]:
        """Store sequence states; return the prospects concerned and how many states changed.

        A state without a prospect shows on nobody: it is left out, and one that was stored is removed, which concerns
        the prospect that it was taken from. `written` holds prospects that certainly have a row.
        """
        latest = _latest_by_id(states, trust)
        stored = self._stored("sequence_state", _STATE_COLUMNS, latest)
        fresh, taken, concerned, changed = list[tuple[Any, ...]](), list[int](), set[int](), 0
        for state in latest.values():
            before = stored.get(state.id)
            row: tuple[Any, ...] = (*state[:6], state.sequence_step_id, state.replied_at, trust.ahead(state.updated_at))
            if before is not None and state.untold:  # what an answer does not tell of it is as before
                untold = {_STATE_PLACES[name] for name in state.untold}
                row = tuple(before[place] if place in untold else value for place, value in enumerate(row))
            if row == before or (before is None and row[1] is None):
                continue
            if before is not None and not trust.replaces(state.updated_at, before[5], before[8]):
                continue
            if row[1] is None:
                taken.append(state.id)
            else:
                fresh.append(row)
            if before is None or before[_SHOWN] != row[_SHOWN] or (before[4] is None and before[5] != row[5]):
                changed += 1
                concerned.update(one for one in (row[1], before[1] if before else None) if one is not None)
        self._upsert("sequence_state", _STATE_COLUMNS, fresh)
        self._do(f"DELETE FROM sequence_state WHERE id IN {IDS}", taken)
        self.know(one for one in concerned if one not in written)
        return concerned, changed

    def _stored(self, table: str, columns: str, ids: Collection[int]) -> dict[int, tuple[Any, ...]]:
        if not ids:
            return {}
        rows = self._do(f"SELECT {columns} FROM {table} WHERE id IN {IDS}", ids)
        return {row[0]: row for row in rows}

    def _upsert(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows, in place of those with the same id, which is the first of the columns."""
        names = columns.split(", ")
        self._connection.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
            f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names[1:])}",
            rows,
        )

    def remove_states(self, state_ids: Collection[int]) -> set[int]:
        """Remove sequence states that certainly do not exist any more; return the prospects that had them."""
        stored = self._stored("sequence_state", "id, prospect_id", state_ids)
        self._do(f"DELETE FROM sequence_state WHERE id IN {IDS}", stored)
        return {row[1] for row in stored.values()}

    def keep_prospects(self, prospects: Iterable[Prospect], trust: Trust = _STAMPS_COUNT) -> tuple[set[int], int]:
        """Store prospects; return those whose Person may have to say something else, and how many changed at all."""
        latest = _latest_by_id(prospects, trust)
        stored = self._stored("prospect", f"id, {_PROSPECT_COLUMNS}, known, person_id, ahead, gone", latest)
        fresh, concerned = list[tuple[Any, ...]](), set[int]()
        for prospect in latest.values():
            row, ahead = _prospect_row(prospect), trust.ahead(prospect.updated_at)
            before = stored.get(prospect.id)
            known = before is not None and bool(before[12])
            if before is not None and known:
                stored_row, stored_ahead, gone = before[1:12], before[14], before[15]
                if (row, ahead, 0) == (stored_row, stored_ahead, gone):
                    continue
                if not gone and not trust.replaces(prospect.updated_at, stored_row[_UPDATED_AT], stored_ahead):
                    continue
            fresh.append((prospect.id, *row, prospect.updated_at if row[4] or row[6] else None, ahead))
            if (
                before is None
                or not known
                or before[13] is None
                or before[14]  # since when an opt-out was seen may have been read from a stamp that was ahead
                or before[15]
                or before[1:12][_DECIDING] != row[_DECIDING]
            ):
                concerned.add(prospect.id)
        assignments = ", ".join(f"{name} = excluded.{name}" for name in _PROSPECT_COLUMNS.split(", "))
        self._connection.executemany(
            f"INSERT INTO prospect (id, {_PROSPECT_COLUMNS}, opt_out_seen_at, ahead, known, history_read)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0)"
            f" ON CONFLICT (id) DO UPDATE SET known = 1, gone = 0, {assignments}, ahead = excluded.ahead,"
            " listed = listed AND emails IS excluded.emails, opt_out_seen_at ="
            " iif(excluded.opted_out OR excluded.email_opted_out, iif(prospect.ahead, excluded.opt_out_seen_at,"
            " coalesce(opt_out_seen_at, excluded.opt_out_seen_at)), NULL)",
            fresh,
        )
        return concerned, len(fresh)

    def prospects_are_gone(self, prospect_ids: Collection[int]) -> set[int]:
        """Record that prospects were asked for by id and are not there; return those of whom it was not known.

        Their states count no more, as those of a trashed prospect; an opt-out does. What is known of them stays.
        """
        fresh = self._column(f"SELECT id FROM prospect WHERE NOT gone AND id IN {IDS}", prospect_ids)
        self._do(f"UPDATE prospect SET gone = 1 WHERE id IN {IDS}", fresh)
        return set(fresh)

    def gone_prospects_opted_out(self, events: Iterable[Event]) -> set[int]:
        """Believe events that tell of an opt-out of prospects who are gone; return those of whom it was not known.

        Each is the last word on its prospect. What was read of the prospect after it happened stands.
        """
        concerned = set()
        for event in events:
            flag, since = _OPT_OUT_COLUMNS[event.name]
            happened = event.event_at if event.event_at is not None else event.at
            changed = self._do(
                f"UPDATE prospect SET {flag} = 1, {since} = ? WHERE id = ? AND known AND NOT {flag}"
                " AND coalesce(updated_at < ?, 1)",
                *(happened, event.prospect_id, happened),
            )
            if changed.rowcount and event.prospect_id is not None:
                concerned.add(event.prospect_id)
        return concerned

    def know(self, prospect_ids: Iterable[int]) -> None:
        """Make sure there is a row for each prospect, even one that was never seen itself."""
        self._do(
            "INSERT OR IGNORE INTO prospect (id, known, opted_out, email_opted_out, history_read)"
            " SELECT value, 0, 0, 0, 0 FROM json_each(?)",
            prospect_ids,
        )

    def keep_sequences(self, sequences: Iterable[Sequence]) -> set[int]:
        """Store the names of sequences; return the ids of those that have another name than before."""
        latest = {sequence.id: sequence for sequence in sequences}
        if not latest:
            return set()
        stored = self._do(f"SELECT id, name FROM sequence WHERE id IN {IDS}", latest)
        renamed = {one for one, name in stored if name != latest[one].name}
        self._connection.executemany(
            "INSERT INTO sequence VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            " WHERE name <> excluded.name",
            latest.values(),
        )
        return renamed

    def in_sequences(self, sequence_ids: Collection[int]) -> set[int]:
        """Return the prospects that have a state in one of these sequences; goes through all states."""
        query = f"SELECT DISTINCT prospect_id FROM sequence_state WHERE sequence_id IN {IDS}"
        return set(self._column(query, sequence_ids)) if sequence_ids else set()

    def keep_tasks(self, judged: Iterable[JudgedTask], trust: Trust = _STAMPS_COUNT) -> list[JudgedTask]:
        """Store sequence tasks; return those that changed, or that are judged otherwise than before."""
        latest = _latest_by_id(judged, trust, record=lambda one: one.task)
        stored = self._stored(
            "task", "id, updated_at, attributes, skipped, prospect_id, sequence_id, sequence_state_id, ahead", latest
        )
        fresh, changed = list[tuple[Any, ...]](), list[JudgedTask]()
        for task, skipped in latest.values():
            before, ahead = stored.get(task.id), trust.ahead(task.updated_at)
            said = task
            if before is not None and task.untold:  # what an answer does not tell of it is as before
                said = task._replace(
                    **{field: before[place] for name, (field, place) in _TASK_PLACES.items() if name in task.untold}
                )
            row = (said.updated_at, _attributes_text(said), int(skipped), said.prospect_id)
            if before is not None:
                if (*row, ahead) == (*before[1:5], before[7]):
                    continue
                if not trust.replaces(said.updated_at, before[1], before[7]):
                    continue
            fresh.append(_task_row(said, ahead, skipped=skipped))
            if before is None or row != before[1:5]:
                changed.append(JudgedTask(said, skipped))
        self._upsert("task", _TASK_WRITTEN, fresh)
        self.know({one.task.prospect_id for one in changed if one.task.prospect_id is not None})
        return changed

    def gone_task_was_skipped(self, event: Event) -> SourceTask:
        """Note that a task which an event says was skipped is gone, and return it.

        It is made from what is known of it and from the event, and due when the event happened.
        """
        if event.task_id is None:
            raise ValueError("an event without a task")
        known = self.task(event.task_id)
        task = known.task if known is not None else SourceTask(
            event.task_id, event.prospect_id, event.sequence_id, None, event.sequence_step_id, "sequence_step_task",
            "", None, None, None, {},
        )  # fmt: skip
        happened = event.event_at if event.event_at is not None else event.at
        made = task._replace(
            prospect_id=task.prospect_id or event.prospect_id,
            sequence_id=task.sequence_id or event.sequence_id,
            due_at=happened if happened is not None else task.due_at,
        )
        self._upsert("task", _TASK_WRITTEN, [_task_row(made, 0, skipped=True)])
        if made.prospect_id is not None:
            self.know([made.prospect_id])
        return made

    def task(self, task_id: int) -> CachedTask | None:
        """Return a sequence task as last read."""
        row = self._do(f"SELECT {_TASK_COLUMNS} FROM task WHERE id = ?", task_id).fetchone()
        return None if row is None else _cached_task(row)

    def skipped_among(self, task_ids: Collection[int]) -> set[int]:
        """Return which of these tasks are known to be skipped."""
        return set(self._column(f"SELECT id FROM task WHERE skipped AND id IN {IDS}", task_ids))

    def skipped_tasks_of(self, prospect_ids: Collection[int]) -> list[CachedTask]:
        """Return the skipped tasks of prospects, in the order of their ids."""
        rows = self._do(
            f"SELECT {_TASK_COLUMNS} FROM task WHERE skipped AND prospect_id IN {IDS} ORDER BY id", prospect_ids
        )
        return [_cached_task(row) for row in rows]

    def newest_open_tasks(self, limit: int) -> list[SourceTask]:
        """Return tasks of sequence states that were open when last read, the newest first."""
        rows = self._do(
            f"SELECT {_TASK_COLUMNS} FROM task WHERE NOT skipped AND workbooks_id IS NULL AND sequence_state_id IS NOT"
            " NULL AND coalesce(json_extract(attributes, '$.state'), '') <> 'complete' ORDER BY id DESC LIMIT ?",
            limit,
        )
        return [_cached_task(row).task for row in rows]

    def task_was_sent(self, task_id: int, workbooks_id: int, sent_at: Instant | None) -> None:
        """Record which Workbooks Task was made of a skipped task; `sent_at` None: it was found there."""
        self._do(
            "UPDATE task SET workbooks_id = ?, sent_at = coalesce(?, sent_at) WHERE id = ?",
            *(workbooks_id, sent_at, task_id),
        )

    def task_is_gone(self, task_id: int) -> None:
        """Forget which Workbooks Task was made of a skipped task, so that another is made."""
        self._do("UPDATE task SET workbooks_id = NULL WHERE id = ?", task_id)

    def count_states(self) -> int:
        """Count the sequence states."""
        return self._count("SELECT count(*) FROM sequence_state")

    def sequence_name(self, sequence_id: int | None) -> str | None:
        """Return the name of a sequence, None where it was never seen."""
        return next(iter(self._column("SELECT name FROM sequence WHERE id = ?", sequence_id)), None)

    def sample_ids(self, most: int) -> list[int]:
        """Return the ids of a few prospects that were read: those with the lowest and the highest."""
        return self._column(
            "SELECT * FROM (SELECT id FROM prospect WHERE known AND NOT gone ORDER BY id LIMIT ?1)"
            " UNION SELECT * FROM (SELECT id FROM prospect WHERE known AND NOT gone ORDER BY id DESC LIMIT ?1)",
            most // 2,
        )

    def prospects(self, prospect_ids: Collection[int]) -> dict[int, CachedProspect]:
        """Return prospects by id; those never heard of are absent."""
        rows = self._do(
            f"SELECT id, {_PROSPECT_COLUMNS}, person_id, known, history_read, gone FROM prospect WHERE id IN {IDS}",
            prospect_ids,
        )
        found = {}
        for row in rows:
            emails = tuple(row[3].split("\n")) if row[3] else ()
            flags = (row[4], bool(row[5]), row[6], bool(row[7]), *row[8:11])
            prospect = Prospect._make((*row[:3], emails, *flags, parsed(row[11] or "{}")))
            found[prospect.id] = CachedProspect(prospect, row[12], bool(row[13]), bool(row[14]), bool(row[15]))
        return found

    def prospects_with_address(self, address: str) -> list[int]:
        """Return the prospects that have an address, in whatever case; one that asks is answered by looking at all."""
        rows = self._do(
            "SELECT id, emails FROM prospect WHERE instr(lower(emails), lower(?)) ORDER BY id", address.strip()
        )
        return [one for one, emails in rows if mailbox(address) in map(mailbox, emails.split("\n"))]

    def prospects_with_external_id(self, external_id: str) -> list[int]:
        """Return the prospects that have an external id."""
        return self._column("SELECT id FROM prospect WHERE external_id = ? ORDER BY id", external_id)

    def history_was_read(self, prospect_ids: Iterable[int]) -> None:
        """Record that all sequence states of these prospects are in the cache, whatever their age."""
        self._do(f"UPDATE prospect SET history_read = 1 WHERE id IN {IDS}", prospect_ids)

    def pooled_prospects(self, prospect_ids: Collection[int]) -> dict[int, PooledProspect]:
        """Return what a decision needs of each prospect."""
        rows = self._do(
            "SELECT id, opted_out, opted_out_at, email_opted_out, emails_opted_at, opt_out_seen_at,"
            f" trashed_at IS NOT NULL OR gone, no_email_kept, history_read FROM prospect WHERE id IN {IDS}",
            prospect_ids,
        )
        return {row[0]: PooledProspect._make(row) for row in rows}

    def pooled_states(self, prospect_ids: Collection[int]) -> dict[int, list[PooledState]]:
        """Return the sequence states of each prospect that has any."""
        rows = self._do(
            "SELECT s.id, s.prospect_id, s.sequence_id, s.state, coalesce(s.state_changed_at, s.updated_at), q.name"
            " FROM sequence_state s LEFT JOIN sequence q ON q.id = s.sequence_id"
            f" WHERE s.prospect_id IN {IDS}",
            prospect_ids,
        )
        states: dict[int, list[PooledState]] = {}
        for row in rows:
            states.setdefault(row[1], []).append(PooledState._make(row))
        return states

    def with_skipped_tasks(self, prospect_ids: Collection[int]) -> set[int]:
        """Return which of the prospects have a skipped task."""
        query = f"SELECT DISTINCT prospect_id FROM task WHERE skipped AND prospect_id IN {IDS}"
        return set(self._column(query, prospect_ids))

    def opted_out_among(self, prospect_ids: Collection[int]) -> set[int]:
        """Return for which of the prospects an opt-out is known, whatever else there may be."""
        query = f"SELECT id FROM prospect p WHERE {_OPTED_OUT} AND id IN {IDS}"
        return set(self._column(query, OPTED_OUT, prospect_ids))

    def with_reason(self, prospect_ids: Collection[int]) -> set[int]:
        """Return which of the prospects have a sequence state, an opt-out or a skipped task."""
        query = f"SELECT DISTINCT prospect_id FROM sequence_state WHERE prospect_id IN {IDS}"
        return (
            set(self._column(query, prospect_ids))
            | self.opted_out_among(prospect_ids)
            | self.with_skipped_tasks(prospect_ids)
        )

    def opted_out_among_held(self, after: int, limit: int) -> list[int]:
        """Return prospects above `after`, held back by an incomplete walk, for which an opt-out holds; in order."""
        return self._column(
            "SELECT c.prospect_id FROM changed c JOIN prospect p ON p.id = c.prospect_id"
            f" WHERE c.held AND c.prospect_id > ? AND {_OPTED_OUT} ORDER BY c.prospect_id LIMIT ?",
            *(after, OPTED_OUT, limit),
        )


def _latest_by_id(
    versions: Iterable[Any], trust: Trust, *, record: Callable[[Any], Any] = lambda one: one
) -> dict[int, Any]:
    """Keep the newest version of each record of a page; of equal ones the later. `record` is what bears the stamp."""
    latest: dict[int, Any] = {}
    stamps_count = trust._replace(as_is=False)
    for one in versions:
        new, other = record(one), latest.get(record(one).id)
        stamp = None if other is None else record(other).updated_at
        if other is None or stamps_count.replaces(new.updated_at, stamp, trust.ahead(stamp)):
            latest[new.id] = one
    return latest


def _task_row(task: SourceTask, ahead: int, *, skipped: bool) -> tuple[Any, ...]:
    return (
        *(task.id, task.prospect_id, task.sequence_id, task.sequence_state_id, task.task_type, task.action),
        *(task.due_at, task.note if skipped else None, task.updated_at, _attributes_text(task), int(skipped), ahead),
    )


def _prospect_row(prospect: Prospect) -> tuple[Any, ...]:
    _, first, last, emails, external_id, out, out_at, email_out, emails_at, trashed_at, updated_at, extra = prospect
    lines = "\n".join(emails)
    if lines.count("\n") >= len(emails) > 0:
        lines = "\n".join(address for address in emails if "\n" not in address)
    return (
        *(first, last, lines or None, external_id, int(out), out_at, int(email_out), emails_at),
        *(trashed_at, updated_at, json.dumps(extra) if extra else None),
    )


def _cached_task(row: tuple[Any, ...]) -> CachedTask:
    task = SourceTask._make((*row[:4], None, *row[4:9], parsed(row[9]), frozenset()))
    return CachedTask(task, bool(row[10]), row[11], row[12])


def _attributes_text(task: SourceTask) -> str:
    return json.dumps(dict(task.attributes), separators=(",", ":"), sort_keys=True)
