"""The records of the simulated Workbooks: changed from outside by its users, read and written by the API."""

from __future__ import annotations

import threading
import unicodedata
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant
from outreach_sync.sandbox.workbooks import schema
from outreach_sync.sandbox.workbooks.schema import (
    CUSTOM_FIELD,
    PERSON,
    PICKLIST,
    PICKLIST_ENTRY,
    TASK,
    CommittedWrite,
    Field,
    read_value,
    twin_text,
    twin_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from outreach_sync.sandbox.server import SandboxClock
    from outreach_sync.sandbox.workbooks.schema import Picklist, RecordClass

BY_HAND = "workbooks_desktop"
"""What `created_through` says of records that users, not the API, made."""
_STATE = ("lock_version", "created_at", "updated_at", "created_through", "is_deleted", "read_only", "hidden")


@dataclass(slots=True)
class Record:
    """One record. `values` are its fields by name, those that every class has aside.

    `read_only` and `hidden` are what the key's user may not do; `hidden_reads` and `visible_at` say for how many more
    look-ups, or until when, a new record does not show up yet.
    """

    id: int
    values: dict[str, Any]
    created_at: Instant
    updated_at: Instant
    created_through: str = ""
    lock_version: int = 0
    is_deleted: bool = False
    read_only: bool = False
    hidden: bool = False
    hidden_reads: int = 0
    visible_at: int = 0

    def visible(self, now: Instant) -> bool:
        """Tell whether a look-up at this time can find the record at all."""
        return not self.hidden and self.hidden_reads <= 0 and self.visible_at <= now


_OWN: dict[str, Callable[[Record], Any]] = {
    **{name: attrgetter(name) for name in ("id", *_STATE[:5])},
    "created_by": lambda _: schema.USER_ID,
    "updated_by": lambda _: schema.USER_ID,
    "_can_read": lambda record: not record.hidden,
    "_can_modify": lambda record: not record.read_only,
    "_can_delete": lambda record: not record.read_only,
    "updated_by_user[person_name]": lambda _: schema.USER_NAME,
    "created_by_user[person_name]": lambda _: schema.USER_NAME,
}


class _Known(dict[Any, Any]):
    """A dict that says in words what it does not hold."""

    def __init__(self, says: str, held: Mapping[Any, Any] | None = None) -> None:
        super().__init__(held or {})
        self._says = says

    def __missing__(self, key: object) -> Any:
        raise KeyError(f"{self._says} {key}")


class Table:
    """All records of one class, with its fields, found by id or by what a field holds. The store's lock guards it."""

    def __init__(self, record_class: RecordClass) -> None:
        """Start empty."""
        self.record_class = record_class
        fields = {field.name: field for field in (*schema.COMMON_FIELDS, *record_class.fields)}
        self.fields: dict[str, Field] = _Known(f"a {record_class.name} has no field", fields)
        self.records: dict[int, Record] = _Known(f"there is no {record_class.name}")
        self.late: set[int] = set()
        self.winners: dict[int, int] = {}
        self._ids: list[int] = []
        self._next_id = record_class.first_id
        self._indexes: dict[str, dict[str, set[int]]] = {}

    def value(self, record: Record, field: Field) -> Any:
        """Give what the field of a record holds, as it is kept."""
        if field.twin_of:
            return twin_value(field.datatype, record.values.get(field.twin_of))
        if field.name in _OWN:
            return _OWN[field.name](record)
        if field.name == "object_ref":
            return f"{self.record_class.prefix}-{record.id}"
        return self.record_class.name if field.name == "type" else record.values.get(field.name)

    def insert(self, values: dict[str, Any], at: Instant, created_through: str, id_: int | None = None) -> Record:
        """Add a record, under the next free id unless one is given."""
        if id_ in self.records:
            raise ValueError(f"{self.record_class.name} {id_} exists")
        defaults = {field.name: field.default for field in self.fields.values() if field.default is not None}
        record = Record(self._next_id if id_ is None else id_, {**defaults, **values}, at, at, created_through)
        self._next_id = max(self._next_id, record.id + 1)
        self.records[record.id] = record
        insort(self._ids, record.id)
        for name, index in self._indexes.items():
            index.setdefault(self._key(record, name), set()).add(record.id)
        return record

    def remove(self, id_: int) -> None:
        """Take a record out for good."""
        record = self.records.pop(id_)
        self._ids.pop(bisect_left(self._ids, id_))
        self.late.discard(id_)
        for name, index in self._indexes.items():
            index[self._key(record, name)].discard(id_)

    def assign(self, record: Record, changes: Mapping[str, Any]) -> None:
        """Set fields of a record and keep the indexes true."""
        before = {name: self._key(record, name) for name in self._indexes if name in changes}
        record.values.update(changes)
        for name, key in before.items():
            self._indexes[name][key].discard(record.id)
            self._indexes[name].setdefault(self._key(record, name), set()).add(record.id)

    def near(self, name: str, values: Iterable[str]) -> set[int]:
        """Find the ids of records whose field holds one of these texts or one that is `loose`ly the same."""
        if name not in self._indexes:
            index: dict[str, set[int]] = {}
            for record in self.records.values():
                index.setdefault(self._key(record, name), set()).add(record.id)
            self._indexes[name] = index
        return set().union(*(self._indexes[name].get(loose(value), set()) for value in values))

    def with_value(self, name: str, value: Any) -> list[Record]:
        """Find the records whose field holds just this value, deleted ones included."""
        records = (self.records[id_] for id_ in sorted(self.near(name, [str(value)])))
        return [record for record in records if record.values.get(name) == value]

    def ids(self, *, above: int | None = None) -> Sequence[int]:
        """Give the ids in order, only those greater than `above`."""
        return self._ids if above is None else self._ids[bisect_right(self._ids, above) :]

    def stands_for(self, id_: int) -> int:
        """Follow an id that lost a merge to the one it stands for; any other is given back as it is."""
        while id_ in self.winners:
            id_ = self.winners[id_]
        return id_

    def remove_field(self, name: str) -> None:
        """Remove a field and what records hold in it."""
        del self.fields[name]
        self._indexes.pop(name, None)
        for record in self.records.values():
            record.values.pop(name, None)

    @staticmethod
    def _key(record: Record, name: str) -> str:
        value = record.values.get(name)
        return "" if value is None else loose(str(value))


def loose(text: str, *, strip: bool = True) -> str:
    """Give what texts have in common that differ in case, accents and (unless told otherwise) blanks around them."""
    if text.isascii():
        return text.strip().lower() if strip else text.lower()
    parts = unicodedata.normalize("NFKD", text.lower().casefold())
    letters = "".join(one for one in parts if not unicodedata.combining(one))
    return letters.strip() if strip else letters


class WorkbooksStore:
    """All records, by class and id. Every method is thread-safe; `lock` makes several of them one.

    What does not exist (a class, record, field or entry) raises KeyError, a value that does not fit ValueError.
    The methods named after what users do (`update`, `delete`, `merge_people`...) raise the lock version and the stamp
    like any edit; `commit` is the API's own write, which `writes` remembers as long as `keep_writes` is set (a load
    test may not want a million of them). Names and values of fields are the API's; a time may also be an `Instant`.
    """

    def __init__(self, clock: SandboxClock, *, bare: bool = False) -> None:
        """Start with the built-in classes and picklists; unless `bare`, with the custom fields of the sync too."""
        self.lock = threading.RLock()
        self.clock = clock
        self.zone = "Europe/London"
        self.account = schema.Account()
        self.writes: list[CommittedWrite] = []
        self.keep_writes = True
        self.tables = {one.name: Table(one) for one in schema.CLASSES}
        for picklist in schema.PICKLISTS:
            self._add_picklist(picklist)
        if not bare:
            self._add_fields(schema.SYNC_FIELDS)

    def identify(self, **fields: Any) -> None:
        """Let the account have another key, database or user."""
        self.account = replace(self.account, **fields)

    def install_plugin(self) -> None:
        """Add to a bare account what the vendor's own Outreach integration adds: titles are public, names are not."""
        self._add_fields(schema.PLUGIN_FIELDS)

    def _add_fields(self, fields: Iterable[tuple[str, str, int | None]]) -> None:
        self._add_picklist(schema.SEQUENCE_PICKLIST)
        for title, data_type, picklist_id in fields:
            self.add_custom_field(title, data_type, picklist_id=picklist_id)

    def _add_picklist(self, picklist: Picklist) -> None:
        kind = {"unrestricted": picklist.unrestricted, "auto_create": picklist.auto_create}
        self.add(PICKLIST, id=picklist.id, name=picklist.name, **kind)
        for value in picklist.values:
            self.add(PICKLIST_ENTRY, picklist_id=picklist.id, value=value)

    def table(self, record_class: str) -> Table:
        """Give the table of a class, by the class's name or its controller (``crm/people``)."""
        if record_class in self.tables:
            return self.tables[record_class]
        return {table.record_class.controller: table for table in self.tables.values()}[record_class]

    def add_person(self, *, name: str, email: str | None = None, **fields: Any) -> int:
        """Add a Person and return its id; `email` stands for ``main_location[email]``."""
        return self.add(PERSON, name=name, **({} if email is None else {"main_location[email]": email}), **fields)

    def add_task(self, **fields: Any) -> int:
        """Add a Task and return its id."""
        return self.add(TASK, **fields)

    def add(self, record_class: str, /, **fields: Any) -> int:
        """Add a record of any class by hand and return its id; a field ``id`` chooses it."""
        with self.lock:
            table = self.table(record_class)
            wanted = fields.pop("id", None)
            return table.insert(self._kept(table, fields), self.second(), BY_HAND, wanted).id

    def get(self, record_class: str, id_: int) -> dict[str, Any]:
        """Give all fields of a record as they are kept, deleted ones included."""
        with self.lock:
            table = self.table(record_class)
            return {name: table.value(table.records[id_], field) for name, field in table.fields.items()}

    def all(self, record_class: str, *, include_deleted: bool = False) -> list[dict[str, Any]]:
        """Give all records of a class in the order of their ids."""
        with self.lock:
            table = self.table(record_class)
            ids = [id_ for id_ in table.ids() if include_deleted or not table.records[id_].is_deleted]
            return [self.get(record_class, id_) for id_ in ids]

    def update(self, record_class: str, id_: int, **fields: Any) -> None:
        """Edit a record as a user does."""
        with self.lock:
            table = self.table(record_class)
            table.assign(table.records[id_], self._kept(table, fields))
            self.touch(record_class, id_)

    def touch(self, record_class: str, id_: int) -> None:
        """Let some other process change the record in a way nobody sees: only the lock version and the stamp rise."""
        with self.lock:
            record = self.table(record_class).records[id_]
            record.lock_version, record.updated_at = record.lock_version + 1, self.second()

    def delete(self, record_class: str, id_: int, *, restored: bool = False) -> None:
        """Delete a record softly: it stays in the bin until it is `restored`."""
        with self.lock:
            self.table(record_class).records[id_].is_deleted = not restored
            self.touch(record_class, id_)

    def restore(self, record_class: str, id_: int) -> None:
        """Take a record out of the bin."""
        self.delete(record_class, id_, restored=True)

    def purge(self, record_class: str, id_: int) -> None:
        """Remove a record for good."""
        with self.lock:
            self.table(record_class).remove(id_)

    def merge_people(self, winner: int, loser: int, *, alias: bool = False) -> None:
        """Merge two People: the winner takes what it lacked and the loser's tasks, the loser goes to the bin.

        Nothing points from the loser to the winner, unless the losing id is to be an `alias` of the winner's.
        """
        if winner == loser:
            raise ValueError(f"Person {loser} cannot be merged into itself")
        with self.lock:
            people = self.tables[PERSON]
            kept, lost = people.records[winner], people.records[loser]
            lacking = {name: value for name, value in lost.values.items() if kept.values.get(name) in (None, "")}
            people.assign(kept, lacking)
            self.touch(PERSON, winner)
            self.delete(PERSON, loser)
            if alias:
                people.winners[loser] = winner
            for task in self.tables[TASK].with_value("primary_contact_id", loser):
                self.update(TASK, task.id, primary_contact_id=winner)

    def make_read_only(self, id_: int, record_class: str = PERSON) -> None:
        """Take away the permission to change or delete a record."""
        with self.lock:
            self.table(record_class).records[id_].read_only = True

    def hide(self, id_: int, record_class: str = PERSON, *, hidden: bool = True) -> None:
        """Take away the permission to see a record (or give it back): for the API it is not there."""
        with self.lock:
            self.table(record_class).records[id_].hidden = hidden

    def reveal(self, id_: int, record_class: str = PERSON) -> None:
        """Give back the permission to see a record."""
        self.hide(id_, record_class, hidden=False)

    def add_custom_field(self, title: str, data_type: str, **fields: Any) -> str:
        """Add a custom field, of a Person unless `resource_type` says otherwise, and return the name records use."""
        with self.lock:
            resource = fields.pop("resource_type", PERSON)
            id_ = self.add(CUSTOM_FIELD, title=title, data_type=data_type, resource_type=resource, **fields)
            record = self.tables[CUSTOM_FIELD].records[id_]
            self.name_custom_field(record)
            self.open_custom_field(record)
            return str(record.values["value_column_name"])

    def name_custom_field(self, record: Record) -> None:
        """Give a new custom field its name by the rule: ``cf_<record>_<title in snake case>``, numbered if taken."""
        target = self.table(record.values["resource_type"])
        words = "".join(one if one.isalnum() else " " for one in record.values["title"].lower().replace("'", ""))
        base = f"cf_{target.record_class.word}_{'_'.join(words.split())}"
        others = len(self.tables[CUSTOM_FIELD].with_value("value_column_name", base))
        name = f"{base}_{others}" if others else base
        self.tables[CUSTOM_FIELD].assign(record, {"status": "Creating", "value_column_name": name})

    def open_custom_field(self, record: Record, *, datatype: str | None = None) -> None:
        """Let records use the custom field from now on; `datatype` if it is not the one that its `data_type` means."""
        values = record.values
        picklist_id = values.get("picklist_id") if values["data_type"] == "picklist" else None
        kind = datatype or schema.DATA_TYPES.get(values["data_type"], "datetime")  # only that of a time has other words
        name = str(values["value_column_name"])
        field = Field(name, str(values["title"]), kind, picklist_id=picklist_id)
        self.table(values["resource_type"]).fields[name] = field
        self.tables[CUSTOM_FIELD].assign(record, {"status": "Available"})

    def remove_custom_field(self, name: str) -> None:
        """Remove a custom field by the name records use, with everything they hold in it."""
        with self.lock:
            definitions = self.tables[CUSTOM_FIELD]
            found = definitions.with_value("value_column_name", name)
            if not found:
                raise KeyError(name)
            self.table(found[0].values["resource_type"]).remove_field(name)
            definitions.remove(found[0].id)

    def remove_picklist_entry(self, value: str) -> None:
        """Remove an entry from its picklist; records that hold the value keep it."""
        with self.lock:
            entries = self.tables[PICKLIST_ENTRY]
            found = entries.with_value("value", value)
            if not found:
                raise KeyError(value)
            for record in found:
                entries.remove(record.id)

    def picklist_values(self, picklist_id: int) -> set[str]:
        """Give the values a picklist has now."""
        with self.lock:
            entries = self.tables[PICKLIST_ENTRY].with_value("picklist_id", picklist_id)
            return {str(record.values["value"]) for record in entries if not record.is_deleted}

    def commit(
        self,
        table: Table,
        record: Record | None,
        method: str,
        changes: Mapping[str, Any],
        *,
        same: Sequence[str] = (),
        created_through: str = "",
    ) -> Record:
        """Create (where there is no record), change or delete for the API; where nothing changes, nothing moves."""
        name, before = table.record_class.name, {} if record is None else record.values
        changed = {field: (before.get(field), value) for field, value in changes.items()}
        if record is None:
            record = table.insert(dict(changes), self.second(), created_through)
        elif method == "DELETE":
            self.delete(name, record.id)
        elif changed:
            table.assign(record, changes)
            self.touch(name, record.id)
        if self.keep_writes:
            self.writes.append(CommittedWrite(name, record.id, method, changed, tuple(same), self.clock.now()))
        return record

    def _kept(self, table: Table, fields: Mapping[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, given in fields.items():
            field = table.fields[name]
            value = read_value(field.datatype, given, self.zone) if isinstance(given, str) else given
            kept[field.twin_of or name] = twin_text(field, value, self.zone) if field.twin_of else value
        return kept

    def second(self) -> Instant:
        """Say what time it is, cut to the second, as records keep it."""
        return Instant(self.clock.now() // 1000 * 1000)

    def summary(self) -> Mapping[str, int]:
        """Count the records of each class, deleted ones included."""
        with self.lock:
            return {name: len(table.records) for name, table in self.tables.items()}

    def dump(self) -> dict[str, Any]:
        """Give ``records`` by class: values as they are kept, and their state; and ``writes``: what the API wrote."""
        with self.lock:
            records = {
                name: [
                    {"id": one.id, "values": dict(one.values), **{key: getattr(one, key) for key in _STATE}}
                    for one in table.records.values()
                ]
                for name, table in self.tables.items()
            }
            return {"records": records, "writes": [write._asdict() for write in self.writes]}

    def change(self, document: dict[str, Any]) -> dict[str, Any]:
        """Do what ``{"do": …, "class": …, "id": …, "fields": {…}}`` says.

        ``do`` is add, update, touch, delete, restore, purge, read_only, hide, reveal, merge (``winner``, ``loser``,
        ``alias``), remove_custom_field (``name``), remove_picklist_entry (``value``), install_plugin or identify
        (``fields``: another key, database or user).
        """
        return _CHANGES[document["do"]](self, document) or {}


_CHANGES: Mapping[str, Callable[[WorkbooksStore, Mapping[str, Any]], dict[str, Any] | None]] = {
    "add": lambda store, given: {"id": store.add(given["class"], **given.get("fields", {}))},
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
    "identify": lambda store, given: store.identify(**given["fields"]),
}
