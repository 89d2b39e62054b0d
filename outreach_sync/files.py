"""Files: one name for each, read up to a limit, private from their first moment, and replaced whole.

A full disk or a power cut leaves the old file. One that is replaced keeps owner, group and mode; root gives a new one
to the owner of its directory, so that the service can read it. Of a symbolic link, what it points to is replaced.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_NO_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES})


def resolved(path: Path) -> Path:
    """Return the one name of a file, whatever links lead to it; it need not be there."""
    return Path(os.path.realpath(path))


def beside(path: Path, ending: str) -> Path:
    """Name a file that belongs to another: in the directory where that really is, its name and an ending."""
    real = resolved(path)
    return real.with_name(real.name + ending)


def read_limited(path: Path, most: int) -> bytes:
    """Read a whole file, a pipe or a device included; an OSError says that it cannot be read, or is larger."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 1024} KiB", str(path))
    return content


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, for this user only, whatever the umask says."""
    for directory in (*reversed(path.parents), path):
        if directory.is_dir():
            continue
        try:
            directory.mkdir(mode=_PRIVATE_DIRECTORY)
        except FileExistsError:  # another process was quicker
            if not directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", str(directory)) from None
        else:
            if os.geteuid() == 0:
                above = directory.parent.stat()
                os.chown(directory, above.st_uid, above.st_gid)


def open_private(path: Path) -> int:
    """Open a `resolved` file, or make it (0600); a symbolic link is refused, as someone else may plant one for root."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_EXCL, _PRIVATE_FILE)
    except FileExistsError:
        return os.open(path, flags, _PRIVATE_FILE)
    _give(descriptor, path.parent.stat())
    return descriptor


def write_whole(
    path: Path, text: str, *, mode: int = _PRIVATE_FILE, private: bool = False, through: bool = False, new: bool = False
) -> None:
    """Put a text (UTF-8) in the place of a file, on disk at return; an OSError (also: no directory) changes nothing."""
    # A new file gets the `mode`; a replaced one its own, or, if `private`, what its owner had of it. With `through`,
    # what is no regular file is written into as it is. With `new`, a file that is there is refused (FileExistsError).
    there = None
    with suppress(FileNotFoundError):
        there = path.stat()
    if there is not None and not stat.S_ISREG(there.st_mode):
        if not through and not stat.S_ISDIR(there.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with path.open("w", encoding="utf-8", newline="\n") as out:
            out.write(text)
        return
    if there is not None:
        mode = stat.S_IMODE(there.st_mode)
    real = resolved(path)
    whole = _written_beside(real, text, mode & _PRIVATE_DIRECTORY if private else mode, there)
    try:
        if new:
            real.touch(_PRIVATE_FILE, exist_ok=False)
        whole.replace(real)
    except OSError:
        whole.unlink(missing_ok=True)
        raise
    flush_directory(real.parent)


def prove_replaceable(path: Path) -> None:
    """Make sure that `write_whole` would work now, without touching the file; an OSError says that it would not."""
    _written_beside(resolved(path), "proof", _PRIVATE_FILE, None).unlink()


def flush_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk, for a power cut; a file system that cannot do it is no failure."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise


def refusal(path: Path, error: OSError) -> str:
    """Say why a file cannot be used; where that is somebody's right, also whose it is and who asks."""
    why = error.strerror or "it cannot be used"
    if not isinstance(error, PermissionError):
        return why
    with suppress(OSError):
        owner, asks = path.stat().st_uid, os.geteuid()
        if owner != asks:
            return f"{why}: it belongs to {_user(owner)}, and this is {_user(asks)}"
    return why


def root_among_others(path: Path) -> str | None:
    """Warn root of working on a file, or in a directory, of somebody else's; None where there is nothing to warn of."""
    if os.geteuid() != 0:
        return None
    with suppress(OSError):  # opening it says so, in words of its own
        places = (path.absolute(), *path.absolute().parents)
        place = next(one for one in places if one.exists())
        uid = place.stat().st_uid
        if uid != 0 and (place.is_dir() or place == places[0]):  # else a file is in the way
            owner = _user(uid)
            run_as = f"run the command as {owner}, or with outreach-sync-as-service"
            return f"{place} belongs to {owner}, and this is root: {run_as}"
    return None


def _written_beside(path: Path, text: str, mode: int, replaced: os.stat_result | None) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            _give(file.fileno(), replaced or path.parent.stat())
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _give(descriptor: int, like: os.stat_result) -> None:
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) == (like.st_uid, like.st_gid):
        return
    if os.geteuid() == 0:
        os.fchown(descriptor, like.st_uid, like.st_gid)
    elif made.st_uid == like.st_uid:
        with suppress(PermissionError):
            os.fchown(descriptor, -1, like.st_gid)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
