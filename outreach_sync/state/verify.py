"""Whether a state file is whole: as a database, and in what its tables say of each other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from outreach_sync.errors import StateError
from outreach_sync.state.database import CURRENT_VERSION, is_there

if TYPE_CHECKING:
    from pathlib import Path

_AT_MOST = 20
_PRIMARY = 0xFF  # what is above says more exactly how
_CHECKS = (
    (
        "prospects linked to a Person that is not there",
        "prospect WHERE person_id IS NOT NULL AND person_id NOT IN (SELECT id FROM person)",
    ),
    ("sequence states of nobody", "sequence_state WHERE prospect_id NOT IN (SELECT id FROM prospect)"),
    ("tasks of nobody", "task WHERE prospect_id IS NOT NULL AND prospect_id NOT IN (SELECT id FROM prospect)"),
    ("prospects to be decided that are not there", "changed WHERE prospect_id NOT IN (SELECT id FROM prospect)"),
    (
        "queued updates of a Person that is not there",
        "outbox o WHERE action = 'update' AND NOT EXISTS (SELECT 1 FROM person WHERE id = o.person_id)",
    ),
    ("queued tasks that are not there", "outbox WHERE record = 'task' AND task_id NOT IN (SELECT id FROM task)"),
    ("queue entries that cannot be read", "outbox WHERE NOT json_valid(fields) OR NOT json_valid(pool)"),
    ("tasks that cannot be read", "task WHERE NOT json_valid(attributes)"),
    ("prospects that cannot be read", "prospect WHERE extra IS NOT NULL AND NOT json_valid(extra)"),
    ("run records that cannot be read", "run WHERE summary IS NOT NULL AND NOT json_valid(summary)"),
    (
        "people who were forgotten and are still there",
        "prospect WHERE id IN (SELECT id FROM forgotten WHERE kind = 'prospect')",
    ),
)


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with a state file, a line each; nothing: it is whole. It is not changed.

    Raises:
        StateError: it is not there, cannot be read, is no state of this program, or of a newer version.
    """
    if not is_there(path):
        raise StateError(f"there is no state at {path}.")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            _judge_version(path, version)
            damage = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_AT_MOST})")]
            if damage != ["ok"]:
                return damage
            return list(_inconsistencies(connection)) if version == CURRENT_VERSION else []
    except sqlite3.Error as error:
        if _is_damage(error):
            return [str(error)]
        raise StateError(
            f"{path} cannot be read: {error}.",
            advice="Check that this user may read it; nothing is said of its content.",
        ) from error


def _is_damage(error: sqlite3.Error) -> bool:
    """Tell damage from a file that cannot be opened, is locked or may not be read: a backup would not help there."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def version_of(path: Path) -> int:
    """Return the format of a state file, 0 where it has none.

    Raises:
        StateError: it is no database.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise StateError(f"{path} is no state of outreach-sync: {error}.") from error


def _judge_version(path: Path, version: int) -> None:
    if version == 0:
        raise StateError(f"{path} is no state of outreach-sync.")
    if version > CURRENT_VERSION:
        raise StateError(
            f"{path} was written by a newer version of outreach-sync (format {version}, this one knows "
            f"{CURRENT_VERSION}).",
            advice="Use the newer program.",
        )


def _inconsistencies(connection: sqlite3.Connection) -> list[str]:
    counted = ((what, connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]) for what, rows in _CHECKS)
    return [f"{count} {what}" for what, count in counted if count]
