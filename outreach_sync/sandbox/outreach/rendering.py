"""Records as the JSON text the API answers with, and the documented ways in which that text varies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.outreach.schema import BACK_REFERENCES, RESOURCES
from outreach_sync.sandbox.outreach.selection import related_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from outreach_sync.sandbox.outreach.record import Record
    from outreach_sync.sandbox.outreach.schema import Relationship, Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore

_CACHED_RECORDS = 300_000
_CACHED_QUESTIONS = 100
_CONNECTED = frozenset({"prospect", "task"})
"""The types for which the spec has ``provideDataConnections``."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Skip(NamedTuple):
    """What a skipped task looks like: its state, whether it is completed (None: as it is), and by whom."""

    state: str
    completed: bool | None = None
    completer: int | None = None

    def attributes(self, record: Record) -> dict[str, Any]:
        """Give the attributes that a task has once it was skipped."""
        if self.completed is None:
            return {"state": self.state}
        at = record.values.get("stateChangedAt") or record.values.get("updatedAt")
        if self.completer is not None:
            return {"state": self.state, "completed": True, "completedAt": at}
        done = {"completedAt": at, "autoskipAt": at} if self.completed else {"completedAt": None}
        return {"state": self.state, "completed": self.completed, **done}


def is_skipped(record: Record) -> bool:
    """Tell whether a record is a task that was skipped: the word for it in this store."""
    return record.type == "task" and record.values.get("state") == "skipped"


@dataclass(frozen=True, slots=True)
class Variation:
    """How records are rendered while faults are on; by default, as documented.

    Attributes:
        ids_as_strings: ids are texts, as JSON:API itself has them.
        null_shape: how a to-one relationship to nothing looks: ``null``, ``links`` or ``empty``.
        without: a to-one relationship that looks like this although it points somewhere.
        state: what every sequence state's state is instead.
        suffix: what every sequence's name ends with.
        extra: attributes that are added, whatever was asked for.
        opt_status_text: the opt statuses of prospects are the text "null" instead of null.
        skip: what a skipped task looks like instead.
        dead: how an event's relationship to what is gone looks (as `null_shape`); "": it still says the id.
        data_connections: prospects and tasks say in `meta` what they are connected with elsewhere: nothing.
    """

    ids_as_strings: bool = False
    null_shape: str = "null"
    without: str = ""
    state: str = ""
    suffix: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    opt_status_text: bool = False
    data_connections: bool = False
    skip: Skip | None = None
    dead: str = ""

    def attribute(self, type_: str, name: str, value: Any) -> Any:
        """Give the value to show for an attribute."""
        if self.state and (type_, name) == ("sequenceState", "state"):
            return self.state
        if self.suffix and (type_, name) == ("sequence", "name"):
            return f"{value}{self.suffix}"
        if self.opt_status_text and type_ == "prospect" and name.endswith("OptStatus") and value is None:
            return "null"
        return value


PLAIN = Variation()
"""Records as documented."""


class Renderer:
    """Turns records into JSON texts. Remembers those rendered as documented. Call it under the store's lock."""

    def __init__(self, store: OutreachStore, base_url: str = "") -> None:
        """Take the store for to-many relationships, and the address that links begin with unless told otherwise."""
        self.base_url = base_url
        self._store = store
        self._remembered: dict[tuple[str, tuple[str, ...] | None, str], dict[int, tuple[int, str]]] = {}

    def render(
        self,
        records: Iterable[Record],
        names: tuple[str, ...] | None,
        variation: Variation,
        base_url: str | None = None,
    ) -> list[str]:
        """Render records of one type with the attributes and relationships `names` (None: all of them)."""
        base = self.base_url if base_url is None else base_url
        listed = list(records)
        if not listed:
            return []
        type_ = listed[0].type
        if variation != PLAIN or _depends_on_others(RESOURCES[type_], names):
            return [self._rendered(record, names, variation, base) for record in listed]
        if len(self._remembered) >= _CACHED_QUESTIONS:
            self._remembered.clear()
        remembered = self._remembered.setdefault((type_, names, base), {})
        if len(remembered) >= _CACHED_RECORDS:
            remembered.clear()
        return [self._recalled(remembered, record, names, base) for record in listed]

    def _recalled(
        self, remembered: dict[int, tuple[int, str]], record: Record, names: tuple[str, ...] | None, base: str
    ) -> str:
        known = remembered.get(record.id)
        if known is not None and known[0] == record.version:
            return known[1]
        text = self._rendered(record, names, PLAIN, base)
        remembered[record.id] = (record.version, text)
        return text

    def _rendered(self, record: Record, names: tuple[str, ...] | None, variation: Variation, base: str) -> str:
        resource = RESOURCES[record.type]
        chosen = _all_names(resource, record.values) if names is None else names
        values = {name: record.values.get(name) for name in chosen if name not in resource.relationships}
        if variation is not PLAIN:
            values = {name: variation.attribute(record.type, name, value) for name, value in values.items()}
        if variation.skip is not None and is_skipped(record):
            skipped = variation.skip.attributes(record)
            values = {name: skipped.get(name, value) for name, value in values.items()}
        attributes = [f'"{name}":{_text(value)}' for name, value in values.items()]
        attributes += [f'"{name}":{_text(value)}' for name, value in variation.extra]
        relations = [
            f'"{name}":{self._relationship(record, resource.relationships[name], variation, base)}'
            for name in chosen
            if name in resource.relationships
        ]
        id_ = f'"{record.id}"' if variation.ids_as_strings else str(record.id)
        shown = f',"relationships":{{{",".join(relations)}}}' if relations else ""
        connected = variation.data_connections and record.type in _CONNECTED
        meta = ',"meta":{"dataConnections":[]}' if connected else ""
        return (
            f'{{"type":"{record.type}","id":{id_},"attributes":{{{",".join(attributes)}}}{shown}{meta},'
            f'"links":{{"self":"{base}/api/v2/{resource.plural}/{record.id}"}}}}'
        )

    def _relationship(self, record: Record, relation: Relationship, variation: Variation, base: str) -> str:
        if relation.shape == "links":
            return f"{{{_link(record, relation, base)}}}"
        target = related_ids(self._store, record, relation.name)
        if relation.name == "completer" and variation.skip is not None and is_skipped(record):
            target = target if variation.skip.completer is None else variation.skip.completer
        if variation.dead and record.type == "event" and target is not None and self._is_gone(relation, target):
            return _NOWHERE[variation.dead](_link(record, relation, base))
        if relation.shape == "many":
            ids = target if isinstance(target, list) else []
            members = ",".join(_pointer(relation.types[0], id_, variation) for id_ in ids)
            return f'{{"data":[{members}],{_link(record, relation, base)},"meta":{{"count":{len(ids)}}}}}'
        if target is None or relation.name == variation.without:
            return _NOWHERE[record.shapes.get(relation.name, variation.null_shape)](_link(record, relation, base))
        return f'{{"data":{_pointer(_target_type(relation, target), _target_id(target), variation)}}}'

    def _is_gone(self, relation: Relationship, target: Any) -> bool:
        type_ = _target_type(relation, target)
        return type_ in RESOURCES and self._store.visible(type_, _target_id(target)) is None


_NOWHERE: Mapping[str, Callable[[str], str]] = {
    "null": lambda _link: '{"data":null}',
    "links": lambda link: f"{{{link}}}",
    "empty": lambda _link: "{}",
}
"""How a to-one relationship to nothing looks, given the link that belongs to it."""


def _link(record: Record, relation: Relationship, base: str) -> str:
    """Write the link to the related list, with the filter's brackets percent-encoded as Outreach does."""
    plural = RESOURCES[relation.types[0]].plural if relation.types[0] in RESOURCES else relation.types[0] + "s"
    return f'"links":{{"related":"{base}/api/v2/{plural}?filter%5B{record.type}%5D%5Bid%5D={record.id}"}}'


def _pointer(type_: str, id_: int, variation: Variation) -> str:
    return f'{{"type":"{type_}","id":"{id_}"}}' if variation.ids_as_strings else f'{{"type":"{type_}","id":{id_}}}'


def _target_type(relation: Relationship, target: Any) -> str:
    """Give the type a to-one relationship points to; with several possible ones the value is (type, id)."""
    return str(target[0]) if isinstance(target, list | tuple) else relation.types[-1]


def _target_id(target: Any) -> int:
    return int(target[1] if isinstance(target, list | tuple) else target)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    return "null" if value is None else _encode(value)


def _all_names(resource: Resource, values: Mapping[str, Any]) -> tuple[str, ...]:
    """List what is shown without sparse fields: everything but the slow histogram, and the custom fields in use."""
    customs = (name for name in values if name.startswith("custom") and name not in resource.attributes)
    return (*(name for name in resource.attributes if name != "contactHistogram"), *customs, *resource.relationships)


def _depends_on_others(resource: Resource, names: tuple[str, ...] | None) -> bool:
    chosen = resource.relationships if names is None else names
    return any(
        (resource.type, name) in BACK_REFERENCES and resource.relationships[name].shape == "many" for name in chosen
    )
