"""Putting the page in its place: whoever looks sees the old one or the new one, whole, and nobody else sees either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.errors import UsageError
from outreach_sync.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def write_page(page: str, path: Path) -> None:
    """Write the page atomically, readable by its owner only; a pipe or a device is written into.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        write_whole(path, page, private=True, through=True)
    except OSError as error:
        raise UsageError(
            f"the report {path} cannot be written ({error.strerror}).",
            advice="Name a file in a directory that exists and is writable by this user.",
        ) from error
