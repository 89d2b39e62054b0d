"""Erase: what a request for erasure asks of the local side: the state, its free pages, its write-ahead log, its copies.

Nothing is changed in Outreach or Workbooks. The program keeps no log file: what it says goes to stderr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.state.backup import copies_elsewhere, copies_of, drop_unfinished, erase_from_copy
from outreach_sync.state.erasure import Persona, erase_rows, is_known, persona, scrub_free_pages

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.state import State


class Erased(NamedTuple):
    """What was done. `known`: whether anything was stored of them.

    `copies` were rewritten without them, `removed` are copies that could not be (damaged, or of another version).
    `unreachable` are copies that were made elsewhere and are not there now; they may have been moved.
    """

    whom: Persona
    known: bool
    copies: tuple[Path, ...]
    removed: tuple[Path, ...]
    unreachable: tuple[Path, ...]


def forget(state: State, *, prospect_id: int | None = None, person_id: int | None = None) -> Erased:
    """Remove everything that is known of somebody, and remember their ids; call it under the run lock.

    All prospects that are the same Person go together. Doing it again does no harm, and finishes what was interrupted.

    Raises:
        StateError: the state cannot be written, or another program keeps reading it.
    """
    connection = state.connection
    prospects = () if prospect_id is None else (prospect_id,)
    people = () if person_id is None else (person_id,)
    whom = persona(connection, prospects=prospects, people=people)
    known = is_known(connection, whom)
    connection.execute("PRAGMA secure_delete = ON")
    with state.transaction():
        erase_rows(connection, whom)
    scrub_free_pages(connection)
    if state.path is not None:
        drop_unfinished(state.path)
    elsewhere = copies_elsewhere(state)
    copies = [*(() if state.path is None else copies_of(state.path)), *filter(_is_there, elsewhere)]
    rewritten = {copy: erase_from_copy(copy, whom) for copy in copies}
    return Erased(
        whom,
        known,
        tuple(copy for copy, whole in rewritten.items() if whole),
        tuple(copy for copy, whole in rewritten.items() if not whole),
        tuple(one for one in elsewhere if one not in rewritten),
    )


def _is_there(copy: Path) -> bool:
    try:
        return copy.exists()
    except OSError:  # a directory that may not be entered any more
        return False
