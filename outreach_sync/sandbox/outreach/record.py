"""One record of the simulated Outreach, and how values given from outside become those that the API shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from outreach_sync import instants
from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.outreach.schema import Resource

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


class Record:
    """One record, and a `version` that no other state of any record ever has.

    `values` maps attribute or to-one relationship to what the API shows; absent means null.
    `shapes` maps a relationship to the way it is rendered when it points nowhere: ``null``, ``links`` or ``empty``.
    """

    __slots__ = ("hidden", "id", "shapes", "type", "values", "version", "visible_at")

    def __init__(self, type_: str, id_: int, values: dict[str, Any]) -> None:
        """Make a record that everybody sees at once."""
        self.type = type_
        self.id = id_
        self.values = values
        self.version = 0
        self.hidden = False
        self.visible_at = 0
        self.shapes: Mapping[str, str] = {}


def new_values(type_: str) -> dict[str, Any]:
    """Give what a new record has unless told otherwise; everything else is null."""
    if type_ == "sequenceState":
        return {"state": "active"}
    if type_ == "task":
        return {"state": "incomplete", "completed": False, "action": "email", "taskType": "manual"}
    if type_ == "prospect":
        return {"emails": [], "optedOut": False, "emailOptedOut": False, "callOptedOut": False}
    return {"enabled": True, "sequenceType": "interval"} if type_ == "sequence" else {}


def checked(resource: Resource, attributes: Mapping[str, object]) -> dict[str, Any]:
    """Turn attributes given from outside into the values of a record.

    Raises:
        ValueError: there is no such attribute, or a time is none.
    """
    return {name: _value(resource, name, value) for name, value in attributes.items()}


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


def api_time(at: Instant) -> str:
    """Write an instant the way the API does, always with milliseconds."""
    return instants.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03}Z"


def stamp(at: Instant) -> str:
    """Write an instant to the second: every stamp seen in recorded answers ends in .000Z."""
    return api_time(Instant(at - at % 1000))


def dumped(record: Record) -> dict[str, Any]:
    """Describe a record as JSON."""
    return {"id": record.id, "hidden": record.hidden, "shapes": dict(record.shapes), "values": dict(record.values)}
