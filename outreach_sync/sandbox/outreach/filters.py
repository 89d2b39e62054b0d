"""The conditions of a list request: both filter syntaxes turned into tests on values.

Old syntax (the default): ``A..B``, ``A..inf``, ``neginf..B``, lists ``1,2,3``, ``__null__``, ``__notnull__``.
New syntax (``newFilterSyntax=true``): ``[gte]``, ``[lte]``, lists as ``[]``. Mixing is refused as Outreach does it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from outreach_sync import instants
from outreach_sync.sandbox.outreach.record import api_time
from outreach_sync.sandbox.outreach.refusals import InvalidDatetime, InvalidFilter
from outreach_sync.sandbox.outreach.schema import RESOURCES, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.sandbox.outreach.schema import Resource

_BRACKETED = re.compile(r"\[([^\]]*)\]")
_LOW, _HIGH = "neginf", "inf"
_BOUND_WORDS = {"gte", "lte"}

Operator = Literal["range", "any", "null", "notnull"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: the value at `path` (attribute, or relationship and attribute) against `operator`.

    ``range`` uses `low` and `high`, both inclusive, None for open; ``any`` uses `values`.
    """

    path: tuple[str, ...]
    operator: Operator
    low: Any = None
    high: Any = None
    values: frozenset[Any] = frozenset()

    def accepts(self, value: object) -> bool:
        """Test one value; of a list, any element suffices."""
        if isinstance(value, list | tuple):
            return any(self.accepts(element) for element in value) if value else self.operator == "null"
        if value is None or self.operator in {"null", "notnull"}:
            return (value is None) == (self.operator == "null")
        if self.operator == "any":
            return value in self.values
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class FilterSyntax:
    """How filters are to be read in one request: which syntax, and whether the start ``neginf`` is refused."""

    new: bool
    refuse_neginf: bool = False

    def conditions(self, resource: Resource, parameters: Sequence[tuple[str, str]]) -> tuple[Condition, ...]:
        """Read all ``filter[...]`` parameters of a request.

        Raises:
            InvalidFilter: unknown or not filterable, or a syntax that is not on.
            InvalidDatetime: a bound that is no date and time.
        """
        grouped: dict[tuple[tuple[str, ...], str], list[str]] = {}
        for name, value in parameters:
            parts = tuple(_BRACKETED.findall(name))
            word = parts[-1] if self.new and parts and parts[-1] in _BOUND_WORDS | {""} else "="
            path = parts if word == "=" else parts[:-1]
            grouped.setdefault((path, word), []).append(value)
        return tuple(self._condition(resource, path, word, values) for (path, word), values in grouped.items())

    def _condition(self, resource: Resource, path: tuple[str, ...], word: str, values: list[str]) -> Condition:
        kind = _kind(resource, path)
        if word == "gte":
            return Condition(path, "range", low=_parsed(path, kind, values[-1]))
        if word == "lte":
            return Condition(path, "range", high=_parsed(path, kind, values[-1]))
        if word == "":
            return Condition(path, "any", values=frozenset(_parsed(path, kind, value) for value in values))
        return self._plain(path, kind, values[-1])

    def _plain(self, path: tuple[str, ...], kind: Kind, text: str) -> Condition:
        if text in {"__null__", "__notnull__"}:
            return Condition(path, "null" if text == "__null__" else "notnull")
        if self.new:
            return Condition(path, "any", values=frozenset({_parsed(path, kind, text)}))
        if kind in {"time", "number"} and ".." in text:
            return self._range(path, kind, text)
        return Condition(path, "any", values=frozenset(_parsed(path, kind, part) for part in text.split(",")))

    def _range(self, path: tuple[str, ...], kind: Kind, text: str) -> Condition:
        start, _, end = text.partition("..")
        if start == _LOW and self.refuse_neginf:
            raise InvalidFilter(f"The value of {'.'.join(path)} cannot start with {_LOW}.", pointer=path[0])
        low = None if start == _LOW else _parsed(path, kind, start)
        high = None if end == _HIGH else _parsed(path, kind, end)
        return Condition(path, "range", low=low, high=high)


def _kind(resource: Resource, path: tuple[str, ...]) -> Kind:
    """Find the kind of value a filter compares with, and refuse what cannot be filtered."""
    if path == ("id",):
        return "number"
    if len(path) == 1:
        return _attribute_kind(resource, path[0])
    relation = resource.relationships.get(path[0]) if path else None
    if relation is None or len(path) != 2:  # noqa: PLR2004 - relationship and attribute
        raise InvalidFilter(f"{resource.type} cannot be filtered by {'.'.join(path)}.", pointer=".".join(path))
    inner = path[1]
    if inner not in relation.filters and "*" not in relation.filters:
        raise InvalidFilter(f"{resource.type} cannot be filtered by {'.'.join(path)}.", pointer=".".join(path))
    if inner == "id":
        return "number"
    target = RESOURCES.get(relation.types[0])
    if target is None or (attribute := target.attribute(inner)) is None:
        return "text"
    if "*" in relation.filters and not attribute.filterable:
        raise InvalidFilter(f"{resource.type} cannot be filtered by {'.'.join(path)}.", pointer=".".join(path))
    return attribute.kind


def _attribute_kind(resource: Resource, name: str) -> Kind:
    attribute = resource.attribute(name)
    if attribute is None or not attribute.filterable:
        raise InvalidFilter(f"{resource.type} cannot be filtered by {name}.", pointer=name)
    return attribute.kind


def _parsed(path: tuple[str, ...], kind: Kind, text: str) -> Any:
    name = ".".join(path)
    if kind == "time":
        try:
            return api_time(instants.parse_iso(text))
        except ValueError:
            raise InvalidDatetime(f"The value of {name} is not a date and time.", pointer=name) from None
    if kind == "number":
        try:
            return int(text)
        except ValueError:
            raise InvalidFilter(f"The value of {name} is not a number.", pointer=name) from None
    if kind == "flag":
        return text.lower() == "true"
    return text
