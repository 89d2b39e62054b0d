"""All records of the simulated Workbooks as JSON, back again, and changes from another process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant
from outreach_sync.sandbox.workbooks.schema import CLASSES, CUSTOM_FIELD
from outreach_sync.sandbox.workbooks.table import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Table

_STATE = ("lock_version", "created_at", "updated_at", "created_through", "is_deleted", "read_only", "forbidden")


def dump(store: WorkbooksStore) -> dict[str, Any]:
    """Give every record as JSON: values as they are kept, and its state."""
    with store.lock:
        return {name: [_record(record) for record in table.records.values()] for name, table in store.tables.items()}


def load(store: WorkbooksStore, document: Mapping[str, Any]) -> None:
    """Replace all records by those of a dump.

    Raises:
        KeyError: the dump names a class that does not exist, or lacks part of a record.
    """
    with store.lock:
        store.clear()
        _remove_everything(store)
        for name, records in document.items():
            for record in records:
                _insert(store.tables[name], record)
        for record in store.tables[CUSTOM_FIELD].records.values():
            if record.values.get("status") == "Available" and not record.is_deleted:
                store.open_custom_field(record)


class StoreDoor:
    """The store as the back door wants it: counts, a dump, changes given as JSON."""

    def __init__(self, store: WorkbooksStore) -> None:
        """Take the store."""
        self._store = store

    def summary(self) -> Mapping[str, int]:
        """Count the records of each class, deleted ones included."""
        with self._store.lock:
            return {name: len(table.records) for name, table in self._store.tables.items()}

    def dump(self) -> dict[str, Any]:
        """Give ``records`` by class, and ``writes``: what the API wrote."""
        with self._store.lock:
            writes = [write._asdict() for write in self._store.writes]
            return {"records": dump(self._store), "writes": writes}

    def change(self, document: dict[str, Any]) -> dict[str, Any]:
        """Do what ``{"do": …, "class": …, "id": …, "fields": {…}}`` says.

        ``do`` is add, update, touch, delete, restore, purge, read_only, hide, reveal, merge (``winner``, ``loser``,
        ``alias``), remove_custom_field (``name``), remove_picklist_entry (``value``), install_plugin, identify
        (``fields``: another key, database or user), clear or load (``records``).

        Raises:
            KeyError: what it names does not exist.
            ValueError: a value does not fit.
        """
        return _CHANGES[document["do"]](self._store, document) or {}


def _record(record: Record) -> dict[str, Any]:
    return {"id": record.id, "values": dict(record.values)} | {name: getattr(record, name) for name in _STATE}


def _remove_everything(store: WorkbooksStore) -> None:
    built_in = {one.name: {field.name for field in one.fields} for one in CLASSES}
    for name, table in store.tables.items():
        custom = [field for field in table.fields if field.startswith("cf_") and field not in built_in[name]]
        for field in custom:
            table.forget_field(field)
        for id_ in list(table.records):
            table.remove(id_)


def _insert(table: Table, document: Mapping[str, Any]) -> None:
    record = Record(
        table.take_id(document["id"]), dict(document["values"]), Instant(0), document.get("created_through", "")
    )
    for name in _STATE:
        if name in document:
            setattr(record, name, document[name])
    table.insert(record)


def _add(store: WorkbooksStore, document: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": store.add(document["class"], **document.get("fields", {}))}


def _identify(store: WorkbooksStore, document: Mapping[str, Any]) -> None:
    store.account = replace(store.account, **document["fields"])


_CHANGES: Mapping[str, Callable[[WorkbooksStore, Mapping[str, Any]], dict[str, Any] | None]] = {
    "add": _add,
    "update": lambda store, given: store.update(given["class"], given["id"], **given["fields"]),
    "touch": lambda store, given: store.touch(given["class"], given["id"]),
    "delete": lambda store, given: store.delete(given["class"], given["id"]),
    "restore": lambda store, given: store.restore(given["class"], given["id"]),
    "purge": lambda store, given: store.purge(given["class"], given["id"]),
    "read_only": lambda store, given: store.make_read_only(given["id"], given["class"]),
    "hide": lambda store, given: store.hide(given["id"], given["class"]),
    "reveal": lambda store, given: store.reveal(given["id"], given["class"]),
    "merge": lambda store, given: store.merge_people(given["winner"], given["loser"], alias=given.get("alias", False)),
    "remove_custom_field": lambda store, given: store.remove_custom_field(given["name"]),
    "remove_picklist_entry": lambda store, given: store.remove_picklist_entry(given["value"]),
    "install_plugin": lambda store, _: store.install_plugin(),
    "identify": _identify,
    "clear": lambda store, _: store.clear(),
    "load": lambda store, given: load(store, given["records"]),
}
