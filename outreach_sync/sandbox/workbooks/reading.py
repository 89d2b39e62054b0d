"""Reads: which records filters select, the rows of a page, and what is told about classes.

Source: API developers guide (Fetching, Filtering Types, Boolean expressions, Metadata).
"""

from __future__ import annotations

import ast
import math
import operator
import re
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from outreach_sync.sandbox.workbooks import schema
from outreach_sync.sandbox.workbooks.schema import PERSON, PICKLIST, TEXT_TYPES, TRUE_WORDS
from outreach_sync.sandbox.workbooks.store import loose

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.calls import Call, Form
    from outreach_sync.sandbox.workbooks.schema import Field, Values
    from outreach_sync.sandbox.workbooks.store import Record, Table, WorkbooksStore

    Test = Callable[[Any], bool]
    Known = Collection[int] | None

MOST_ROWS = 100
_SKIP_TOTALS = ("__skip_total_rows", "_skip_total_rows")
_ACTIONS = ("index", "show", "create", "update", "destroy")
_RIGHTS = {"index": "read", "show": "read", "create": "create", "update": "update"}
_NUMBER_TYPES = ("integer", "has_one")
_TIME_TYPES = ("date", "datetime", "var_date_time")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_OPPOSITES = ("ne", "not_blank", "false", "nct", "nbg")
_VAR_MOMENT = re.compile(r"([^,\\]+),([01]),([A-Za-z][\w+/-]*)", re.ASCII)
"""A ``var_date_time`` in full, whose own commas separate no values."""
_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_UNINDEXED = ("lock_version", "created_by", "updated_by", "type", "created_through")


class MalformedError(Exception):
    """The request makes no sense; the text goes into the answer's ``failures``, which has status 200 nearly always."""

    def __init__(self, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Take the text and the answer's status."""
        super().__init__(text)
        self.status = status


class RawFilter(NamedTuple):
    """A filter as it was sent."""

    field: str
    operator: str
    value: str


class Setting(NamedTuple):
    """What filters are read against: the user's zone, and the faults that settle open questions about ``eq``."""

    zone: str
    faults: FaultBoard

    def alike(self, value: Any) -> str:
        """Give what texts that ``eq`` takes for the same have in common."""
        text = "" if value is None else str(value)
        if self.faults.fires("eq_without_blanks"):
            text = text.strip()
        if self.faults.fires("eq_without_accents"):
            text = loose(text, strip=False)
        return text if self.faults.fires("eq_case_sensitive") else text.lower()

    def values(self, text: str) -> list[str]:
        """Split the value of ``eq`` at commas that no backslash precedes; it may escape other characters too."""
        if not self.faults.fires("backslash_escapes"):
            return [part.replace("\\,", ",") for part in _UNESCAPED_COMMA.split(text)]
        parts, rest = [""], iter(text)
        for one in rest:
            if one == ",":
                parts.append("")
            else:
                parts[-1] += next(rest, one) if one == "\\" else one
        return parts

    def span(self, text: str) -> tuple[int, int]:
        """Read a day or a second as a stretch of time, the end not included."""
        try:
            moment = schema.read_var(text.strip(), self.zone)
            end = schema.day_after(moment.day, self.zone) if moment.day else moment.at // 1000 * 1000 + 1000
        except (ValueError, OverflowError):
            raise MalformedError(f"'{text}' is not a valid date") from None
        return moment.at // 1000 * 1000, end

    def instant(self, value: Any, field: Field) -> int:
        """Read what a field of a time or a day holds."""
        if field.datatype == "date":
            return schema.day_moment(value, self.zone).at
        return int(value) if field.datatype == "datetime" else schema.read_var(value, "UTC").at


class Condition(NamedTuple):
    """Something that holds of a record or not; all it holds of are among the `candidates`, where those are known."""

    holds: Callable[[Record], bool]
    candidates: Known = None


def select(filters: Sequence[RawFilter], logic: str, table: Table, setting: Setting) -> Condition:
    """Turn filters and the ``_fm`` that joins them into one condition.

    The expressions of ``_fm``, such as ``1 AND (2 OR NOT 3)``, bind as Python's do, whose parser reads them.
    """
    words = logic.strip().lower()
    if words == "or" and all((one.field, one.operator) == ("id", "eq") for one in filters):
        filters = [RawFilter("id", "eq", ",".join(one.value for one in filters))]  # the usual working set, quicker
    conditions = [_condition(one, table, setting) for one in filters]
    if words in ("", "and", "or"):
        return _joined(conditions, every=words != "or")
    try:
        return _read(ast.parse(words, mode="eval").body, conditions)
    except (SyntaxError, ValueError):
        raise MalformedError(f"the filter expression '{logic}' is not valid") from None


def _read(node: ast.expr, conditions: list[Condition]) -> Condition:
    match node:
        case ast.BoolOp(joint, parts):
            return _joined([_read(part, conditions) for part in parts], every=isinstance(joint, ast.And))
        case ast.UnaryOp(ast.Not(), part):
            inner = _read(part, conditions)
            return Condition(lambda record: not inner.holds(record))
        case ast.Constant(int(number)) if 1 <= number <= len(conditions):
            return conditions[number - 1]
    raise ValueError


def _joined(parts: list[Condition], *, every: bool) -> Condition:
    known = [part.candidates for part in parts if part.candidates is not None]
    if every:
        return Condition(lambda record: all(part.holds(record) for part in parts), min(known, key=len, default=None))
    candidates = set().union(*known) if len(known) == len(parts) else None
    return Condition(lambda record: any(part.holds(record) for part in parts), candidates)


def _condition(raw: RawFilter, table: Table, setting: Setting) -> Condition:
    field, name, wanted = table.fields.get(raw.field), raw.operator, raw.value.lower()
    if field is None:
        raise MalformedError(f"'{raw.field}' is not a valid filter field")
    test: Test
    known: Known = None
    if name in ("eq", "ne"):
        test, known = _equal(raw.value, table, field, setting)
    elif name in _ORDER:
        test, known = _ordered(raw, table, field, setting)
    elif name in ("blank", "not_blank"):
        test = lambda value: value in (None, "")  # noqa: E731 - one of several
    elif name in ("true", "false") and field.datatype == "boolean":
        test = bool
    elif name in ("ct", "nct") and field.datatype in TEXT_TYPES:
        test = lambda value: wanted in str(value or "").lower()  # noqa: E731
    elif name in ("bg", "nbg") and field.datatype in TEXT_TYPES:
        test = lambda value: str(value or "").lower().startswith(wanted)  # noqa: E731
    else:
        raise MalformedError(f"'{name}' is not a valid filter type for '{raw.field}'")
    if name in _OPPOSITES:
        return Condition(lambda record: not test(table.value(record, field)))
    return Condition(lambda record: test(table.value(record, field)), known)


def _equal(text: str, table: Table, field: Field, setting: Setting) -> tuple[Test, Known]:
    """Give the test of a value, and the ids of the records that an index knows to pass it, if any does."""
    if field.datatype in _TIME_TYPES:
        spans = [setting.span(part) for part in setting.values(_VAR_MOMENT.sub(r"\1\\,\2\\,\3", text))]

        def falls(value: Any) -> bool:
            at = None if value is None else setting.instant(value, field)
            return at is not None and any(start <= at < end for start, end in spans)

        return falls, None
    parts = setting.values(text)
    if field.datatype == "boolean":
        wanted = {part in TRUE_WORDS for part in parts}
        return lambda value: bool(value) in wanted, None
    if field.datatype in _NUMBER_TYPES:
        numbers = {number for part in parts if (number := _number(part)) is not None}
        known = _known(table, field, [str(int(one)) for one in numbers])
        return lambda value: value is not None and float(value) in numbers, known
    texts = {setting.alike(part) for part in parts}
    return lambda value: setting.alike(value) in texts, _known(table, field, parts)


def _known(table: Table, field: Field, parts: list[str]) -> Known:
    if field.name in ("id", "object_ref"):
        numbers = (_number(part.rpartition("-")[2]) for part in parts)
        return {int(one) for one in numbers if one is not None and one in table.records}
    unindexed = field.name in _UNINDEXED or "[person_name]" in field.name
    return None if unindexed else table.near(field.name, parts)


def _ordered(raw: RawFilter, table: Table, field: Field, setting: Setting) -> tuple[Test, Known]:
    compare = _ORDER[raw.operator]
    if field.datatype in _TIME_TYPES:
        start, end = setting.span(raw.value)
        edge = end - 1 if raw.operator in ("gt", "le") else start
        return lambda value: value is not None and compare(setting.instant(value, field), edge), None
    bound = _number(raw.value)
    if bound is None or field.datatype not in _NUMBER_TYPES:
        raise MalformedError(f"'{raw.operator}' of '{raw.value}' is not valid for '{raw.field}'")
    known = table.ids(above=int(bound) - 1) if field.name == "id" and raw.operator in ("gt", "ge") else None
    return lambda value: value is not None and compare(float(value), bound), known


def _number(text: str) -> float | None:
    try:
        number = float(text) if "_" not in text else math.nan  # which Python alone takes for a number
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def may(faults: FaultBoard, action: str, record_class: str) -> bool:
    """Tell whether the key's user may take an action on records of a class."""
    fault = f"no_permission_to_{_RIGHTS.get(action, '')}"
    return action not in _RIGHTS or not faults.fires(fault, **{"class": record_class})


def may_set(faults: FaultBoard, field: Field, right: Literal["createable", "updateable"]) -> bool:
    """Tell whether the key's user may set a field, in creates or in updates."""
    return getattr(field, right) and not faults.fires(f"field_not_{right}", field=field.name)


def is_required(faults: FaultBoard, record_class: str, field: Field) -> bool:
    """Tell whether a record of a class cannot be created without the field."""
    options = faults.peek("field_required") or {}
    wanted = (options.get("class", PERSON), options.get("field", "person_job_title"))
    return field.required or (wanted == (record_class, field.name) and faults.fires("field_required"))


@dataclass
class Reader:
    """Reads records of one store, as the faults and the forms of values have it."""

    store: WorkbooksStore
    faults: FaultBoard
    values: Values

    def page(self, call: Call, table: Table) -> dict[str, Any]:
        """Answer a read of a list."""
        form, at = call.form, call.request.at
        if not may(self.faults, "index", table.record_class.name):
            status = HTTPStatus(self.faults.setting("no_permission_to_read", "status", HTTPStatus.FORBIDDEN))
            raise MalformedError("You do not have permission to read these records", status)
        with self.store.lock:
            filters = form.filters()
            if self.faults.fires("filter_ignored"):
                filters = []
            rows, total = self._window(form, table, self.matching(table, filters, form.controls.get("_fm", ""), at))
            columns = form.lists.get("_select_columns[]")
            data = [self.show(table, record, columns) for record in rows]
            for id_ in list(table.late):  # new records that stay hidden do so for one look-up less
                table.records[id_].hidden_reads -= 1
                if table.records[id_].hidden_reads <= 0:
                    table.late.discard(id_)
        return {"success": True, "data": data, "total": total}

    def matching(self, table: Table, filters: Sequence[RawFilter], logic: str, at: Instant) -> Iterator[Record]:
        """Go through the records that filters select and that can be seen, in the order of their ids."""
        filters = [_following_merges(one, table) for one in filters] if table.winners else filters
        condition = select(filters, logic if filters else "", table, Setting(self.store.zone, self.faults))
        with_deleted = any(one.field == "is_deleted" for one in filters) or self.faults.fires("deleted_listed")
        known = condition.candidates
        for id_ in table.ids() if known is None else sorted(known) if isinstance(known, set) else known:
            record = table.records[id_]
            if (with_deleted or not record.is_deleted) and self.sees(table, record, at) and condition.holds(record):
                yield record

    def sees(self, table: Table, record: Record, at: Instant) -> bool:
        """Tell whether the key's user can find a record at this time."""
        if not record.visible(at):
            return False
        hidden = self.faults.take("records_hidden")
        if hidden is None or hidden.get("class", PERSON) != table.record_class.name:
            return True
        return record.id not in hidden.get("ids", [record.id])

    def _window(self, form: Form, table: Table, matching: Iterator[Record]) -> tuple[list[Record], int]:
        """Cut out the page that was asked for, in its order, and count: all, or the page where that is wished."""
        start, limit = form.number("_start"), form.number("_limit")
        most = MOST_ROWS if start is None or limit is None else min(limit, MOST_ROWS)  # a limit needs a start (guide)
        start = start or 0
        name, descending = form.controls.get("_sort", "id"), form.controls.get("_dir", "ASC").upper() == "DESC"
        descending = descending or self.faults.fires("sort_ignored")
        if name not in table.fields:
            raise MalformedError(f"'{name}' is not a valid sort column")
        sent = [one for one in _SKIP_TOTALS if form.flag(one)]
        unknown = [one for one in sent if self.faults.fires("skip_total_unknown", spelling=one)]
        if unknown and self.faults.setting("skip_total_unknown", "refused", default=False):
            raise MalformedError(f"'{unknown[0]}' is not a recognised parameter")
        skips = sent != unknown
        if name == "id" and skips and not descending:
            rows = list(islice(matching, start, start + most))
            return rows, len(rows)
        field = table.fields[name]
        found = sorted(matching, key=lambda record: _sort_key(table.value(record, field)), reverse=descending)
        rows = found[start : start + most]
        return rows, len(rows) if skips else len(found)

    def show(self, table: Table, record: Record, columns: Iterable[str] | None) -> dict[str, Any]:
        """Show columns of a record as JSON, all of them by default; one that does not exist is left out."""
        wanted = table.fields if columns is None else columns
        missing = self.faults.setting("column_missing", "field", None)
        fields = (table.fields[name] for name in wanted if name in table.fields and name != missing)
        return {field.name: self.values.show(field, table.value(record, field)) for field in fields}

    def types(self, form: Form) -> dict[str, Any]:
        """Describe the classes that ``class_names[]`` asks for, all by default, in the columns that were selected."""
        columns = form.lists.get("_select_columns[]")
        with self.store.lock:
            tables = self.store.tables
            wanted = (name for name in form.lists.get("class_names[]", tables) if name in tables)
            described = [self._describe(tables[name]) for name in wanted]
        data = [{key: one[key] for key in one if columns is None or key in columns} for one in described]
        return {"success": True, "data": data, "total": len(data)}

    def _describe(self, table: Table) -> dict[str, Any]:
        name = table.record_class.name
        return {
            "class_name": name,
            "controller_path": table.record_class.controller,
            "actions": [{"name": action, "permitted": may(self.faults, action, name)} for action in _ACTIONS],
            "fields": [self._describe_field(name, field) for field in table.fields.values()],
        }

    def _describe_field(self, record_class: str, field: Field) -> dict[str, Any]:
        is_moment = field.is_custom and field.datatype == "datetime"
        is_var = is_moment and self.faults.fires("custom_datetime_is_var")
        required = is_required(self.faults, record_class, field)
        description: dict[str, Any] = {
            "name": field.name,
            "title": field.title,
            "datatype": "var_date_time" if is_var else field.datatype,
            **{f"is_{right}": may_set(self.faults, field, right) for right in ("createable", "updateable")},
            "is_filterable": True,
            "is_nullable": not required,
            "required": required,
            "default_value": field.default,
        }
        picklist = self.store.tables[PICKLIST].records.get(field.picklist_id or 0)
        if picklist is not None:
            description["picklist"] = {
                "picklist_id": picklist.id,
                "class_name": "Private::PicklistEntry",
                "path": f"picklist_data/Private_PicklistEntry/id/value.api?picklist_id={picklist.id}",
                "value_field": "value",
                "display_field": "value",
                **{key: picklist.values[key] for key in ("name", "unrestricted", "auto_create")},
            }
        return description


def _following_merges(one: RawFilter, table: Table) -> RawFilter:
    """Let ids that lost a merge, and stand for the winner, find it."""
    if (one.field, one.operator) != ("id", "eq"):
        return one
    ids = (str(table.stands_for(int(part))) if part.isdecimal() else part for part in one.value.split(","))
    return one._replace(value=",".join(ids))


def _sort_key(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0, "")
    return (1, value, "") if isinstance(value, int | float) else (2, 0, str(value).lower())
