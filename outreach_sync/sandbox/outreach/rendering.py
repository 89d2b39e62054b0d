"""Records as the JSON text the API answers with, and the documented ways in which that text varies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.schema import ACTIVE_STATES, BACK_REFERENCES, RESOURCES
from outreach_sync.sandbox.outreach.store import api_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.outreach.schema import Relationship, Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore, Record

_STAMPS = ("updatedAt", "stateChangedAt")
_CONNECTED = frozenset({"prospect", "task"})
"""The types for which the spec has ``provideDataConnections``."""


@dataclass(frozen=True, slots=True)
class Look:
    """How records are shown in one answer; by default, as documented.

    Attributes:
        base_url: what links begin with.
        ids_as_strings: ids are texts, as JSON:API itself has them.
        null_shape: how a to-one relationship to nothing looks: ``null``, ``links`` or ``empty``.
        without: a to-one relationship that looks like this although it points somewhere.
        dead: how an event's relationship to what is gone looks (as `null_shape`); "": it still says the id.
        ahead_ms: how much later than they are stamps are shown.
        state: what every sequence state's state is instead.
        suffix: what every sequence's name ends with.
        extra: attributes that are added, whatever was asked for.
        opt_status_text: the opt statuses of prospects are the text "null" instead of null.
        skip: what is different about a task that was skipped; ``at`` stands for the time at which it was.
        data_connections: prospects and tasks say in `meta` what they are connected with elsewhere: nothing.
    """

    base_url: str
    ids_as_strings: bool = False
    null_shape: str = "null"
    without: str = ""
    dead: str = ""
    ahead_ms: int = 0
    state: str = ""
    suffix: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    opt_status_text: bool = False
    skip: Mapping[str, Any] | None = None
    data_connections: bool = False

    def values(self, record: Record) -> Mapping[str, Any]:
        """Give the values of a record as they are shown."""
        if self.ahead_ms:
            return {**record.values, **{name: self._ahead(record.values.get(name)) for name in _STAMPS}}
        if self.skip is not None and record.is_skipped:
            at = record.values.get("stateChangedAt") or record.values.get("updatedAt")
            return {**record.values, **{name: at if value == "at" else value for name, value in self.skip.items()}}
        if self.state and record.type == "sequenceState":
            return {**record.values, "state": self.state}
        if self.suffix and record.type == "sequence":
            return {**record.values, "name": f"{record.values.get('name')}{self.suffix}"}
        if self.opt_status_text and record.type == "prospect":
            statuses = ("emailsOptStatus", "callsOptStatus")
            return {**record.values, **{name: record.values.get(name) or "null" for name in statuses}}
        return record.values

    def _ahead(self, stamp: str | None) -> str | None:
        return None if stamp is None else api_time(Instant(instants.parse_iso(stamp) + self.ahead_ms))


class Renderer:
    """Turns records into JSON texts, as its `look` has it. Use it under the store's lock."""

    def __init__(self, store: OutreachStore, look: Look) -> None:
        """Take the store for relationships to many."""
        self._store = store
        self.look = look

    def render(self, record: Record, names: tuple[str, ...] | None) -> str:
        """Render a record with the attributes and relationships `names` (None: all of them)."""
        look, resource, values = self.look, RESOURCES[record.type], self.look.values(record)
        chosen = _all_names(resource, values) if names is None else names
        attributes = {name: values.get(name) for name in chosen if name not in resource.relationships}
        relations = ",".join(
            f'"{name}":{self._relationship(record, resource.relationships[name], values)}'
            for name in chosen
            if name in resource.relationships
        )
        shown = f',"relationships":{{{relations}}}' if relations else ""
        meta = ',"meta":{"dataConnections":[]}' if look.data_connections and record.type in _CONNECTED else ""
        attributes |= dict(look.extra)
        return (
            f'{{"type":"{record.type}","id":{self._id(record.id)},"attributes":{_text(attributes)}{shown}{meta},'
            f'"links":{{"self":"{look.base_url}/api/v2/{resource.plural}/{record.id}"}}}}'
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
        if target is None or relation.name == self.look.without:
            return self._nowhere(record, relation, record.shapes.get(relation.name, self.look.null_shape))
        if self.look.dead and record.type == "event" and self._is_gone(*target):
            return self._nowhere(record, relation, self.look.dead)
        return f'{{"data":{self._pointer(*target)}}}'

    def _nowhere(self, record: Record, relation: Relationship, shape: str) -> str:
        if shape == "links":
            return f"{{{self._link(record, relation)}}}"
        return "{}" if shape == "empty" else '{"data":null}'

    def _is_gone(self, type_: str, id_: int) -> bool:
        return type_ in RESOURCES and self._store.visible(type_, id_) is None

    def _link(self, record: Record, relation: Relationship) -> str:
        """Write the link to the related list, with the filter's brackets percent-encoded as Outreach does."""
        plural = RESOURCES[relation.types[0]].plural if relation.types[0] in RESOURCES else relation.types[0] + "s"
        address = f"{self.look.base_url}/api/v2/{plural}?filter%5B{record.type}%5D%5Bid%5D={record.id}"
        return f'"links":{{"related":"{address}"}}'

    def _pointer(self, type_: str, id_: int) -> str:
        return f'{{"type":"{type_}","id":{self._id(id_)}}}'

    def _id(self, id_: int) -> str:
        return f'"{id_}"' if self.look.ids_as_strings else str(id_)


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
