"""Lists and single records: a query answered from the store, as JSON:API, and the faults that strike inside it.

What cannot be answered raises `Refusal`, here and in `oauth`.
"""

from __future__ import annotations

import base64
import bisect
import json
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, urlencode

from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach import query as queries
from outreach_sync.sandbox.outreach.rendering import Renderer, pointed_to, related_ids
from outreach_sync.sandbox.outreach.schema import RESOURCES
from outreach_sync.sandbox.outreach.store import api_time
from outreach_sync.sandbox.outreach.trouble import JSON_API, Refusal
from outreach_sync.sandbox.server import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.outreach.query import Condition, Page, Parameters, Query
    from outreach_sync.sandbox.outreach.schema import Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore, Record
    from outreach_sync.sandbox.server import SandboxClock

_ELSEWHERE = "https://elsewhere.example"
_BEGINNING = "beginning"
"""The cursor before the first row."""


class Rows(NamedTuple):
    """One page: its records, and the cursor that leads on (None where there is nothing more)."""

    records: tuple[Record, ...]
    after: str | None


class Selection:
    """The rows of one list request in their order, to be used under the store's lock.

    A list by its stamp alone, which is how large ones are walked, goes along the store's own order; any other is sorted
    as a whole.
    """

    def __init__(self, store: OutreachStore, resource: Resource, query: Query, shows: Callable[[Record], bool]) -> None:
        """Take what was asked; `shows` says which records the list may show at all."""
        self._store = store
        self._resource = resource
        self._query = query
        self._shows = shows
        self._sort = query.sort or ((resource.stamp, False),)
        self._walk = f"{resource.plural} {self._sort}"
        candidates = self._narrowed()
        self._is_walked = candidates is None and len(self._sort) == 1 and self._sort[0][0] == resource.stamp
        self._descending = self._is_walked and self._sort[0][1]
        self._places: Sequence[tuple[str, int]] = (
            store.places(resource.type)
            if self._is_walked
            else [one.place for one in self._sorted(store.all(resource.type) if candidates is None else candidates)]
        )

    def page(self, page: Page) -> Rows:
        """Give one page."""
        skipped = page.offset or 0
        found = tuple(islice(self._matching(page.after), skipped, skipped + page.size + 1))
        records, more = found[: page.size], len(found) > page.size
        if page.offset is not None:
            return Rows(records, str(skipped + page.size) if more else None)
        return Rows(records, self._cursor(records[-1]) if more else None)

    def count(self) -> int:
        """Count all rows of the list, not only the page's."""
        return sum(1 for _ in self._matching(None))

    def read(self, cursor: str) -> tuple[int, str, int]:
        """Give page size, stamp and id from a cursor; one made for another list or sort leads nowhere in this one."""
        try:
            walk, size, stamp, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, TypeError, RecursionError):
            walk, size, stamp, id_ = None, 0, "", 0
        if walk != self._walk or not isinstance(stamp, str) or type(id_) is not int or type(size) is not int:
            raise Refusal("validationError", "The cursor is not valid for this list.", pointer="page[after]")
        return size, stamp, id_

    def _cursor(self, record: Record) -> str:
        """Write the place right at a record as an opaque text."""
        place = json.dumps([self._walk, self._query.page.size, *record.place])
        return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")

    def _matching(self, after: str | None) -> Iterator[Record]:
        """Give the records of the list, from behind a cursor on."""
        for number in self._numbers(after):
            record = self._store.get(self._resource.type, self._places[number][1])
            if self._shows(record) and all(self._accepts(condition, record) for condition in self._query.conditions):
                yield record

    def _numbers(self, after: str | None) -> range:
        """Give the numbers of the places, onward from the cursor, which itself is left out."""
        low, high = self._bounds()
        place = None if after in {None, _BEGINNING} else self.read(after or "")[1:]
        if place is not None and not self._is_walked:  # where it was in a list sorted as a whole
            low = next((number + 1 for number, (_, id_) in enumerate(self._places) if id_ == place[1]), high)
        elif place is not None and self._descending:
            high = min(high, bisect.bisect_left(self._places, place))
        elif place is not None:
            low = max(low, bisect.bisect_right(self._places, place))
        return range(high - 1, low - 1, -1) if self._descending else range(low, high)

    def _bounds(self) -> tuple[int, int]:
        """Give the part of the walk that conditions on the stamp leave."""
        low, high = 0, len(self._places)
        for condition in self._query.conditions if self._is_walked else ():
            if condition.path == (self._resource.stamp,) and condition.operator == "range":
                if condition.low is not None:
                    low = max(low, bisect.bisect_left(self._places, (condition.low,)))
                if condition.high is not None:
                    high = min(high, bisect.bisect_left(self._places, (condition.high, float("inf"))))
        return low, high

    def _narrowed(self) -> list[Record] | None:
        """Use an index where a condition allows it: ids, or the id of a relationship."""
        type_ = self._resource.type
        for condition in self._query.conditions:
            reference, ids = f"{type_}.{condition.path[0]}", cast("Iterable[int] | None", None)
            if condition.operator == "any" and condition.path == ("id",):
                ids = condition.values
            elif condition.operator == "any" and condition.path[1:] == ("id",) and self._store.has_index(reference):
                ids = {id_ for value in condition.values for id_ in self._store.pointing_to(reference, value)}
            if ids is not None:
                found = (self._store.visible(type_, id_) for id_ in ids)
                return [record for record in found if record is not None]
        return None

    def _sorted(self, records: list[Record]) -> list[Record]:
        records.sort(key=lambda record: record.id, reverse=self._sort[0][1])
        for name, descending in reversed(self._sort):
            records.sort(key=_sort_key(name), reverse=descending)
        return records

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


def _sort_key(name: str) -> Callable[[Record], tuple[bool, Any]]:
    def key(record: Record) -> tuple[bool, Any]:
        value = record.id if name == "id" else record.values.get(name)
        return (value is None, "" if value is None else value)

    return key


class Sight:
    """Which records the user behind the token gets to see now; without faults, all that are not trashed."""

    def __init__(self, faults: FaultBoard, now: Instant) -> None:
        """Ask the faults that hide something."""
        self._hides = faults.take("governance_hides")
        self._trashed = faults.fires("trashed_listed")
        self._skipped = not faults.fires("skip_destroys_task")
        late = faults.setting("late_visibility", "ms", 60_000)
        self._not_after = None if late is None else api_time(Instant(now - late))
        self._now = now

    def shows(self, record: Record) -> bool:
        """Tell whether the user may see the record at all."""
        if not self._skipped and record.is_skipped:
            return False
        hides = self._hides
        return hides is None or hides.get("type", record.type) != record.type or record.id % hides.get("every", 2) != 0

    def lists(self, record: Record) -> bool:
        """Tell whether lists show the record."""
        if record.hidden or record.visible_at > self._now:
            return False
        if not self._trashed and record.values.get("trashedAt") is not None:
            return False
        if self._not_after and (record.values.get(RESOURCES[record.type].stamp) or "") > self._not_after:
            return False
        return self.shows(record)


class Reader:
    """Answers GET requests for resources."""

    def __init__(self, store: OutreachStore, *, clock: SandboxClock, faults: FaultBoard) -> None:
        """Take the parts of the service."""
        self._store = store
        self._clock = clock
        self._faults = faults

    def parse(self, resource: Resource, parameters: Parameters) -> Query:
        """Read the query string, with the faults that change what it means."""
        by_offset = not any(name == "page[size]" for name, _ in parameters)
        cap = self._faults.setting("offset_cap", "rows", 1000) if by_offset else None
        query = queries.parse(resource, parameters, offset_rows=cap or queries.OFFSET_ROWS)
        names = next((one.values for one in query.conditions if one.path == ("name",)), ())
        if resource.type == "event" and len(names) > 1 and self._faults.fires("event_names_refused"):
            raise Refusal("filterParameter.invalid", "events are filtered by one name.", pointer="name")
        if query.page.after is not None and self._faults.fires("cursor_refused"):
            raise Refusal("validationError", "The cursor is not valid any more.", pointer="page[after]")
        if not self._faults.fires("upper_bound_ignored"):
            return query
        open_ended = (replace(c, high=None) if c.path == (resource.stamp,) else c for c in query.conditions)
        return replace(query, conditions=tuple(open_ended))

    def single(self, resource: Resource, id_: int, query: Query, base_url: str) -> Response:
        """Answer a request for one record; links begin with `base_url`."""
        sight = Sight(self._faults, self._clock.now())
        with self._store.lock:
            record = self._store.visible(resource.type, id_)
            if record is None or not sight.shows(record):
                raise Refusal("resourceNotFound", f"Could not find '{resource.type}' with ID '{id_}'.")
            renderer = Renderer(self._store, self._faults, base_url, data_connections=query.data_connections)
            text = renderer.render(record, query.fields.get(resource.type))
            return _json_api(f'{{"data":{text}{self._included(resource, [record], query, sight, renderer)}}}')

    def list(self, resource: Resource, query: Query, parameters: Parameters, base_url: str) -> Response:
        """Answer a request for a list; links begin with `base_url`."""
        sight = Sight(self._faults, self._clock.now())
        with self._store.lock:
            selection = Selection(self._store, resource, query, sight.lists)
            rows = self._page(selection, query.page)
            records = self._disturbed(selection, resource, query.page, rows)
            renderer = Renderer(self._store, self._faults, base_url, data_connections=query.data_connections)
            names = query.fields.get(resource.type)
            data = ",".join(renderer.render(record, names) for record in records)
            included = self._included(resource, records, query, sight, renderer)
            counted = f',"meta":{{"count":{selection.count()},"count_truncated":false}}' if query.count else ""
            self._change_rows(resource, selection, rows)
        found = rows.records or rows.after
        links = self._links(resource, parameters, query.page, rows, base_url) if found else ""
        return _json_api(f'{{"data":[{data}]{included}{counted}{links}}}')

    def _page(self, selection: Selection, page: Page) -> Rows:
        foreign = page.after not in {None, _BEGINNING} and selection.read(page.after or "")[0] != page.size
        if foreign and self._faults.fires("cursor_bound_to_size"):
            raise Refusal("validationError", "The cursor was made for another page[size].", pointer="page[after]")
        page = replace(page, size=min(page.size, self._faults.setting("short_pages", "rows", 1) or page.size))
        if page.offset is None and self._faults.fires("empty_page_with_next"):
            return Rows((), after=page.after or _BEGINNING)
        return selection.page(page)

    def _disturbed(self, selection: Selection, resource: Resource, page: Page, rows: Rows) -> Sequence[Record]:
        """Give the page's records the way a fault makes them arrive."""
        records = list(rows.records)
        if page.after not in {None, _BEGINNING} and self._faults.fires("duplicate_across_pages"):
            last = self._store.visible(resource.type, selection.read(page.after or "")[2])
            records = records if last is None else [last, *records]
        if self._faults.fires("out_of_order"):
            records.reverse()
        return records

    def _change_rows(self, resource: Resource, selection: Selection, rows: Rows) -> None:
        if not rows.records or resource.type == "event":  # what happened does not change
            return
        count = self._faults.setting("changes_while_paged", "count", 1)
        if count is None:
            return
        following = selection.page(queries.Page(size=1, after=rows.after)).records if rows.after else ()
        for record in (*rows.records[:count], *following):
            self._store.update(resource.type, record.id, updatedAt=Instant(self._clock.now() // 1000 * 1000))

    def _included(
        self, resource: Resource, records: Sequence[Record], query: Query, sight: Sight, renderer: Renderer
    ) -> str:
        """Write the included resources, each once; those that are gone or hidden are simply absent."""
        if not query.include:
            return ""
        missing = self._faults.take("included_missing")
        chosen: dict[tuple[str, int], str] = {}
        for name in query.include:
            for target in _targets(self._store, resource, records, name) if name != renderer.without else ():
                other = self._store.visible(*target)
                left_out = missing is not None and missing.get("type", target[0]) == target[0]
                if target not in chosen and not left_out and other is not None and sight.shows(other):
                    chosen[target] = renderer.render(other, query.fields.get(target[0]))
        return f',"included":[{",".join(chosen.values())}]'

    def _links(self, resource: Resource, parameters: Parameters, page: Page, rows: Rows, base_url: str) -> str:
        if rows.after and self._faults.fires("next_link_missing_links"):
            return ""
        onward = "page[after]" if page.offset is None else "page[offset]"
        rest = [pair for pair in parameters if pair[0] != onward]
        own = f"{base_url}/api/v2/{resource.plural}"
        links: dict[str, str | None] = {"first": _url(own, rest)}
        if rows.after:
            loops = page.after is not None and self._faults.fires("cursor_loops")
            host = self._faults.setting("next_link_other_host", "host", _ELSEWHERE) or base_url
            target = f"{host}/api/v2/{resource.plural}"
            links["next"] = _url(target, [*rest, (onward, str(page.after) if loops else rows.after)])
        elif self._faults.fires("next_link_null"):
            links["next"] = None
        return f',"links":{json.dumps(links, separators=(",", ":"))}'


def _targets(
    store: OutreachStore, resource: Resource, records: Sequence[Record], name: str
) -> Iterator[tuple[str, int]]:
    """Name what the records point to through a relationship, in order."""
    relation = resource.relationships[name]
    for record in records:
        if relation.shape == "many":
            related = related_ids(store, record, name)
            yield from ((relation.types[0], id_) for id_ in (related if isinstance(related, list) else ()))
        elif (target := pointed_to(relation, record.values.get(name))) is not None:
            yield target


def _url(address: str, parameters: Parameters) -> str:
    return f"{address}?{urlencode(sorted(parameters), quote_via=quote)}" if parameters else address


def _json_api(text: str) -> Response:
    return Response(200, {"Content-Type": f"{JSON_API}; charset=utf-8"}, text.encode())
