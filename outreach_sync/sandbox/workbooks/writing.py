"""Writes: creates, updates and deletes of up to 100 objects (API developers guide: Changing objects)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.workbooks.conditions import MalformedError
from outreach_sync.sandbox.workbooks.consequences import complete, link_contact
from outreach_sync.sandbox.workbooks.faults import number_option
from outreach_sync.sandbox.workbooks.form import MOST_OBJECTS, Form, Row, filters_of, rows_of
from outreach_sync.sandbox.workbooks.meddling import meddle, refuse
from outreach_sync.sandbox.workbooks.picklists import add_entries
from outreach_sync.sandbox.workbooks.planning import Plan, Planner
from outreach_sync.sandbox.workbooks.reading import undocumented
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, TASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.custom_fields import CustomFields
    from outreach_sync.sandbox.workbooks.reading import Reader
    from outreach_sync.sandbox.workbooks.sessions import Manner
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record, Table

_METHODS = ("POST", "PUT", "DELETE")


class UnknownObjectError(Exception):
    """The request as a whole is answered 404: one of its objects is not there."""


class Writer:
    """Writes records of one store."""

    def __init__(self, store: WorkbooksStore, faults: FaultBoard, reader: Reader, custom_fields: CustomFields) -> None:
        """Take what it writes to, and the reader that knows which records a filter selects."""
        self._store = store
        self._faults = faults
        self._reader = reader
        self._custom_fields = custom_fields

    def write(self, form: Form, table: Table, manner: Manner, at: Instant, *, kind: str) -> list[Plan]:
        """Carry out a write and say what became of each object, in the order of the request.

        Raises:
            MalformedError: the request makes no sense as a whole; nothing is done.
            UnknownObjectError: the fault ``deleted_id_fails_batch_404`` is on and it concerns this request.
        """
        with self._store.lock:
            self._check_controls(form, manner, kind)
            rows = _checked(rows_of(form), doubles=self._faults.throughout("double_id_taken") is not None)
            meddle(self._store, self._faults, table, rows, kind)
            rows = [row._replace(id=self._store.merged_into(table, row.id)) for row in rows]
            selected = self._working_set(form, table, rows, manner, at)
            self._check_presence(rows, selected, kind)
            planner = Planner(self._store, self._faults, self._custom_fields, table=table, manner=manner)
            plans = [planner.plan(row, selected) for row in rows]
            refuse(self._faults, plans, kind)
            if manner.per_object or not any(plan.fails for plan in plans):
                for plan in plans:
                    self._commit(plan, table, manner, at)
            return plans

    def _check_controls(self, form: Form, manner: Manner, kind: str) -> None:
        unknown = undocumented(form)
        if unknown and manner.strict and self._faults.take("strict_objects_to_control_parameters", kind) is not None:
            raise MalformedError(f"'{unknown[0]}' is not a recognised parameter")

    def _working_set(self, form: Form, table: Table, rows: Sequence[Row], manner: Manner, at: Instant) -> set[int]:
        """Give the ids that the filter selects; they must be those of the objects, but for ones that are gone."""
        sent = {row.id for row in rows if row.id}
        raw = filters_of(form)
        if not raw and (sent or self._faults.throughout("filterless_creates_refused") is not None):
            raise MalformedError("a filter must select the objects that are to be changed")
        if not raw:
            return set()
        selection = self._reader.select(form, table, manner.zone, at)
        selected = {record.id for record in self._reader.matching(table, selection, at) if not record.is_deleted}
        if selected - sent:
            raise MalformedError("the filter selects objects that are not in the request")
        if any(self._is_there(table, id_, at) for id_ in sent - selected):
            raise MalformedError("the filter does not select each object of the request")
        return selected

    def _is_there(self, table: Table, id_: int, at: Instant) -> bool:
        record = table.records.get(id_)
        return record is not None and not record.is_deleted and self._reader.sees(table, record, at)

    def _check_presence(self, rows: Sequence[Row], selected: set[int], kind: str) -> None:
        gone = any(row.id and row.id not in selected for row in rows)
        if gone and self._faults.take("deleted_id_fails_batch_404", kind) is not None:
            raise UnknownObjectError

    def _commit(self, plan: Plan, table: Table, manner: Manner, at: Instant) -> None:
        if plan.fails:
            return
        plan.done = True
        if table.record_class.name == TASK:
            complete(self._faults, plan, at, manner.zone)
        add_entries(self._store, plan.entries)
        if plan.record is None:
            plan.record = self._create(plan, table, manner, at)
        elif plan.row.method == "DELETE":
            self._store.commit_delete(table, plan.record)
        else:
            self._store.commit_update(table, plan.record, plan.changes, tuple(plan.unchanged))
        if table.record_class.name == CUSTOM_FIELD:
            self._custom_fields.follow(plan.record, at)
        if table.record_class.name == TASK:
            link_contact(self._store, self._faults, plan.record, plan)

    def _create(self, plan: Plan, table: Table, manner: Manner, at: Instant) -> Record:
        record = self._store.commit_create(table, plan.changes, manner.application)
        late = self._faults.take("created_rows_appear_late")
        if late is not None:
            record.visible_at = at + int(number_option(late, "seconds", 0) * 1000)
            record.hidden_reads = int(number_option(late, "lookups", 0 if "seconds" in late else 1))
            table.late.add(record.id)
        return record


def _checked(rows: list[Row], *, doubles: bool) -> list[Row]:
    """Refuse what no request may hold: too many objects, one twice (unless `doubles`), an unknown method."""
    if len(rows) > MOST_OBJECTS:
        raise MalformedError(f"no more than {MOST_OBJECTS} objects may be changed in one request")
    ids = [row.id for row in rows if row.id]
    if len(ids) != len(set(ids)) and not doubles:
        raise MalformedError("an object occurs twice in the request")
    for row in rows:
        if row.method not in _METHODS or (row.method == "POST") != (row.id == 0):
            raise MalformedError(f"'{row.method}' is not a valid method for id {row.id}")
    return rows
