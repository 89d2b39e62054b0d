"""Which Person each prospect is, what Workbooks last accepted of each, and which prospects have to be decided again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.rules.person import Held, RoleValue
from outreach_sync.store.cache import OPT_OUT_IS_KNOWN, mailboxes
from outreach_sync.store.outbox import IS_DUE
from outreach_sync.store.schema import IDS, Table, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from outreach_sync.instants import Instant

_ROLES = Held._fields
_COLUMNS = ", ".join(_ROLES)
_TOGETHER = 500


class LinkedPerson(NamedTuple):
    """A Person that prospects are linked to."""

    id: int
    lock_version: int | None  # None: what it holds is not known for certain; it is read before it is written
    deleted: bool  # it was deleted in Workbooks and stays so (`sync.when_deleted: leave`)
    hidden: bool  # when it was last asked for, Workbooks did not show it, neither alive nor deleted
    untouched: bool  # it does not have the values of `sync.people.only_where`
    held: Held  # what it says; of text that Workbooks keeps otherwise than it was sent, what was sent
    kept_as: Mapping[str, RoleValue]  # role -> what Workbooks made of that
    linked_at: Instant
    rule: str  # which match rule found it, or `created`
    written_at: Instant | None  # None: no write of ours was ever needed


class People(Table):
    """The table of Persons and the links to them. Call what changes them inside a transaction."""

    def by_id(self, person_ids: Collection[int]) -> dict[int, LinkedPerson]:
        """Return Persons by their Workbooks id."""
        columns = "id, lock_version, deleted, hidden, untouched, kept_as, linked_at, rule, written_at"
        rows = self.do(f"SELECT {columns}, {_COLUMNS} FROM person WHERE id IN {IDS}", person_ids)
        found = {}
        for person_id, lock_version, deleted, hidden, untouched, kept_as, linked_at, rule, written_at, *values in rows:
            held = Held(*values)
            held = held._replace(no_email=None if held.no_email is None else bool(held.no_email))
            found[person_id] = LinkedPerson(
                *(person_id, lock_version, bool(deleted), bool(hidden), bool(untouched), held),
                *(parsed(kept_as), linked_at, rule, written_at),
            )
        return found

    def of_prospects(self, prospect_ids: Collection[int]) -> dict[int, int]:
        """Return prospect id -> Person id for those that are linked."""
        rows = self.do(f"SELECT id, person_id FROM prospect WHERE person_id IS NOT NULL AND id IN {IDS}", prospect_ids)
        return dict(rows.fetchall())

    def prospects_of(self, person_ids: Collection[int]) -> dict[int, list[int]]:
        """Return Person id -> all its prospects, lowest id first."""
        rows = self.do(f"SELECT person_id, id FROM prospect WHERE person_id IN {IDS} ORDER BY id", person_ids)
        pools: dict[int, list[int]] = {}
        for person_id, prospect_id in rows:
            pools.setdefault(person_id, []).append(prospect_id)
        return pools

    def known(self, *, or_lost: bool = False) -> int:
        """Count the linked people; `or_lost`: and the prospects that lost theirs and have none now."""
        lost = "SELECT count(*) FROM prospect WHERE person_lost AND person_id IS NULL"
        known = int(self.value("SELECT count(*) FROM person WHERE NOT deleted"))
        return known + (int(self.value(lost)) if or_lost else 0)

    def link(self, prospect_ids: Collection[int], person_id: int) -> None:
        """Record that these prospects are this Person; the tasks that waited for it are due."""
        self.do(f"UPDATE prospect SET person_id = ? WHERE id IN {IDS}", person_id, prospect_ids)
        waiting = f"state = 'waiting' AND prospect_id IN {IDS}"
        self.do(f"UPDATE outbox SET state = 'queued', next_attempt_at = NULL WHERE {waiting}", prospect_ids)

    def unlink(self, person_id: int, pool: Collection[int]) -> None:
        """Forget a Person that is gone; the prospects of its `pool` take No Email along, all are looked for again."""
        had_it = "(SELECT no_email FROM person WHERE id = ?)"
        self.do(f"UPDATE prospect SET no_email_kept = 1 WHERE id IN {IDS} AND {had_it}", pool, person_id)
        self.do("UPDATE prospect SET person_id = NULL, person_lost = 1 WHERE person_id = ?", person_id)
        self.do("DELETE FROM person WHERE id = ?", person_id)

    def keep_no_email(self, prospect_ids: Iterable[int], *, kept: bool) -> None:
        """Record whether the Person that these prospects had was last seen with No Email, which the next one gets."""
        which = f"no_email_kept <> ?1 AND id IN {IDS.replace('?', '?2')}"
        self.do(f"UPDATE prospect SET no_email_kept = ?1 WHERE {which}", kept, prospect_ids)

    def read(
        self,
        person_id: int,
        lock_version: int,
        held: Held,
        *,
        rule: str,
        now: Instant,
        kept_as: Mapping[str, RoleValue] | None = None,
        untouched: bool = False,
    ) -> None:
        """Record what a Person was read to hold."""
        row = (person_id, lock_version, *held, json.dumps(kept_as) if kept_as else None, untouched, now, rule)
        unless_new = {"deleted": "0", "hidden": "0", "linked_at": "linked_at", "rule": "rule"}
        columns = f"id, lock_version, {_COLUMNS}, kept_as, untouched, linked_at, rule"
        self.write("person", columns, [row], **unless_new)

    def accepted(
        self,
        person_id: int,
        lock_version: int | None,
        fields: Mapping[str, RoleValue],
        now: Instant,
        *,
        pool: Collection[int] | None = None,
    ) -> None:
        """Record what Workbooks took, and the version it has now (None: not said); `pool`: whom it was created for."""
        if pool is not None:
            self.do("INSERT OR REPLACE INTO person (id, linked_at, rule) VALUES (?, ?, 'created')", person_id, now)
            self.link(pool, person_id)
        roles = [role for role in _ROLES if role in fields]
        assigned = "".join(f", {role} = ?" for role in roles)
        forgotten = "".join(f", '$.{role}'" for role in roles)
        self.do(
            f"UPDATE person SET lock_version = ?, written_at = ?{assigned},"
            f" kept_as = json_remove(kept_as{forgotten}) WHERE id = ?",
            *(lock_version, now, *(fields[role] for role in roles), person_id),
        )
        if fields.get("no_email"):  # what one of its prospects took along is done
            self.do("UPDATE prospect SET no_email_kept = 0 WHERE person_id = ? AND no_email_kept", person_id)

    def doubt(self, person_ids: Iterable[int] | None, **said: bool) -> None:
        """Have these (None: all) read before they are next written; `said`: columns that are known all the same."""
        update = f"UPDATE person SET lock_version = NULL{''.join(f', {name} = ?' for name in said)}"
        if person_ids is None:
            self.do(update, *said.values())
        else:
            self.do(f"{update} WHERE id IN {IDS}", *said.values(), person_ids)


# Whom to decide again, besides those who are named: every linked prospect, and anyone who could not be decided or
# written; those without a Person; those of every entry that is due (takes the time twice).
EVERYBODY = (
    "SELECT id FROM prospect WHERE person_id IS NOT NULL UNION SELECT prospect_id FROM outbox WHERE record = 'person'"
)
WITHOUT_PERSON = "SELECT id FROM prospect WHERE person_id IS NULL"
DUE = f"SELECT DISTINCT prospect_id FROM outbox WHERE record = 'person' AND state = 'queued' AND NOT held AND {IS_DUE}"


class Undecided(Table):
    """The prospects to decide. Every method that changes them must be called inside a transaction."""

    def mark_again(self, prospects: Iterable[int] | str, *values: int, held: bool = False) -> None:
        """Note prospects (ids, or a selection of the above with its values) to be decided again; new ones: `held`."""
        named = isinstance(prospects, str)
        which = f"({prospects})" if named else IDS
        self.do(
            f"INSERT INTO changed SELECT *, {int(held)} FROM {which} WHERE true ON CONFLICT DO NOTHING",
            *(values if named else (prospects,)),
        )

    def hold(self, prospect_ids: Collection[int], *, changed: bool = False) -> None:
        """Hold prospects back until every walk is complete; `changed`: what was discarded for them is due again."""
        held = "INSERT INTO changed SELECT value, 1 FROM json_each(?) WHERE true"
        self.do(f"{held} ON CONFLICT (prospect_id) DO UPDATE SET held = 1 WHERE NOT held", prospect_ids)
        if changed:
            self.do(
                "UPDATE outbox SET state = 'queued', attempts = 0 WHERE state = 'discarded' AND +record = 'person'"
                f" AND (prospect_id IN {IDS} OR EXISTS (SELECT 1 FROM json_each(pool) m WHERE m.value IN {IDS})"
                f" OR EXISTS (SELECT 1 FROM prospect p WHERE p.person_id = outbox.person_id AND p.id IN {IDS}))",
                *(prospect_ids, prospect_ids, prospect_ids),
            )

    def release(self) -> None:
        """Let go of what was held back: every walk is complete."""
        self.do("UPDATE changed SET held = 0 WHERE held")
        self.do("UPDATE outbox SET held = 0 WHERE held")

    def ready(
        self, after: int = 0, limit: int = -1, *, among: Iterable[int] | None = None, only_opt_outs: bool = False
    ) -> list[int]:
        """Return prospects above `after` to decide now; `only_opt_outs`: instead, held ones that opted out."""
        opted_out = f"EXISTS (SELECT 1 FROM prospect p WHERE p.id = changed.prospect_id AND {OPT_OUT_IS_KNOWN})"
        which, named = f"held AND {opted_out}" if only_opt_outs else "NOT held", () if among is None else (among,)
        which += f" AND prospect_id IN {IDS}" if named else ""
        query = f"SELECT prospect_id FROM changed WHERE {which} AND prospect_id > ? ORDER BY prospect_id LIMIT ?"
        return self.column(query, *named, after, limit)

    def decided(self, prospect_ids: Iterable[int]) -> None:
        """Note that these prospects have been decided, except those that an incomplete walk holds back."""
        self.do(f"DELETE FROM changed WHERE NOT held AND prospect_id IN {IDS}", prospect_ids)

    def people_to_decide(self, person_ids: Iterable[int]) -> set[int]:
        """Return those of these Persons that have a prospect which has to be decided again."""
        query = f"SELECT person_id FROM prospect JOIN changed ON prospect_id = id WHERE person_id IN {IDS}"
        return set(self.column(query, person_ids))

    def count(self, *, unqueued: bool = False) -> int:
        """Count the prospects that wait to be decided; `unqueued`: only those for whose Person nothing is queued."""
        queued = "(SELECT prospect_id FROM outbox WHERE record = 'person' AND prospect_id IS NOT NULL)"
        which = f" WHERE prospect_id NOT IN {queued}" if unqueued else ""
        return int(self.value(f"SELECT count(*) FROM changed{which}"))


class Candidates(Table):
    """The prospects that a planning pass found no Person for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin an empty set on an open connection."""
        super().__init__(connection)
        self.do("DROP TABLE IF EXISTS temp.candidate")
        self.do("CREATE TEMP TABLE candidate (prospect_id INTEGER PRIMARY KEY, was_sent INTEGER NOT NULL)")

    def add(self, prospect_ids: Iterable[int], *, buried: Iterable[int]) -> None:
        """Add prospects without a Person; one was sent before for those that lost theirs, and for the `buried`."""
        self.do(
            f"INSERT INTO temp.candidate SELECT id, person_lost OR id IN {IDS} FROM prospect WHERE id IN {IDS}"
            " ON CONFLICT DO UPDATE SET was_sent = was_sent OR excluded.was_sent",
            *(buried, prospect_ids),
        )

    def not_among(self, prospect_ids: Iterable[int]) -> list[int]:
        """Return which of these prospects nobody was looked for in this pass."""
        known = "SELECT prospect_id FROM temp.candidate"
        return self.column(f"SELECT value FROM json_each(?) WHERE value NOT IN ({known})", prospect_ids)

    def list_addresses(self) -> None:
        """Bring the table of addresses up to date with the prospects without a Person; call it inside a transaction."""
        unlisted = "SELECT id, emails FROM prospect WHERE {} AND NOT listed"
        query = (
            f"{unlisted.format('person_id IS NULL')} UNION ALL"
            f" {unlisted.format('id IN (SELECT prospect_id FROM temp.candidate)')} LIMIT 5000"
        )
        while rows := self.do(query).fetchall():
            self.connection.executemany(
                "INSERT OR IGNORE INTO address VALUES (?, ?)",
                ((address, one) for one, emails in rows for address in mailboxes(emails)),
            )
            self.do(f"UPDATE prospect SET listed = 1 WHERE id IN {IDS}", (one for one, _ in rows))

    def pools(self) -> Iterator[tuple[list[int], bool]]:
        """Yield everyone who is one person (prospect ids, lowest first) and whether that person was sent before.

        Prospects without a Person that share an address belong together, also through a third. Somebody who may be one
        of several People takes no part: who they are is for people to say. Call `list_addresses` before.
        """
        after, done = 0, set[int]()
        some = "SELECT prospect_id, was_sent FROM temp.candidate WHERE prospect_id > ? ORDER BY prospect_id LIMIT ?"
        any_sent = f"SELECT count(*) FROM temp.candidate WHERE was_sent AND prospect_id IN {IDS}"
        while following := self.do(some, after, _TOGETHER).fetchall():
            after = following[-1][0]
            around = self._around([one for one, _ in following])
            for one, was_sent in following:
                if one in done:
                    continue
                pool, fresh = {one}, around.get(one, set()) - {one}
                while fresh:  # who shares an address with somebody who shares one
                    pool |= fresh
                    fresh = set[int]().union(*self._around(fresh).values()) - pool
                if len(pool) > 1:
                    done |= pool
                yield sorted(pool), bool(self.value(any_sent, pool) if len(pool) > 1 else was_sent)

    def _around(self, prospect_ids: Collection[int]) -> dict[int, set[int]]:
        """Return, for each prospect, those without a Person, or who got one since they were added, on its addresses."""
        rows = self.do(f"SELECT id, emails FROM prospect WHERE id IN {IDS}", prospect_ids)
        addresses = {one: mailboxes(emails) for one, emails in rows}
        owners: dict[str, set[int]] = {address: set() for some in addresses.values() for address in some}
        rows = self.do(
            "SELECT a.address, p.id, p.emails FROM json_each(?) j CROSS JOIN address a ON a.address = j.value"
            " JOIN prospect p ON p.id = a.prospect_id WHERE p.id IN (SELECT prospect_id FROM temp.candidate)"
            " OR (p.person_id IS NULL AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.record = 'person'"
            " AND o.stream = '' AND o.key = p.id AND o.reason LIKE 'ambiguous:%'))",
            owners,
        )
        for address, one, emails in rows:
            if address in mailboxes(emails):  # as they were last read: the table may still list an older one
                owners[address].add(one)
        return {one: set[int]().union(*(owners[address] for address in some)) for one, some in addresses.items()}
