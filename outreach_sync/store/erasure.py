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
from outreach_sync.store.cache import mailboxes
from outreach_sync.store.schema import IDS, Table, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from outreach_sync.records import Prospect

_SHORTEST_TEXT = 3
ERASED = "[erased]"
_OURS = frozenset({"run_id", "outcome", "started_at", "finished_at"})  # values of a summary that we made up
FORGOTTEN = "SELECT id FROM forgotten WHERE kind ="
_KEY = "SELECT value FROM fact WHERE name = 'forgotten_key'"


class Persona(NamedTuple):
    """All ids that are one human being: prospects in Outreach, People in Workbooks."""

    prospects: frozenset[int]
    people: frozenset[int]


def persona(connection: sqlite3.Connection, *, prospects: Iterable[int] = (), people: Iterable[int] = ()) -> Persona:
    """Return everyone who is the same human: by a Person, linked or queued, or while they have none by an address."""
    table, known, linked = Table(connection), set(prospects), set(people)
    while True:
        before = len(known) + len(linked)
        theirs = f"SELECT person_id FROM prospect WHERE person_id IS NOT NULL AND id IN {IDS}"
        linked.update(table.column(theirs, known))
        known.update(table.column(f"SELECT id FROM prospect WHERE person_id IN {IDS}", linked))
        for pool in map(parsed, table.column("SELECT pool FROM outbox WHERE pool <> '[]'")):
            known.update(pool if known.intersection(pool) else ())
        used = set(map(mailbox, _addresses(table, known)))
        alone = table.do("SELECT id, emails FROM prospect WHERE person_id IS NULL AND emails IS NOT NULL")
        known.update(one for one, emails in alone if not used.isdisjoint(mailboxes(emails)))
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


def look_up(connection: sqlite3.Connection, *, prospect_id: int | None = None, person_id: int | None = None) -> Known:
    """Say who somebody is, with all prospects that are the same Person, and what is stored of them."""
    table = Table(connection)
    prospects, people = ([] if one is None else [one] for one in (prospect_id, person_id))
    whom = persona(connection, prospects=prospects, people=people)
    rows = table.do(f"SELECT first_name, last_name FROM prospect WHERE id IN {IDS} ORDER BY id", whom.prospects)
    named = [" ".join(filter(None, row)) for row in rows]
    linked = table.column(f"SELECT id FROM person WHERE id IN {IDS}", whom.people)
    counts = [
        int(table.value(f"SELECT count(*) FROM {kind} WHERE prospect_id IN {IDS}", whom.prospects))
        for kind in ("sequence_state", "task", "outbox", "write")
    ]
    names, addresses = dict.fromkeys(filter(None, named)), dict.fromkeys(_addresses(table, whom.prospects))
    return Known(whom, bool(named or linked or any(counts)), tuple(names), tuple(addresses), *counts)


def forgotten_ids(connection: sqlite3.Connection, kind: str) -> frozenset[int]:
    """Return the ids of forgotten prospects (`prospect`) or people (`person`): few, each was asked for by hand."""
    return frozenset(Table(connection).column(f"{FORGOTTEN} ?", kind))


def forget_namesakes(connection: sqlite3.Connection, prospects: Iterable[Prospect]) -> frozenset[int]:
    """Forget who has an address of somebody forgotten, and no Person; return the ids of all forgotten prospects."""
    table = Table(connection)
    key = table.value(_KEY)
    if key is not None:
        hashes = {one.id: {_hash(key, address) for address in one.emails} for one in prospects if one.emails}
        asked = set[str]().union(*hashes.values())
        known = set(table.column(f"SELECT hash FROM forgotten_address WHERE hash IN {IDS}", asked))
        namesakes = [one for one, some in hashes.items() if not known.isdisjoint(some)]
        linked = table.column(f"SELECT id FROM prospect WHERE person_id IS NOT NULL AND id IN {IDS}", namesakes)
        for one in set(namesakes).difference(linked):
            erase_rows(connection, Persona(frozenset({one}), frozenset()))
    return frozenset(table.column(f"{FORGOTTEN} 'prospect'"))


def erase_rows(connection: sqlite3.Connection, whom: Persona) -> None:
    """Take somebody out of every table, not of free pages, and remember their ids and addresses (in a transaction)."""
    table, (prospects, people) = Table(connection), whom
    notes = table.column(f"SELECT note FROM task WHERE note IS NOT NULL AND prospect_id IN {IDS}", prospects)
    texts = [*_addresses(table, prospects), *notes]  # that name somebody, to be found where they stand without an id
    query = f"SELECT first_name, last_name, external_id, extra FROM prospect WHERE id IN {IDS}"
    for *named, extra in table.do(query, prospects):
        texts += [*filter(None, named), *map(str, parsed(extra).values())]
    texts = [text for text in texts if len(text) >= _SHORTEST_TEXT]
    for kind, ids in (("prospect", prospects), ("person", people)):
        table.do("INSERT OR IGNORE INTO forgotten SELECT ?, value FROM json_each(?)", kind, ids)
    table.do("INSERT OR IGNORE INTO fact VALUES ('forgotten_key', ?)", secrets.token_hex(32))
    key = table.value(_KEY)
    hashes = [_hash(key, address) for address in _addresses(table, prospects) if address.strip()]
    table.do("INSERT OR IGNORE INTO forgotten_address SELECT value FROM json_each(?)", hashes)
    table.do(
        f"DELETE FROM outbox WHERE prospect_id IN {IDS} OR person_id IN {IDS} OR task_id IN"
        f" (SELECT id FROM task WHERE prospect_id IN {IDS})"
        f" OR EXISTS (SELECT 1 FROM json_each(pool) WHERE value IN {IDS})",
        *(prospects, people, prospects, prospects),
    )
    states = f"SELECT id FROM sequence_state WHERE prospect_id IN {IDS}"
    table.do(f"DELETE FROM task WHERE prospect_id IN {IDS} OR sequence_state_id IN ({states})", prospects, prospects)
    for kind in ("sequence_state", "changed", "address", "event", "write"):
        table.do(f"DELETE FROM {kind} WHERE prospect_id IN {IDS}", prospects)
    table.do(f"DELETE FROM prospect WHERE id IN {IDS}", prospects)
    table.do(f"DELETE FROM write WHERE record = 'person' AND workbooks_id IN {IDS}", people)
    table.do(f"DELETE FROM person WHERE id IN {IDS}", people)
    for run_id, summary in table.do("SELECT id, summary FROM run WHERE summary IS NOT NULL").fetchall():
        document = parsed(summary)
        blanked = _blank(document, texts)  # an error that ended a run may quote a record
        if blanked != document:
            table.do("UPDATE run SET summary = ? WHERE id = ?", json.dumps(blanked), run_id)


def scrub_free_pages(connection: sqlite3.Connection) -> None:
    """Rewrite the file so that no free page and no log holds what was deleted; StateError: somebody still reads it."""
    connection.execute("VACUUM")
    blocked = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]  # after waiting as for any lock
    if blocked:
        raise StateError(
            "the rows are erased, but the write-ahead log still holds them: another program reads the state.",
            advice="Close it and run `forget` again.",
        )


def _addresses(table: Table, prospects: Iterable[int]) -> list[str]:
    query = f"SELECT emails FROM prospect WHERE emails IS NOT NULL AND id IN {IDS} ORDER BY id"
    return [address for emails in table.column(query, prospects) for address in emails.split("\n")]


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


def _hash(key: str, address: str) -> str:
    return hmac.digest(bytes.fromhex(key), mailbox(address).encode("utf-8", "surrogatepass"), "sha256").hex()


_EITHER = (
    *(f"DELETE FROM {table}" for table in ("outbox", "person", "write", "label_count", "task", "event", "concern")),
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
    *(f"DELETE FROM {table}" for table in ("prospect", "sequence_state", "sequence", "changed", "progress")),
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
