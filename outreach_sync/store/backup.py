"""Copies of the state: one a day by itself, one before a format changes, others when asked for; and the way back.

A lost state is rebuilt from both services, but only as far back as `sync.start`; a copy knows more. A request for
erasure reaches the copies too.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import instants
from outreach_sync.errors import StateError
from outreach_sync.files import flush_directory, make_directory, refusal, resolved
from outreach_sync.store import PARTIAL, Store, as_it_lies, copy_whole, is_there, primary_code, version_of_ours
from outreach_sync.store.erasure import FORGOTTEN, Known, Persona, erase_rows, forgotten_ids, persona, scrub_free_pages
from outreach_sync.store.progress import SURVEY
from outreach_sync.store.schema import VERSION, connect, state_errors

if TYPE_CHECKING:
    from outreach_sync.instants import Instant

KEPT = 7  # daily copies that are kept

_KINDS = ("backup", "before", "replaced")
_SIDE_FILES = ("-wal", "-shm", "-journal")
_COPIES = "backup_paths"
_DAMAGE = {0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # 0: Python or we say so


def copies_of(path: Path) -> list[Path]:
    """Return the copies beside a state file, in order of their names: by kind, then by time."""
    found = (one for kind in _KINDS for one in path.parent.glob(f"{path.name}.{kind}-*"))
    return sorted(one for one in found if not one.name.endswith((*_SIDE_FILES, PARTIAL)))


def copies_elsewhere(store: Store) -> list[Path]:
    """Return the copies that were asked for at places of their own, whether they are still there or not."""
    return [Path(one) for one in json.loads(store.facts.get(_COPIES) or "[]")]


def back_up(store: Store, target: Path) -> None:
    """Copy an open state; the copy appears whole or not at all. Raises StateError where it cannot be written."""
    with state_errors(target, writes_copy=True):
        copy_whole(store.connection, target)


def back_up_elsewhere(store: Store, target: Path) -> None:
    """Copy the state to a new place, and remember that: `forget` has to find it. Raises StateError as `back_up`."""
    target = target.absolute()
    with state_errors(target, writes_copy=True):
        if target.exists():
            raise StateError(f"{target} exists already; it was left untouched.", advice="Name another file.")
    known = {str(one) for one in copies_elsewhere(store)}
    with store.transaction():
        store.facts.put(_COPIES, json.dumps(sorted({*known, str(target)})))
    try:
        back_up(store, target)
    except StateError:
        with suppress(StateError), store.transaction():  # a disk that is full: `forget` will name one place too many
            store.facts.put(_COPIES, json.dumps(sorted(known)))
        raise


def back_up_daily(store: Store, now: Instant) -> Path | None:
    """Make today's copy unless it is there, drop the oldest; a run goes on without one (StateError: no room)."""
    path = store.path
    if path is None:
        return None
    target = path.with_name(f"{path.name}.backup-{instants.to_iso(now)[:10]}")
    with state_errors(target, writes_copy=True):
        if target.exists() or not store.progress.watermarks():
            return None  # or there is nothing yet that could not be read again
        room = shutil.disk_usage(path.parent).free
        if room < 2 * path.stat().st_size:
            raise StateError(f"there is no room for a copy of the state beside it ({room >> 20} MiB free).")
        back_up(store, target)
        for old in sorted(path.parent.glob(f"{path.name}.backup-????-??-??"))[:-KEPT]:
            old.unlink()
    return target


def restore(path: Path, source: Path, *, now: Instant) -> Path | None:
    """Put a copy (`source`) in the place of the state, under the run lock; return where the old file is now, if any.

    What Workbooks holds is then taken for certain of nobody, and everybody is read before they are written. Whoever was
    forgotten since the copy was made stays forgotten. Nothing is changed where a StateError says that the copy is of no
    use.
    """
    path = resolved(path)
    if resolved(source) == path:
        raise StateError(f"{source} is the state itself.", advice="Name a copy of it.")
    problems = problems_of(source)
    if problems:
        raise StateError(f"{source} is damaged and was not restored: {'; '.join(problems)}.")
    partial, forgotten = path.with_name(path.name + ".restoring" + PARTIAL), Persona(frozenset(), frozenset())
    with state_errors(path, writes_copy=True):
        make_directory(path.parent)
        with as_it_lies(source) as connection:
            copy_whole(connection, partial)
        try:
            if path.exists():
                with closing(connect(path)) as old:
                    forgotten = Persona(forgotten_ids(old, "prospect"), forgotten_ids(old, "person"))
                    old.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else it is an older state for want of its log
        except sqlite3.Error as error:
            if primary_code(error) not in _DAMAGE:  # whom it has forgotten may be known another time
                raise
        with closing(connect(partial)) as connection:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE person SET lock_version = NULL")
                connection.execute("DELETE FROM progress WHERE stream = ?", (SURVEY,))
                connection.execute("DELETE FROM survey_seen")
            if forgotten.prospects or forgotten.people:
                _erase(connection, forgotten)
        aside = path.with_name(f"{path.name}.replaced-{instants.to_datetime(now):%Y-%m-%dT%H%M%S.%f}")
        if replaced := path.exists():
            for name in _SIDE_FILES:  # its log may hold what was committed last
                one = path.with_name(path.name + name)
                if one.exists():
                    one.replace(aside.with_name(aside.name + name))
            os.link(path, aside)  # so that there is a state at every instant: a run that finds none begins an empty one
        partial.replace(path)
        flush_directory(path.parent)
    return aside if replaced else None


def _erase(connection: sqlite3.Connection, whom: Persona) -> None:
    """Take somebody out of a copy, with whoever is the same human being there."""
    connection.execute("PRAGMA secure_delete = ON")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        erase_rows(connection, persona(connection, prospects=whom.prospects, people=whom.people))
    scrub_free_pages(connection)


_NOT_IN = "NOT IN (SELECT id FROM"
_CHECKS = (
    (
        "prospects linked to a Person that is not there",
        f"prospect WHERE person_id IS NOT NULL AND person_id {_NOT_IN} person)",
    ),
    ("sequence states of nobody", f"sequence_state WHERE prospect_id {_NOT_IN} prospect)"),
    ("tasks of nobody", f"task WHERE prospect_id IS NOT NULL AND prospect_id {_NOT_IN} prospect)"),
    ("prospects to be decided that are not there", f"changed WHERE prospect_id {_NOT_IN} prospect)"),
    (
        "queued updates of a Person that is not there",
        "outbox o WHERE action = 'update' AND NOT EXISTS (SELECT 1 FROM person WHERE id = o.person_id)",
    ),
    ("queued tasks that are not there", f"outbox WHERE record = 'task' AND task_id {_NOT_IN} task)"),
    ("queue entries that cannot be read", "outbox WHERE NOT json_valid(fields) OR NOT json_valid(pool)"),
    ("tasks that cannot be read", "task WHERE NOT json_valid(attributes)"),
    ("prospects that cannot be read", "prospect WHERE extra IS NOT NULL AND NOT json_valid(extra)"),
    ("run records that cannot be read", "run WHERE summary IS NOT NULL AND NOT json_valid(summary)"),
    ("people who were forgotten and are still there", f"prospect WHERE id IN ({FORGOTTEN} 'prospect')"),
)


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with a state file, a line each; StateError: it is not there, not ours, or unreadable."""
    if not is_there(path):
        raise StateError(f"there is no state at {path}.")
    try:
        with as_it_lies(path) as connection:
            version = version_of_ours(connection, path)
            if version == 0:
                raise StateError(f"{path} is no state of outreach-sync.")
            damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            if damage != ["ok"] or version != VERSION:
                return [] if damage == ["ok"] else damage
            counts = (
                (what, connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]) for what, rows in _CHECKS
            )
            return [f"{count} {what}" for what, count in counts if count]
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.Error) and primary_code(error) in _DAMAGE:
            return [str(error)]  # of a file that cannot be opened, is locked or may not be read, that is not said
        why = refusal(path, error) if isinstance(error, OSError) else error
        advice = "Check that this user may read it; nothing is said of its content."
        raise StateError(f"{path} cannot be read: {why}.", advice=advice) from error


class Erased(NamedTuple):
    """What was done."""

    known: Known  # who they were, and what was removed
    copies: tuple[Path, ...]  # backups that were rewritten without them
    removed: tuple[Path, ...]  # backups that could not be (damaged, or of another version), and are gone
    unreachable: tuple[Path, ...]  # copies that were made elsewhere and are not there now; they may have been moved


def forget(store: Store, someone: Known) -> Erased:
    """Remove all that is known of somebody but ids and hashes, under the run lock; again, it finishes what is left."""
    path = store.path
    _erase(store.connection, someone.whom)
    copies, unreachable = [] if path is None else copies_of(path), list[Path]()
    for partial in [] if path is None else path.parent.glob(f"{path.name}.*{PARTIAL}"):
        partial.unlink(missing_ok=True)
    for one in copies_elsewhere(store):
        there = False
        with suppress(OSError):  # a directory that may not be entered any more
            there = one.exists()
        (copies if there else unreachable).append(one)
    rewritten, removed = list[Path](), list[Path]()
    for copy in copies:
        if is_whole(copy):
            with state_errors(copy, writes_copy=True), closing(connect(copy)) as opened:
                _erase(opened, someone.whom)
            rewritten.append(copy)
        else:
            for name in ("", *_SIDE_FILES):
                copy.with_name(copy.name + name).unlink(missing_ok=True)
            removed.append(copy)
    return Erased(someone, tuple(rewritten), tuple(removed), tuple(unreachable))


def is_whole(copy: Path) -> bool:
    """Say whether a copy is of this version and nothing is wrong with it."""
    try:
        with closing(connect(copy, "mode=ro")) as connection:
            return connection.execute("PRAGMA user_version").fetchone() == (VERSION,) and not problems_of(copy)
    except (StateError, sqlite3.Error):
        return False
