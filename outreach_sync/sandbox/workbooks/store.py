"""The records of the simulated Workbooks: changed from outside by its users, read and written by the API."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant
from outreach_sync.sandbox.workbooks import schema, seeding
from outreach_sync.sandbox.workbooks.formats import read_value, var_day, var_time
from outreach_sync.sandbox.workbooks.schema import (
    CUSTOM_FIELD,
    ORGANISATION,
    PERSON,
    PICKLIST_ENTRY,
    TASK,
)
from outreach_sync.sandbox.workbooks.table import USER_ID, USER_NAME, Record, Table
from outreach_sync.sandbox.workbooks.writelog import Changed, CommittedWrite

if TYPE_CHECKING:
    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.workbooks.schema import Field, RecordClass

DEFAULT_ZONE = "Europe/London"
API_KEY = "01234-56789-01234-56789-01234-56789-01234-56789"
"""The key that is let in; it opens nothing but the sandbox."""
BY_HAND = "workbooks_desktop"
"""What `created_through` says of records that users, not the API, made."""

Changes = Mapping[str, Any]


@dataclass
class Account:
    """Who is behind the key, as a login answers; two sandboxes that differ here are two databases.

    `created_at` is that of the database, in Workbooks' own form.
    """

    api_key: str = API_KEY
    logical_database_id: int = 3
    database_name: str = "Example"
    database_instance_id: int = 1
    created_at: str = "Mon Jan 05 14:30:11 UTC 2026"
    user_id: int = USER_ID
    person_name: str = USER_NAME
    login_name: str = "integration@example.com"


class WorkbooksStore:
    """All records, by class and id. Every method is thread-safe; `lock` makes several of them one.

    The methods named after what users do (`update`, `delete`, `merge_people`...) raise the lock version and the stamp
    like any edit; those that begin with ``commit_`` are the API's own writes, which `writes` remembers as long as
    `keep_writes` is set (a load test may not want a million of them).
    Names and values of fields are the API's; a time may also be given as `Instant`.
    """

    def __init__(self, clock: SandboxClock, *, bare: bool = False) -> None:
        """Start with the built-in classes and picklists; unless `bare`, with the custom fields of the sync too."""
        self.lock = threading.RLock()
        self.clock = clock
        self.zone = DEFAULT_ZONE
        self.writes: list[CommittedWrite] = []
        self.keep_writes = True
        self.tables: dict[str, Table] = {}
        self.winners: dict[int, int] = {}
        self.account = Account()
        self._bare = bare
        self.clear()

    def clear(self) -> None:
        """Go back to the state of a new account: no people, no tasks, the schema as at the start."""
        with self.lock:
            self.writes.clear()
            self.winners.clear()
            self.tables = {one.name: _table(one) for one in schema.CLASSES}
            seeding.furnish(self)
            if not self._bare:
                seeding.prepare_for_sync(self)

    def table(self, record_class: str) -> Table:
        """Give the table of a class, by the class's name or its controller (``crm/people``).

        Raises:
            KeyError: there is no such class.
        """
        if record_class in self.tables:
            return self.tables[record_class]
        for table in self.tables.values():
            if table.record_class.controller == record_class:
                return table
        raise KeyError(record_class)

    def add_person(self, *, name: str, email: str | None = None, **fields: Any) -> int:
        """Add a Person and return its id; `email` stands for ``main_location[email]``."""
        return self.add(PERSON, name=name, **_with_email(email, fields))

    def add_task(self, *, name: str, **fields: Any) -> int:
        """Add a Task and return its id."""
        return self.add(TASK, name=name, **fields)

    def add_organisation(self, *, name: str, **fields: Any) -> int:
        """Add an Organisation and return its id."""
        return self.add(ORGANISATION, name=name, **fields)

    def add(self, record_class: str, /, **fields: Any) -> int:
        """Add a record of any class by hand and return its id; a field ``id`` chooses it.

        Raises:
            KeyError: the class or a field does not exist.
            ValueError: a value does not fit its field, or the id is taken.
        """
        with self.lock:
            table = self.table(record_class)
            wanted = fields.pop("id", None)
            record = self._new_record(table, self._kept(table, fields), created_through=BY_HAND, wanted=wanted)
            return record.id

    def get(self, record_class: str, id_: int) -> dict[str, Any]:
        """Give all fields of a record as they are kept, deleted ones included.

        Raises:
            KeyError: there is no such record.
        """
        with self.lock:
            table = self.table(record_class)
            record = table.records[id_]
            return {name: table.value(record, field) for name, field in table.fields.items()}

    def all(self, record_class: str, *, include_deleted: bool = False) -> list[dict[str, Any]]:
        """Give all records of a class in the order of their ids."""
        with self.lock:
            table = self.table(record_class)
            return [
                self.get(record_class, id_)
                for id_ in table.ids()
                if include_deleted or not table.records[id_].is_deleted
            ]

    def update(self, record_class: str, id_: int, **fields: Any) -> None:
        """Edit a record as a user does.

        Raises:
            KeyError: the record or a field does not exist.
            ValueError: a value does not fit its field.
        """
        with self.lock:
            table = self.table(record_class)
            table.assign(table.records[id_], self._kept(table, fields))
            self.touch(record_class, id_)

    def touch(self, record_class: str, id_: int) -> None:
        """Let some other process change the record in a way nobody sees: only the lock version and the stamp rise."""
        with self.lock:
            self._stamp(self.table(record_class).records[id_])

    def delete(self, record_class: str, id_: int) -> None:
        """Delete a record softly: it stays in the bin."""
        with self.lock:
            record = self.table(record_class).records[id_]
            record.is_deleted = True
            self._stamp(record)

    def restore(self, record_class: str, id_: int) -> None:
        """Take a record out of the bin."""
        with self.lock:
            record = self.table(record_class).records[id_]
            record.is_deleted = False
            self._stamp(record)

    def purge(self, record_class: str, id_: int) -> None:
        """Remove a record for good."""
        with self.lock:
            self.table(record_class).remove(id_)

    def merge_people(self, winner: int, loser: int, *, alias: bool = False) -> None:
        """Merge two People: the winner takes what it lacked and the loser's tasks, the loser goes to the bin.

        Nothing points from the loser to the winner, unless the losing id is to be an `alias` of the winner's.
        """
        with self.lock:
            people, tasks = self.tables[PERSON], self.tables[TASK]
            kept, lost = people.records[winner], people.records[loser]
            lacking = {name: value for name, value in lost.values.items() if kept.values.get(name) in (None, "")}
            people.assign(kept, lacking)
            self._stamp(kept)
            self.delete(PERSON, loser)
            if alias:
                self.winners[loser] = winner
            for id_ in tasks.with_value("primary_contact_id", [str(loser)]):
                self.update(TASK, id_, primary_contact_id=winner)

    def merged_into(self, table: Table, id_: int) -> int:
        """Follow an id that lost a merge to the one it stands for; any other is given back as it is."""
        while table.record_class.name == PERSON and id_ in self.winners:
            id_ = self.winners[id_]
        return id_

    def make_read_only(self, id_: int, record_class: str = PERSON) -> None:
        """Take away the permission to change or delete a record."""
        with self.lock:
            self.table(record_class).records[id_].read_only = True

    def hide(self, id_: int, record_class: str = PERSON) -> None:
        """Take away the permission to see a record: for the API it is not there."""
        with self.lock:
            self.table(record_class).records[id_].forbidden = True

    def reveal(self, id_: int, record_class: str = PERSON) -> None:
        """Give back the permission to see a record."""
        with self.lock:
            self.table(record_class).records[id_].forbidden = False

    def install_plugin(self) -> None:
        """Add to a bare account what the vendor's own Outreach integration adds: three fields of a Person."""
        with self.lock:
            seeding.install_plugin(self)

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
        with self.lock:
            values = record.values
            target = self.table(str(values["resource_type"]))
            words = "".join(one if one.isalnum() else " " for one in str(values["title"]).lower().replace("'", ""))
            base = f"cf_{target.record_class.word}_{'_'.join(words.split())}"
            others = self.tables[CUSTOM_FIELD].with_value("value_column_name", [base])
            name = base if not others else f"{base}_{len(others)}"
            self.tables[CUSTOM_FIELD].assign(record, {"status": "Creating", "value_column_name": name})

    def open_custom_field(self, record: Record, *, datatype: str | None = None) -> None:
        """Let records use the custom field from now on; `datatype` if it is not the one that its `data_type` means."""
        with self.lock:
            values = record.values
            field = schema.Field(
                name=str(values["value_column_name"]),
                title=str(values["title"]),
                datatype=datatype or schema.datatype_of(str(values["data_type"])),
                picklist_id=_picklist_of(record),
            )
            self.table(str(values["resource_type"])).fields[field.name] = field
            self.tables[CUSTOM_FIELD].assign(record, {"status": "Available"})

    def change_custom_field(self, record: Record) -> None:
        """Let the field of records have the title and the picklist that its definition has now."""
        with self.lock:
            values = record.values
            fields = self.table(str(values["resource_type"])).fields
            name = str(values["value_column_name"])
            if name in fields:
                fields[name] = fields[name]._replace(title=str(values["title"]), picklist_id=_picklist_of(record))

    def close_custom_field(self, record: Record) -> None:
        """Take a custom field, whose definition is deleted, and all it held away from records."""
        with self.lock:
            self.table(str(record.values["resource_type"])).forget_field(str(record.values.get("value_column_name")))

    def remove_custom_field(self, name: str) -> None:
        """Remove a custom field by the name records use, with everything they hold in it.

        Raises:
            KeyError: there is no such field.
        """
        with self.lock:
            definitions = self.tables[CUSTOM_FIELD]
            for id_ in definitions.with_value("value_column_name", [name]):
                self.close_custom_field(definitions.records[id_])
                definitions.remove(id_)
                return
            raise KeyError(name)

    def remove_picklist_entry(self, value: str, picklist_id: int | None = None) -> None:
        """Remove an entry from its picklist; records that hold the value keep it.

        Raises:
            KeyError: there is no such entry.
        """
        with self.lock:
            entries = self.tables[PICKLIST_ENTRY]
            found = [
                id_
                for id_ in entries.with_value("value", [value])
                if picklist_id in (None, entries.records[id_].values["picklist_id"])
            ]
            if not found:
                raise KeyError(value)
            for id_ in found:
                entries.remove(id_)

    def spell_entries(self, old: str, new: str) -> None:
        """Replace a character in the entries of all picklists; records that hold the values keep them."""
        with self.lock:
            entries = self.tables[PICKLIST_ENTRY]
            for record in entries.records.values():
                if old in str(record.values["value"]):
                    entries.assign(record, {"value": str(record.values["value"]).replace(old, new)})

    def picklist_values(self, picklist_id: int) -> set[str]:
        """Give the values a picklist has now."""
        with self.lock:
            entries = self.tables[PICKLIST_ENTRY]
            records = (entries.records[id_] for id_ in entries.with_value("picklist_id", [str(picklist_id)]))
            return {str(record.values["value"]) for record in records if not record.is_deleted}

    def commit_create(self, table: Table, values: Changes, created_through: str) -> Record:
        """Create a record for the API."""
        with self.lock:
            record = self._new_record(table, dict(values), created_through=created_through)
            self._log(table, record, "POST", {name: (None, value) for name, value in values.items()}, ())
            return record

    def commit_update(self, table: Table, record: Record, changes: Changes, unchanged: tuple[str, ...]) -> None:
        """Change a record for the API; without changes nothing moves."""
        with self.lock:
            changed = {name: (record.values.get(name), value) for name, value in changes.items()}
            if changed:
                table.assign(record, dict(changes))
                self._stamp(record)
            self._log(table, record, "PUT", changed, unchanged)

    def commit_delete(self, table: Table, record: Record) -> None:
        """Delete a record for the API, softly."""
        with self.lock:
            self.delete(table.record_class.name, record.id)
            self._log(table, record, "DELETE", {}, ())

    def _new_record(
        self, table: Table, values: dict[str, Any], *, created_through: str, wanted: int | None = None
    ) -> Record:
        defaults = {field.name: field.default for field in table.fields.values() if field.default is not None}
        at = self._second()
        record = Record(table.take_id(wanted), {**defaults, **values}, at, created_through)
        table.insert(record)
        return record

    def _kept(self, table: Table, fields: Changes) -> dict[str, Any]:
        pairs = (self._kept_value(table.fields[name], value) for name, value in fields.items())
        return dict(pairs)

    def _kept_value(self, field: Field, value: Any) -> tuple[str, Any]:
        kept = read_value(field.datatype, value, self.zone) if isinstance(value, str) else value
        if field.twin_of:
            return field.twin_of, twin_text(field, kept, self.zone)
        return field.name, kept

    def _log(self, table: Table, record: Record, method: str, changed: Changed, unchanged: tuple[str, ...]) -> None:
        if self.keep_writes:
            name = table.record_class.name
            self.writes.append(CommittedWrite(name, record.id, method, changed, unchanged, self.clock.now()))

    def _stamp(self, record: Record) -> None:
        record.lock_version += 1
        record.updated_at = self._second()

    def _second(self) -> Instant:
        now = self.clock.now()
        return Instant(now // 1000 * 1000)


def twin_text(field: Field, value: Any, zone: str) -> str | None:
    """Turn what was set through a ``_date`` or ``_datetime`` twin into the ``var_date_time`` behind it."""
    if value is None:
        return None
    return var_day(value, zone) if field.datatype == "date" else var_time(value, zone)


def _picklist_of(record: Record) -> int | None:
    """Give the picklist of a custom field; one of another type has none, whatever its definition names."""
    return record.values.get("picklist_id") if record.values["data_type"] == "picklist" else None


def _table(record_class: RecordClass) -> Table:
    return Table(record_class, (*schema.COMMON_FIELDS, *record_class.fields))


def _with_email(email: str | None, fields: dict[str, Any]) -> dict[str, Any]:
    return fields if email is None else {**fields, "main_location[email]": email}
