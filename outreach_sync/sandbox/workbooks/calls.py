"""One request, understood: what it is for, its parameters sorted out, its filters and the objects it writes.

Source: API developers guide, sections on fetching and on changing objects.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from outreach_sync.sandbox.workbooks.reading import MalformedError, RawFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from outreach_sync.sandbox.server import Request

METADATA = "metadata/types"
PAGES = ("/", "/login")
"""Addresses of the web application, to which redirects lead: pages for people, whatever the method."""
DELAY = "/delay/"
"""Where a delaying redirect leads, with a word that stands for the request that was sent there."""
MOST_OBJECTS = 100
_NO_VALUE, _NULL_VALUE = ":no_value:", ":null_value:"
FORM = "application/x-www-form-urlencoded"
_LISTS = {"_ff": "_ff[]", "_ft": "_ft[]", "_fc": "_fc[]", "_fm[]": "_fm"}
_FALSE_WORDS = ("", "0", "false", "False", "None")
_HEAD = ("__method", "id", "lock_version")
_METHODS = ("POST", "PUT", "DELETE")
_SHOWN_CONTROLS = 60


class Row(NamedTuple):
    """One object of a write. `fields` are the attributes that were sent for it: text, or None for null."""

    method: str
    id: int
    lock_version: int
    fields: Mapping[str, str | None]


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

    def filters(self) -> list[RawFilter]:
        """Put the filters together."""
        if "_filter_json" in self.controls:
            try:
                sent = json.loads(self.controls["_filter_json"])
                return [RawFilter(str(field), str(kind), str(value)) for field, kind, value in sent]
            except (TypeError, ValueError):
                raise MalformedError("_filter_json must be a list of [field, type, criteria]") from None
        fields, types, values = (self.lists.get(name, []) for name in ("_ff[]", "_ft[]", "_fc[]"))
        if not len(fields) == len(types) == len(values):
            raise MalformedError("the filter arrays _ff[], _ft[] and _fc[] differ in length")
        return [RawFilter(*parts) for parts in zip(fields, types, values, strict=True)]

    def rows(self) -> list[Row]:
        """Read the square array of objects."""
        missing = [name for name in _HEAD if name not in self.arrays]
        if missing:
            raise MalformedError(f"{missing[0]}[] must be given for each object")
        count = len(self.arrays["id"])
        unequal = [name for name, values in self.arrays.items() if len(values) != count]
        if unequal:
            raise MalformedError(f"{unequal[0]}[] was not given as often as id[]")
        if count > MOST_OBJECTS:
            raise MalformedError(f"no more than {MOST_OBJECTS} objects may be changed in one request")
        names = {name: _attribute(name) for name in self.arrays if name not in _HEAD}
        rows = [self._row(names, position) for position in range(count)]
        ids = [row.id for row in rows if row.id]
        if len(ids) != len(set(ids)):
            raise MalformedError("an object occurs twice in the request")
        return rows

    def _row(self, names: Mapping[str, str], position: int) -> Row:
        sent = {own: self.arrays[name][position] for name, own in names.items()}
        fields = {name: None if value == _NULL_VALUE else value for name, value in sent.items() if value != _NO_VALUE}
        method, id_, lock_version = (self.arrays[name][position] for name in _HEAD)
        if not id_.isdecimal() or not lock_version.isdecimal():
            raise MalformedError(f"'{id_}' and '{lock_version}' must be numbers")
        if method.upper() not in _METHODS or (method.upper() == "POST") != (int(id_) == 0):
            raise MalformedError(f"'{method}' is not a valid method for id {id_}")
        return Row(method.upper(), int(id_), int(lock_version), fields)


class Call(NamedTuple):
    """A request, understood.

    `kind` is what the journal calls it: ``read crm/people``, ``write activity/tasks``, ``login``, ``logout``, ``page``,
    ``delay``.
    """

    request: Request
    kind: str
    method: str
    controller: str
    pairs: list[tuple[str, str]]
    form: Form

    @property
    def writes(self) -> bool:
        """Tell whether it changes records."""
        return self.kind.startswith("write")

    def summary(self) -> list[tuple[str, str]]:
        """Give its parameters for the journal; the objects of a write only as their number and their fields."""
        if not self.writes:
            return self.pairs
        arrays = self.form.arrays
        control = [pair for pair in self.pairs if not pair[0].endswith("[]")][:_SHOWN_CONTROLS]
        ids = arrays.get("id", [])
        fields = ",".join(name for name in arrays if name not in _HEAD)
        return [*control, ("objects", str(len(ids))), ("ids", ",".join(ids)), ("fields", fields)]


def understand(request: Request) -> Call:
    """Read a request; a body that is no form says nothing. Of a control parameter that comes twice, the last counts."""
    pairs = list(request.query)
    if is_form(request):
        pairs += parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    form = _sort_out(pairs)
    method = form.controls.get("_method", request.method).upper()
    controller = request.path.strip("/").removesuffix(".api")
    if request.path in PAGES:
        kind = "page"
    elif request.path.startswith(DELAY):
        kind = "delay"
    elif controller in ("login", "logout"):
        kind = controller
    else:
        kind = f"{'read' if method == 'GET' else 'write'} {controller}"
    return Call(request, kind, method, controller, pairs, form)


def is_form(request: Request) -> bool:
    """Tell whether the body of a request is a form, as it must be where there is one."""
    return (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower() == FORM


def _sort_out(pairs: Iterable[tuple[str, str]]) -> Form:
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


def _attribute(name: str) -> str:
    """Turn ``a[b][c]``, as it is sent, into ``a[b[c]]``, as the attribute is called."""
    parts = name.replace("]", "").split("[")
    return "[".join(parts) + "]" * (len(parts) - 1)
