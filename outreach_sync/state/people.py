"""Which Person each prospect is, and what Workbooks last accepted (or was last read to say) of each Person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.rules.person import Held, RoleValue
from outreach_sync.state.sql import IDS, id_list, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from outreach_sync.instants import Instant

_ROLES = Held._fields
_COLUMNS = ", ".join(_ROLES)


class LinkedPerson(NamedTuple):
    """A Person that prospects are linked to.

    Attributes:
        lock_version: None: what it holds is not known for certain; it is read before it is written.
        deleted: it was deleted in Workbooks and stays so (`sync.when_deleted: leave`).
        hidden: when it was last asked for, Workbooks did not show it, neither alive nor deleted.
        untouched: it does not have the values of `sync.people.only_where`.
        held: what it says; of text that Workbooks keeps otherwise than it was sent, what was sent.
        kept_as: role -> what Workbooks made of that.
        rule: which match rule found it, or `created`.
        written_at: None: no write of ours was ever needed.
    """

    id: int
    lock_version: int | None
    deleted: bool
    hidden: bool
    untouched: bool
    held: Held
    kept_as: Mapping[str, RoleValue]
    linked_at: Instant
    rule: str
    written_at: Instant | None


class People:
    """The table of Persons and the links to them. Call what changes them inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def by_id(self, person_ids: Collection[int]) -> dict[int, LinkedPerson]:
        """Return Persons by their Workbooks id."""
        rows = self._connection.execute(
            f"SELECT id, lock_version, deleted, hidden, untouched, kept_as, linked_at, rule, written_at, {_COLUMNS}"
            f" FROM person WHERE id IN {IDS}",
            (id_list(person_ids),),
        )
        return {row[0]: _linked_person(row) for row in rows}

    def of_prospects(self, prospect_ids: Collection[int]) -> dict[int, int]:
        """Return prospect id -> Person id for those that are linked."""
        rows = self._connection.execute(
            f"SELECT id, person_id FROM prospect WHERE person_id IS NOT NULL AND id IN {IDS}",
            (id_list(prospect_ids),),
        )
        return dict(rows.fetchall())

    def prospects_of(self, person_ids: Collection[int]) -> dict[int, list[int]]:
        """Return Person id -> all its prospects, lowest id first."""
        rows = self._connection.execute(
            f"SELECT person_id, id FROM prospect WHERE person_id IN {IDS} ORDER BY id",
            (id_list(person_ids),),
        )
        pools: dict[int, list[int]] = {}
        for person_id, prospect_id in rows:
            pools.setdefault(person_id, []).append(prospect_id)
        return pools

    def known(self) -> int:
        """Count the linked people."""
        row = self._connection.execute("SELECT count(*) FROM person WHERE NOT deleted").fetchone()
        return int(row[0])

    def linked_ids(self, after: int, limit: int) -> list[int]:
        """Return the ids of linked people above `after`, in order: a way through all of them."""
        rows = self._connection.execute("SELECT id FROM person WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return [row[0] for row in rows]

    def link(self, prospect_ids: Iterable[int], person_id: int) -> None:
        """Record that these prospects are this Person."""
        self._connection.executemany(
            "UPDATE prospect SET person_id = ? WHERE id = ?", ((person_id, prospect_id) for prospect_id in prospect_ids)
        )

    def unlink(self, person_id: int, pool: Collection[int]) -> None:
        """Forget a Person that is gone, but not that it had No Email, which its prospects (`pool`) take along.

        Links that were made anew meanwhile stay; the other prospects are looked for again.
        """
        self._connection.execute(
            f"UPDATE prospect SET no_email_kept = 1 WHERE id IN {IDS} AND (SELECT no_email FROM person WHERE id = ?)",
            (id_list(pool), person_id),
        )
        self._connection.execute("UPDATE prospect SET person_id = NULL WHERE person_id = ?", (person_id,))
        self._connection.execute("DELETE FROM person WHERE id = ?", (person_id,))

    def keep_no_email(self, prospect_ids: Iterable[int], *, kept: bool) -> None:
        """Record whether the Person that these prospects had was last seen with No Email, which the next one gets."""
        self._connection.executemany(
            "UPDATE prospect SET no_email_kept = ?1 WHERE id = ?2 AND no_email_kept <> ?1",
            ((kept, prospect_id) for prospect_id in prospect_ids),
        )

    def no_email_is_set(self, person_id: int) -> None:
        """Record that Workbooks took No Email for a Person: what one of its prospects took along is done."""
        self._connection.execute(
            "UPDATE prospect SET no_email_kept = 0 WHERE person_id = ? AND no_email_kept", (person_id,)
        )

    def last_said_no_email(self, person_id: int, no_email: bool) -> None:  # noqa: FBT001 - it is the value
        """Record what a deleted Person was read to say of No Email."""
        self._connection.execute("UPDATE person SET no_email = ? WHERE id = ?", (no_email, person_id))

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
        self._connection.execute(
            f"INSERT INTO person (id, lock_version, {_COLUMNS}, kept_as, untouched, linked_at, rule)"
            f" VALUES (?, ?{', ?' * len(_ROLES)}, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET deleted = 0, hidden = 0,"
            " lock_version = excluded.lock_version, kept_as = excluded.kept_as, untouched = excluded.untouched,"
            f" {', '.join(f'{role} = excluded.{role}' for role in _ROLES)}",
            (person_id, lock_version, *held, json.dumps(kept_as) if kept_as else None, untouched, now, rule),
        )

    def accepted(self, person_id: int, lock_version: int | None, fields: Mapping[str, RoleValue], now: Instant) -> None:
        """Record that Workbooks took these values; `lock_version` None: it did not say which version it has now."""
        roles = [role for role in _ROLES if role in fields]
        assignments = "".join(f", {role} = ?" for role in roles)
        forgotten = "".join(f", '$.{role}'" for role in roles)
        self._connection.execute(
            f"UPDATE person SET lock_version = ?, written_at = ?{assignments},"
            f" kept_as = json_remove(kept_as{forgotten}) WHERE id = ?",
            (lock_version, now, *(fields[role] for role in roles), person_id),
        )

    def created(self, person_id: int, lock_version: int | None, held: Held, now: Instant) -> None:
        """Record a Person that a write of ours created."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO person (id, lock_version, {_COLUMNS}, linked_at, rule, written_at)"
            f" VALUES (?, ?{', ?' * len(_ROLES)}, ?, 'created', ?)",
            (person_id, lock_version, *held, now, now),
        )

    def doubt(self, person_ids: Iterable[int]) -> None:
        """Record that it is not certain what these hold: each is read before it is next written."""
        self._connection.executemany(
            "UPDATE person SET lock_version = NULL WHERE id = ?", ((person_id,) for person_id in person_ids)
        )

    def doubt_all(self) -> None:
        """Record that nothing is certain any more, as after a change of the configured fields."""
        self._connection.execute("UPDATE person SET lock_version = NULL")

    def left_deleted(self, person_id: int) -> None:
        """Record that a Person is deleted in Workbooks and is to stay so."""
        self._connection.execute(
            "UPDATE person SET deleted = 1, hidden = 0, lock_version = NULL WHERE id = ?", (person_id,)
        )

    def not_seen(self, person_id: int) -> None:
        """Record that Workbooks does not show a Person; it is asked for again whenever there is something to write."""
        self._connection.execute("UPDATE person SET hidden = 1, lock_version = NULL WHERE id = ?", (person_id,))


def _linked_person(row: tuple[Any, ...]) -> LinkedPerson:
    person_id, lock_version, deleted, hidden, untouched, kept_as, linked_at, rule, written_at, *values = row
    held = Held(*values)
    return LinkedPerson(
        person_id,
        lock_version,
        bool(deleted),
        bool(hidden),
        bool(untouched),
        held._replace(no_email=None if held.no_email is None else bool(held.no_email)),
        parsed(kept_as) if kept_as else {},
        linked_at,
        rule,
        written_at,
    )
