"""Looking records up by lists of values, in as few requests as can be trusted.

`eq` with a comma-separated list is Workbooks' "in" (guide). A look-up has been read to its end only when a page was
short, so a list asks for a few values less than a page has rows: then even one match each leaves the page short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.errors import UntrustedAnswerError
from outreach_sync.workbooks.formats import read_boolean, read_integer, read_text
from outreach_sync.workbooks.wire import PAGE_ROWS, Filter, Reading, Row, including_deleted, list_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from outreach_sync.workbooks.client import WorkbooksClient

UNIQUE_VALUES = 99
"""How many values to ask for at once where each is expected to match once: a page less one."""
SHARED_VALUES = 96
"""Likewise where a few may match several records, such as e-mail addresses."""


def rows_by_id(
    client: WorkbooksClient,
    controller: str,
    ids: Iterable[int],
    columns: tuple[str, ...],
    *,
    include_deleted: bool,
) -> list[Row]:
    """Read records by id, 100 a request: once every id came back no further page is needed. Raises as `client.read`."""
    unique = sorted({str(record_id) for record_id in ids}, key=int)
    rows: list[Row] = []
    for chunk in _chunks(unique, PAGE_ROWS):
        reading = _reading("id", chunk, columns, include_deleted=include_deleted)
        rows += client.read(controller, reading, asked_for=_holds("id", frozenset(chunk)), at_most=len(chunk))
    return rows


def rows_by_field(
    client: WorkbooksClient,
    controller: str,
    field: str,
    values: Iterable[str],
    columns: tuple[str, ...],
    *,
    include_deleted: bool = False,
    per_request: int = SHARED_VALUES,
    spellings: Callable[[str], Sequence[str]] = lambda value: (value,),
    folded: Callable[[str], str] = str,
) -> list[Row]:
    """Read records whose field equals one of the values; empty values match nothing.

    `spellings` are the forms of one value to ask for; `folded` is the form in which a value and what came back must be
    equal, since Workbooks' own comparison is not documented. Raises as `client.read`.
    """
    unique = tuple(dict.fromkeys(value for value in values if value.strip()))
    rows: dict[int, Row] = {}
    for chunk in _value_chunks(unique, per_request):
        asked = tuple(dict.fromkeys(spelling for value in chunk for spelling in spellings(value)))
        wanted = _holds(field, frozenset(map(folded, chunk)), folded)
        for listed in _lists(asked):
            reading = _reading(field, listed, (*columns, field), include_deleted=include_deleted)
            found = client.read(controller, reading, asked_for=wanted if include_deleted else _live(wanted))
            rows |= {record_id(row): row for row in found}
    return list(rows.values())


def record_id(row: Row) -> int:
    """Return the id of a row.

    Raises:
        UntrustedAnswerError: it has none.
    """
    number = read_integer(row.get("id"))
    if number is None:
        raise UntrustedAnswerError("Workbooks returned a record without an id.")
    return number


def _reading(field: str, values: Sequence[str], columns: tuple[str, ...], *, include_deleted: bool) -> Reading:
    filters: tuple[Filter, ...] = (Filter(field, "eq", list_value(values)),)
    logic = ""
    if include_deleted:
        filters, logic = including_deleted(filters)
    return Reading(filters, tuple(dict.fromkeys(columns)), logic)


def _holds(field: str, values: frozenset[str], folded: Callable[[str], str] = str) -> Callable[[Row], bool]:
    return lambda row: folded(read_text(row.get(field)) or "") in values


def _live(wanted: Callable[[Row], bool]) -> Callable[[Row], bool]:
    return lambda row: wanted(row) and not read_boolean(row.get("is_deleted"))


def _value_chunks(values: Sequence[str], per_request: int) -> Iterator[Sequence[str]]:
    """Cut values into requests; one with a backslash, which may escape its neighbour, goes alone."""
    plain = [value for value in values if "\\" not in value]
    yield from _chunks(plain, PAGE_ROWS if len(plain) <= PAGE_ROWS else per_request)
    for value in values:
        if "\\" in value:
            yield (value,)


def _lists(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Put values as they can be asked for: together, but one with a backslash alone and in two ways.

    Whether a backslash escapes more than a comma, and so itself, is not documented; what the wrong way finds is not
    what was asked for.
    """
    if not any("\\" in value for value in values):
        yield values
        return
    for value in values:
        yield (value,)
        yield (value.replace("\\", "\\\\"),)


def _chunks(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
