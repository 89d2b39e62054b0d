"""Requests to Workbooks as form bodies: pairs of names and values, percent-encoded.

Pure: nothing is sent here. Facts: the API developers guide (reading, writing, "square arrays") and the PHP binding for
how nested names are spelled. Everything goes in the body of a POST, with `_method` saying what is meant, so that no
proxy log holds the key and no list of ids is too long for a URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from outreach_sync.workbooks.formats import to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outreach_sync.records import Write, WriteValue

NO_VALUE = ":no_value:"
"""Leaves a field alone: for the object that lacks it in a request where another has it."""
NULL_VALUE = ":null_value:"
"""Sets a field to null."""
PAGE_ROWS = 100
"""The documented safe maximum of rows in an answer, and of objects in a write."""

Pair = tuple[str, str]

Row = Mapping[str, Any]
"""One record as it came, by column; `formats.read` parses the values."""


class Filter(NamedTuple):
    """One condition: a field, an operator of the guide (eq, gt, true...), and the value ('' where it takes none)."""

    field: str
    operator: str
    value: str


class Reading(NamedTuple):
    """Which rows, and which of their columns. `logic` joins the filters by their 1-based numbers; '' means all hold.

    `extra` are further parameters of the one controller that needs them (`class_names[]` for metadata).
    """

    filters: tuple[Filter, ...]
    columns: tuple[str, ...]
    logic: str = ""
    extra: tuple[Pair, ...] = ()


def encode(pairs: Iterable[Pair]) -> bytes:
    """Percent-encode as UTF-8 form data; the `[]` that ends a name stays as the guide shows it.

    Half a surrogate pair, which JSON can smuggle into a text, has no UTF-8 and becomes a question mark.
    """
    return "&".join(f"{_encode_name(name)}={_quote(value)}" for name, value in pairs).encode("ascii")


def credentials(api_key: str) -> list[Pair]:
    """Name the key and the API version, as every request must."""
    return [("client", "api"), ("api_version", "1"), ("api_key", api_key)]


def read_pairs(reading: Reading, *, paged: bool = True, skip_totals: Sequence[str] = ()) -> list[Pair]:
    """Spell out a read: one page of at most 100 rows in the order of their ids.

    `_limit` does nothing without `_start` (guide).
    `skip_totals` are the spellings of "do not count" to send: the guide and the bindings differ.
    """
    pairs = [("_method", "GET"), *reading.extra]
    if paged:
        pairs += [("_start", "0"), ("_limit", str(PAGE_ROWS)), ("_sort", "id"), ("_dir", "ASC")]
        pairs += [(name, "true") for name in skip_totals]
    if reading.logic:
        pairs.append(("_fm", reading.logic))
    return pairs + _filter_pairs(reading.filters) + [("_select_columns[]", column) for column in reading.columns]


def write_pairs(writes: Sequence[Write]) -> list[Pair]:
    """Spell out a write: a filter that selects exactly the objects, then each object with the same names in one order.

    Raises:
        ValueError: an id occurs twice, or a value cannot be sent (`unsendable` tells beforehand).
    """
    ids = [write.id for write in writes if write.id]
    if len(set(ids)) != len(ids):
        raise ValueError("a record occurs twice in one write")
    columns = tuple(dict.fromkeys(name for write in writes for name in write.fields))
    pairs = [("_method", "PUT"), ("_strict_attribute_checking", "1"), ("_per_object_transactions", "1")]
    pairs += _working_set(writes)
    for write in writes:
        pairs += _object_pairs(write, columns)
    return pairs


def unsendable(write: Write) -> str | None:
    """Say which field holds a text that Workbooks would take for a command; None where all can be sent."""
    reserved = [name for name, value in write.fields.items() if value in (NO_VALUE, NULL_VALUE)]
    return (
        f"{reserved[0]}: the text '{write.fields[reserved[0]]}' has a special meaning and cannot be sent"
        if reserved
        else None
    )


def list_value(values: Iterable[str]) -> str:
    """Join values for `eq`, which splits at commas: a comma of their own is escaped with a backslash (guide)."""
    return ",".join(value.replace(",", "\\,") for value in values)


def including_deleted(filters: tuple[Filter, ...]) -> tuple[tuple[Filter, ...], str]:
    """Extend filters so that deleted rows come too, which are hidden unless `is_deleted` is in the filter (guide).

    Returns:
        The filters and the logic that joins them.
    """
    count = len(filters)
    numbers = " AND ".join(str(number) for number in range(1, count + 1))
    either = (Filter("is_deleted", "true", ""), Filter("is_deleted", "false", ""))
    return (*filters, *either), f"{numbers} AND ({count + 1} OR {count + 2})"


def beyond(reading: Reading, last_id: int) -> Reading:
    """Ask for the rows after this id. An offset would shift, and skip rows, while others delete."""
    number = len(reading.filters) + 1
    logic = f"({reading.logic}) AND {number}" if reading.logic else ""
    return reading._replace(filters=(*reading.filters, Filter("id", "gt", str(last_id))), logic=logic)


def _filter_pairs(filters: Iterable[Filter]) -> list[Pair]:
    return [pair for one in filters for pair in (("_ff[]", one.field), ("_ft[]", one.operator), ("_fc[]", one.value))]


def _working_set(writes: Sequence[Write]) -> list[Pair]:
    ids = tuple(dict.fromkeys(str(write.id) for write in writes))
    joined = [("_fm", "or")] if len(ids) > 1 else []
    return joined + _filter_pairs(Filter("id", "eq", record_id) for record_id in ids)


def _object_pairs(write: Write, columns: tuple[str, ...]) -> list[Pair]:
    pairs = [
        ("__method[]", "PUT" if write.id else "POST"),
        ("id[]", str(write.id)),
        ("lock_version[]", str(write.lock_version)),
    ]
    return pairs + [(f"{nested_name(name)}[]", _field_text(write.fields, name)) for name in columns]


def _field_text(fields: Mapping[str, WriteValue], name: str) -> str:
    if name not in fields:
        return NO_VALUE
    value = fields[name]
    if value is None:
        return NULL_VALUE
    if value in (NO_VALUE, NULL_VALUE):
        raise ValueError(f"{name}: '{value}' has a special meaning and cannot be sent")
    return to_wire(value)


def nested_name(name: str) -> str:
    """Spell a name that is nested twice, ``a[b[c]]``, as the PHP binding does: ``a[b][c]``."""
    if name.count("[") < 2:  # noqa: PLR2004  # nested once: as it is
        return name
    head, *rest = name.replace("]", "").split("[")
    return head + "".join(f"[{part}]" for part in rest)


def _encode_name(name: str) -> str:
    return f"{_quote(name[:-2])}[]" if name.endswith("[]") else _quote(name)


def _quote(text: str) -> str:
    return quote(text, safe="", errors="replace")
