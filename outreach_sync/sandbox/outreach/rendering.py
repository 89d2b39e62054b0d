"""Records as the JSON text the API answers with, and the documented ways in which that text varies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.schema import ACTIVE_STATES, BACK_REFERENCES, RESOURCES
from outreach_sync.sandbox.outreach.store import api_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.outreach.schema import Relationship, Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore, Record

_STAMPS = ("updatedAt", "stateChangedAt")
_CONNECTED = frozenset({"prospect", "task"})
"""The types for which the spec has ``provideDataConnections``."""
_SHAPES = {"to_one_links_only": "links", "to_one_empty": "empty", "to_one_null": "null"}
_STRANGE = {"smsOptedOut": False, "stageName": "Working", "futureFlags": [{"name": "beta", "on": True}]}
"""Attributes that are added, whatever was asked for."""


class Renderer:
    """Turns records into JSON texts for one answer, as the faults have it. Use it under the store's lock."""

    def __init__(self, store: OutreachStore, faults: FaultBoard, base_url: str, *, data_connections: bool) -> None:
        """Take the store for relationships to many; links begin with `base_url`.

        With `data_connections`, prospects and tasks say in `meta` what they are connected with elsewhere: nothing.
        """
        self._store = store
        self._base_url = base_url
        self._data_connections = data_connections
        self._id: Callable[[int], str] = '"{}"'.format if faults.fires("ids_as_strings") else str
        shapes = {shape: options for fault, shape in _SHAPES.items() if (options := faults.take(fault)) is not None}
        self._null_shape, nowhere = next(iter(shapes.items()), ("null", {}))
        self.without = nowhere.get("relationship", "")
        self._dead = faults.setting("event_relations_die", "shape", "null")
        self._ahead_ms = faults.setting("stamps_ahead", "ms", 3_600_000)
        self._state = faults.setting("unknown_state", "state", "hibernating")
        self._strange = faults.fires("unknown_attributes_added")
        self._skip = _skipped_looks(faults)

    def _values(self, record: Record) -> Mapping[str, Any]:
        """Give the values of a record as they are shown."""
        values = record.values
        if self._ahead_ms is not None:
            return {**values, **{name: self._ahead(values.get(name)) for name in _STAMPS}}
        if self._skip is not None and record.is_skipped:
            at = values.get("stateChangedAt") or values.get("updatedAt")
            return {**values, **{name: at if value == "at" else value for name, value in self._skip.items()}}
        if self._state is not None and record.type == "sequenceState":
            return {**values, "state": self._state}
        return values

    def _ahead(self, stamp: str | None) -> str | None:
        return None if stamp is None else api_time(Instant(instants.parse_iso(stamp) + self._ahead_ms))

    def render(self, record: Record, names: tuple[str, ...] | None) -> str:
        """Render a record with the attributes and relationships `names` (None: all of them)."""
        resource, values = RESOURCES[record.type], self._values(record)
        chosen = _all_names(resource, values) if names is None else names
        attributes = {name: values.get(name) for name in chosen if name not in resource.relationships}
        relations = ",".join(
            f'"{name}":{self._relationship(record, resource.relationships[name], values)}'
            for name in chosen
            if name in resource.relationships
        )
        shown = f',"relationships":{{{relations}}}' if relations else ""
        meta = ',"meta":{"dataConnections":[]}' if self._data_connections and record.type in _CONNECTED else ""
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
