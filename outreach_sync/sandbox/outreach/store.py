"""The records of the simulated Outreach: added, changed, hidden and deleted from outside, read by the API.

Values are kept as the API shows them (times as ``2026-09-01T10:00:00.000Z``), so that a page of a thousand is put
together quickly; a to-one relationship is the id it points to, under its own name. Each change leaves events. A record
that does not exist raises KeyError; a type, attribute or value that makes no sense, or an id that is taken, ValueError.
"""

from __future__ import annotations

import bisect
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.schema import (
    RESOURCES,
    Resource,
    concerned,
    events_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.server import SandboxClock

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_NULL_SORTS_LAST = "~"
_OPTIONS = ("hidden", "visible_after_ms", "shapes")
_INDEXED = {
    "sequenceState": ("prospect", "sequence"),
    "task": ("prospect", "sequence", "sequenceState", "sequenceStep"),
    "sequenceStep": ("sequence",),
    "event": ("task", "prospect"),
}
_NEW: Mapping[str, dict[str, Any]] = {
    "sequenceState": {"state": "active"},
    "task": {"state": "incomplete", "completed": False, "action": "email", "taskType": "manual"},
    "prospect": {"emails": [], "optedOut": False, "emailOptedOut": False, "callOptedOut": False},
    "sequence": {"enabled": True, "sequenceType": "interval"},
}
"""What a new record has unless told otherwise; everything else is null."""


@dataclass(slots=True, eq=False)
class Record:
    """One record.

    `values` maps attribute or to-one relationship to what the API shows; absent means null.
    `shapes` maps a relationship to the way it is rendered when it points nowhere: ``null``, ``links`` or ``empty``.
    """

    type: str
    id: int
    values: dict[str, Any]
    hidden: bool = False
    visible_at: int = 0
    shapes: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, int]:
        """Say where it stands in the order in which lists are walked: by its stamp as the API writes it, then id."""
        return (self.values.get(RESOURCES[self.type].stamp) or _NULL_SORTS_LAST, self.id)

    @property
    def is_skipped(self) -> bool:
        """Tell whether it is a task that was skipped: the word for it in this store."""
        return self.type == "task" and self.values.get("state") == "skipped"


class _Walk:
    """The places of all records of a type, in order. Additions are sorted in when someone looks, for quick filling."""

    def __init__(self) -> None:
        self._places: list[tuple[str, int]] = []
        self._added: list[tuple[str, int]] = []

    def add(self, place: tuple[str, int]) -> None:
        self._added.append(place)

    def remove(self, place: tuple[str, int]) -> None:
        places = self.places()
        del places[bisect.bisect_left(places, place)]

    def places(self) -> list[tuple[str, int]]:
        if len(self._added) == 1:
            bisect.insort(self._places, self._added.pop())
        elif self._added:
            self._places += self._added
            self._places.sort()
            self._added.clear()
        return self._places


class OutreachStore:
    """All records, by type and id. Every method is thread-safe; `lock` makes several of them one.

    `keep_events` off: changes leave no events, for very large accounts.
    """

    def __init__(self, clock: SandboxClock, faults: FaultBoard) -> None:
        """Start empty; `clock` gives the stamps, `faults` say what events and skips leave out."""
        self.lock = threading.RLock()
        self.keep_events = True
        self._clock = clock
        self._faults = faults
        self._records: dict[str, dict[int, Record]] = {type_: {} for type_ in RESOURCES}
        self._next_id = dict.fromkeys(RESOURCES, 1)
        self._walks = {type_: _Walk() for type_ in RESOURCES}
        references = (f"{type_}.{name}" for type_, names in _INDEXED.items() for name in names)
        self._back: dict[str, dict[int, dict[int, None]]] = {reference: {} for reference in references}

    # -- changes, as from outside

    def add_user(self, **attributes: object) -> int:
        """Add a user and return its id. Attributes have the API's own names, here and below."""
        return self.add("user", attributes)

    def add_sequence(self, name: str, **attributes: object) -> int:
        """Add a sequence and return its id."""
        return self.add("sequence", {"name": name, **attributes})

    def add_step(self, sequence: int, **attributes: object) -> int:
        """Add a step to a sequence and return its id."""
        return self.add("sequenceStep", {"sequence": sequence, **attributes})

    def add_prospect(self, **attributes: object) -> int:
        """Add a prospect and return its id."""
        return self.add("prospect", attributes)

    def add_state(self, prospect: int | None, sequence: int | None, state: str = "active", **attributes: object) -> int:
        """Put a prospect into a sequence and return the id of the sequence state."""
        return self.add("sequenceState", {"prospect": prospect, "sequence": sequence, "state": state, **attributes})

    def add_task(self, prospect: int | None = None, **attributes: object) -> int:
        """Add a task and return its id."""
        return self.add("task", {"prospect": prospect, **attributes})

    def add(
        self,
        type_: str,
        attributes: Mapping[str, object],
        *,
        hidden: bool = False,
        visible_after_ms: int = 0,
        shapes: Mapping[str, str] | None = None,
    ) -> int:
        """Add a record of any type and return its id, the next free one unless `attributes` holds ``id``.

        Times may be given as `Instant` or ISO 8601; createdAt and updatedAt default to now, to the second.
        """
        values = _NEW.get(type_, {}) | _checked(type_, attributes)
        with self.lock:
            id_ = values.pop("id", None) or self._next_id[type_]
            if id_ in self._records[type_]:
                raise ValueError(f"there is a {type_} {id_} already")
            self._next_id[type_] = max(self._next_id[type_], id_ + 1)
            values.setdefault("createdAt", values.get("updatedAt") or self._now())
            if type_ != "event":
                values.setdefault("updatedAt", self._now())
            visible_at = self._clock.now() + visible_after_ms if visible_after_ms else 0
            record = Record(type_, id_, values, hidden, visible_at, dict(shapes or {}))
            self._insert(record)
            self._tell(record, events_of(type_, None, values), min(self._now(), values.get("updatedAt") or self._now()))
        return int(id_)

    def update(
        self,
        type_: str,
        id_: int,
        *,
        hidden: bool | None = None,
        visible_after_ms: int | None = None,
        shapes: Mapping[str, str] | None = None,
        **attributes: object,
    ) -> None:
        """Change a record. updatedAt moves to now, to the second, unless it is among `attributes` (None: null).

        `hidden` and `shapes` alone do not move it. With `visible_after_ms` the record leaves the lists for so long.
        """
        changes = _checked(type_, attributes)
        with self.lock:
            record = self.get(type_, id_)
            if attributes:
                changes.setdefault("updatedAt", self._now())
                self._remove(record)
                before = record.values
                record.values = {**before, **changes}
                self._insert(record)
                self._tell(record, events_of(type_, before, record.values))
            record.hidden = record.hidden if hidden is None else hidden
            record.shapes = record.shapes if shapes is None else dict(shapes)
            if visible_after_ms is not None:
                record.visible_at = self._clock.now() + visible_after_ms

    def delete(self, type_: str, id_: int) -> None:
        """Delete a record, as if it had never been."""
        with self.lock:
            record = self.get(type_, id_)
            self._remove(record)
            self._tell(record, events_of(type_, record.values, None))

    def skip_task(self, id_: int, *, by: Literal["user", "system"] = "user") -> None:
        """Skip a task as the user interface does, or the system by itself: its sequence state moves on a step."""
        with self.lock:
            task = self.get("task", id_)
            now, keep = self._now(), self._faults.fires("skip_keeps_updated_at", "skip_task")
            changes: dict[str, Any] = {
                "state": "skipped",
                "stateChangedAt": now,
                **({"autoskipAt": now} if by == "system" else {}),
            }
            self.update("task", id_, updatedAt=task.values.get("updatedAt") if keep else now, **changes)
            state = self.visible("sequenceState", task.values.get("sequenceState") or 0)
            onward = None if state is None else self._step_after(state)
            if state is not None and onward and self._faults.take("skip_keeps_step", "skip_task") is None:
                stamp = state.values.get("updatedAt") if keep else now
                self.update("sequenceState", state.id, sequenceStep=onward, updatedAt=stamp)
            if self._faults.peek("skip_destroys_task") is not None:
                self._tell(task, events_of("task", task.values, None))  # lists and reads hide it

    def opt_out(self, id_: int) -> None:
        """Let a prospect opt out of everything."""
        with self.lock:
            now, keep = self._now(), self._faults.fires("opt_out_keeps_updated_at", "opt_out")
            stamp = self.get("prospect", id_).values.get("updatedAt") if keep else now
            self.update("prospect", id_, optedOut=True, optedOutAt=now, emailOptedOut=True, updatedAt=stamp)

    def end_state(self, id_: int, state: str = "finished") -> None:
        """End a sequence state, as an answer does: its open tasks are withdrawn, that is, deleted."""
        with self.lock:
            self.update("sequenceState", id_, state=state, stateChangedAt=self._now())
            for task in self.pointing_to("task.sequenceState", id_):
                if self.get("task", task).values.get("state") in {"pending", "incomplete"}:
                    self.delete("task", task)

    def merge_prospects(self, winner: int, loser: int) -> None:
        """Merge one prospect into another, which takes over its addresses, sequence states and tasks."""
        if winner == loser:
            raise ValueError(f"prospect {loser} cannot be merged into itself")
        with self.lock:
            kept, gone = self.get("prospect", winner), self.get("prospect", loser)
            emails = dict.fromkeys([*(kept.values.get("emails") or ()), *(gone.values.get("emails") or ())])
            for type_ in ("sequenceState", "task"):
                for id_ in self.pointing_to(f"{type_}.prospect", loser):
                    self.update(type_, id_, prospect=winner)
            self.update("prospect", winner, emails=list(emails))
            self._remove(gone)
            which = (self._faults.take("merge_names", "prospect_merged") or {}).get("which", "loser")
            for record, word in ((gone, "loser"), (kept, "winner")):
                self._tell(record, ["prospect_merged"] if which in {word, "both"} else [])

    # -- looking

    def get(self, type_: str, id_: int) -> Record:
        """Give one record, hidden or not."""
        try:
            return self._records[type_][id_]
        except KeyError:
            raise KeyError(f"there is no {type_} {id_}") from None

    def visible(self, type_: str, id_: int) -> Record | None:
        """Give one record if the API may show it now."""
        record = self._records.get(type_, {}).get(id_)
        if record is None or record.hidden or record.visible_at > self._clock.now():
            return None
        return record

    def all(self, type_: str) -> list[Record]:
        """List the records of a type in the order of their ids, hidden ones too."""
        with self.lock:
            return sorted(self._records[type_].values(), key=lambda record: record.id)

    def places(self, type_: str) -> list[tuple[str, int]]:
        """Give (stamp, id) of all records of a type in order: only to be read, under `lock`, until the next change."""
        return self._walks[type_].places()

    def has_index(self, reference: str) -> bool:
        """Tell whether `pointing_to` knows a relationship such as ``task.prospect``."""
        return reference in self._back

    def pointing_to(self, reference: str, id_: int) -> tuple[int, ...]:
        """List the ids of the records whose relationship, such as ``task.prospect``, is this id."""
        return tuple(self._back[reference].get(id_, ()))

    # -- the back door

    def summary(self) -> dict[str, int]:
        """Count the records by type."""
        return {type_: len(records) for type_, records in self._records.items()}

    def dump(self) -> dict[str, Any]:
        """Give all records as JSON: type to list of {id, hidden, shapes, values}."""
        return {
            type_: [
                {"id": one.id, "hidden": one.hidden, "shapes": dict(one.shapes), "values": dict(one.values)}
                for one in self.all(type_)
            ]
            for type_ in RESOURCES
        }

    def change(self, document: dict[str, Any]) -> dict[str, Any]:
        """Apply changes given as JSON: ``{"changes": [...]}``.

        A change is ``{"add": TYPE, "attributes": {...}}``, ``{"update": TYPE, "id": N, "attributes": {...}}``
        (attributes may hold hidden, visible_after_ms, shapes), ``{"delete": TYPE, "id": N}``,
        ``{"skip": TASK, "by": "user|system"}``, ``{"opt_out": PROSPECT}``, ``{"end": STATE, "state": WORD}`` or
        ``{"merge": LOSER, "into": WINNER}``. Returns ``{"ids": [...]}``, one for each change.
        """
        with self.lock:
            return {"ids": [self._apply(change) for change in document["changes"]]}

    def _apply(self, change: dict[str, Any]) -> int:
        attributes = dict(change.get("attributes") or {})
        match change:
            case {"add": type_}:
                options = {name: attributes.pop(name) for name in _OPTIONS if name in attributes}
                return self.add(type_, attributes, **options)
            case {"update": type_, "id": id_}:
                self.update(type_, id_, **attributes)
            case {"delete": type_, "id": id_}:
                self.delete(type_, id_)
            case {"skip": id_}:
                self.skip_task(id_, by=change.get("by", "user"))
            case {"opt_out": id_}:
                self.opt_out(id_)
            case {"end": id_}:
                self.end_state(id_, change.get("state", "finished"))
            case {"merge": id_, "into": winner}:
                self.merge_prospects(winner, id_)
            case _:
                raise ValueError("a change is one of add, update, delete, skip, opt_out, end and merge")
        return int(id_)

    # -- inside

    def _now(self) -> str:
        """Give the time to the second: every stamp seen in recorded answers ends in .000Z."""
        now = self._clock.now()
        return api_time(Instant(now - now % 1000))

    def _insert(self, record: Record) -> None:
        self._records[record.type][record.id] = record
        self._walks[record.type].add(record.place)
        for reference, target in _references(record):
            self._back[reference].setdefault(target, {})[record.id] = None

    def _remove(self, record: Record) -> None:
        del self._records[record.type][record.id]
        self._walks[record.type].remove(record.place)
        for reference, target in _references(record):
            self._back[reference][target].pop(record.id, None)

    def _step_after(self, state: Record) -> int | None:
        """Give the step of its sequence that a sequence state comes to next."""
        ids = self.pointing_to("sequenceStep.sequence", state.values.get("sequence") or 0)
        steps = sorted((self.get("sequenceStep", id_) for id_ in ids), key=lambda step: step.values.get("order") or 0)
        order, now = [step.id for step in steps], state.values.get("sequenceStep")
        return order[order.index(now) + 1] if now in order[:-1] else None

    def _tell(self, record: Record, names: Sequence[str], at: str | None = None) -> None:
        """Write the events of these names on a record into the stream, as the faults will have them."""
        for name in names if self.keep_events else ():
            if self._faults.take("event_missing", name) is not None:
                continue
            event = {"name": name, "eventAt": at or self._now(), **concerned(record.type, record.id, record.values)}
            off = self._faults.take("event_stamped", name)
            if off is not None:
                event["eventAt"] = Instant(instants.parse_iso(event["eventAt"]) + off.get("ms", -60_000))
            renamed = self._faults.take("event_renamed", name)
            if renamed is not None:
                event["name"] = renamed.get("name", "renamed")
            without = self._faults.take("event_without", name)
            if without is not None:
                event.pop(without.get("relationship", "task"), None)
            repeated = self._faults.take("event_repeated", name)
            for _ in range(1 if repeated is None else repeated.get("times_each", 2)):
                self.add("event", {**event, "createdAt": event["eventAt"]})


def api_time(at: Instant) -> str:
    """Write an instant the way the API does, always with milliseconds."""
    return instants.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03}Z"


def _references(record: Record) -> Iterator[tuple[str, int]]:
    for name in _INDEXED.get(record.type, ()):
        target = record.values.get(name)
        if target is not None:
            yield f"{record.type}.{name}", target


def _checked(type_: str, attributes: Mapping[str, object]) -> dict[str, Any]:
    """Turn attributes given from outside into the values of a record."""
    if type_ not in RESOURCES:
        raise ValueError(f"there is no resource type '{type_}', only {', '.join(RESOURCES)}")
    return {name: _value(RESOURCES[type_], name, value) for name, value in attributes.items()}


def _value(resource: Resource, name: str, value: object) -> object:
    attribute = resource.attribute(name)
    if attribute is None and name != "id" and name not in resource.relationships:
        raise ValueError(f"a {resource.type} has no '{name}'")
    if attribute is None and isinstance(value, list) and resource.relationships[name].shape == "one":
        return tuple(value)  # (type, id), which JSON has as a list
    if attribute is None or attribute.kind != "time" or value is None:
        return value
    if isinstance(value, str):
        return value if _STAMP.fullmatch(value) else api_time(instants.parse_iso(value))
    if isinstance(value, int):
        return api_time(Instant(value))
    raise ValueError(f"{name} takes an instant or ISO 8601, not {value!r}")
