"""Which records a list shows, in which order, and the page of them that was asked for."""

from __future__ import annotations

import base64
import bisect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.outreach.refusals import InvalidParameter
from outreach_sync.sandbox.outreach.schema import ACTIVE_STATES, BACK_REFERENCES, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from outreach_sync.sandbox.outreach.filters import Condition
    from outreach_sync.sandbox.outreach.query import PageRequest, Query
    from outreach_sync.sandbox.outreach.record import Record
    from outreach_sync.sandbox.outreach.schema import Kind, Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore

_NULL_SORTS_LAST = "~"
_PAIR = 2
_TYPES: Mapping[Kind, tuple[type, ...]] = {"flag": (bool,), "number": (int, float)}


@dataclass(frozen=True, slots=True)
class Rows:
    """One page: its records, and the cursors that lead on and back (None where there is nothing more)."""

    records: tuple[Record, ...]
    after: str | None
    before: str | None


class Reverse:
    """Makes a sort key count the other way round, for a second sort whose direction differs from the first."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        """Wrap a key."""
        self.key = key

    def __lt__(self, other: Reverse) -> bool:
        """Compare the other way round."""
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        """Compare the keys."""
        return isinstance(other, Reverse) and bool(self.key == other.key)

    def __hash__(self) -> int:
        """Hash like the key."""
        return hash(self.key)


class Selection:
    """The rows of one list request, to be used under the store's lock."""

    BEGINNING = "beginning"
    """The cursor before the first row."""

    def __init__(
        self, store: OutreachStore, resource: Resource, query: Query, *, shows: Callable[[Record], bool]
    ) -> None:
        """Take what was asked; `shows` says which records the list may show at all."""
        self._store = store
        self._resource = resource
        self._query = query
        self._shows = shows
        self._stamp = resource.stamp
        sort = query.sort or ((self._stamp, False),)
        self._sort = sort
        self._descending = sort[0][1]
        self._by_stamp = len(sort) == 1 and sort[0][0] == self._stamp
        self._walk = f"{resource.plural} {','.join('-' * descending + name for name, descending in sort)}"
        self._keys, self._conditions = self._ordered()

    def page(self, page: PageRequest) -> Rows:
        """Give one page.

        Raises:
            InvalidParameter: the cursor is none of ours.
        """
        if page.offset is not None:
            return self._offset_page(page, page.offset)
        forward = page.before is None
        start = page.after if forward else page.before
        found = self._take(self._from(start, forward=forward), page.size + 1)
        more, records = len(found) > page.size, found[: page.size]
        if not forward:
            records.reverse()
        onward, back = (more, start is not None) if forward else (True, more)
        return Rows(
            records=tuple(records),
            after=self.cursor(records[-1]) if records and onward else None,
            before=self.cursor(records[0]) if records and back else None,
        )

    def count(self) -> int:
        """Count all rows of the list, not only the page's."""
        return sum(1 for _ in self._matching(self._from(None, forward=True)))

    def cursor(self, record: Record) -> str:
        """Write the place right at a record as an opaque text."""
        place = json.dumps([self._walk, self._query.page.size, *(_plain(part) for part in self._key(record))])
        return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")

    def id_of(self, cursor: str) -> int:
        """Give the id of the record a cursor stands at, 0 for the beginning.

        Raises:
            InvalidParameter: the cursor is none of ours.
        """
        return 0 if cursor == self.BEGINNING else int(self._read(cursor)[-1])

    def size_of(self, cursor: str) -> int | None:
        """Give the page size a cursor was made with, None for the beginning.

        Raises:
            InvalidParameter: the cursor is none of ours.
        """
        return None if cursor == self.BEGINNING else int(self._parts(cursor)[0])

    def _offset_page(self, page: PageRequest, offset: int) -> Rows:
        found = self._take(self._from(None, forward=True), offset + page.size + 1)
        chosen = found[offset : offset + page.size]
        onward = str(offset + page.size) if len(found) > offset + page.size else None
        return Rows(tuple(chosen), after=onward, before=str(max(0, offset - page.size)) if offset else None)

    def _take(self, places: Iterator[int], number: int) -> list[Record]:
        taken: list[Record] = []
        for record in self._matching(places):
            taken.append(record)
            if len(taken) == number:
                break
        return taken

    def _matching(self, places: Iterator[int]) -> Iterator[Record]:
        get = self._store.get
        for place in places:
            record = get(self._resource.type, self._keys[place][-1])
            if self._shows(record) and all(self._accepts(condition, record) for condition in self._conditions):
                yield record

    def _from(self, cursor: str | None, *, forward: bool) -> Iterator[int]:
        """Give the places in the sorted keys, onward from the cursor, which itself is left out."""
        ascending = forward != self._descending
        low, high = self._bounds()
        if cursor not in {None, self.BEGINNING}:
            key = self._read(cursor or "")
            if ascending:
                low = max(low, bisect.bisect_right(self._keys, key))
            else:
                high = min(high, bisect.bisect_left(self._keys, key))
        return iter(range(low, high)) if ascending else iter(range(high - 1, low - 1, -1))

    def _bounds(self) -> tuple[int, int]:
        low, high = 0, len(self._keys)
        for condition in self._query.conditions if self._by_stamp else ():
            if condition.path == (self._stamp,) and condition.operator == "range":
                if condition.low is not None:
                    low = max(low, bisect.bisect_left(self._keys, (condition.low,)))
                until = _NULL_SORTS_LAST if condition.high is None else condition.high
                high = min(high, bisect.bisect_left(self._keys, (until, float("inf") if condition.high else 0)))
        return low, high

    def _ordered(self) -> tuple[Sequence[tuple[Any, ...]], tuple[Condition, ...]]:
        """Give the sorted keys to walk, and the conditions that are left to test on each record."""
        candidates = self._narrowed()
        if self._by_stamp and candidates is None:
            left = tuple(c for c in self._query.conditions if c.path != (self._stamp,) or c.operator != "range")
            return self._store.stamps(self._resource.type).keys(), left
        records = self._store.all(self._resource.type) if candidates is None else candidates
        return sorted(self._key(record) for record in records), self._query.conditions

    def _narrowed(self) -> list[Record] | None:
        """Use an index where a condition allows it: ids, or the id of a relationship."""
        for condition in self._query.conditions:
            if condition.operator != "any":
                continue
            ids: Iterable[int] | None = None
            reference = f"{self._resource.type}.{condition.path[0]}"
            if condition.path == ("id",):
                ids = condition.values
            elif condition.path[1:] == ("id",) and self._store.has_index(reference):
                ids = {id_ for value in condition.values for id_ in self._store.pointing_to(reference, value)}
            if ids is not None:
                found = (self._store.visible(self._resource.type, id_) for id_ in ids)
                return [record for record in found if record is not None]
        return None

    def _key(self, record: Record) -> tuple[Any, ...]:
        parts: list[Any] = []
        for name, descending in self._sort:
            value = record.id if name == "id" else record.values.get(name)
            part = (value or _NULL_SORTS_LAST) if self._by_stamp else (value is None, "" if value is None else value)
            parts.append(part if descending == self._descending else Reverse(part))
        return (*parts, record.id)

    def _read(self, cursor: str) -> tuple[Any, ...]:
        key = [tuple(part) if isinstance(part, list) else part for part in self._parts(cursor)[1:]]
        turned = [descending != self._descending for _, descending in self._sort] + [False]
        return tuple(Reverse(part) if turn else part for part, turn in zip(key, turned, strict=True))

    def _parts(self, cursor: str) -> list[Any]:
        """Read page size and key from a cursor; one that was made for another list or sort leads nowhere in this one.

        Raises:
            InvalidParameter: it does not fit.
        """
        try:
            parts: list[Any]
            walk, *parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, TypeError, RecursionError):
            walk, parts = None, []
        if walk != self._walk or not parts or type(parts[0]) is not int or not self._fits(parts[1:]):
            raise InvalidParameter("The cursor is not valid for this list.", pointer="page[after]")
        return parts

    def _fits(self, key: list[Any]) -> bool:
        """Tell whether a key can be compared with those of the rows."""
        if len(key) != len(self._sort) + 1 or type(key[-1]) is not int:
            return False
        if self._by_stamp:
            return isinstance(key[0], str)
        return all(map(_fits_kind, key, map(self._kind, self._sort)))

    def _kind(self, sorted_by: tuple[str, bool]) -> Kind:
        attribute = self._resource.attribute(sorted_by[0])
        return "number" if attribute is None else attribute.kind

    def _accepts(self, condition: Condition, record: Record) -> bool:
        if condition.path == ("id",):
            return condition.accepts(record.id)
        if len(condition.path) == 1:
            return condition.accepts(record.values.get(condition.path[0]))
        return condition.accepts(self._through(record, *condition.path))

    def _through(self, record: Record, relation: str, attribute: str) -> object:
        """Look up the value, or for a to-many relationship the values, of a related record's attribute."""
        related = related_ids(self._store, record, relation)
        if attribute == "id":
            return related
        type_ = RESOURCES[record.type].relationships[relation].types[0]
        ids = related if isinstance(related, list) else [related]
        found = [self._store.visible(type_, id_) for id_ in ids if id_ is not None]
        values = [other.values.get(attribute) for other in found if other is not None]
        return values if isinstance(related, list) else (values[0] if values else None)


def related_ids(store: OutreachStore, record: Record, relation: str) -> int | list[int] | None:
    """Give the id a to-one relationship points to, or the ids of a to-many one."""
    back = BACK_REFERENCES.get((record.type, relation))
    if back is None:
        value: int | list[int] | None = record.values.get(relation)
        return value
    ids = sorted(store.pointing_to(back, record.id))
    if relation != "activeSequenceStates":
        return ids
    states = ((id_, store.visible("sequenceState", id_)) for id_ in ids)
    return [id_ for id_, state in states if state is not None and state.values.get("state") in ACTIVE_STATES]


def _plain(part: Any) -> Any:
    return part.key if isinstance(part, Reverse) else part


def _fits_kind(part: Any, kind: Kind) -> bool:
    """Tell whether a part of a key, ``[is it null, value]``, is what a sort by an attribute of this kind has."""
    if not isinstance(part, list) or len(part) != _PAIR or not isinstance(part[0], bool):
        return False
    if part[0]:
        return bool(part[1] == "")
    return isinstance(part[1], _TYPES.get(kind, (str,)))
