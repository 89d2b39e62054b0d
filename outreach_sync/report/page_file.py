"""Putting the page in its place: whoever looks sees the old one or the new one, whole, and nobody else sees either."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from outreach_sync.errors import UsageError


def write_page(page: str, path: Path) -> None:
    """Write the page atomically, readable by its owner only.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    except OSError as error:
        raise _unwritable(path, error) from error
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the report {path} cannot be written ({error.strerror}).",
        advice="Name a file in a directory that exists and is writable by this user.",
    )
