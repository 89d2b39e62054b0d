"""What the service tells about its classes and fields: ``metadata/types`` (API developers guide: Metadata)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.faults import is_required, may, may_update_field
from outreach_sync.sandbox.workbooks.intake import is_custom_moment
from outreach_sync.sandbox.workbooks.schema import PICKLIST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.form import Form
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record, Table

_ACTIONS = ("index", "show", "create", "update", "destroy")


def describe_types(store: WorkbooksStore, faults: FaultBoard, form: Form) -> list[dict[str, Any]]:
    """Describe the classes that ``class_names[]`` asks for, all by default, in the columns that were selected."""
    wanted = form.lists.get("class_names[]", list(store.tables))
    columns = form.lists.get("_select_columns[]")
    with store.lock:
        described = [_describe(store, faults, store.tables[name]) for name in wanted if name in store.tables]
    return [_only(one, columns) for one in described]


def _only(description: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    return {name: value for name, value in description.items() if columns is None or name in columns}


def _describe(store: WorkbooksStore, faults: FaultBoard, table: Table) -> dict[str, Any]:
    name = table.record_class.name
    return {
        "class_name": name,
        "controller_path": table.record_class.controller,
        "actions": [{"name": action, "permitted": may(faults, action, name)} for action in _ACTIONS],
        "fields": [_describe_field(store, faults, name, field) for field in table.fields.values()],
    }


def _describe_field(store: WorkbooksStore, faults: FaultBoard, record_class: str, field: Field) -> dict[str, Any]:
    is_var = is_custom_moment(field) and faults.throughout("custom_datetime_is_var") is not None
    required = is_required(faults, record_class, field)
    description = {
        "name": field.name,
        "title": field.title,
        "datatype": "var_date_time" if is_var else field.datatype,
        "is_createable": field.createable,
        "is_updateable": field.updateable and may_update_field(faults, field.name),
        "is_filterable": True,
        "is_nullable": not required,
        "required": required,
        "default_value": field.default,
    }
    picklist = store.tables[PICKLIST].records.get(field.picklist_id or 0)
    if picklist is not None:
        description["picklist"] = _describe_picklist(picklist)
    return description


def _describe_picklist(picklist: Record) -> dict[str, Any]:
    kept = picklist.values
    return {
        "picklist_id": picklist.id,
        "name": kept["name"],
        "class_name": "Private::PicklistEntry",
        "path": f"picklist_data/Private_PicklistEntry/id/value.api?picklist_id={picklist.id}",
        "value_field": "value",
        "display_field": "value",
        "unrestricted": kept["unrestricted"],
        "auto_create": kept["auto_create"],
    }
