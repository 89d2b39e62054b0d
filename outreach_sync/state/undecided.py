"""Prospects whose Person has to be decided again (the table `changed`): the step before the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.state.outbox import IS_DUE, Outbox
from outreach_sync.state.sql import IDS, id_list

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from outreach_sync.instants import Instant


class Undecided:
    """The prospects to decide. Every method that changes them must be called inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def mark_changed(self, prospect_ids: Iterable[int], *, held: bool) -> None:
        """Note prospects of whom a record changed in Outreach, so that their Person has to be decided again.

        What was discarded for them is taken up again. `held`: seen in a walk that is not complete yet.
        """
        listed = list(prospect_ids)
        self._connection.executemany(
            "INSERT INTO changed VALUES (?, ?) ON CONFLICT (prospect_id) DO UPDATE SET held = excluded.held",
            ((prospect_id, held) for prospect_id in listed),
        )
        Outbox(self._connection).records_changed(listed)

    def mark_again(self, prospect_ids: Iterable[int], *, held: bool = False) -> None:
        """Note prospects to be decided again; one that an incomplete walk holds back stays held back."""
        self._connection.executemany(
            "INSERT INTO changed VALUES (?, ?) ON CONFLICT DO NOTHING", ((one, held) for one in prospect_ids)
        )

    def hold(self, prospect_ids: Iterable[int]) -> None:
        """Hold prospects back until the next run: Outreach does not answer what has to be asked about them."""
        self._connection.executemany(
            "INSERT INTO changed VALUES (?, 1) ON CONFLICT (prospect_id) DO UPDATE SET held = 1",
            ((one,) for one in prospect_ids),
        )

    def mark_all_changed(self) -> None:
        """Note every linked prospect, and whoever could not be decided or written: a rule or label changed."""
        self._connection.execute(
            "INSERT INTO changed SELECT id, 0 FROM prospect WHERE person_id IS NOT NULL"
            " UNION SELECT prospect_id, 0 FROM outbox WHERE record = 'person' ON CONFLICT DO NOTHING"
        )

    def mark_unmatched_changed(self) -> None:
        """Note every prospect without a Person, so that it is looked up again."""
        self._connection.execute(
            "INSERT INTO changed SELECT id, 0 FROM prospect WHERE person_id IS NULL ON CONFLICT DO NOTHING"
        )

    def release(self) -> None:
        """Let go of what was held back: every walk is complete."""
        self._connection.execute("UPDATE changed SET held = 0 WHERE held")
        self._connection.execute("UPDATE outbox SET held = 0 WHERE held")

    def ready(self, after: int, limit: int) -> list[int]:
        """Return prospects above `after` to decide now, in order."""
        rows = self._connection.execute(
            "SELECT prospect_id FROM changed WHERE NOT held AND prospect_id > ? ORDER BY prospect_id LIMIT ?",
            (after, limit),
        )
        return [row[0] for row in rows]

    def ready_among(self, prospect_ids: Iterable[int]) -> list[int]:
        """Return which of these prospects are to be decided now."""
        rows = self._connection.execute(
            f"SELECT prospect_id FROM changed WHERE held = 0 AND prospect_id IN {IDS}",
            (id_list(prospect_ids),),
        )
        return [row[0] for row in rows]

    def decided(self, prospect_ids: Iterable[int]) -> None:
        """Note that these prospects have been decided, except those that an incomplete walk holds back."""
        self._connection.executemany(
            "DELETE FROM changed WHERE prospect_id = ? AND NOT held", ((prospect_id,) for prospect_id in prospect_ids)
        )

    def revisit_due(self, now: Instant) -> None:
        """Note the prospects of every entry that is due: what they should say is decided anew before it is sent."""
        self._connection.execute(
            "INSERT INTO changed SELECT DISTINCT prospect_id, 0 FROM outbox WHERE record = 'person'"
            f" AND state = 'queued' AND NOT held AND {IS_DUE} ON CONFLICT DO NOTHING",
            (now, now),
        )

    def people_to_decide(self, person_ids: Iterable[int]) -> set[int]:
        """Return those of these Persons that have a prospect which has to be decided again."""
        rows = self._connection.execute(
            f"SELECT person_id FROM prospect JOIN changed ON prospect_id = id WHERE person_id IN {IDS}",
            (id_list(person_ids),),
        )
        return {row[0] for row in rows}

    def count_unqueued(self) -> int:
        """Count the prospects that wait to be decided and for whose Person nothing is queued."""
        query = (
            "SELECT count(*) FROM changed WHERE prospect_id NOT IN"
            " (SELECT prospect_id FROM outbox WHERE record = 'person' AND prospect_id IS NOT NULL)"
        )
        return int(self._connection.execute(query).fetchone()[0])

    def count(self) -> int:
        """Count the prospects that wait to be decided."""
        return int(self._connection.execute("SELECT count(*) FROM changed").fetchone()[0])
