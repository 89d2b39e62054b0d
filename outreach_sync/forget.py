"""Forget: what a request for erasure asks of the local side: the state, its free pages, its log, its copies.

Nothing is changed in Outreach or Workbooks. The program keeps no log file: what it says goes to stderr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.store.backup import copies_elsewhere, copies_of, drop_unfinished, erase_from_copy
from outreach_sync.store.erasure import Holdings, Persona, erase_rows, holdings, persona, scrub_free_pages

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.store import Store


class Known(NamedTuple):
    """Somebody as they are known here. `known`: whether any of their ids is; `held`: what is stored of them."""

    whom: Persona
    known: bool
    held: Holdings


class Erased(NamedTuple):
    """What was done.

    Attributes:
        known: who they were, and what was removed.
        copies: backups that were rewritten without them.
        removed: backups that could not be (damaged, or of another version), and are gone.
        unreachable: copies that were made elsewhere and are not there now; they may have been moved.
    """

    known: Known
    copies: tuple[Path, ...]
    removed: tuple[Path, ...]
    unreachable: tuple[Path, ...]


def look_up(store: Store, *, prospect_id: int | None = None, person_id: int | None = None) -> Known:
    """Say who somebody is, with all prospects that are the same Person, and what is stored of them."""
    prospects = () if prospect_id is None else (prospect_id,)
    people = () if person_id is None else (person_id,)
    whom = persona(store.connection, prospects=prospects, people=people)
    known, held = holdings(store.connection, whom)
    return Known(whom, known, held)


def forget(store: Store, someone: Known) -> Erased:
    """Remove everything that is known of somebody; call it under the run lock.

    Their ids are remembered, and a keyed hash of each address: what is needed never to create them again. Doing it
    again does no harm, and finishes what was interrupted.

    Raises:
        StateError: the state cannot be written, or another program keeps reading it.
    """
    connection = store.connection
    connection.execute("PRAGMA secure_delete = ON")
    with store.transaction():
        erase_rows(connection, someone.whom)
    scrub_free_pages(connection)
    if store.path is not None:
        drop_unfinished(store.path)
    elsewhere = copies_elsewhere(store)
    copies = [*(() if store.path is None else copies_of(store.path)), *filter(_is_there, elsewhere)]
    rewritten = {copy: erase_from_copy(copy, someone.whom) for copy in copies}
    return Erased(
        someone,
        tuple(copy for copy, whole in rewritten.items() if whole),
        tuple(copy for copy, whole in rewritten.items() if not whole),
        tuple(one for one in elsewhere if one not in rewritten),
    )


def _is_there(copy: Path) -> bool:
    try:
        return copy.exists()
    except OSError:  # a directory that may not be entered any more
        return False
