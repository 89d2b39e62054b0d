"""What each object of a write would do, or why it cannot: checked against fields, picklists and lock versions."""

from __future__ import annotations

from dataclasses import dataclass, field as field_
from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.faults import is_required, may, may_update_field
from outreach_sync.sandbox.workbooks.intake import Intake
from outreach_sync.sandbox.workbooks.picklists import Picklists
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, PICKLIST_ENTRY
from outreach_sync.sandbox.workbooks.store import twin_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.custom_fields import CustomFields
    from outreach_sync.sandbox.workbooks.form import Row
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.sessions import Manner
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record, Table

STALE_TEXT = "This record cannot be saved since it has already been updated elsewhere."
"""What the service says of a lock version that is not the current one (guide)."""
REQUIRED_TEXT = "is a required field"
NOT_FOUND_TEXT = "could not be found"
_TEXT_TYPES = ("string", "text", "picklist_data")


@dataclass
class Plan:
    """What is to become of one object.

    `changes` are kept values by the names under which records keep them; `entries` are the values, each with its
    picklist, that become entries of it if the object is saved.
    """

    row: Row
    record: Record | None = None
    changes: dict[str, Any] = field_(default_factory=dict)
    unchanged: list[str] = field_(default_factory=list)
    shown: list[str] = field_(default_factory=list)
    entries: list[tuple[int, str]] = field_(default_factory=list)
    errors: dict[str, list[str]] = field_(default_factory=dict)
    stale: bool = False
    missing: bool = False
    done: bool = False

    @property
    def fails(self) -> bool:
        """Tell whether the object cannot be written."""
        return bool(self.errors) or self.stale or self.missing

    def blame(self, name: str, text: str) -> None:
        """Add an error on a field; ``base`` is the object as a whole."""
        self.errors.setdefault(name, []).append(text)


class Planner:
    """Plans the objects of one write. The store's lock must be held."""

    def __init__(
        self,
        store: WorkbooksStore,
        faults: FaultBoard,
        custom_fields: CustomFields,
        *,
        table: Table,
        manner: Manner,
    ) -> None:
        """Take where the objects are to be written and how the request wants to be treated."""
        self._store = store
        self._faults = faults
        self._custom_fields = custom_fields
        self._table = table
        self._manner = manner
        self._picklists = Picklists(store)
        self._intake = Intake(faults)

    def plan(self, row: Row, selected: set[int]) -> Plan:
        """Plan one object; `selected` are the ids of the working set."""
        plan = Plan(row)
        if row.method == "POST":
            self._plan_create(plan)
        elif row.id in selected:
            self._plan_change(plan, self._table.records[row.id])
        else:
            plan.missing = True
            plan.blame("base", NOT_FOUND_TEXT)
        return plan

    def _plan_create(self, plan: Plan) -> None:
        if not may(self._faults, "create", self._table.record_class.name):
            plan.blame("base", "You do not have permission to create this record")
        self._read_fields(plan)
        for name, field in self._table.fields.items():
            if (
                is_required(self._faults, self._table.record_class.name, field)
                and plan.changes.get(name) in (None, "")
                and name not in plan.errors
            ):
                plan.blame(name, REQUIRED_TEXT)
        self._check_administration(plan, plan.changes)

    def _check_administration(self, plan: Plan, values: Mapping[str, Any]) -> None:
        """Check what holds for the records of the administration alone; `values` are those it would have."""
        kind = self._table.record_class.name
        if kind == CUSTOM_FIELD and not plan.errors:
            plan.errors.update(self._custom_fields.complaints(values))
        if kind == PICKLIST_ENTRY and not plan.errors and not self._picklists.exists(values.get("picklist_id")):
            plan.blame("picklist_id", NOT_FOUND_TEXT)

    def _plan_change(self, plan: Plan, record: Record) -> None:
        plan.record = record
        plan.stale = plan.row.lock_version != record.lock_version
        may_update = plan.row.method == "DELETE" or may(self._faults, "update", self._table.record_class.name)
        if record.read_only or not may_update:
            plan.blame("base", "You do not have permission to change this record")
        if plan.row.method == "DELETE":
            return
        self._read_fields(plan)
        for name, value in list(plan.changes.items()):
            if self._table.fields[name].required and value in (None, ""):
                plan.blame(name, REQUIRED_TEXT)
            elif self._same(name, record.values.get(name), value):
                del plan.changes[name]
                plan.unchanged.append(name)
        if plan.changes:
            self._check_administration(plan, {**record.values, **plan.changes})

    def _same(self, name: str, kept: Any, value: Any) -> bool:
        """Tell whether nothing would change; emptiness that is sent where nothing is kept is no change."""
        if kept is None and value == "" and self._table.fields[name].datatype in _TEXT_TYPES:
            return True
        return bool(kept == value)

    def _read_fields(self, plan: Plan) -> None:
        for name, text in plan.row.fields.items():
            field = self._table.fields.get(name)
            if field is None or not self._settable(field, plan.row.method):
                if self._manner.strict:
                    plan.blame(name, "is not a recognised attribute" if field is None else "cannot be set")
                continue
            self._read_field(plan, field, text)

    def _settable(self, field: Field, method: str) -> bool:
        if method == "POST":
            return field.createable
        return field.updateable and may_update_field(self._faults, field.name)

    def _read_field(self, plan: Plan, field: Field, text: str | None) -> None:
        try:
            value = None if text is None else self._intake.read(field, text, self._manner.zone)
        except ValueError as error:
            plan.blame(field.name, str(error))
            return
        kept_as = field.twin_of or field.name
        if kept_as in plan.changes:
            plan.blame(field.name, f"only one of {kept_as}, {kept_as}_date and {kept_as}_datetime may be set")
            return
        if field.picklist_id is not None and value is not None:
            self._check_picklist(plan, field, field.picklist_id, value)
        plan.changes[kept_as] = twin_text(field, value, self._manner.zone) if field.twin_of else value
        plan.shown.append(field.name)

    def _check_picklist(self, plan: Plan, field: Field, picklist_id: int, value: str) -> None:
        if self._picklists.takes(picklist_id, value):
            return
        if self._picklists.grows(picklist_id):
            plan.entries.append((picklist_id, value))
        else:
            plan.blame(field.name, "is not a valid picklist value")
