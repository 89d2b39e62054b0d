"""One run at a time: a kernel lock beside the state file, which a dead process cannot leave behind."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import instants
from outreach_sync.errors import LockHeldError, StateError
from outreach_sync.files import beside, make_directory, open_private, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.instants import Instant

_CYCLE = "run"
"""The one command whose work another run may do as well; every other was asked for something of its own."""
_DO_ITS_WORK = frozenset({"run", "reconcile"})


@contextmanager
def run_lock(state_path: Path, command: str) -> Iterator[None]:
    """Hold the lock of this state for the block. It goes by the file itself, whatever name leads to it.

    The file stays when the lock is released: removing it would let two processes lock two different files.

    Raises:
        LockHeldError: another process holds it; the message says which and since when.
        StateError: the lock file cannot be made.
    """
    path = beside(state_path, ".lock")
    try:
        make_directory(path.parent)
        descriptor = open_private(path)
    except OSError as error:
        raise StateError(
            f"the lock {path} cannot be made: {refusal(path, error)}.",
            advice="Run this as the user that the state belongs to, or give that user the file and its directory.",
        ) from error
    try:
        _acquire(descriptor, path, command)
        yield
    finally:
        os.close(descriptor)


class Holder(NamedTuple):
    """Who holds the run lock: its process, its command, and since when by this machine's clock (None: not known)."""

    pid: int
    command: str
    since: Instant | None


def holder(state_path: Path) -> Holder | None:
    """Say who holds the lock of a state, without touching it; None: nobody, as far as can be seen from here.

    Trying the lock would keep a run that begins at that moment from getting it: the kernel's list of locks is read.
    """
    path = beside(state_path, ".lock")
    try:
        inode = path.stat().st_ino
        note = json.loads(path.read_text(encoding="utf-8"))
        held = any(f":{inode} " in line for line in Path("/proc/locks").read_text(encoding="ascii").splitlines())
        return Holder(int(note["pid"]), str(note["command"]), instants.parse_iso(note["since"])) if held else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _acquire(descriptor: int, path: Path, command: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who, holder = _holder(descriptor)
        does_it = command == _CYCLE and holder in _DO_ITS_WORK
        advice = "Nothing to do: that run does the work." if does_it else "Try again when that run has ended."
        raise LockHeldError(f"another run holds {path}{who}.", advice=advice) from error
    note = {"pid": os.getpid(), "command": command, "since": instants.to_iso(instants.now())}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _holder(descriptor: int) -> tuple[str, str]:
    """Return who holds the lock, as a part of a sentence, and with which command; nothing where that is not known."""
    try:
        note = json.loads(os.pread(descriptor, 1024, 0))
        return f": process {note['pid']} ({note['command']}), since {note['since']}", note["command"]
    except (ValueError, KeyError, TypeError):
        return "", ""
