"""Letting go of one service when a state moves to another: nothing stays that belongs to the account left behind.

Hashes of forgotten addresses stay, since they are people and not ids; so does the record of runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.store.erasure import scrub_free_pages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outreach_sync.store import Store

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
    "UPDATE prospect SET person_id = NULL, no_email_kept = 0, listed = 0",
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


def let_go(store: Store, *, outreach: bool, workbooks: bool) -> None:
    """Forget everything that belongs to the Outreach, or the Workbooks, that the state belonged to.

    Call it inside a transaction. Where Workbooks moves, what Outreach said of prospects and their states is kept, and
    everyone is decided again. Links between the two are kept in neither case.
    """
    store.connection.execute("PRAGMA secure_delete = ON")
    _execute(store, _EITHER)
    if workbooks:
        _execute(store, _WORKBOOKS)
    if outreach:
        _execute(store, _OUTREACH)


def scrub(store: Store) -> None:
    """Take what was let go out of the free pages too; call it after the transaction."""
    scrub_free_pages(store.connection)


def _execute(store: Store, statements: Iterable[str]) -> None:
    for statement in statements:
        store.connection.execute(statement)
