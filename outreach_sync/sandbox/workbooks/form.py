"""A request's parameters, sorted out: control parameters, filters, columns, and the square array of objects.

Source: API developers guide, sections on fetching and on changing objects.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.sandbox.workbooks.conditions import MalformedError
from outreach_sync.sandbox.workbooks.filters import RawFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_VALUE = ":no_value:"
NULL_VALUE = ":null_value:"
MOST_OBJECTS = 100
_LISTS = {
    "_ff": "_ff[]",
    "_ft": "_ft[]",
    "_fc": "_fc[]",
    "_fm[]": "_fm",
}
_FALSE_WORDS = ("", "0", "false", "False", "None")
_FILTER_PARTS = 3


class Form(NamedTuple):
    """The parameters of one request. `lists` are those that come several times, `arrays` the fields of its objects."""

    controls: Mapping[str, str]
    lists: Mapping[str, list[str]]
    arrays: Mapping[str, list[str]]

    def flag(self, name: str) -> bool | None:
        """Tell whether a control parameter is set to something true; None where it is not sent."""
        value = self.controls.get(name)
        return None if value is None else value not in _FALSE_WORDS

    def number(self, name: str) -> int | None:
        """Give a control parameter as a number; None where it is not sent or is none."""
        value = self.controls.get(name, "")
        return int(value) if value.isdecimal() else None


class Row(NamedTuple):
    """One object of a write. `fields` are the attributes that were sent for it: text, or None for null."""

    method: str
    id: int
    lock_version: int
    fields: Mapping[str, str | None]


def sort_out(pairs: Iterable[tuple[str, str]]) -> Form:
    """Sort the parameters of a request; of a control parameter that comes twice, the last counts."""
    controls: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    arrays: dict[str, list[str]] = {}
    for sent, value in pairs:
        name = _LISTS.get(sent, sent)
        if not name.endswith("[]"):
            controls[name] = value
        elif (name.startswith("_") and name != "__method[]") or name == "class_names[]":
            lists.setdefault(name, []).append(value)
        else:
            arrays.setdefault(name[:-2], []).append(value)
    return Form(controls, lists, arrays)


def filters_of(form: Form) -> list[RawFilter]:
    """Put the filters together.

    Raises:
        MalformedError: the three arrays are not equally long, or ``_filter_json`` is no list of threes.
    """
    if "_filter_json" in form.controls:
        return _filters_of_json(form.controls["_filter_json"])
    fields, types, values = (form.lists.get(name, []) for name in ("_ff[]", "_ft[]", "_fc[]"))
    if not len(fields) == len(types) == len(values):
        raise MalformedError("the filter arrays _ff[], _ft[] and _fc[] differ in length")
    return [RawFilter(*parts) for parts in zip(fields, types, values, strict=True)]


def rows_of(form: Form) -> list[Row]:
    """Read the square array.

    Raises:
        MalformedError: the arrays differ in length, or ``__method[]``, ``id[]`` or ``lock_version[]`` is missing.
    """
    arrays = form.arrays
    missing = [name for name in ("__method", "id", "lock_version") if name not in arrays]
    if missing:
        raise MalformedError(f"{missing[0]}[] must be given for each object")
    count = len(arrays["id"])
    unequal = [name for name, values in arrays.items() if len(values) != count]
    if unequal:
        raise MalformedError(f"{unequal[0]}[] was not given as often as id[]")
    names = {name: _attribute(name) for name in arrays if name not in ("__method", "id", "lock_version")}
    return [_row(arrays, names, position) for position in range(count)]


def _row(arrays: Mapping[str, list[str]], names: Mapping[str, str], position: int) -> Row:
    sent = ((attribute, arrays[name][position]) for name, attribute in names.items())
    fields = {name: None if value == NULL_VALUE else value for name, value in sent if value != NO_VALUE}
    return Row(
        arrays["__method"][position].upper(),
        _whole_number(arrays["id"][position]),
        _whole_number(arrays["lock_version"][position]),
        fields,
    )


def _filters_of_json(text: str) -> list[RawFilter]:
    try:
        document = json.loads(text)
    except ValueError:
        raise MalformedError("_filter_json is not JSON") from None
    if not isinstance(document, list) or any(
        not isinstance(one, list) or len(one) != _FILTER_PARTS for one in document
    ):
        raise MalformedError("_filter_json must be a list of [field, type, criteria]")
    return [RawFilter(*(str(part) for part in one)) for one in document]


def _attribute(name: str) -> str:
    """Turn ``a[b][c]``, as it is sent, into ``a[b[c]]``, as the attribute is called."""
    if name.count("[") < 2:  # noqa: PLR2004 - nested once: as it is
        return name
    parts = name.replace("]", "").split("[")
    return "[".join(parts) + "]" * (len(parts) - 1)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise MalformedError(f"'{text}' is not a number")
    return int(text)
