"""Erasing people from a state file: what a request for erasure takes out of every table, and out of the free pages.

Only ids and keyed hashes of addresses stay, so that nobody who was forgotten is stored or created again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import StateError
from outreach_sync.rules.person import mailbox
from outreach_sync.store.progress import Facts
from outreach_sync.store.schema import IDS, id_list, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from outreach_sync.records import Prospect
    from outreach_sync.store import Store


_SHORTEST_TEXT = 3
ERASED = "[erased]"


class Persona(NamedTuple):
    """All ids that are one human being: prospects in Outreach, People in Workbooks."""

    prospects: frozenset[int]
    people: frozenset[int]


def persona(connection: sqlite3.Connection, *, prospects: Iterable[int] = (), people: Iterable[int] = ()) -> Persona:
    """Return everyone who is the same human being as these.

    By their Person, by a Person that is queued for them, or, while they have none, by an address that they share.
    """
    known, linked = set(prospects), set(people)
    while True:
        before = len(known) + len(linked)
        linked |= _ids(connection, "SELECT person_id FROM prospect WHERE person_id IS NOT NULL AND id IN", known)
        known |= _ids(connection, "SELECT id FROM prospect WHERE person_id IN", linked)
        for (pool,) in connection.execute("SELECT pool FROM outbox WHERE pool <> '[]'").fetchall():
            together = set(parsed(pool))
            known |= together if together & known else set()
        mailboxes = set(map(mailbox, _addresses(connection, id_list(known))))
        alone = connection.execute("SELECT id, emails FROM prospect WHERE person_id IS NULL AND emails IS NOT NULL")
        known |= {
            one for one, emails in alone if mailboxes and not mailboxes.isdisjoint(map(mailbox, emails.split("\n")))
        }
        if len(known) + len(linked) == before:
            return Persona(frozenset(known), frozenset(linked))


class Known(NamedTuple):
    """Somebody as they are known here: whether at all, who they are, and how many rows of each kind are stored."""

    whom: Persona
    known: bool
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    states: int
    tasks: int
    queued: int
    writes: int


def look_up(store: Store, *, prospect_id: int | None = None, person_id: int | None = None) -> Known:
    """Say who somebody is, with all prospects that are the same Person, and what is stored of them."""
    connection = store.connection
    whom = persona(
        connection,
        prospects=() if prospect_id is None else (prospect_id,),
        people=() if person_id is None else (person_id,),
    )
    prospects = id_list(whom.prospects)
    rows = connection.execute(
        f"SELECT first_name, last_name FROM prospect WHERE id IN {IDS} ORDER BY id", (prospects,)
    ).fetchall()
    names = dict.fromkeys(filter(None, (" ".join(part for part in row if part) for row in rows)))
    addresses = dict.fromkeys(_addresses(connection, prospects))
    counts = [
        int(connection.execute(f"SELECT count(*) FROM {table} WHERE prospect_id IN {IDS}", (prospects,)).fetchone()[0])
        for table in ("sequence_state", "task", "outbox", "write")
    ]
    linked = _ids(connection, "SELECT id FROM person WHERE id IN", whom.people)
    return Known(whom, bool(rows or linked or any(counts)), tuple(names), tuple(addresses), *counts)


def forget_namesakes(connection: sqlite3.Connection, prospects: Iterable[Prospect]) -> set[int]:
    """Forget prospects that have an address of somebody who was forgotten: the same human under another id.

    One that is linked to a Person is not: it was there before, and shares the address. Returns their ids; call it
    inside a transaction.
    """
    key = Facts(connection).get(_KEY)
    if key is None:
        return set()
    hashes = {one.id: {_hash(key, address) for address in one.emails} for one in prospects if one.emails}
    asked = id_list(one for some in hashes.values() for one in some)
    found = connection.execute(f"SELECT hash FROM forgotten_address WHERE hash IN {IDS}", (asked,))
    known = {one for (one,) in found}
    namesakes = {one for one, some in hashes.items() if not known.isdisjoint(some)}
    linked = _ids(connection, "SELECT id FROM prospect WHERE person_id IS NOT NULL AND id IN", namesakes)
    for one in namesakes - linked:
        erase_rows(connection, Persona(frozenset({one}), frozenset()))
    return namesakes - linked


def erase_rows(connection: sqlite3.Connection, whom: Persona) -> None:
    """Take somebody out of every table and remember their ids and addresses; call it inside a transaction.

    Free pages still hold what was there until `scrub_free_pages`.
    """
    texts = _personal_texts(connection, whom)
    prospects, people = id_list(whom.prospects), id_list(whom.people)
    for kind, ids in (("prospect", prospects), ("person", people)):
        connection.execute("INSERT OR IGNORE INTO forgotten SELECT ?, value FROM json_each(?)", (kind, ids))
    facts = Facts(connection)
    key = facts.get(_KEY)
    if key is None:
        key = secrets.token_hex(32)
        facts.put(_KEY, key)
    hashes = id_list(_hash(key, address) for address in _addresses(connection, prospects) if address.strip())
    connection.execute("INSERT OR IGNORE INTO forgotten_address SELECT value FROM json_each(?)", (hashes,))
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
    for table in ("sequence_state", "changed", "address", "event", "write"):
        connection.execute(f"DELETE FROM {table} WHERE prospect_id IN {IDS}", (prospects,))
    connection.execute(f"DELETE FROM prospect WHERE id IN {IDS}", (prospects,))
    connection.execute(f"DELETE FROM write WHERE record = 'person' AND workbooks_id IN {IDS}", (people,))
    connection.execute(f"DELETE FROM person WHERE id IN {IDS}", (people,))
    for run_id, summary in connection.execute("SELECT id, summary FROM run WHERE summary IS NOT NULL").fetchall():
        document = parsed(summary)
        blanked = _blank(document, texts)  # an error that ended a run may quote a record
        if blanked != document:
            connection.execute("UPDATE run SET summary = ? WHERE id = ?", (json.dumps(blanked), run_id))


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


def _addresses(connection: sqlite3.Connection, prospects: str) -> list[str]:
    rows = connection.execute(
        f"SELECT emails FROM prospect WHERE emails IS NOT NULL AND id IN {IDS} ORDER BY id", (prospects,)
    )
    return [address for (emails,) in rows.fetchall() for address in emails.split("\n")]


def _personal_texts(connection: sqlite3.Connection, whom: Persona) -> set[str]:
    """Return every text that names somebody, so that it can be found where it stands without an id."""
    ids = (id_list(whom.prospects),)
    rows = connection.execute(
        f"SELECT first_name, last_name, external_id, emails, extra FROM prospect WHERE id IN {IDS}", ids
    ).fetchall()
    texts = {text for row in rows for text in row[:3] if text}
    texts |= {address for row in rows if row[3] for address in row[3].split("\n")}
    texts |= {str(value) for row in rows if row[4] for value in parsed(row[4]).values()}
    notes = connection.execute(f"SELECT note FROM task WHERE note IS NOT NULL AND prospect_id IN {IDS}", ids)
    texts |= {row[0] for row in notes}
    return {text for text in texts if len(text) >= _SHORTEST_TEXT}


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
    return {row[0] for row in connection.execute(f"{query} {IDS}", (id_list(ids),))}


_KEY = "forgotten_key"


def forgotten_ids(connection: sqlite3.Connection, kind: str) -> frozenset[int]:
    """Return the ids of forgotten prospects (`prospect`) or people (`person`): few, each was asked for by hand."""
    return frozenset(one for (one,) in connection.execute("SELECT id FROM forgotten WHERE kind = ?", (kind,)))


def _hash(key: str, address: str) -> str:
    return hmac.digest(bytes.fromhex(key), mailbox(address).encode("utf-8", "surrogatepass"), "sha256").hex()


_EITHER = (
    "DELETE FROM outbox",
    "DELETE FROM person",
    "DELETE FROM write",
    "DELETE FROM label_count",
    "DELETE FROM task",
    "DELETE FROM event",
    "DELETE FROM concern",
    "DELETE FROM address",
    "DELETE FROM survey_seen",
    "DELETE FROM forgotten WHERE kind = 'person'",
)
_WORKBOOKS = (
    "UPDATE prospect SET person_id = NULL, no_email_kept = 0, person_lost = 0, listed = 0",
    "INSERT INTO changed SELECT id, 0 FROM prospect WHERE true ON CONFLICT DO NOTHING",
    # What was skipped has to become Tasks there as well: tasks and events are read again from sync.start.
    "DELETE FROM progress WHERE stream NOT IN ('sequence_states', 'prospects')",
    "DELETE FROM fact WHERE name IN ('first_load_done', 'identity_workbooks')",
)
_OUTREACH = (
    "DELETE FROM prospect",
    "DELETE FROM sequence_state",
    "DELETE FROM sequence",
    "DELETE FROM changed",
    "DELETE FROM progress",
    "DELETE FROM forgotten",
    "DELETE FROM fact WHERE name NOT IN ('identity_key', 'identity_workbooks', 'forgotten_key', 'backup_paths')",
)


def let_go(connection: sqlite3.Connection, *, outreach: bool, workbooks: bool) -> None:
    """Forget everything that belongs to the Outreach, or the Workbooks, that the state belonged to.

    Call it inside a transaction, and `scrub_free_pages` after it. Where Workbooks moves, what Outreach said of
    prospects and their states is kept, and everyone is decided again. Links between the two are kept in neither case;
    hashes of forgotten addresses, which are people and not ids, and the record of runs in both.
    """
    connection.execute("PRAGMA secure_delete = ON")
    for statement in (*_EITHER, *(_WORKBOOKS if workbooks else ()), *(_OUTREACH if outreach else ())):
        connection.execute(statement)
