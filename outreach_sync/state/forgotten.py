"""Whom a request for erasure concerned: ids and keyed hashes of addresses, so that they are never created again."""

from __future__ import annotations

import hmac
import json
import secrets
from typing import TYPE_CHECKING

from outreach_sync.rules.matching import mailbox
from outreach_sync.state.facts import Facts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

_KEY = "forgotten_key"


class Forgotten:
    """The tables of forgotten prospects, People and addresses."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on an open connection."""
        self._connection = connection

    def prospects(self) -> frozenset[int]:
        """Return the ids of forgotten prospects: few, since each was asked for by hand."""
        return self._ids("prospect")

    def people(self) -> frozenset[int]:
        """Return the Workbooks ids of forgotten people."""
        return self._ids("person")

    def add(self, kind: str, record_id: int) -> None:
        """Remember an id (`prospect` or `person`); call it inside a transaction."""
        self._connection.execute("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", (kind, record_id))

    def add_addresses(self, addresses: Iterable[str]) -> None:
        """Remember addresses, as hashes that say nothing without this file's key; call it inside a transaction."""
        facts = Facts(self._connection)
        if facts.get(_KEY) is None:
            facts.put(_KEY, secrets.token_hex(32))
        key = facts.get(_KEY) or ""
        self._connection.executemany(
            "INSERT OR IGNORE INTO forgotten_address VALUES (?)",
            ((_hash(key, address),) for address in addresses if address.strip()),
        )

    def with_addresses(self, addresses: Mapping[int, Iterable[str]]) -> set[int]:
        """Return whose addresses (by prospect id) are among those of somebody who was forgotten."""
        key = Facts(self._connection).get(_KEY)
        if key is None:
            return set()
        hashes = {one: {_hash(key, address) for address in some} for one, some in addresses.items()}
        rows = self._connection.execute(
            "SELECT hash FROM forgotten_address WHERE hash IN (SELECT value FROM json_each(?))",
            (json.dumps([one for some in hashes.values() for one in some]),),
        )
        known = {row[0] for row in rows}
        return {one for one, some in hashes.items() if not known.isdisjoint(some)}

    def _ids(self, kind: str) -> frozenset[int]:
        return frozenset(row[0] for row in self._connection.execute("SELECT id FROM forgotten WHERE kind = ?", (kind,)))


def _hash(key: str, address: str) -> str:
    return hmac.digest(bytes.fromhex(key), mailbox(address).encode("utf-8", "surrogatepass"), "sha256").hex()
