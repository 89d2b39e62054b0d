"""Files that appear whole: whoever looks sees the old one or the new one, and a full disk leaves the old one.

What is replaced is a regular file. A symbolic link stays, and what it points to is replaced; a device, a pipe or a
socket is never taken for a file that could be.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int | None = 0o600, through: bool = False) -> None:
    """Put a text, as UTF-8, in the place of a file, on disk when this returns.

    Args:
        path: the file; its directory must exist.
        text: its whole content.
        mode: its permissions; None: those of the file that is there.
        through: where there is something other than a regular file, write into it as it is.

    Raises:
        OSError: it cannot be written, or is no regular file; what was there is still there, and nothing beside it.
    """
    there = _stat(path)
    if there is None or stat.S_ISREG(there.st_mode):
        if mode is None:
            mode = 0o600 if there is None else stat.S_IMODE(there.st_mode)
        _replace(path.resolve(), text, mode)
        return
    if not through and not stat.S_ISDIR(there.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(text)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str, mode: int) -> None:
    import tempfile  # noqa: PLC0415 - slow to import, and many commands write nothing

    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by its owner only
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
