"""The records of the simulated Outreach: added, changed, hidden and deleted from outside, read by the API.

Values are kept as the API shows them (times as ``2026-09-01T10:00:00.000Z``), so that a page of a thousand is put
together quickly; a to-one relationship is the id it points to, under its own name.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, Literal

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.happenings import DESTROYED, concerned, names_of_change, names_of_new
from outreach_sync.sandbox.outreach.index import StampIndex
from outreach_sync.sandbox.outreach.record import Record, api_time, checked, dumped, new_values, stamp
from outreach_sync.sandbox.outreach.schema import RESOURCES, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.faults import FaultBoard

_EMPTY: tuple[int, ...] = ()


class OutreachStore:
    """All records, by type and id. Every method is thread-safe; `lock` makes several of them one.

    Each change leaves events, as in the API's own stream, unless `keep_events` is off (for very large accounts).
    """

    def __init__(self, clock: SandboxClock, faults: FaultBoard) -> None:
        """Start empty; `clock` gives the stamps, `faults` say what events and skips leave out."""
        self.lock = threading.RLock()
        self.keep_events = True
        self._faults = faults
        self._clock = clock
        self._versions = itertools.count(1)
        self._records: dict[str, dict[int, Record]]
        self._next_id: dict[str, int]
        self._stamps: dict[str, StampIndex]
        self._back: dict[str, dict[int, dict[int, None]]]
        self.clear()

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

        Raises:
            ValueError: the type, or an attribute, does not exist; or the id is taken.
        """
        values = new_values(type_) | checked(_resource(type_), attributes)
        with self.lock:
            id_ = values.pop("id", None) or self._next_id[type_]
            if id_ in self._records[type_]:
                raise ValueError(f"there is a {type_} {id_} already")
            self._next_id[type_] = max(self._next_id[type_], id_ + 1)
            now = stamp(self._clock.now())
            values.setdefault("createdAt", values.get("updatedAt") or now)
            if type_ != "event":
                values.setdefault("updatedAt", now)
            record = Record(type_, id_, values)
            record.hidden = hidden
            record.visible_at = self._clock.now() + visible_after_ms if visible_after_ms else 0
            record.shapes = dict(shapes or {})
            self._insert(record)
            self._tell(record, names_of_new(type_, values), min(now, values.get("updatedAt") or now))
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

        Raises:
            KeyError: there is no such record.
            ValueError: an attribute does not exist.
        """
        changes = checked(_resource(type_), attributes)
        with self.lock:
            record = self.get(type_, id_)
            if attributes:
                changes.setdefault("updatedAt", stamp(self._clock.now()))
                self._remove(record)
                before = dict(record.values)
                record.values.update(changes)
                self._insert(record)
                self._tell(record, names_of_change(type_, before, record.values))
            record.version = next(self._versions)
            record.hidden = record.hidden if hidden is None else hidden
            record.shapes = record.shapes if shapes is None else dict(shapes)
            if visible_after_ms is not None:
                record.visible_at = self._clock.now() + visible_after_ms

    def delete(self, type_: str, id_: int) -> None:
        """Delete a record, as if it had never been.

        Raises:
            KeyError: there is no such record.
        """
        with self.lock:
            record = self.get(type_, id_)
            self._remove(record)
            self._tell(record, [DESTROYED[type_]] if type_ in DESTROYED else [])

    def skip_task(self, id_: int, *, by: Literal["user", "system"] = "user") -> None:
        """Skip a task as the user interface does, or the system by itself: its sequence state moves on a step.

        Raises:
            KeyError: there is no such task.
        """
        now = stamp(self._clock.now())
        with self.lock:
            task = self.get("task", id_)
            keep = self._faults.take("skip_keeps_updated_at", "skip_task") is not None
            changes = {"state": "skipped", "stateChangedAt": now, **_kept(task, keep=keep)}
            self.update("task", id_, **(changes | {"autoskipAt": now} if by == "system" else changes))
            state = self.visible("sequenceState", task.values.get("sequenceState") or 0)
            onward = None if state is None else self._step_after(state)
            if state is not None and onward and self._faults.take("skip_keeps_step", "skip_task") is None:
                self.update("sequenceState", state.id, sequenceStep=onward, **_kept(state, keep=keep))
            if self._faults.peek("skip_destroys_task") is not None:
                self._tell(task, ["task_destroyed"])  # lists and reads hide it

    def opt_out(self, id_: int) -> None:
        """Let a prospect opt out of everything.

        Raises:
            KeyError: there is no such prospect.
        """
        with self.lock:
            keep = self._faults.take("opt_out_keeps_updated_at", "opt_out") is not None
            kept = _kept(self.get("prospect", id_), keep=keep)
            since = stamp(self._clock.now())
            self.update("prospect", id_, optedOut=True, optedOutAt=since, emailOptedOut=True, **kept)

    def end_state(self, id_: int, state: str = "finished") -> None:
        """End a sequence state, as an answer does: its open tasks are withdrawn, that is, deleted.

        Raises:
            KeyError: there is no such sequence state.
        """
        with self.lock:
            self.update("sequenceState", id_, state=state, stateChangedAt=stamp(self._clock.now()))
            for task in self.pointing_to("task.sequenceState", id_):
                if self.get("task", task).values.get("state") in {"pending", "incomplete"}:
                    self.delete("task", task)

    def merge_prospects(self, winner: int, loser: int) -> None:
        """Merge one prospect into another, which takes over its addresses, sequence states and tasks.

        Raises:
            KeyError: there is no such prospect.
        """
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

    def _step_after(self, state: Record) -> int | None:
        """Give the step of its sequence that a sequence state comes to next."""
        steps = [
            self.get("sequenceStep", id_)
            for id_ in self.pointing_to("sequenceStep.sequence", state.values.get("sequence") or 0)
        ]
        order = [step.id for step in sorted(steps, key=lambda step: step.values.get("order") or 0)]
        now = state.values.get("sequenceStep")
        return order[order.index(now) + 1] if now in order[:-1] else None

    def _tell(self, record: Record, names: Sequence[str], at: str | None = None) -> None:
        """Write the events of these names on a record into the stream, as the faults will have them."""
        for name in names if self.keep_events else ():
            if self._faults.take("event_missing", name) is not None:
                continue
            off = self._faults.take("event_stamped", name)
            moved = 0 if off is None else int(str(off.get("ms", -60_000)))
            when = at or stamp(self._clock.now())
            shown = when if off is None else api_time(Instant(instants.parse_iso(when) + moved))
            renamed = self._faults.take("event_renamed", name)
            event = {
                "name": name if renamed is None else renamed.get("name", "renamed"),
                "eventAt": shown,
                "createdAt": shown,
                **concerned(record.type, record.id, record.values),
            }
            without = self._faults.take("event_without", name)
            if without is not None:
                event.pop(str(without.get("relationship", "task")), None)
            repeated = self._faults.take("event_repeated", name)
            for _ in range(1 if repeated is None else int(str(repeated.get("times_each", 2)))):
                self.add("event", event)

    def get(self, type_: str, id_: int) -> Record:
        """Give one record, hidden or not.

        Raises:
            KeyError: there is none.
        """
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

    def stamps(self, type_: str) -> StampIndex:
        """Give the index of a type by (updatedAt, id), of events by (createdAt, id). Use it under `lock`."""
        return self._stamps[type_]

    def has_index(self, reference: str) -> bool:
        """Tell whether `pointing_to` knows a relationship such as ``task.prospect``."""
        return reference in self._back

    def pointing_to(self, reference: str, id_: int) -> Iterable[int]:
        """List the ids of the records whose relationship, such as ``task.prospect``, is this id."""
        return tuple(self._back[reference].get(id_, _EMPTY))

    def summary(self) -> dict[str, int]:
        """Count the records by type."""
        return {type_: len(records) for type_, records in self._records.items()}

    def clear(self) -> None:
        """Delete everything."""
        with self.lock:
            self._records = {type_: {} for type_ in RESOURCES}
            self._next_id = dict.fromkeys(RESOURCES, 1)
            self._stamps = {type_: StampIndex() for type_ in RESOURCES}
            self._back = {f"{type_}.{name}": {} for type_, names in _INDEXED.items() for name in names}

    def dump(self) -> dict[str, Any]:
        """Give all records as JSON: type to list of {id, hidden, shapes, values}."""
        return {type_: [dumped(record) for record in self.all(type_)] for type_ in RESOURCES}

    def load(self, document: Mapping[str, list[dict[str, Any]]]) -> None:
        """Replace everything by what `dump` gave."""
        with self.lock:
            self.clear()
            keep_events, self.keep_events = self.keep_events, False
            for type_, rows in document.items():
                for row in rows:
                    attributes = {**row["values"], "id": row["id"]}
                    self.add(type_, attributes, hidden=row.get("hidden", False), shapes=row.get("shapes"))
            self.keep_events = keep_events

    def change(self, document: dict[str, Any]) -> dict[str, Any]:
        """Apply changes given as JSON.

        ``{"load": DUMP}``, or ``{"changes": [...]}`` of ``{"add": TYPE, "attributes": {...}}``,
        ``{"update": TYPE, "id": N, "attributes": {...}}`` (attributes may hold hidden, visible_after_ms, shapes),
        ``{"delete": TYPE, "id": N}``, ``{"skip": TASK, "by": "user|system"}``, ``{"opt_out": PROSPECT}``,
        ``{"end": STATE, "state": WORD}`` and ``{"merge": LOSER, "into": WINNER}``.
        Returns ``{"ids": [...]}``, one for each change.

        Raises:
            KeyError, TypeError, ValueError: it makes no sense; what came before it is applied.
        """
        if "load" in document:
            self.load(document["load"])
            return {"ids": []}
        with self.lock:
            return {"ids": [self._apply(change) for change in document["changes"]]}

    def _apply(self, change: dict[str, Any]) -> int:
        attributes = dict(change.get("attributes") or {})
        if "add" in change:
            options = {name: attributes.pop(name) for name in _OPTIONS if name in attributes}
            return self.add(change["add"], attributes, **options)
        if "update" in change:
            self.update(change["update"], change["id"], **attributes)
        elif "skip" in change:
            self.skip_task(change["skip"], by=change.get("by", "user"))
        elif "opt_out" in change:
            self.opt_out(change["opt_out"])
        elif "end" in change:
            self.end_state(change["end"], change.get("state", "finished"))
        elif "merge" in change:
            self.merge_prospects(change["into"], change["merge"])
        else:
            self.delete(change["delete"], change["id"])
        return int(next(change[word] for word in ("id", "skip", "opt_out", "end", "merge") if word in change))

    def _insert(self, record: Record) -> None:
        record.version = next(self._versions)
        self._records[record.type][record.id] = record
        self._stamps[record.type].add(record.values.get(RESOURCES[record.type].stamp), record.id)
        for reference, target in self._references(record):
            self._back[reference].setdefault(target, {})[record.id] = None

    def _remove(self, record: Record) -> None:
        del self._records[record.type][record.id]
        self._stamps[record.type].remove(record.values.get(RESOURCES[record.type].stamp), record.id)
        for reference, target in self._references(record):
            self._back[reference][target].pop(record.id, None)

    def _references(self, record: Record) -> Iterator[tuple[str, int]]:
        for name in _INDEXED.get(record.type, ()):
            target = record.values.get(name)
            if target is not None:
                yield f"{record.type}.{name}", target


def _kept(record: Record, *, keep: bool) -> dict[str, Any]:
    """Give the stamp of a record as an attribute to set, where it is to be kept."""
    return {"updatedAt": record.values.get("updatedAt")} if keep else {}


_OPTIONS = ("hidden", "visible_after_ms", "shapes")
_INDEXED = {
    "sequenceState": ("prospect", "sequence"),
    "task": ("prospect", "sequence", "sequenceState", "sequenceStep"),
    "sequenceStep": ("sequence",),
    "event": ("task", "prospect"),
}


def _resource(type_: str) -> Resource:
    if type_ not in RESOURCES:
        raise ValueError(f"there is no resource type '{type_}', only {', '.join(RESOURCES)}")
    return RESOURCES[type_]
