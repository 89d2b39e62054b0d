"""Prospects without a Person, and which of them share an address: two of those are one person.

Kept in a temporary table, so that a first load of half a million new people does not have to fit in memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from outreach_sync.rules.matching import mailbox
from outreach_sync.state.sql import IDS, id_list

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator

_TOGETHER = 500


class Candidates:
    """The prospects that a planning pass found no Person for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin an empty set on an open connection."""
        self._connection = connection
        connection.execute("DROP TABLE IF EXISTS temp.candidate")
        connection.execute("CREATE TEMP TABLE candidate (prospect_id INTEGER PRIMARY KEY, was_sent INTEGER NOT NULL)")

    def add(self, candidates: Iterable[tuple[int, bool]]) -> None:
        """Add (prospect id, whether a Person of its was sent before)."""
        self._connection.executemany(
            "INSERT INTO temp.candidate (prospect_id, was_sent) VALUES (?, ?) ON CONFLICT DO UPDATE SET"
            " was_sent = was_sent OR excluded.was_sent",
            candidates,
        )

    def not_among(self, prospect_ids: Iterable[int]) -> list[int]:
        """Return which of these prospects nobody was looked for in this pass."""
        rows = self._connection.execute(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT prospect_id FROM temp.candidate)",
            (id_list(prospect_ids),),
        )
        return [row[0] for row in rows]

    def list_addresses(self) -> None:
        """Bring the table of addresses up to date with the prospects without a Person; call it inside a transaction."""
        unlisted = "SELECT id, emails FROM prospect WHERE {} AND NOT listed LIMIT 5000"
        for which in ("person_id IS NULL", "id IN (SELECT prospect_id FROM temp.candidate)"):
            while rows := self._connection.execute(unlisted.format(which)).fetchall():
                self._connection.executemany(
                    "INSERT OR IGNORE INTO address VALUES (?, ?)",
                    ((address, one) for one, emails in rows for address in _mailboxes(emails)),
                )
                self._connection.executemany("UPDATE prospect SET listed = 1 WHERE id = ?", ((row[0],) for row in rows))

    def pools(self) -> Iterator[tuple[list[int], bool]]:
        """Yield everyone who is one person (prospect ids, lowest first) and whether that person was sent before.

        Prospects without a Person that share an address belong together, also through a third. Somebody who may be one
        of several People takes no part: who they are is for people to say. Call `list_addresses` before.
        """
        after, done = 0, set[int]()
        while some := self._following(after):
            after = some[-1][0]
            sharing = self._sharing([one for one, _ in some])
            for one, was_sent in some:
                if one in done:
                    continue
                if one not in sharing:
                    yield [one], was_sent
                    continue
                pool = self._connected(one)
                done.update(pool)
                yield pool, self._was_sent(pool)

    def _following(self, after: int) -> list[tuple[int, bool]]:
        rows = self._connection.execute(
            "SELECT prospect_id, was_sent FROM temp.candidate WHERE prospect_id > ? ORDER BY prospect_id LIMIT ?",
            (after, _TOGETHER),
        )
        return [(one, bool(was_sent)) for one, was_sent in rows]

    def _sharing(self, prospect_ids: Collection[int]) -> set[int]:
        """Return which of these have an address that somebody else has too."""
        addresses = self._addresses(prospect_ids)
        owners = self._owners({address for some in addresses.values() for address in some})
        return {one for one, some in addresses.items() if any(owners[address] - {one} for address in some)}

    def _connected(self, prospect_id: int) -> list[int]:
        """Follow shared addresses from one prospect to the next."""
        pool, fresh = {prospect_id}, {prospect_id}
        while fresh:
            addresses = self._addresses(fresh)
            owners = self._owners({address for some in addresses.values() for address in some})
            fresh = set().union(*owners.values()) - pool if owners else set()
            pool |= fresh
        return sorted(pool)

    def _addresses(self, prospect_ids: Collection[int]) -> dict[int, set[str]]:
        rows = self._connection.execute(f"SELECT id, emails FROM prospect WHERE id IN {IDS}", (id_list(prospect_ids),))
        return {one: _mailboxes(emails) for one, emails in rows}

    def _owners(self, addresses: Collection[str]) -> dict[str, set[int]]:
        """Return by address which prospects without a Person have it, candidates that got one meanwhile included."""
        owners: dict[str, set[int]] = {address: set() for address in addresses}
        rows = self._connection.execute(
            "SELECT a.address, p.id, p.emails FROM json_each(?) j CROSS JOIN address a ON a.address = j.value"
            " JOIN prospect p ON p.id = a.prospect_id WHERE p.id IN (SELECT prospect_id FROM temp.candidate)"
            " OR (p.person_id IS NULL AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.record = 'person'"
            " AND o.stream = '' AND o.key = p.id AND o.reason LIKE 'ambiguous:%'))",
            (id_list(addresses),),
        )
        for address, one, emails in rows:
            if address in _mailboxes(emails):  # as they were last read: the table may still list an older one
                owners[address].add(one)
        return owners

    def _was_sent(self, pool: list[int]) -> bool:
        query = f"SELECT coalesce(max(was_sent), 0) FROM temp.candidate WHERE prospect_id IN {IDS}"
        return bool(self._connection.execute(query, (json.dumps(pool),)).fetchone()[0])


def _mailboxes(emails: str | None) -> set[str]:
    return {mailbox(line) for line in (emails or "").split("\n") if line.strip()}
