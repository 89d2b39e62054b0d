"""A request's query string, read and checked: what is asked of a list or a single record."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outreach_sync.sandbox.outreach.filters import Condition, FilterSyntax
from outreach_sync.sandbox.outreach.refusals import InvalidParameter
from outreach_sync.sandbox.outreach.schema import NAMED_TYPES, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.sandbox.outreach.schema import Resource

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000
OFFSET_ROWS = 10_000
"""Offset paging ends here; beyond it a cursor is needed."""

_FIELDS = re.compile(r"fields\[(\w+)\]")
_SWITCHES = {"count", "newFilterSyntax", "provideDataConnections"}
_PAGE_KEYS = {"page[size]", "page[after]", "page[before]", "page[offset]", "page[limit]"}

Parameters = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is asked for: `size` rows `after` or `before` a cursor, or from `offset` (None: cursors)."""

    size: int
    after: str | None = None
    before: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Everything a query string may say. `fields` holds only types that were named; `sort` is (name, descending)."""

    conditions: tuple[Condition, ...]
    sort: tuple[tuple[str, bool], ...]
    fields: Mapping[str, tuple[str, ...]]
    include: tuple[str, ...]
    page: PageRequest
    count: bool | None
    data_connections: bool = False


def parse(
    resource: Resource, parameters: Parameters, *, refuse_neginf: bool = False, offset_rows: int = OFFSET_ROWS
) -> Query:
    """Read the query string of a request for `resource`.

    Raises:
        Refusal: something in it is unknown, not possible or malformed.
    """
    filters = [(name, value) for name, value in parameters if name.startswith("filter[")]
    rest = dict(pair for pair in parameters if not pair[0].startswith("filter["))
    _refuse_unknown(rest)
    syntax = FilterSyntax(new=rest.get("newFilterSyntax") == "true", refuse_neginf=refuse_neginf)
    return Query(
        conditions=syntax.conditions(resource, filters),
        sort=_sort(resource, rest.get("sort", "")),
        fields=_fields(rest),
        include=_include(resource, rest.get("include", "")),
        page=_page(rest, offset_rows),
        count={"true": True, "false": False}.get(rest.get("count", "")),
        data_connections=rest.get("provideDataConnections") == "true",
    )


def without_repeats(parameters: Parameters) -> Parameters:
    """Keep the last of several parameters of one name, except lists (``name[]``), where a value counts once.

    There are clients (tap-outreach) that send their parameters again with the next link, which has them already.
    """
    lists = [pair for pair in dict.fromkeys(parameters) if pair[0].endswith("[]")]
    return [*dict(pair for pair in parameters if not pair[0].endswith("[]")).items(), *lists]


def _refuse_unknown(parameters: Mapping[str, str]) -> None:
    for name in parameters:
        known = name in _SWITCHES | _PAGE_KEYS | {"sort", "include"} or _FIELDS.fullmatch(name)
        if not known and not name.startswith("actionParams["):
            raise InvalidParameter(f"There is no parameter {name}.", pointer=name)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _sort(resource: Resource, text: str) -> tuple[tuple[str, bool], ...]:
    order = [(word.removeprefix("-"), word.startswith("-")) for word in _names(text)]
    for name, _ in order:
        attribute = resource.attribute(name)
        by_id = name == "id" and resource.type == "event"  # in use by a commercial connector; unheard of elsewhere
        if not by_id and (attribute is None or not attribute.sortable):
            raise InvalidParameter(f"{resource.type} cannot be sorted by {name}.", pointer="sort")
    return tuple(order)


def _fields(parameters: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    chosen: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for parameter, text in parameters.items():
        match = _FIELDS.fullmatch(parameter)
        if match is not None:
            chosen[match[1]] = _known_names(match[1], _names(text))
    return dict(chosen)


def _known_names(type_: str, names: Sequence[str]) -> tuple[str, ...]:
    resource = RESOURCES.get(type_)
    if resource is None and type_ in NAMED_TYPES:
        return tuple(names)  # the type exists, and no record of it is ever shown
    if resource is None:
        raise InvalidParameter(f"There is no resource type {type_}.", pointer=f"fields[{type_}]")
    for name in names:
        if not resource.knows(name):
            raise InvalidParameter(f"{type_} has no field {name}.", pointer=f"fields[{type_}]")
    return tuple(dict.fromkeys(names))


def _include(resource: Resource, text: str) -> tuple[str, ...]:
    for name in _names(text):
        relation = resource.relationships.get(name)
        if relation is None or relation.shape == "links":
            raise InvalidParameter(f"{resource.type} cannot include {name}.", pointer="include")
    return tuple(_names(text))


def _page(parameters: Mapping[str, str], offset_rows: int) -> PageRequest:
    if "page[size]" not in parameters:
        return _offset_page(parameters, offset_rows)
    if "page[offset]" in parameters or "page[limit]" in parameters:
        raise InvalidParameter("Cursors and offsets cannot be mixed.", pointer="page[offset]")
    size = _number(parameters, "page[size]", DEFAULT_PAGE, lowest=1)
    if size > LARGEST_PAGE:
        raise InvalidParameter(f"A page has at most {LARGEST_PAGE} rows.", pointer="page[size]")
    return PageRequest(size=size, after=parameters.get("page[after]"), before=parameters.get("page[before]"))


def _offset_page(parameters: Mapping[str, str], rows: int) -> PageRequest:
    for name in ("page[after]", "page[before]"):
        if name in parameters:
            raise InvalidParameter("A cursor needs page[size].", pointer=name)
    size = min(_number(parameters, "page[limit]", DEFAULT_PAGE, lowest=1), LARGEST_PAGE)
    offset = _number(parameters, "page[offset]", 0, lowest=0)
    if offset + size > rows:
        raise InvalidParameter(f"Offsets end at {rows} rows; use page[size].", pointer="page[offset]")
    return PageRequest(size=size, offset=offset)


def _number(parameters: Mapping[str, str], name: str, default: int, *, lowest: int) -> int:
    text = parameters.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < lowest:
        raise InvalidParameter(f"{name} takes a whole number from {lowest}.", pointer=name)
    return int(text)
