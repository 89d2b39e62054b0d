"""Lists and single records: a query answered from the store, as JSON:API, and the faults that strike inside it.

What cannot be answered raises `Refusal`, here and in `oauth`.
"""

from __future__ import annotations

import base64
import bisect
import json
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, urlencode

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach import query as queries
from outreach_sync.sandbox.outreach.schema import ACTIVE_STATES, BACK_REFERENCES, RESOURCES
from outreach_sync.sandbox.outreach.store import api_time
from outreach_sync.sandbox.outreach.trouble import JSON_API, Refusal
from outreach_sync.sandbox.server import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.outreach.query import Condition, Page, Parameters, Query
    from outreach_sync.sandbox.outreach.schema import Relationship, Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore, Record
    from outreach_sync.sandbox.server import SandboxClock

_ELSEWHERE = "https://elsewhere.example"
_BEGINNING = "beginning"
"""The cursor before the first row."""
_STAMPS = ("updatedAt", "stateChangedAt")
_CONNECTED = frozenset({"prospect", "task"})
"""The types for which the spec has ``provideDataConnections``."""
_SHAPES = {"to_one_links_only": "links", "to_one_empty": "empty", "to_one_null": "null"}
_STRANGE = {"smsOptedOut": False, "stageName": "Working", "futureFlags": [{"name": "beta", "on": True}]}
"""Attributes that are added, whatever was asked for."""


class View:
    """What the user behind the token gets to see now, and how, for one answer. Use it under the store's lock."""

    def __init__(self, store: OutreachStore, faults: FaultBoard, now: Instant, base_url: str, query: Query) -> None:
        """Ask the faults that hide or change something; links begin with `base_url`."""
        self._store = store
        self._now = now
        self._base_url = base_url
        self._query = query
        self._hides = faults.take("governance_hides")
        self._trashed = faults.fires("trashed_listed")
        self._destroyed = faults.fires("skip_destroys_task")
        late = faults.setting("late_visibility", "ms", 60_000)
        self._not_after = None if late is None else api_time(Instant(now - late))
        self._id: Callable[[int], str] = '"{}"'.format if faults.fires("ids_as_strings") else str
        shapes = {shape: options for fault, shape in _SHAPES.items() if (options := faults.take(fault)) is not None}
        self._null_shape, nowhere = next(iter(shapes.items()), ("null", {}))
        self.without = nowhere.get("relationship", "")
        self._dead = faults.setting("event_relations_die", "shape", "null")
        self._ahead_ms = faults.setting("stamps_ahead", "ms", 3_600_000)
        self._state = faults.setting("unknown_state", "state", "hibernating")
        self._strange = faults.fires("unknown_attributes_added")
        self._skip = _skipped_looks(faults)

    def shows(self, record: Record) -> bool:
        """Tell whether the user may see the record at all."""
        if self._destroyed and record.is_skipped:
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

    def render(self, record: Record) -> str:
        """Write a record as JSON, with the attributes and relationships that were asked for."""
        resource, values = RESOURCES[record.type], record.values
        if self._ahead_ms is not None:
            stamps = {name: values[name] for name in _STAMPS if values.get(name)}
            ahead = {name: instants.parse_iso(stamp) + self._ahead_ms for name, stamp in stamps.items()}
            values = {**values, **{name: api_time(Instant(at)) for name, at in ahead.items()}}
        elif self._skip is not None and record.is_skipped:
            at = values.get("stateChangedAt") or values.get("updatedAt")
            values = {**values, **{name: at if value == "at" else value for name, value in self._skip.items()}}
        elif self._state is not None and record.type == "sequenceState":
            values = {**values, "state": self._state}
        names = self._query.fields.get(record.type)
        chosen = _all_names(resource, values) if names is None else names
        attributes = {name: values.get(name) for name in chosen if name not in resource.relationships}
        relations = ",".join(
            f'"{name}":{self._relationship(record, resource.relationships[name], values)}'
            for name in chosen
            if name in resource.relationships
        )
        shown = f',"relationships":{{{relations}}}' if relations else ""
        meta = ',"meta":{"dataConnections":[]}' if self._query.data_connections and record.type in _CONNECTED else ""
        if self._strange:
            attributes |= _STRANGE
        return (
            f'{{"type":"{record.type}","id":{self._id(record.id)},"attributes":{_text(attributes)}{shown}{meta},'
            f'"links":{{"self":"{self._base_url}/api/v2/{resource.plural}/{record.id}"}}}}'
        )

    def _relationship(self, record: Record, relation: Relationship, values: Mapping[str, Any]) -> str:
        if relation.shape == "links":
            return f"{{{self._link(record, relation)}}}"
        if relation.shape == "many":
            related = related_ids(self._store, record, relation.name)
            ids = related if isinstance(related, list) else []
            members = ",".join(self._pointer(relation.types[0], id_) for id_ in ids)
            return f'{{"data":[{members}],{self._link(record, relation)},"meta":{{"count":{len(ids)}}}}}'
        target = pointed_to(relation, values.get(relation.name))
        if target is None or relation.name == self.without:
            return self._nowhere(record, relation, record.shapes.get(relation.name, self._null_shape))
        gone = target[0] in RESOURCES and self._store.visible(*target) is None
        if self._dead and record.type == "event" and gone:
            return self._nowhere(record, relation, self._dead)
        return f'{{"data":{self._pointer(*target)}}}'

    def _nowhere(self, record: Record, relation: Relationship, shape: str) -> str:
        if shape == "links":
            return f"{{{self._link(record, relation)}}}"
        return "{}" if shape == "empty" else '{"data":null}'

    def _link(self, record: Record, relation: Relationship) -> str:
        """Write the link to the related list, with the filter's brackets percent-encoded as Outreach does."""
        plural = RESOURCES[relation.types[0]].plural if relation.types[0] in RESOURCES else relation.types[0] + "s"
        address = f"{self._base_url}/api/v2/{plural}?filter%5B{record.type}%5D%5Bid%5D={record.id}"
        return f'"links":{{"related":"{address}"}}'

    def _pointer(self, type_: str, id_: int) -> str:
        return f'{{"type":"{type_}","id":{self._id(id_)}}}'


def _skipped_looks(faults: FaultBoard) -> Mapping[str, Any] | None:
    """Say what is different about a skipped task, ``at`` the time at which it was; None: its state says so."""
    if faults.fires("skip_is_not_completed"):
        return {"state": "complete", "completed": False, "completedAt": None}
    exactly = faults.setting("skip_is_like_done", "exactly", default=False)
    if exactly is not None:
        done = {"state": "complete", "completed": True, "completedAt": "at"}
        return {**done, "completer": 1} if exactly else {**done, "autoskipAt": "at"}
    word = faults.setting("skip_is_another_word", "word", "bypassed")
    return None if word is None else {"state": word}


def pointed_to(relation: Relationship, value: Any) -> tuple[str, int] | None:
    """Give type and id of what a to-one relationship points to; with several possible types the value says which."""
    if value is None:
        return None
    return (str(value[0]), int(value[1])) if isinstance(value, list | tuple) else (relation.types[-1], int(value))


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


_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _all_names(resource: Resource, values: Mapping[str, Any]) -> tuple[str, ...]:
    """List what is shown without sparse fields: everything but the slow histogram, and the custom fields in use."""
    customs = (name for name in values if name.startswith("custom") and name not in resource.attributes)
    return (*(name for name in resource.attributes if name != "contactHistogram"), *customs, *resource.relationships)


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
        if self._is_walked:
            self._places = store.places(resource.type)
            return
        records = store.all(resource.type) if candidates is None else candidates
        records.sort(key=lambda record: record.id, reverse=self._sort[0][1])
        for name, descending in reversed(self._sort):
            records.sort(key=partial(_sort_key, name), reverse=descending)
        self._places = [one.place for one in records]

    def page(self, page: Page) -> Rows:
        """Give one page."""
        skipped = page.offset or 0
        found = tuple(islice(self._matching(page.after), skipped, skipped + page.size + 1))
        records, more = found[: page.size], len(found) > page.size
        if not more or page.offset is not None:
            return Rows(records, str(skipped + page.size) if more else None)
        place = json.dumps([self._walk, self._query.page.size, *records[-1].place])
        return Rows(records, base64.urlsafe_b64encode(place.encode()).decode().rstrip("="))

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

    def _matching(self, after: str | None) -> Iterator[Record]:
        """Give the records of the list, onward from the cursor, whose own record is left out."""
        low, high = self._bounds()
        place = None if after in {None, _BEGINNING} else self.read(after or "")[1:]
        if place is not None and not self._is_walked:  # where it was in a list sorted as a whole
            low = next((number + 1 for number, (_, id_) in enumerate(self._places) if id_ == place[1]), high)
        elif place is not None and self._descending:
            high = min(high, bisect.bisect_left(self._places, place))
        elif place is not None:
            low = max(low, bisect.bisect_right(self._places, place))
        for number in range(high - 1, low - 1, -1) if self._descending else range(low, high):
            record = self._store.get(self._resource.type, self._places[number][1])
            if self._shows(record) and all(self._accepts(condition, record) for condition in self._query.conditions):
                yield record

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

    def _accepts(self, condition: Condition, record: Record) -> bool:
        """Test a value of the record, or of those that a relationship leads to."""
        name, *rest = condition.path
        if not rest:
            return condition.accepts(record.id if name == "id" else record.values.get(name))
        related = related_ids(self._store, record, name)
        if rest == ["id"]:
            return condition.accepts(related)
        type_ = RESOURCES[record.type].relationships[name].types[0]
        ids = related if isinstance(related, list) else [related]
        found = [self._store.visible(type_, id_) for id_ in ids if id_ is not None]
        values = [other.values.get(rest[0]) for other in found if other is not None]
        return condition.accepts(values if isinstance(related, list) else next(iter(values), None))


def _sort_key(name: str, record: Record) -> tuple[bool, Any]:
    value = record.id if name == "id" else record.values.get(name)
    return (value is None, "" if value is None else value)


@dataclass
class Reader:
    """Answers GET requests for resources."""

    store: OutreachStore
    clock: SandboxClock
    faults: FaultBoard

    def parse(self, resource: Resource, parameters: Parameters) -> Query:
        """Read the query string, with the faults that change what it means."""
        query = queries.parse(resource, parameters)
        names = next((one.values for one in query.conditions if one.path == ("name",)), ())
        if resource.type == "event" and len(names) > 1 and self.faults.fires("event_names_refused"):
            raise Refusal("filterParameter.invalid", "events are filtered by one name.", pointer="name")
        longest = max((len(one.values) for one in query.conditions if one.path[-1:] == ("id",)), default=0)
        allowed = self.faults.setting("id_list_refused", "ids", 50) if longest > 1 else None
        if allowed and longest > allowed:
            raise Refusal("filterParameter.invalid", f"A list holds at most {allowed} ids.", pointer="id")
        kept = self.faults.setting("id_list_cut", "ids", 50) if longest > 1 else None
        if kept:
            ids = {one: frozenset(sorted(one.values)[:kept]) for one in query.conditions if one.path[-1:] == ("id",)}
            query = replace(query, conditions=tuple(replace(c, values=ids.get(c, c.values)) for c in query.conditions))
        if query.page.after is not None and self.faults.fires("cursor_refused"):
            raise Refusal("validationError", "The cursor is not valid any more.", pointer="page[after]")
        return query

    def single(self, resource: Resource, id_: int, query: Query, base_url: str) -> Response:
        """Answer a request for one record; links begin with `base_url`."""
        view = View(self.store, self.faults, self.clock.now(), base_url, query)
        with self.store.lock:
            record = self.store.visible(resource.type, id_)
            if record is None or not view.shows(record):
                raise Refusal("resourceNotFound", f"Could not find '{resource.type}' with ID '{id_}'.")
            return _found(f'{{"data":{view.render(record)}{self._included(resource, [record], query, view)}}}')

    def page(self, resource: Resource, query: Query, parameters: Parameters, base_url: str) -> Response:
        """Answer a request for a list; links begin with `base_url`."""
        view = View(self.store, self.faults, self.clock.now(), base_url, query)
        with self.store.lock:
            selection = Selection(self.store, resource, query, view.lists)
            rows = self._rows(selection, query.page)
            records = list(rows.records)
            if query.page.after not in {None, _BEGINNING} and self.faults.fires("duplicate_across_pages"):
                last = self.store.visible(resource.type, selection.read(query.page.after or "")[2])
                records = records if last is None else [last, *records]
            if self.faults.fires("out_of_order"):
                records.reverse()
            data = ",".join(map(view.render, records))
            included = self._included(resource, records, query, view)
            counted = f',"meta":{{"count":{selection.count()},"count_truncated":false}}' if query.count else ""
            self._change_rows(resource, selection, rows)
        found = rows.records or rows.after
        links = self._links(resource, parameters, query.page, rows, base_url) if found else ""
        return _found(f'{{"data":[{data}]{included}{counted}{links}}}')

    def _rows(self, selection: Selection, page: Page) -> Rows:
        foreign = page.after not in {None, _BEGINNING} and selection.read(page.after or "")[0] != page.size
        if foreign and self.faults.fires("cursor_bound_to_size"):
            raise Refusal("validationError", "The cursor was made for another page[size].", pointer="page[after]")
        page = replace(page, size=min(page.size, self.faults.setting("short_pages", "rows", 1) or page.size))
        if page.offset is None and self.faults.fires("empty_page_with_next"):
            return Rows((), after=page.after or _BEGINNING)
        return selection.page(page)

    def _change_rows(self, resource: Resource, selection: Selection, rows: Rows) -> None:
        if not rows.records or resource.type == "event":  # what happened does not change
            return
        count = self.faults.setting("changes_while_paged", "count", 1)
        if count is None:
            return
        following = selection.page(queries.Page(size=1, after=rows.after)).records if rows.after else ()
        for record in (*rows.records[:count], *following):
            self.store.update(resource.type, record.id, updatedAt=Instant(self.clock.now() // 1000 * 1000))

    def _included(self, resource: Resource, records: Sequence[Record], query: Query, view: View) -> str:
        """Write the included resources, each once; those that are gone or hidden are simply absent."""
        if not query.include:
            return ""
        missing = self.faults.take("included_missing")
        chosen: dict[tuple[str, int], str] = {}
        for name in query.include:
            for target in _targets(self.store, resource, records, name) if name != view.without else ():
                other = self.store.visible(*target)
                left_out = missing is not None and missing.get("type", target[0]) == target[0]
                if target not in chosen and not left_out and other is not None and view.shows(other):
                    chosen[target] = view.render(other)
        return f',"included":[{",".join(chosen.values())}]'

    def _links(self, resource: Resource, parameters: Parameters, page: Page, rows: Rows, base_url: str) -> str:
        if rows.after and self.faults.fires("next_link_missing_links"):
            return ""
        onward = "page[after]" if page.offset is None else "page[offset]"
        rest = [pair for pair in parameters if pair[0] != onward]
        own = f"{base_url}/api/v2/{resource.plural}"
        links: dict[str, str | None] = {"first": _url(own, rest)}
        if rows.after:
            loops = page.after is not None and self.faults.fires("cursor_loops")
            host = self.faults.setting("next_link_other_host", "host", _ELSEWHERE) or base_url
            target = f"{host}/api/v2/{resource.plural}"
            links["next"] = _url(target, [*rest, (onward, str(page.after) if loops else rows.after)])
        elif self.faults.fires("next_link_null"):
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


def _found(text: str) -> Response:
    return Response(200, {"Content-Type": f"{JSON_API}; charset=utf-8"}, text.encode())
