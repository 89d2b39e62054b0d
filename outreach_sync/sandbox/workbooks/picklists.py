"""Picklists as a write sees them: which values each takes, and what becomes of one it does not know (guide)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.schema import PICKLIST, PICKLIST_ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record


class Picklists:
    """The picklists of one store, each looked up once. The store's lock must be held."""

    def __init__(self, store: WorkbooksStore) -> None:
        """Look at nothing yet."""
        self._store = store
        self._values: dict[int, set[str]] = {}

    def exists(self, picklist_id: Any) -> bool:
        """Tell whether there is such a picklist, and it is not deleted."""
        return self._kept(picklist_id) is not None

    def takes(self, picklist_id: int, value: str) -> bool:
        """Tell whether a value can be set as it is: an entry, or the picklist is unrestricted."""
        if picklist_id not in self._values:
            self._values[picklist_id] = self._store.picklist_values(picklist_id)
        kept = self._kept(picklist_id)
        return value in self._values[picklist_id] or (kept is not None and bool(kept.values["unrestricted"]))

    def grows(self, picklist_id: int) -> bool:
        """Tell whether an unknown value becomes an entry, once the record that has it is saved."""
        kept = self._kept(picklist_id)
        return kept is not None and bool(kept.values["auto_create"])

    def _kept(self, picklist_id: Any) -> Record | None:
        record = self._store.tables[PICKLIST].records.get(picklist_id)
        return None if record is None or record.is_deleted else record


def add_entries(store: WorkbooksStore, entries: Iterable[tuple[int, str]]) -> None:
    """Add values to their picklists, where they are no entries already."""
    for picklist_id, value in entries:
        if value not in store.picklist_values(picklist_id):
            store.add(PICKLIST_ENTRY, picklist_id=picklist_id, value=value)
