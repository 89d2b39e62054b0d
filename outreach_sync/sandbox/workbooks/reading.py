"""Reads: rows of a list, and what the service tells about its classes (API developers guide: Fetching, Metadata)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.filters import MalformedError, RawFilter, Setting, select
from outreach_sync.sandbox.workbooks.schema import PERSON, PICKLIST
from outreach_sync.sandbox.workbooks.trouble import is_required, may

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.calls import Call, Form
    from outreach_sync.sandbox.workbooks.formats import Values
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.store import Record, Table, WorkbooksStore

MOST_ROWS = 100
_SKIP_TOTALS = ("__skip_total_rows", "_skip_total_rows")
_ACTIONS = ("index", "show", "create", "update", "destroy")


class Reader:
    """Reads records of one store."""

    def __init__(self, store: WorkbooksStore, faults: FaultBoard, values: Values) -> None:
        """Take the store, the faults that concern reading, and how values are shown."""
        self._store = store
        self._faults = faults
        self._values = values

    def page(self, call: Call, table: Table, *, strict: bool) -> dict[str, Any]:
        """Answer a read of a list."""
        form, at = call.form, call.request.at
        with self._store.lock:
            self.check_controls(form, strict=strict)
            filters = form.filters()
            if self._faults.fires("filter_ignored"):
                filters = []
            rows, total = self._window(form, table, self.matching(table, filters, form.controls.get("_fm", ""), at))
            columns = form.lists.get("_select_columns[]")
            data = [self.show(table, record, columns) for record in rows]
            for id_ in list(table.late):  # new records that stay hidden do so for one look-up less
                table.records[id_].hidden_reads -= 1
                if table.records[id_].hidden_reads <= 0:
                    table.late.discard(id_)
        return {"success": True, "data": data, "total": total}

    def check_controls(self, form: Form, *, strict: bool) -> None:
        """Object to parameters that the guide does not name, where a fault has it so."""
        unknown = form.undocumented()
        if unknown and strict and self._faults.fires("strict_objects_to_control_parameters"):
            raise MalformedError(f"'{unknown[0]}' is not a recognised parameter")

    def matching(self, table: Table, filters: Sequence[RawFilter], logic: str, at: Instant) -> Iterator[Record]:
        """Go through the records that filters select and that can be seen, in the order of their ids."""
        if table.winners:
            filters = [_following_merges(one, table) for one in filters]
        condition = select(filters, logic if filters else "", table, Setting(self._store.zone, self._faults))
        with_deleted = any(one.field == "is_deleted" for one in filters)
        candidates = condition.candidates
        ids = table.ids() if candidates is None else candidates if isinstance(candidates, list) else sorted(candidates)
        for id_ in ids:
            record = table.records[id_]
            if (with_deleted or not record.is_deleted) and self.sees(table, record, at) and condition.holds(record):
                yield record

    def sees(self, table: Table, record: Record, at: Instant) -> bool:
        """Tell whether the key's user can find a record at this time."""
        if not record.visible(at):
            return False
        hidden = self._faults.take("records_hidden")
        if hidden is None or hidden.get("class", PERSON) != table.record_class.name:
            return True
        return record.id not in hidden.get("ids", [record.id])

    def _window(self, form: Form, table: Table, matching: Iterator[Record]) -> tuple[list[Record], int]:
        """Cut out the page that was asked for, in its order, and count: all, or the page where that is wished."""
        start, limit = form.number("_start"), form.number("_limit")
        most = MOST_ROWS if start is None or limit is None else min(limit, MOST_ROWS)  # a limit needs a start (guide)
        shift = self._faults.setting("page_shift", "shift", 1) if start else None
        start = (start or 0) + (shift or 0)
        name, descending = form.controls.get("_sort", "id"), form.controls.get("_dir", "ASC").upper() == "DESC"
        if name not in table.fields:
            raise MalformedError(f"'{name}' is not a valid sort column")
        skips = any(
            form.flag(name) and not self._faults.fires("skip_total_unknown", spelling=name) for name in _SKIP_TOTALS
        )
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
        fields = (table.fields[name] for name in wanted if name in table.fields)
        return {field.name: self._values.show(field, table.value(record, field)) for field in fields}

    def types(self, form: Form) -> dict[str, Any]:
        """Describe the classes that ``class_names[]`` asks for, all by default, in the columns that were selected."""
        columns = form.lists.get("_select_columns[]")
        with self._store.lock:
            tables = self._store.tables
            wanted = (name for name in form.lists.get("class_names[]", tables) if name in tables)
            described = [self._describe(tables[name]) for name in wanted]
        data = [{key: one[key] for key in one if columns is None or key in columns} for one in described]
        return {"success": True, "data": data, "total": len(data)}

    def _describe(self, table: Table) -> dict[str, Any]:
        name = table.record_class.name
        return {
            "class_name": name,
            "controller_path": table.record_class.controller,
            "actions": [{"name": action, "permitted": may(self._faults, action, name)} for action in _ACTIONS],
            "fields": [self._describe_field(name, field) for field in table.fields.values()],
        }

    def _describe_field(self, record_class: str, field: Field) -> dict[str, Any]:
        is_moment = field.is_custom and field.datatype == "datetime"
        is_var = is_moment and self._faults.fires("custom_datetime_is_var")
        required = is_required(self._faults, record_class, field)
        description: dict[str, Any] = {
            "name": field.name,
            "title": field.title,
            "datatype": "var_date_time" if is_var else field.datatype,
            "is_createable": field.createable,
            "is_updateable": field.updateable and not self._faults.fires("field_not_updateable", field=field.name),
            "is_filterable": True,
            "is_nullable": not required,
            "required": required,
            "default_value": field.default,
        }
        picklist = self._store.tables[PICKLIST].records.get(field.picklist_id or 0)
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
