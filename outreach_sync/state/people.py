"""Which Person each prospect is, and what Workbooks last accepted (or was last read to say) of each Person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.rules.differences import Held, RoleValue

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from outreach_sync.instants import Instant

_IDS = "(SELECT value FROM json_each(?))"
_ROLES = Held._fields


class LinkedPerson(NamedTuple):
    """A Person that prospects are linked to.

    `lock_version` None: what it holds is not known for certain; it is read before it is written. `written_at` None: no
    write of ours was ever needed. `rule`: which match rule found it, or `created`.
    """

    id: int
    lock_version: int | None
    deleted: bool
    held: Held
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
            "SELECT id, lock_version, deleted, linked_at, rule, written_at, sequence_state, state_updated_at, no_email,"
            f" outreach_id, sequences FROM person WHERE id IN {_IDS}",
            (json.dumps(list(person_ids)),),
        )
        return {row[0]: _linked_person(row) for row in rows}

    def of_prospects(self, prospect_ids: Collection[int]) -> dict[int, int]:
        """Return prospect id -> Person id for those that are linked."""
        rows = self._connection.execute(
            f"SELECT id, person_id FROM prospect WHERE person_id IS NOT NULL AND id IN {_IDS}",
            (json.dumps(list(prospect_ids)),),
        )
        return dict(rows.fetchall())

    def prospects_of(self, person_ids: Collection[int]) -> dict[int, list[int]]:
        """Return Person id -> all its prospects, lowest id first."""
        rows = self._connection.execute(
            f"SELECT person_id, id FROM prospect WHERE person_id IN {_IDS} ORDER BY id",
            (json.dumps(list(person_ids)),),
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

    def unlink(self, person_id: int) -> None:
        """Forget a Person that is gone, but not that it had No Email; its prospects are looked for again."""
        self._connection.execute(
            "UPDATE prospect SET person_id = NULL, no_email_kept = coalesce("
            "(SELECT no_email FROM person WHERE id = ?1), 0) WHERE person_id = ?1",
            (person_id,),
        )
        self._connection.execute("DELETE FROM person WHERE id = ?", (person_id,))

    def had_no_email(self, prospect_ids: Collection[int]) -> bool:
        """Say whether the Person of any of these prospects had No Email when it was deleted."""
        query = f"SELECT EXISTS (SELECT 1 FROM prospect WHERE no_email_kept AND id IN {_IDS})"
        return bool(self._connection.execute(query, (json.dumps(list(prospect_ids)),)).fetchone()[0])

    def read(self, person_id: int, lock_version: int, held: Held, *, rule: str, now: Instant) -> None:
        """Record what a Person was read to hold."""
        self._connection.execute(
            "INSERT INTO person (id, lock_version, sequence_state, state_updated_at, no_email, outreach_id, sequences,"
            " linked_at, rule) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET deleted = 0,"
            " lock_version = excluded.lock_version, sequence_state = excluded.sequence_state,"
            " state_updated_at = excluded.state_updated_at, no_email = excluded.no_email,"
            " outreach_id = excluded.outreach_id, sequences = excluded.sequences",
            (person_id, lock_version, *held, now, rule),
        )

    def accepted(self, person_id: int, lock_version: int | None, fields: Mapping[str, RoleValue], now: Instant) -> None:
        """Record that Workbooks took these values; `lock_version` None: it did not say which version it has now."""
        roles = [role for role in _ROLES if role in fields]
        assignments = "".join(f", {role} = ?" for role in roles)
        self._connection.execute(
            f"UPDATE person SET lock_version = ?, written_at = ?{assignments} WHERE id = ?",
            (lock_version, now, *(fields[role] for role in roles), person_id),
        )

    def created(self, person_id: int, lock_version: int | None, held: Held, now: Instant) -> None:
        """Record a Person that a write of ours created."""
        self._connection.execute(
            "INSERT OR REPLACE INTO person (id, lock_version, sequence_state, state_updated_at, no_email, outreach_id,"
            " sequences, linked_at, rule, written_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'created', ?)",
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
        self._connection.execute("UPDATE person SET deleted = 1, lock_version = NULL WHERE id = ?", (person_id,))


def _linked_person(row: tuple[int, ...]) -> LinkedPerson:
    person_id, lock_version, deleted, linked_at, rule, written_at, *held = row
    state, at, no_email, outreach_id, sequences = held
    return LinkedPerson(
        person_id,
        lock_version,
        bool(deleted),
        Held(state, at, None if no_email is None else bool(no_email), outreach_id, sequences),  # type: ignore[arg-type]
        linked_at,  # type: ignore[arg-type]
        rule,  # type: ignore[arg-type]
        written_at,  # type: ignore[arg-type]
    )
