"""The outbox: the only way anything reaches Workbooks.

It holds what to write, by key, never a request; an entry goes when Workbooks has accepted it. Its states::

    queued ──(marked and committed, then the request leaves)──> sending
      ^                                                            │
      ├── accepted: the entry goes, the Person holds its values  <─┤
      ├── stale: the Person is read, decided anew, queued again  <─┤
      ├── lost, in doubt: looked for before it is sent again     <─┤  also what a process that died was sending
      └── refused: queued again with a growing pause             <─┘
              └── after sync.max_attempts ──> parked, until `failures retry`

    waiting     a task whose Person does not exist, until there is one; not a failure
    discarded   given up with `failures discard`, until a record of theirs changes in Outreach

What could not be decided (`resolve`), or whose Person Workbooks does not show (`hidden`), is queued and refused alike,
with nothing to write. An entry with a reason is what `failures` lists, unless it waits or is discarded.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant
from outreach_sync.records import Refused, Stream
from outreach_sync.store.schema import IDS, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from outreach_sync.rules.person import RoleValue

PERSON, TASK, SOURCE = "person", "task", "source"
RESOLVE, HIDDEN = "resolve", "hidden"
SENDING, DISCARDED = "sending", "discarded"
_REFUSED = "reason IS NOT NULL AND state NOT IN ('waiting', 'discarded')"
IMPLAUSIBLE_PAUSE_MS = 2 * 86_400_000  # a pause that ends later than this from now was begun by a wrong clock
IS_DUE = f"(next_attempt_at IS NULL OR next_attempt_at <= ? OR next_attempt_at > ? + {IMPLAUSIBLE_PAUSE_MS})"
# takes the time twice (`is_due` says the same)
_FIRST_PAUSE_MS = 5 * 60_000
_LONGEST_PAUSE_MS = 24 * 3_600_000
_OF = f"record = ? AND stream = '' AND key IN {IDS}"
_MAY_GO = {PERSON: "state <> 'sending'", TASK: "NOT in_doubt AND state <> 'sending'", HIDDEN: "action = 'hidden'"}
"""Which entries of a record go when they are no longer needed: not what may have been sent."""
_DECIDED = "NOT EXISTS (SELECT 1 FROM changed c WHERE c.prospect_id = outbox.prospect_id AND NOT c.held)"
"""A pilot leaves the others to be decided: they are not sent, and no guard has counted them."""
_WATCHED = f"record = 'person' AND NOT admitted AND state IN ('queued', 'parked') AND {_DECIDED}"


def is_due(next_attempt_at: Instant | None, now: Instant) -> bool:
    """Say whether a pause is over; one that is implausibly long was begun by a wrong clock."""
    return next_attempt_at is None or not now < next_attempt_at <= now + IMPLAUSIBLE_PAUSE_MS


def next_attempt(now: Instant, attempts: int) -> Instant:
    """Return when to try again after `attempts` refusals: 5 minutes, doubling, at most a day, give or take a tenth."""
    pause = min(_FIRST_PAUSE_MS * 2 ** (attempts - 1), _LONGEST_PAUSE_MS)
    return Instant(now + round(pause * random.uniform(0.9, 1.1)))  # noqa: S311 - spreads load, guards no secret


class Entry(NamedTuple):
    """One entry of the outbox."""

    id: int
    record: str  # `person`, `task`, or `source` for a record of Outreach's that makes no sense
    prospect_id: int | None  # the lead prospect: the lowest id of those that are this Person
    task_id: int | None
    person_id: int | None  # None: it is to be created
    action: str  # `create`, `recreate`, `update`, or why there is nothing to write: `resolve`, `hidden` (see above)
    fields: Mapping[str, RoleValue]  # role (for a task: nothing) -> value that is to be written
    pool: tuple[int, ...]  # of a Person to be created: all the prospects that it will be
    state: str
    held: bool
    in_doubt: bool  # it was sent once and the answer is not known
    admitted: bool  # a guard that was passed, or lifted, has counted it
    attempts: int
    next_attempt_at: Instant | None
    reason: str | None  # why it was refused; None: it was not
    before: Mapping[str, RoleValue] = {}  # role -> what the Person held when it was decided
    because: str | None = None  # the rule that decided it
    key: int = 0  # the lead prospect, the task, or the id of the record of Outreach's
    run_id: str | None = None  # the run that planned it


class Outbox(Table):
    """The queue. Every method that changes it must be called inside a transaction."""

    def queue_person(
        self,
        lead: int,
        person_id: int | None,
        action: str,
        fields: Mapping[str, RoleValue],
        *,
        run_id: str,
        pool: Collection[int] = (),
        before: Mapping[str, RoleValue] | None = None,
        because: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Queue what a Person is to say unless it is being sent; the same again keeps its attempts, pause and state."""
        same = "fields = excluded.fields AND action = excluded.action"
        self.do(
            "INSERT INTO outbox (record, key, prospect_id, person_id, action, fields, pool, state, reason, run_id,"
            " before, because) VALUES ('person', ?1, ?1, ?2, ?3, ?4, ?5, 'queued', ?6, ?7, ?8, ?9)"
            f" ON CONFLICT (record, stream, key) DO UPDATE SET attempts = iif({same}, attempts, 0),"
            f" state = iif({same} AND state IN ('parked', 'discarded'), state, 'queued'),"
            f" next_attempt_at = iif({same}, next_attempt_at, NULL),"
            " in_doubt = in_doubt AND excluded.person_id IS NULL,"
            f" admitted = admitted AND {same}, person_id = excluded.person_id,"
            " action = excluded.action, fields = excluded.fields, pool = excluded.pool,"
            f" reason = iif({same}, coalesce(excluded.reason, reason), excluded.reason), run_id = excluded.run_id,"
            " before = excluded.before, because = excluded.because WHERE state <> 'sending'",
            *(lead, person_id, action, json.dumps(fields, sort_keys=True), json.dumps(sorted(pool)), reason),
            *(run_id, json.dumps(before or {}, sort_keys=True), because),
        )

    def queue_task(self, task_id: int, prospect_id: int, *, held: bool, run_id: str) -> None:
        """Queue the Workbooks Task of a skipped task, unless it is queued; a discarded or waiting one is due again."""
        self.do(
            "INSERT INTO outbox (record, key, prospect_id, task_id, action, fields, state, held, run_id)"
            " VALUES ('task', ?, ?, ?, 'create', '{}', 'queued', ?, ?)"
            " ON CONFLICT (record, stream, key) DO UPDATE SET prospect_id = excluded.prospect_id,"
            " held = held OR excluded.held, attempts = iif(state = 'discarded' OR action = 'hidden', 0, attempts),"
            " reason = iif(action = 'hidden', NULL, reason), action = 'create',"
            " state = iif(state IN ('discarded', 'waiting') OR action = 'hidden', 'queued', state)",
            *(task_id, prospect_id, task_id, held, run_id),
        )

    def task_not_seen(self, task_id: int, prospect_id: int, reason: str, *, run_id: str) -> None:
        """Refuse a task whose Workbooks Task does not come back: it is not created again by itself."""
        self.do(
            "INSERT INTO outbox (record, key, prospect_id, task_id, action, fields, state, attempts, reason, run_id)"
            " VALUES ('task', ?1, ?2, ?1, 'hidden', '{}', 'parked', 1, ?3, ?4) ON CONFLICT DO NOTHING",
            *(task_id, prospect_id, reason, run_id),
        )

    def refuse_source(self, refused: Refused, *, next_attempt_at: Instant | None, run_id: str) -> bool:
        """Keep a record that makes no sense until it is read whole (no next attempt: parked); say if that is new."""
        stream, source_id, prospect_id, reason = refused
        task_id = source_id if stream is Stream.TASKS else None
        state = "queued" if next_attempt_at is not None else "parked"
        cursor = self.do(
            "INSERT INTO outbox (record, stream, key, prospect_id, task_id, action, fields, state, attempts, reason,"
            " run_id, next_attempt_at) VALUES ('source', ?, ?, ?, ?, 'resolve', '{}', ?, 1, ?, ?, ?)"
            " ON CONFLICT (record, stream, key) DO UPDATE SET reason = excluded.reason,"
            " state = iif(state = 'discarded', excluded.state, state) WHERE reason <> excluded.reason",
            *(stream, source_id or 0, prospect_id, task_id, state, reason, run_id, next_attempt_at),
        )
        return cursor.rowcount > 0

    def due_sources(self, stream: Stream, now: Instant) -> dict[int, Entry]:
        """Return the refused records of a stream that are due to be read again, by their id in Outreach."""
        due = f"outbox WHERE record = 'source' AND stream = ? AND key > 0 AND state = 'queued' AND {IS_DUE} ORDER BY id"
        return {entry.key: entry for entry in self.records(Entry, due, stream, now, now)}

    def drop(self, ids: Iterable[int], of: str | Stream | None = None) -> None:
        """Remove entries that were accepted or are no longer needed, by their ids or the ids of what they are `of`.

        `PERSON`: what is queued for the Person of lead prospects, but not what is being sent. `TASK`: what is queued
        for tasks, unless it may have been sent. `HIDDEN`: refusals of tasks whose Workbooks Task came back. A stream:
        refusals of its records that make sense now.
        """
        if of is None:
            self.do(f"DELETE FROM outbox WHERE id IN {IDS}", ids)
        elif isinstance(of, Stream):
            self.do(f"DELETE FROM outbox WHERE record = 'source' AND stream = ? AND key IN {IDS}", of.value, ids)
        else:
            record = PERSON if of == PERSON else TASK
            self.do(f"DELETE FROM outbox WHERE {_OF} AND {_MAY_GO[of]}", record, ids)

    def mark(self, entry_ids: Iterable[int], **columns: str | bool | None) -> None:
        """Note a new state of entries, or what is known of them now: values of columns."""
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self.do(f"UPDATE outbox SET {assignments} WHERE id IN {IDS}", *columns.values(), entry_ids)

    def recover(self) -> int:
        """Turn what was being sent when a process died into entries in doubt; return how many there were."""
        people = "SELECT person_id FROM outbox WHERE state = 'sending' AND +record = 'person'"
        self.do(f"UPDATE person SET lock_version = NULL WHERE id IN ({people})")
        return self.do("UPDATE outbox SET state = 'queued', in_doubt = 1 WHERE state = 'sending'").rowcount

    def refused(self, entry: Entry, reason: str, *, next_attempt_at: Instant | None, in_doubt: bool = False) -> None:
        """Keep an entry that was refused for a later attempt, or park it (`next_attempt_at` None)."""
        state = "queued" if next_attempt_at is not None else "parked"
        changes = "state = ?, attempts = attempts + 1, next_attempt_at = ?, reason = ?, in_doubt = ?"
        self.do(f"UPDATE outbox SET {changes} WHERE id = ?", state, next_attempt_at, reason, in_doubt, entry.id)

    def discard(self, entry_ids: Iterable[int]) -> None:
        """Give entries up until a record of theirs changes in Outreach; what was in doubt is looked for then."""
        changes = "state = 'discarded', next_attempt_at = NULL, admitted = 1"
        self.do(f"UPDATE outbox SET {changes} WHERE state IN ('queued', 'parked') AND id IN {IDS}", entry_ids)

    def retry(self, entry_ids: Iterable[int]) -> None:
        """Make refused entries due now, with their attempts reset, parked ones too."""
        which = f"state IN ('queued', 'parked') AND reason IS NOT NULL AND id IN {IDS}"
        self.do(f"UPDATE outbox SET state = 'queued', attempts = 0, next_attempt_at = NULL WHERE {which}", entry_ids)

    def due(
        self, record: str, action: str, now: Instant, *, after: int, limit: int, run_id: str | None = None
    ) -> list[Entry]:
        """Return entries of one kind that are due, above the id `after`, in order.

        Of people only those of which it is certain what Workbooks holds (a creation in doubt, or a Person that has to
        be read first, waits until it is planned again), and none of whom is still to be decided: in this run, or, where
        an incomplete walk holds them back, since an earlier one. A wait that a wrong clock began is over.
        """
        undecided = "(NOT c.held OR outbox.run_id IS NOT ?)"
        certain = (
            " AND iif(person_id IS NULL, NOT in_doubt,"
            " EXISTS (SELECT 1 FROM person p WHERE p.id = outbox.person_id AND p.lock_version IS NOT NULL))"
            f" AND NOT EXISTS (SELECT 1 FROM changed c WHERE c.prospect_id = outbox.prospect_id AND {undecided})"
            " AND (pool = '[]' OR NOT EXISTS (SELECT 1 FROM json_each(outbox.pool) m CROSS JOIN changed c"
            f" ON c.prospect_id = m.value WHERE {undecided}))"
        )
        people = record == PERSON
        return self.records(
            Entry,
            f"outbox WHERE record = ? AND action = ? AND state = 'queued' AND held = 0 AND id > ? AND {IS_DUE}"
            f"{certain if people else ''} ORDER BY id LIMIT ?",
            *(record, action, after, now, now, *((run_id, run_id) if people else ()), limit),
        )

    def of_person(self, leads: Collection[int]) -> list[Entry]:
        """Return what is queued for the Person of these lead prospects."""
        return self.records(Entry, f"outbox WHERE {_OF}", PERSON, leads)

    def find(self, **of: int | str) -> list[Entry]:
        """Return the entries whose columns have these values, such as `id`, `prospect_id`, or `record` and `key`."""
        which = " AND ".join(f"{name} = ?" for name in of)
        return self.records(Entry, f"outbox WHERE {which} ORDER BY id", *of.values())

    def creating(self, prospect_id: int) -> list[Entry]:
        """Return what is queued to create the Person that a prospect will be."""
        in_pool = "EXISTS (SELECT 1 FROM json_each(pool) WHERE value = ?)"
        return self.records(Entry, f"outbox WHERE record = 'person' AND person_id IS NULL AND {in_pool}", prospect_id)

    def failures(self) -> list[Entry]:
        """Return every entry that was refused, oldest first."""
        return self.records(Entry, f"outbox WHERE {_REFUSED} ORDER BY id")

    def counts(self, *, refused: bool = False) -> dict[tuple[str, str], int]:
        """Count what waits, or only what was `refused`, by (person or task, state); what was given up never."""
        which, record = _REFUSED if refused else "state <> 'discarded'", "iif(task_id IS NULL, 'person', 'task')"
        rows = self.do(f"SELECT {record}, state, count(*) FROM outbox WHERE {which} GROUP BY 1, 2")
        return {(record, state): count for record, state, count in rows}

    def guarded(self, not_active: str) -> tuple[int, int, int]:
        """Count what no guard has counted (`not_active`: the label of those without a state); updates less opt-outs."""
        losing = (
            "action IN ('recreate', 'hidden') OR (action = 'update' AND json_extract(fields, '$.sequence_state') = ?"
            " AND coalesce(json_extract(before, '$.sequence_state'), '') <> '')"
        )
        row: tuple[int, int, int] = self.do(
            "SELECT count(*) FILTER (WHERE action = 'update' AND json_extract(fields, '$.no_email') IS NULL),"
            f" count(*) FILTER (WHERE {losing}), count(*) FILTER (WHERE action = 'create')"
            f" FROM outbox WHERE {_WATCHED}",
            not_active,
        ).fetchone()
        return row

    def admit(self, *, opt_outs_of: Collection[str] | None = None) -> None:
        """Let pass all that is queued and decided; `opt_outs_of`: the guard stopped all but these actions' opt-outs."""
        if opt_outs_of is None:
            self.do(f"UPDATE outbox SET admitted = 1 WHERE NOT admitted AND {_DECIDED}")
        else:
            which = f"{_WATCHED} AND json_extract(fields, '$.no_email') AND action IN {IDS}"
            self.do(f"UPDATE outbox SET admitted = 1 WHERE {which}", opt_outs_of)
