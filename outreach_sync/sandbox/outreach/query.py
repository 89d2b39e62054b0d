"""A request's query string, read and checked: what is asked of a list or a single record.

Filters come in two syntaxes. Old (the default): ``A..B``, ``A..inf``, ``neginf..B``, lists ``1,2,3``, ``__null__``,
``__notnull__``. New (``newFilterSyntax=true``): ``[gte]``, ``[lte]``, lists as ``[]``. Mixing is refused as Outreach
does it. Whatever is unknown, not possible or malformed raises `Refusal`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from outreach_sync import instants
from outreach_sync.sandbox.outreach.schema import NAMED_TYPES, RESOURCES
from outreach_sync.sandbox.outreach.store import api_time
from outreach_sync.sandbox.outreach.trouble import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.sandbox.outreach.schema import Kind, Resource

DEFAULT_PAGE = 50
_OFFSET_ROWS = 10_000
"""Offset paging ends here; beyond it a cursor is needed."""
_LARGEST_PAGE = 1000
_BRACKETED = re.compile(r"\[([^\]]*)\]")
_BOUND_WORDS = {"gte", "lte"}
_FIELDS = re.compile(r"fields\[(\w+)\]")
_KNOWN = {"count", "newFilterSyntax", "provideDataConnections", "sort", "include"} | {
    f"page[{word}]" for word in ("size", "after", "offset", "limit")
}

Parameters = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: the value at `path` (attribute, or relationship and attribute) against `operator`.

    ``range`` uses `low` and `high`, both inclusive, None for open; ``any`` uses `values`.
    """

    path: tuple[str, ...]
    operator: Literal["range", "any", "null", "notnull"]
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
class Page:
    """Which part of a list is asked for: `size` rows `after` a cursor, or from `offset` (None: cursors)."""

    size: int
    after: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Everything a query string may say. `fields` holds only types that were named; `sort` is (name, descending)."""

    conditions: tuple[Condition, ...]
    sort: tuple[tuple[str, bool], ...]
    fields: Mapping[str, tuple[str, ...]]
    include: tuple[str, ...]
    page: Page
    count: bool
    data_connections: bool


def parse(resource: Resource, parameters: Parameters) -> Query:
    """Read the query string of a request for `resource`."""
    filters = [pair for pair in parameters if pair[0].startswith("filter[")]
    rest = dict(pair for pair in parameters if not pair[0].startswith("filter["))
    for name in rest:
        if name not in _KNOWN and not _FIELDS.fullmatch(name):
            raise Refusal("validationError", f"There is no parameter {name}.", pointer=name)
    order = [(word.removeprefix("-"), word.startswith("-")) for word in _names(rest.get("sort", ""))]
    for name, _ in order:
        attribute = resource.attribute(name)
        by_id = name == "id" and resource.type == "event"  # in use by a commercial connector; unheard of elsewhere
        if not by_id and (attribute is None or not attribute.sortable):
            raise Refusal("validationError", f"{resource.type} cannot be sorted by {name}.", pointer="sort")
    include = tuple(_names(rest.get("include", "")))
    for name in include:
        relation = resource.relationships.get(name)
        if relation is None or relation.shape == "links":
            raise Refusal("validationError", f"{resource.type} cannot include {name}.", pointer="include")
    return Query(
        conditions=_conditions(resource, filters, new=rest.get("newFilterSyntax") == "true"),
        sort=tuple(order),
        fields={m[1]: _field_names(m[1], text) for name, text in rest.items() if (m := _FIELDS.fullmatch(name))},
        include=include,
        page=_page(rest),
        count=rest.get("count") == "true",
        data_connections=rest.get("provideDataConnections") == "true",
    )


def without_repeats(parameters: Parameters) -> Parameters:
    """Keep the last of several parameters of one name, except lists (``name[]``), where a value counts once.

    There are clients (tap-outreach) that send their parameters again with the next link, which has them already.
    """
    lists = [pair for pair in dict.fromkeys(parameters) if pair[0].endswith("[]")]
    return [*dict(pair for pair in parameters if not pair[0].endswith("[]")).items(), *lists]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _field_names(type_: str, text: str) -> tuple[str, ...]:
    resource, names = RESOURCES.get(type_), _names(text)
    if resource is None and type_ in NAMED_TYPES:
        return tuple(names)  # the type exists, and no record of it is ever shown
    if resource is None:
        raise Refusal("validationError", f"There is no resource type {type_}.", pointer=f"fields[{type_}]")
    for name in names:
        if not resource.knows(name):
            raise Refusal("validationError", f"{type_} has no field {name}.", pointer=f"fields[{type_}]")
    return tuple(dict.fromkeys(names))


def _page(parameters: Mapping[str, str]) -> Page:
    after = parameters.get("page[after]")
    by_offset = [name for name in ("page[offset]", "page[limit]") if name in parameters]
    if "page[size]" in parameters:
        size = _number(parameters, "page[size]", DEFAULT_PAGE, lowest=1)
        if by_offset:
            raise Refusal("validationError", "Cursors and offsets cannot be mixed.", pointer=by_offset[0])
        if size > _LARGEST_PAGE:
            raise Refusal("validationError", f"A page has at most {_LARGEST_PAGE} rows.", pointer="page[size]")
        return Page(size, after)
    if after is not None:
        raise Refusal("validationError", "A cursor needs page[size].", pointer="page[after]")
    size = min(_number(parameters, "page[limit]", DEFAULT_PAGE, lowest=1), _LARGEST_PAGE)
    offset = _number(parameters, "page[offset]", 0, lowest=0)
    if offset + size > _OFFSET_ROWS:
        raise Refusal("validationError", f"Offsets end at {_OFFSET_ROWS} rows; use page[size].", pointer="page[offset]")
    return Page(size, offset=offset)


def _number(parameters: Mapping[str, str], name: str, default: int, *, lowest: int) -> int:
    text = parameters.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < lowest:
        raise Refusal("validationError", f"{name} takes a whole number from {lowest}.", pointer=name)
    return int(text)


# -- filters


def _conditions(resource: Resource, parameters: Sequence[tuple[str, str]], *, new: bool) -> tuple[Condition, ...]:
    """Read all ``filter[...]`` parameters of a request."""
    grouped: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for name, value in parameters:
        parts = tuple(_BRACKETED.findall(name))
        word = parts[-1] if new and parts and parts[-1] in _BOUND_WORDS | {""} else "="
        grouped.setdefault((parts if word == "=" else parts[:-1], word), []).append(value)
    return tuple(_condition(resource, path, word, values, new=new) for (path, word), values in grouped.items())


def _condition(resource: Resource, path: tuple[str, ...], word: str, values: list[str], *, new: bool) -> Condition:
    kind, text = _kind(resource, path), values[-1]
    if word in _BOUND_WORDS:
        bound = _parsed(path, kind, text)
        return Condition(path, "range", low=bound) if word == "gte" else Condition(path, "range", high=bound)
    if word == "":
        return Condition(path, "any", values=frozenset(_parsed(path, kind, value) for value in values))
    if text in {"__null__", "__notnull__"}:
        return Condition(path, "null" if text == "__null__" else "notnull")
    if not new and kind in {"time", "number"} and ".." in text:
        start, _, end = text.partition("..")
        low = None if start == "neginf" else _parsed(path, kind, start)
        return Condition(path, "range", low, None if end == "inf" else _parsed(path, kind, end))
    listed = [text] if new else text.split(",")
    return Condition(path, "any", values=frozenset(_parsed(path, kind, part) for part in listed))


def _kind(resource: Resource, path: tuple[str, ...]) -> Kind:
    """Find the kind of value a filter compares with, and refuse what cannot be filtered."""
    name = ".".join(path)
    refused = Refusal("filterParameter.invalid", f"{resource.type} cannot be filtered by {name}.", pointer=name)
    if path == ("id",):
        return "number"
    if len(path) == 1:
        attribute = resource.attribute(path[0])
        if attribute is None or not attribute.filterable:
            raise refused
        return attribute.kind
    relation = resource.relationships.get(path[0]) if path else None
    if relation is None or len(path) != 2 or not {path[1], "*"} & set(relation.filters):  # noqa: PLR2004 - name, part
        raise refused
    if path[1] == "id":
        return "number"
    target = RESOURCES.get(relation.types[0])
    attribute = None if target is None else target.attribute(path[1])
    if attribute is not None and "*" in relation.filters and not attribute.filterable:
        raise refused
    return "text" if attribute is None else attribute.kind


def _parsed(path: tuple[str, ...], kind: Kind, text: str) -> Any:
    name = ".".join(path)
    if kind == "time":
        try:
            return api_time(instants.parse_iso(text))
        except ValueError:
            raise Refusal(
                "filterParameter.invalidDatetimeFormat", f"The value of {name} is not a date and time.", pointer=name
            ) from None
    if kind == "number":
        try:
            return int(text)
        except ValueError:
            raise Refusal("filterParameter.invalid", f"The value of {name} is not a number.", pointer=name) from None
    return text.lower() == "true" if kind == "flag" else text
