"""The order in which lists are walked: by (updatedAt, id), kept sorted while records change."""

from __future__ import annotations

import bisect

Key = tuple[str, int]
"""updatedAt as the API writes it, then id. The writing sorts like the time it means."""

_NULL_SORTS_LAST = "~"


class StampIndex:
    """A sorted list of (updatedAt, id).

    Additions are gathered and sorted in when someone looks, so that filling in a million records stays quick, and one
    change among a million costs one move of memory.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._keys: list[Key] = []
        self._added: list[Key] = []

    def add(self, stamp: str | None, id_: int) -> None:
        """Add a record."""
        self._added.append((stamp or _NULL_SORTS_LAST, id_))

    def remove(self, stamp: str | None, id_: int) -> None:
        """Remove a record that was added with this stamp."""
        keys = self.keys()
        del keys[bisect.bisect_left(keys, (stamp or _NULL_SORTS_LAST, id_))]

    def keys(self) -> list[Key]:
        """Give the sorted keys, without a copy: only to be read, and only until the next change."""
        if len(self._added) == 1:
            bisect.insort(self._keys, self._added.pop())
        elif self._added:
            self._keys += self._added
            self._keys.sort()
            self._added.clear()
        return self._keys
