"""Suspects: entries of a write of which nothing is known afterwards, since one of them may be what Workbooks fails at.

They are sent again in ever smaller batches, in the end alone, and never together with others: so one record that
Workbooks fails at is found out, and holds nobody else up.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outreach_sync.state.outbox import Entry

_SMALLER = 4
"""By how much a batch shrinks that was lost."""
_ENOUGH = 2
"""So often must an entry be lost alone, since any answer may be lost once."""


class Suspects:
    """How many objects may go together with each entry of one delivery."""

    def __init__(self, batch_size: int) -> None:
        """Suspect nobody yet."""
        self._batch_size = batch_size
        self._sizes: dict[int, int] = {}
        self._alone: Counter[int] = Counter()

    def lost(self, entry: Entry, together: int) -> None:
        """Note that nothing is known of an entry that was sent in a request of so many objects."""
        self._sizes[entry.id] = max(1, together // _SMALLER)
        if together == 1:
            self._alone[entry.id] += 1

    def is_suspected(self, entry: Entry) -> bool:
        """Say whether nothing was known of it before."""
        return entry.id in self._sizes

    def is_proven(self, entry: Entry) -> bool:
        """Say whether it was lost in requests of its own, often enough."""
        return self._alone[entry.id] >= _ENOUGH

    def all_were_alone(self) -> bool:
        """Say whether there is nobody left for whom a smaller batch could be tried."""
        return all(entry_id in self._alone for entry_id in self._sizes)

    def cut(self, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
        """Cut entries, in their order, into what may go together."""
        for size, some in groupby(entries, lambda entry: self._sizes.get(entry.id, self._batch_size)):
            listed = list(some)
            for start in range(0, len(listed), size):
                yield listed[start : start + size]
