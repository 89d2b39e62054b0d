"""The records of one class, found by id or, through an index, by what a field holds."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.formats import twin_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.workbooks.schema import Field, RecordClass

USER_ID = 2
USER_NAME = "Integration User"


class Record:
    """One record. `values` are its fields by name, those that every class has aside.

    `read_only` and `forbidden` are what the key's user may not do; `hidden_reads` and `visible_at` say for how many
    more look-ups, or until when, the record does not show up yet.
    """

    __slots__ = (
        "created_at",
        "created_through",
        "forbidden",
        "hidden_reads",
        "id",
        "is_deleted",
        "lock_version",
        "read_only",
        "updated_at",
        "values",
        "visible_at",
    )

    def __init__(self, id_: int, values: dict[str, Any], at: Instant, created_through: str) -> None:
        """Make a record that everybody sees and may change."""
        self.id = id_
        self.values = values
        self.lock_version = 0
        self.created_at = at
        self.updated_at = at
        self.created_through = created_through
        self.is_deleted = False
        self.read_only = False
        self.forbidden = False
        self.hidden_reads = 0
        self.visible_at = 0

    def visible(self, now: Instant) -> bool:
        """Tell whether a look-up at this time can find the record at all."""
        return not self.forbidden and self.hidden_reads <= 0 and self.visible_at <= now


class IdRange(Sequence[int]):
    """A stretch of a table's ids, in order. Looked at in place: an account may hold a million."""

    def __init__(self, ids: list[int], positions: range) -> None:
        """Take the list and which of it."""
        self._ids = ids
        self._positions = positions

    def __len__(self) -> int:
        """Count the ids."""
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        """Give the id, or the ids, at a place."""
        places = self._positions[index]
        return IdRange(self._ids, places) if isinstance(places, range) else self._ids[places]


_OWN: dict[str, Callable[[Record], Any]] = {
    "id": lambda record: record.id,
    "lock_version": lambda record: record.lock_version,
    "created_at": lambda record: record.created_at,
    "updated_at": lambda record: record.updated_at,
    "created_by": lambda _: USER_ID,
    "updated_by": lambda _: USER_ID,
    "created_through": lambda record: record.created_through,
    "is_deleted": lambda record: record.is_deleted,
    "_can_read": lambda record: not record.forbidden,
    "_can_modify": lambda record: not record.read_only,
    "_can_delete": lambda record: not record.read_only,
    "updated_by_user[person_name]": lambda _: USER_NAME,
    "created_by_user[person_name]": lambda _: USER_NAME,
}


class Table:
    """All records of one class, with its fields. Not thread-safe by itself: the store's lock guards it."""

    def __init__(self, record_class: RecordClass, fields: Iterable[Field]) -> None:
        """Start empty, with these fields."""
        self.record_class = record_class
        self.fields = {field.name: field for field in fields}
        self.records: dict[int, Record] = {}
        self.late: set[int] = set()
        self._ids: list[int] = []
        self._next_id = record_class.first_id
        self._indexes: dict[str, dict[str, set[int]]] = {}

    def value(self, record: Record, field: Field) -> Any:
        """Give what the field of a record holds, as it is kept."""
        name = field.name
        if field.twin_of:
            return twin_value(field.datatype, record.values.get(field.twin_of))
        own = _OWN.get(name)
        if own is not None:
            return own(record)
        if name == "object_ref":
            return f"{self.record_class.prefix}-{record.id}"
        if name == "type":
            return self.record_class.name
        return record.values.get(name)

    def take_id(self, wanted: int | None = None) -> int:
        """Give the next free id, or the one that is wanted.

        Raises:
            ValueError: the wanted id is taken.
        """
        if wanted in self.records:
            raise ValueError(f"{self.record_class.name} {wanted} exists")
        id_ = self._next_id if wanted is None else wanted
        self._next_id = max(self._next_id, id_ + 1)
        return id_

    def insert(self, record: Record) -> None:
        """Add a record under its id."""
        self.records[record.id] = record
        if self._ids and record.id < self._ids[-1]:
            insort(self._ids, record.id)
        else:
            self._ids.append(record.id)
        for name, index in self._indexes.items():
            index.setdefault(self._key(record, name), set()).add(record.id)

    def remove(self, id_: int) -> None:
        """Take a record out for good."""
        record = self.records.pop(id_)
        self._ids.pop(bisect_left(self._ids, id_))
        self.late.discard(id_)
        for name, index in self._indexes.items():
            index[self._key(record, name)].discard(id_)

    def assign(self, record: Record, changes: dict[str, Any]) -> None:
        """Set fields of a record and keep the indexes true."""
        before = {name: self._key(record, name) for name in self._indexes if name in changes}
        record.values.update(changes)
        for name, key in before.items():
            self._indexes[name][key].discard(record.id)
            self._indexes[name].setdefault(self._key(record, name), set()).add(record.id)

    def with_value(self, name: str, values: Iterable[str]) -> set[int]:
        """Find the ids of records whose field holds one of these texts, case ignored. Deleted ones are among them."""
        wanted = {value.lower() for value in values}
        return {id_ for id_ in self.near(name, wanted) if self._text(self.records[id_], name).lower() in wanted}

    def near(self, name: str, values: Iterable[str]) -> set[int]:
        """Find the ids of records whose field holds one of these texts or one that is `loose`ly the same."""
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = self._build_index(name)
        found: set[int] = set()
        for value in values:
            found |= index.get(loose(value), set())
        return found

    def ids(self, *, above: int | None = None, upto: int | None = None) -> IdRange:
        """Give the ids in order, only those greater than `above` and not greater than `upto`."""
        start = 0 if above is None else bisect_right(self._ids, above)
        end = len(self._ids) if upto is None else bisect_right(self._ids, upto)
        return IdRange(self._ids, range(start, max(start, end)))

    def forget_field(self, name: str) -> None:
        """Remove a field and what records hold in it."""
        self.fields.pop(name, None)
        self._indexes.pop(name, None)
        for record in self.records.values():
            record.values.pop(name, None)

    def _build_index(self, name: str) -> dict[str, set[int]]:
        index: dict[str, set[int]] = {}
        for record in self.records.values():
            index.setdefault(self._key(record, name), set()).add(record.id)
        return index

    def _key(self, record: Record, name: str) -> str:
        return loose(self._text(record, name))

    @staticmethod
    def _text(record: Record, name: str) -> str:
        value = record.values.get(name)
        return "" if value is None else str(value)


def loose(text: str, *, strip: bool = True) -> str:
    """Give what texts have in common that differ in case, accents and (unless told otherwise) blanks around them."""
    parts = unicodedata.normalize("NFKD", text.lower().casefold())
    letters = "".join(one for one in parts if not unicodedata.combining(one))
    return letters.strip() if strip else letters
