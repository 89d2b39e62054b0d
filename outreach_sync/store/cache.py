"""What Outreach said: the newest version of each record, stored a page at a time.

A version that is older than the stored one is passed over, since records come out of order and twice; of two versions
with one stamp the one read later wins. A stamp that lies ahead of the answer's `Date` proves nothing: a version with
such a stamp is replaced by the next one that comes. What was asked for by id is taken as it is. Only what differs is
written, and only prospects whose Person could say something else because of it are reported as concerned.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.records import Event, Prospect, Sequence, SequenceState, SourceTask
from outreach_sync.rules.person import OPTED_OUT, PooledProspect, PooledState, mailbox
from outreach_sync.store.schema import IDS, Table, parsed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from outreach_sync.instants import Instant

_Row = tuple[Any, ...]

# What is stored of each record: first its id, last its stamp and whether that lies ahead (see `Trust`).
_STATE = "id, prospect_id, sequence_id, state, state_changed_at, sequence_step_id, replied_at, updated_at, ahead"
_SHOWN = slice(1, 5)  # what a Person shows of a state
_PROSPECT = (
    "id, first_name, last_name, emails, external_id, extra, opted_out, opted_out_at, email_opted_out, emails_opted_at,"
    " trashed_at, updated_at, ahead"
)
_DECIDING = slice(6, 11)  # what a decision about a linked Person looks at: opt-outs, and whether it is in the trash
_TASK = (
    "id, prospect_id, sequence_id, sequence_state_id, task_type, action, due_at, note, attributes, skipped, updated_at,"
    " ahead"
)
_JUDGED = slice(8, 11)  # what a task is judged by, and how it was
SKIPPED_OF = f"skipped AND prospect_id IN {IDS} ORDER BY id"
NEWEST_OPEN = (
    "NOT skipped AND workbooks_id IS NULL AND sequence_state_id IS NOT NULL"
    " AND coalesce(json_extract(attributes, '$.state'), '') <> 'complete' ORDER BY id DESC LIMIT ?"
)
_IDS_OF = {"prospect": "prospect_id", "sequence": "sequence_id", "sequenceState": "sequence_state_id"}
"""The columns of the relationships of which an answer may say nothing."""
_UNTOLD = object()
_OPT_OUTS = {"opt_out": ("opted_out", "opted_out_at"), "emails_opt_out": ("email_opted_out", "emails_opted_at")}
"""What an event of this name sets: a flag, and since when."""


class Trust(NamedTuple):
    """How far what was read is to be believed."""

    until: float = math.inf  # the answer's `Date`, if it had one: stamps that lie ahead of it prove nothing
    as_is: bool = False  # take every row, whatever is stored of it: it was asked for by its id, or everything is read

    def replaces(self, row: _Row, stored: _Row) -> bool:
        """Say whether a version is to be stored in place of another; without a stamp, what was read later is."""
        (stamp, ahead), (stored_stamp, stored_ahead) = row[-2:], stored[-2:]
        newer = stamp is None or stored_stamp is None or stamp >= stored_stamp
        return newer or self.as_is or bool(stored_ahead or ahead)


_STAMPS_COUNT = Trust()


class CachedProspect(NamedTuple):
    """A prospect as last read."""

    prospect: Prospect
    person_id: int | None
    known: bool  # False: only its id was ever seen
    history_read: bool
    gone: bool = False  # it was not there when it was last asked for by its id


class CachedTask(NamedTuple):
    """A sequence task as last read, what the rule made of it, and the Workbooks Task that was made of it."""

    task: SourceTask
    skipped: bool
    workbooks_id: int | None = None
    sent_at: Instant | None = None


class Cache(Table):
    """The tables of source records. Every method that changes them must be called inside a transaction."""

    def _to_store(self, table: str, columns: str, rows: list[_Row], trust: Trust) -> list[tuple[_Row, _Row | None]]:
        """Return the rows that differ and are to be believed, the newest of each id, each with what is stored of it."""
        latest, by_stamp = dict[int, _Row](), trust._replace(as_is=False)
        for row in rows:
            other = latest.setdefault(row[0], row)
            if other is not row and by_stamp.replaces(row, other):
                latest[row[0]] = row
        if not latest:
            return []
        stored = {row[0]: row for row in self.do(f"SELECT {columns} FROM {table} WHERE id IN {IDS}", latest)}
        for row in [row for row in latest.values() if row[1] is _UNTOLD or row[2] is _UNTOLD or row[3] is _UNTOLD]:
            before = stored.get(row[0], (None,) * len(row))
            latest[row[0]] = tuple(old if new is _UNTOLD else new for new, old in zip(row, before, strict=True))
        differing = [(row, stored.get(one)) for one, row in latest.items() if stored.get(one) != row]
        return [(row, before) for row, before in differing if before is None or trust.replaces(row, before)]

    def know(self, prospect_ids: Iterable[int]) -> None:
        """Make sure there is a row for each prospect, even one that was never seen itself."""
        columns = "id, known, opted_out, email_opted_out, history_read"
        self.do(f"INSERT OR IGNORE INTO prospect ({columns}) SELECT value, 0, 0, 0, 0 FROM json_each(?)", prospect_ids)

    def keep_states(self, states: Iterable[SequenceState], trust: Trust = _STAMPS_COUNT) -> tuple[set[int], int]:
        """Store sequence states, remove those without a prospect; return whom that concerns and how many changed."""
        until, told = trust.until, [_as_told(state) if state.untold else state for state in states]
        rows = [
            (one, prospect, sequence, word, changed_at, step, replied, at, 0 if at is None or at <= until else 1)
            for one, prospect, sequence, word, changed_at, at, _, step, replied in told
        ]
        differing = self._to_store("sequence_state", _STATE, rows, trust)
        differing = [(row, before) for row, before in differing if row[1] is not None or before is not None]
        self.write("sequence_state", _STATE, [row for row, _ in differing if row[1] is not None])
        if taken := [row[0] for row, _ in differing if row[1] is None]:
            self.remove_states(taken)
        shown = [
            (row, before or row)
            for row, before in differing
            if before is None or before[_SHOWN] != row[_SHOWN] or (before[4] is None and before[7] != row[7])
        ]
        concerned = {one[1] for pair in shown for one in pair if one[1] is not None}
        self.know(concerned)
        return concerned, len(shown)

    def remove_states(self, state_ids: Collection[int]) -> set[int]:
        """Remove sequence states that certainly do not exist any more; return the prospects that had them."""
        concerned = self.column(f"SELECT prospect_id FROM sequence_state WHERE id IN {IDS}", state_ids)
        self.connection.executemany("DELETE FROM sequence_state WHERE id = ?", ((one,) for one in state_ids))
        return set(concerned)

    def keep_prospects(self, prospects: Iterable[Prospect], trust: Trust = _STAMPS_COUNT) -> tuple[set[int], int]:
        """Store prospects; return those whose Person may have to say something else, and how many changed at all."""
        until, there = trust.until, "(SELECT * FROM prospect WHERE known AND NOT gone)"
        rows = [
            (
                one, first, last, "\n".join(emails) or None, external, json.dumps(extra) if extra else None,
                1 if out else 0, out_at, 1 if email_out else 0, emails_at, trashed_at, at,
                0 if at is None or at <= until else 1,
            )
            for one, first, last, emails, external, out, out_at, email_out, emails_at, trashed_at, at, extra
            in prospects
        ]  # fmt: skip
        fresh = self._to_store(there, _PROSPECT, rows, trust)  # whoever was gone is believed, whatever the stamp
        concerned = {  # since when an opt-out was seen may have been read from a stamp that lay ahead
            row[0] for row, before in fresh if before is None or before[-1] or before[_DECIDING] != row[_DECIDING]
        }
        self.write(
            "prospect",
            f"{_PROSPECT}, opt_out_seen_at, known, gone, history_read",
            [(*row, row[-2] if row[6] or row[8] else None, 1, 0, 0) for row, _ in fresh],
            opt_out_seen_at="iif(excluded.opted_out OR excluded.email_opted_out, iif(prospect.ahead,"
            " excluded.opt_out_seen_at, coalesce(opt_out_seen_at, excluded.opt_out_seen_at)), NULL)",
            history_read="history_read",
            listed="listed AND emails IS excluded.emails",
        )
        if others := [row[0] for row, _ in fresh if row[0] not in concerned]:
            concerned.update(self.column(f"SELECT id FROM prospect WHERE person_id IS NULL AND id IN {IDS}", others))
        return concerned, len(fresh)

    def prospects_are_gone(self, prospect_ids: Collection[int], opt_outs: Iterable[Event]) -> set[int]:
        """Record that prospects were asked for by id and are not there; return those who are concerned.

        Their states count no more, as those of a trashed prospect; an opt-out does. What is known of them stays. Events
        that tell of `opt_outs` of theirs, each the last word on its prospect, are believed, but what was read of the
        prospect after one happened stands.
        """
        concerned = set(self.column(f"SELECT id FROM prospect WHERE NOT gone AND id IN {IDS}", prospect_ids))
        self.do(f"UPDATE prospect SET gone = 1 WHERE id IN {IDS}", concerned)
        for event in opt_outs:
            flag, since = _OPT_OUTS[event.name]
            happened = event.event_at if event.event_at is not None else event.at
            which = f"id = ? AND NOT {flag} AND (ahead OR coalesce(updated_at <= ?, 1))"
            values = (happened, event.prospect_id, happened)
            changed = self.do(f"UPDATE prospect SET {flag} = 1, {since} = ? WHERE {which}", *values)
            if changed.rowcount and event.prospect_id is not None:
                concerned.add(event.prospect_id)
        return concerned

    def keep_sequences(
        self, sequences: Iterable[Sequence], states: Iterable[SequenceState], *, shown: bool
    ) -> set[int]:
        """Store names of sequences, '' where `states` came without; return whom another one concerns, if `shown`."""
        latest = dict.fromkeys((one.sequence_id for one in states if one.sequence_id is not None), "")
        latest |= {sequence.id: sequence.name for sequence in sequences}
        stored = dict(self.do(f"SELECT id, name FROM sequence WHERE id IN {IDS}", latest).fetchall())
        differ = {one: name for one, name in latest.items() if one not in stored or name not in {"", stored[one]}}
        self.write("sequence", "id, name", differ.items())
        renamed = differ.keys() & stored.keys()
        if not (renamed and shown):
            return set()
        return set(self.column(f"SELECT DISTINCT prospect_id FROM sequence_state WHERE sequence_id IN {IDS}", renamed))

    def keep_tasks(self, judged: Iterable[CachedTask], trust: Trust = _STAMPS_COUNT) -> list[CachedTask]:
        """Store sequence tasks; return those that changed, or that are judged otherwise than before."""
        rows = [_task_row(one.task, trust.until, skipped=one.skipped) for one in judged]
        fresh, changed = list[_Row](), list[CachedTask]()
        for row, before in self._to_store("task", _TASK, rows, trust):
            fresh.append(row)
            if before is None or row[1] != before[1] or row[_JUDGED] != before[_JUDGED]:
                changed.append(_cached_task(row))
        self.write("task", _TASK, fresh)
        self.know({one.task.prospect_id for one in changed if one.task.prospect_id is not None})
        return changed

    def gone_task_was_skipped(self, event: Event) -> SourceTask:
        """Note that a task which an event says was skipped is gone; return it as far as known, due when it happened."""
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
        self.write("task", _TASK, [_task_row(made, math.inf, skipped=True)])
        if made.prospect_id is not None:
            self.know([made.prospect_id])
        return made

    def task_was_sent(self, task_id: int, workbooks_id: int | None, sent_at: Instant | None = None) -> None:
        """Record which Workbooks Task a task became (None: that one is gone); `sent_at` None: it was found there."""
        update = "UPDATE task SET workbooks_id = ?, sent_at = coalesce(?, sent_at) WHERE id = ?"
        self.do(update, workbooks_id, sent_at, task_id)

    def history_was_read(self, prospect_ids: Iterable[int]) -> None:
        """Record that all sequence states of these prospects are in the cache, whatever their age."""
        self.do(f"UPDATE prospect SET history_read = 1 WHERE id IN {IDS}", prospect_ids)

    def task(self, task_id: int) -> CachedTask | None:
        """Return a sequence task as last read."""
        return next(iter(self.tasks("id = ?", task_id)), None)

    def tasks(self, which: str, *values: Any) -> list[CachedTask]:
        """Return sequence tasks as last read: `SKIPPED_OF` prospects, or so many `NEWEST_OPEN`."""
        rows = self.do(f"SELECT {_TASK}, workbooks_id, sent_at FROM task WHERE {which}", *values)
        return list(map(_cached_task, rows))

    def skipped_among(self, task_ids: Collection[int]) -> set[int]:
        """Return which of these tasks are known to be skipped."""
        return set(self.column(f"SELECT id FROM task WHERE skipped AND id IN {IDS}", task_ids))

    def count_states(self) -> int:
        """Count the sequence states."""
        return int(self.value("SELECT count(*) FROM sequence_state"))

    def sequence_name(self, sequence_id: int | None) -> str | None:
        """Return the name of a sequence, None where it was never seen."""
        return next(iter(self.column("SELECT nullif(name, '') FROM sequence WHERE id = ?", sequence_id)), None)

    def prospects(self, prospect_ids: Collection[int]) -> dict[int, CachedProspect]:
        """Return prospects by id; those never heard of are absent."""
        columns = f"{_PROSPECT}, known, gone, person_id, history_read"
        rows = self.do(f"SELECT {columns} FROM prospect WHERE id IN {IDS}", prospect_ids)
        found = {}
        for one, first, last, emails, external_id, extra, *told, _, known, gone, person_id, read in rows:
            out, out_at, email_out, emails_at, trashed_at, updated_at = told
            flags = (bool(out), out_at, bool(email_out), emails_at, trashed_at, updated_at)
            lines = tuple(emails.split("\n")) if emails else ()
            prospect = Prospect._make((one, first, last, lines, external_id, *flags, parsed(extra)))
            found[prospect.id] = CachedProspect(prospect, person_id, bool(known), bool(read), bool(gone))
        return found

    def prospects_with(self, *, external_id: str | None = None, address: str = "") -> list[int]:
        """Return the prospects that have an external id, or an address in whatever case; looks at all of them."""
        if external_id is not None:
            return self.column("SELECT id FROM prospect WHERE external_id = ? ORDER BY id", external_id)
        rows = self.do(
            "SELECT id, emails FROM prospect WHERE instr(lower(emails), lower(?)) ORDER BY id", address.strip()
        )
        return [one for one, emails in rows if mailbox(address) in mailboxes(emails)]

    def pooled(
        self, prospect_ids: Collection[int]
    ) -> tuple[dict[int, PooledProspect], dict[int, list[PooledState]], dict[int, str]]:
        """Return, by prospect, what decides, its states, and why one makes no sense: then only an opt-out may count."""
        rows = self.do(
            "SELECT id, opted_out, opted_out_at, email_opted_out, emails_opted_at, opt_out_seen_at,"
            f" trashed_at IS NOT NULL OR gone, no_email_kept, history_read FROM prospect WHERE id IN {IDS}",
            prospect_ids,
        )
        prospects = {row[0]: PooledProspect._make(row) for row in rows}
        rows = self.do(
            "SELECT s.id, s.prospect_id, s.sequence_id, s.state, coalesce(s.state_changed_at, s.updated_at),"
            " nullif(q.name, '') FROM sequence_state s LEFT JOIN sequence q ON q.id = s.sequence_id"
            f" WHERE s.prospect_id IN {IDS}",
            prospect_ids,
        )
        states: dict[int, list[PooledState]] = {}
        for row in rows:
            states.setdefault(row[1], []).append(PooledState._make(row))
        senseless = f"prospect_id IN {IDS} AND record = 'source' AND +stream = 'sequence_states' ORDER BY id"
        reasons = self.do(f"SELECT prospect_id, reason FROM outbox WHERE {senseless}", prospect_ids)
        return prospects, states, dict(reasons.fetchall())

    def opted_out_among(self, prospect_ids: Collection[int]) -> set[int]:
        """Return for which of the prospects an opt-out is known, whatever else there may be."""
        return set(self.column(f"SELECT id FROM prospect p WHERE {OPT_OUT_IS_KNOWN} AND id IN {IDS}", prospect_ids))

    def with_reason(self, prospect_ids: Collection[int]) -> set[int]:
        """Return which of the prospects have a sequence state, an opt-out or a skipped task."""
        query = (
            f"SELECT prospect_id FROM sequence_state WHERE prospect_id IN {IDS}"
            f" UNION SELECT prospect_id FROM task WHERE skipped AND prospect_id IN {IDS}"
            f" UNION SELECT id FROM prospect WHERE (opted_out OR email_opted_out) AND id IN {IDS}"
        )
        return set(self.column(query, prospect_ids, prospect_ids, prospect_ids))


OPT_OUT_IS_KNOWN = (
    "(p.opted_out OR p.email_opted_out OR EXISTS"
    f" (SELECT 1 FROM sequence_state s WHERE s.prospect_id = p.id AND s.state = '{OPTED_OUT}'))"
)
"""Whether an opt-out of the prospect `p` is known."""


def mailboxes(emails: str | None) -> set[str]:
    """Return the addresses of a column `emails`, in the form in which they are compared."""
    return {mailbox(line) for line in (emails or "").split("\n") if line.strip()}


def _as_told(record: Any) -> Any:
    """Mark the relationships of a state or task of which the answer says nothing."""
    return record._replace(**{_IDS_OF[name]: _UNTOLD for name in record.untold if name in _IDS_OF})


def _task_row(told: SourceTask, until: float, *, skipped: bool) -> _Row:
    task = _as_told(told) if told.untold else told
    attributes = json.dumps(dict(task.attributes), separators=(",", ":"), sort_keys=True)
    note = task.note if skipped else None
    ahead = 0 if task.updated_at is None or task.updated_at <= until else 1
    return (*task[:4], *task[5:8], note, attributes, int(skipped), task.updated_at, ahead)


def _cached_task(row: _Row) -> CachedTask:
    task = SourceTask._make((*row[:4], None, *row[4:8], row[10], parsed(row[8]), frozenset()))
    return CachedTask(task, bool(row[9]), *row[12:])
