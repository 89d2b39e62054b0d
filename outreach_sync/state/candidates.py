"""Prospects without a Person, and which of them share an address: two of those are one person.

Kept in a temporary table, so that a first load of half a million new people does not have to fit in memory.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator


class Candidates:
    """The prospects that a planning pass found no Person for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin an empty set on an open connection."""
        self._connection = connection
        connection.execute("DROP TABLE IF EXISTS temp.candidate")
        connection.execute(
            "CREATE TEMP TABLE candidate (prospect_id INTEGER PRIMARY KEY, was_sent INTEGER NOT NULL,"
            " done INTEGER NOT NULL DEFAULT 0)"
        )
        self._any = False

    def add(self, candidates: Iterable[tuple[int, bool]]) -> None:
        """Add (prospect id, whether a Person of its was sent before)."""
        rows = list(candidates)
        self._any = self._any or bool(rows)
        self._connection.executemany(
            "INSERT INTO temp.candidate (prospect_id, was_sent) VALUES (?, ?) ON CONFLICT DO UPDATE SET"
            " was_sent = was_sent OR excluded.was_sent, done = 0",
            rows,
        )

    def not_among(self, prospect_ids: Iterable[int]) -> list[int]:
        """Return which of these prospects nobody was looked for in this pass."""
        rows = self._connection.execute(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT prospect_id FROM temp.candidate)",
            (json.dumps(list(prospect_ids)),),
        )
        return [row[0] for row in rows]

    def pools(self) -> Iterator[tuple[list[int], bool]]:
        """Yield everyone who is one person (prospect ids, lowest first) and whether that person was sent before.

        Prospects without a Person that share an address belong together, also through a third.
        """
        if not self._any:
            return
        self._find_shared_addresses()
        after = 0
        while (row := self._next(after)) is not None:
            after = row
            pool = self._connected(row)
            yield pool, self._was_sent(pool)
            self._connection.executemany(
                "UPDATE temp.candidate SET done = 1 WHERE prospect_id = ?", ((one,) for one in pool)
            )

    def _next(self, after: int) -> int | None:
        row = self._connection.execute(
            "SELECT prospect_id FROM temp.candidate WHERE prospect_id > ? AND NOT done ORDER BY prospect_id LIMIT 1",
            (after,),
        ).fetchone()
        return None if row is None else int(row[0])

    def _find_shared_addresses(self) -> None:
        """List every address that more than one prospect without a Person has.

        Somebody who may be one of several Persons takes no part: who they are is for people to say.
        """
        connection = self._connection
        connection.execute("DROP TABLE IF EXISTS temp.shared")
        connection.execute("CREATE TEMP TABLE shared (address TEXT, prospect_id INTEGER)")
        unlinked = connection.execute(
            "SELECT id, emails FROM prospect p WHERE person_id IS NULL AND emails IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM outbox WHERE record = 'person' AND key = p.id AND reason LIKE 'ambiguous:%' AND key NOT IN"
            " (SELECT prospect_id FROM temp.candidate))"
            " UNION ALL SELECT id, emails FROM prospect WHERE id IN (SELECT prospect_id FROM temp.candidate)"
            " AND person_id IS NOT NULL AND emails IS NOT NULL"  # got a Person since none was found for them
        )
        connection.executemany(
            "INSERT INTO temp.shared VALUES (?, ?)",
            (
                (address, one)
                for one, emails in unlinked
                for address in {line.casefold() for line in emails.split("\n")}
            ),
        )
        connection.execute("CREATE INDEX temp.shared_address ON shared (address)")
        connection.execute(
            "DELETE FROM temp.shared WHERE address IN"
            " (SELECT address FROM temp.shared GROUP BY address HAVING count(*) = 1)"
        )
        connection.execute("CREATE INDEX temp.shared_prospect ON shared (prospect_id)")

    def _connected(self, prospect_id: int) -> list[int]:
        """Follow shared addresses from one prospect to the next, each address once."""
        pool, fresh, followed = {prospect_id}, [prospect_id], set[str]()
        while fresh:
            one = fresh.pop()
            addresses = self._connection.execute("SELECT address FROM shared WHERE prospect_id = ?", (one,))
            for (address,) in addresses.fetchall():
                if address not in followed:
                    followed.add(address)
                    sharing = self._connection.execute("SELECT prospect_id FROM shared WHERE address = ?", (address,))
                    unseen = {row[0] for row in sharing} - pool
                    pool |= unseen
                    fresh.extend(unseen)
        return sorted(pool)

    def _was_sent(self, pool: list[int]) -> bool:
        query = (
            "SELECT coalesce(max(was_sent), 0) FROM temp.candidate"
            " WHERE prospect_id IN (SELECT value FROM json_each(?))"
        )
        return bool(self._connection.execute(query, (json.dumps(pool),)).fetchone()[0])
