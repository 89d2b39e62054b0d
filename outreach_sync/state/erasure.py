"""Erasing people from a state file: what a request for erasure takes out of every table, and out of the free pages.

Only ids stay, in `forgotten`, so that nobody who was forgotten is stored or created again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import StateError
from outreach_sync.state.forgotten import Forgotten
from outreach_sync.state.sql import IDS, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

_SHORTEST_TEXT = 3
ERASED = "[erased]"


class Persona(NamedTuple):
    """All ids that are one human being: prospects in Outreach, People in Workbooks."""

    prospects: frozenset[int]
    people: frozenset[int]


def persona(connection: sqlite3.Connection, *, prospects: Iterable[int] = (), people: Iterable[int] = ()) -> Persona:
    """Return everyone who is the same human being as these: by their Person, or by a Person that is queued for them."""
    known, linked = set(prospects), set(people)
    while True:
        before = len(known) + len(linked)
        linked |= _ids(connection, "SELECT person_id FROM prospect WHERE person_id IS NOT NULL AND id IN", known)
        known |= _ids(connection, "SELECT id FROM prospect WHERE person_id IN", linked)
        for (pool,) in connection.execute("SELECT pool FROM outbox WHERE pool <> '[]'").fetchall():
            together = set(parsed(pool))
            known |= together if together & known else set()
        if len(known) + len(linked) == before:
            return Persona(frozenset(known), frozenset(linked))


def is_known(connection: sqlite3.Connection, whom: Persona) -> bool:
    """Say whether anything at all is stored of somebody."""
    return bool(
        _ids(connection, "SELECT id FROM prospect WHERE id IN", whom.prospects)
        | _ids(connection, "SELECT id FROM person WHERE id IN", whom.people)
        | _ids(connection, "SELECT prospect_id FROM sequence_state WHERE prospect_id IN", whom.prospects)
        | _ids(connection, "SELECT prospect_id FROM task WHERE prospect_id IN", whom.prospects)
        | _ids(connection, "SELECT prospect_id FROM outbox WHERE prospect_id IN", whom.prospects)
    )


def erase_rows(connection: sqlite3.Connection, whom: Persona) -> None:
    """Take somebody out of every table and remember their ids; call it inside a transaction.

    Free pages still hold what was there until `scrub_free_pages`.
    """
    texts = _personal_texts(connection, whom)
    prospects, people = json.dumps(sorted(whom.prospects)), json.dumps(sorted(whom.people))
    forgotten = Forgotten(connection)
    for prospect_id in whom.prospects:
        forgotten.add("prospect", prospect_id)
    for person_id in whom.people:
        forgotten.add("person", person_id)
    connection.execute(
        f"DELETE FROM outbox WHERE prospect_id IN {IDS} OR person_id IN {IDS} OR task_id IN"
        f" (SELECT id FROM task WHERE prospect_id IN {IDS})"
        f" OR EXISTS (SELECT 1 FROM json_each(pool) WHERE value IN {IDS})",
        (prospects, people, prospects, prospects),
    )
    connection.execute(
        f"DELETE FROM task WHERE prospect_id IN {IDS} OR sequence_state_id IN"
        f" (SELECT id FROM sequence_state WHERE prospect_id IN {IDS})",
        (prospects, prospects),
    )
    for table, column in (("sequence_state", "prospect_id"), ("changed", "prospect_id"), ("prospect", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} IN {IDS}", (prospects,))
    connection.execute(f"DELETE FROM person WHERE id IN {IDS}", (people,))
    _erase_from_summaries(connection, texts)


def scrub_free_pages(connection: sqlite3.Connection) -> None:
    """Rewrite the file so that no free page and no write-ahead log holds what was deleted.

    Raises:
        StateError: another program keeps reading the file, so that the log cannot be emptied.
    """
    connection.execute("VACUUM")
    blocked = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]  # after waiting as for any lock
    if blocked:
        raise StateError(
            "the rows are erased, but the write-ahead log still holds them: another program reads the state.",
            advice="Close it and run `forget` again.",
        )


def _personal_texts(connection: sqlite3.Connection, whom: Persona) -> set[str]:
    """Return every text that names somebody, so that it can be found where it stands without an id."""
    ids = (json.dumps(sorted(whom.prospects)),)
    rows = connection.execute(
        f"SELECT first_name, last_name, external_id, emails, extra FROM prospect WHERE id IN {IDS}", ids
    ).fetchall()
    texts = {text for row in rows for text in row[:3] if text}
    texts |= {address for row in rows if row[3] for address in row[3].split("\n")}
    texts |= {str(value) for row in rows if row[4] for value in parsed(row[4]).values()}
    notes = connection.execute(f"SELECT note FROM task WHERE note IS NOT NULL AND prospect_id IN {IDS}", ids)
    texts |= {row[0] for row in notes}
    return {text for text in texts if len(text) >= _SHORTEST_TEXT}


def _erase_from_summaries(connection: sqlite3.Connection, texts: Collection[str]) -> None:
    """Blank personal texts in the history of runs: an error that ended one may quote a record."""
    rows = connection.execute("SELECT id, summary FROM run WHERE summary IS NOT NULL").fetchall()
    for run_id, summary in rows:
        document = parsed(summary)
        blanked = _blank(document, texts)
        if blanked != document:
            connection.execute("UPDATE run SET summary = ? WHERE id = ?", (json.dumps(blanked), run_id))


def _blank(value: Any, texts: Collection[str]) -> Any:
    match value:
        case str():
            for text in texts:
                value = value.replace(text, ERASED)
            return value
        case dict():
            return {name: one if name in _OURS else _blank(one, texts) for name, one in value.items()}
        case list():
            return [_blank(one, texts) for one in value]
    return value


_OURS = frozenset({"run_id", "outcome", "started_at", "finished_at"})
"""Values of a summary that the program made up itself."""


def _ids(connection: sqlite3.Connection, query: str, ids: Collection[int]) -> set[int]:
    rows = connection.execute(f"{query} {IDS}", (json.dumps(sorted(ids)),))
    return {row[0] for row in rows}
