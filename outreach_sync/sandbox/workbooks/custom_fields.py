"""Custom fields that the API creates: checked, named, and available only after a while (example ``custom_field``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.faults import number_option
from outreach_sync.sandbox.workbooks.picklists import Picklists
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, DATA_TYPES, datatype_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record

_POLLS = 1


class CustomFields:
    """Follows custom fields from their creation to the look-up that first finds them available."""

    def __init__(self, store: WorkbooksStore, faults: FaultBoard) -> None:
        """Take the store that holds them and the faults that slow them down."""
        self._store = store
        self._faults = faults
        self._pending: dict[int, tuple[int, int]] = {}

    def complaints(self, values: Mapping[str, Any]) -> dict[str, list[str]]:
        """Say what is wrong with the values that a custom field is to have."""
        errors: dict[str, list[str]] = {}
        if values.get("data_type") not in self._words():
            errors["data_type"] = ["is not included in the list"]
        if values.get("resource_type") not in self._store.tables:
            errors["resource_type"] = ["is not included in the list"]
        picklist_id = values.get("picklist_id")
        if values.get("data_type") == "picklist" and not Picklists(self._store).exists(picklist_id):
            errors["picklist_id"] = ["is a required field" if picklist_id is None else "could not be found"]
        return errors

    def _words(self) -> set[str]:
        """List the words for data types; the one for a time is not documented."""
        options = self._faults.throughout("datetime_word")
        return (
            set(DATA_TYPES) if options is None else {*DATA_TYPES, str(options.get("word", "date_time"))} - {"datetime"}
        )

    def follow(self, record: Record, at: Instant) -> None:
        """Let records follow what the API has just done to a custom field: made, changed or deleted it."""
        if record.is_deleted:
            self._pending.pop(record.id, None)
            self._store.close_custom_field(record)
        elif "value_column_name" not in record.values:
            self._begin(record, at)
        elif record.id not in self._pending:
            self._store.change_custom_field(record)

    def _begin(self, record: Record, at: Instant) -> None:
        """Name a new field and make it wait: for one look-up, or as the fault ``custom_field_slow`` says."""
        self._store.name_custom_field(record)
        slow = self._faults.take("custom_field_slow")
        polls = _POLLS if slow is None else int(number_option(slow, "polls", 3))
        ready_at = at + int(number_option(slow, "seconds", 0) * 1000)
        self._pending[record.id] = (polls, ready_at)

    def look(self, at: Instant) -> None:
        """Count a look-up of custom fields; those that waited long enough become available."""
        for id_, (polls, ready_at) in list(self._pending.items()):
            self._pending[id_] = (polls - 1, ready_at)
            if polls <= 1 and at >= ready_at:
                del self._pending[id_]
                self._open(id_)

    def _open(self, id_: int) -> None:
        record = self._store.tables[CUSTOM_FIELD].records.get(id_)
        if record is None or record.is_deleted:
            return
        holds_times = datatype_of(str(record.values["data_type"])) == "datetime"
        as_day = holds_times and self._faults.take("custom_datetime_is_date") is not None
        self._store.open_custom_field(record, datatype="date" if as_day else None)
