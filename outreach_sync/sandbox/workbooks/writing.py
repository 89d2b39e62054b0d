"""Writes: creates, updates and deletes of up to 100 objects, and what is said of them.

Shapes: API developers guide, "Changing objects", "Affected objects" and its examples, the oldest of which is the fault
``information_missing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field as field_
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.workbooks.reading import MalformedError, Reader, is_required, may, may_set
from outreach_sync.sandbox.workbooks.schema import (
    CUSTOM_FIELD,
    DATA_TYPES,
    PERSON,
    PICKLIST,
    PICKLIST_ENTRY,
    TEXT_TYPES,
    twin_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.calls import Call, Row
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.store import Record, Table

Document = dict[str, Any]

STALE_TEXT = "This record cannot be saved since it has already been updated elsewhere."
"""What the service says of a lock version that is not the current one (guide)."""
_OLD_FORMS = {"empty": {}, "message": {"message": [{"title": "Information", "body": "The record was examined."}]}}
NOT_FOUND_TEXT = "could not be found"
REFUSED_TEXT = "is not allowed by a rule of this database"
REQUIRED_TEXT = "is a required field"


class Manner(NamedTuple):
    """How a request wants to be treated, by its own parameters or else by its session's, and who makes records."""

    strict: bool = False
    per_object: bool = False
    application: str = ""


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
        return bool(self.errors) or self.stale

    def blame(self, name: str, text: str) -> None:
        """Add an error on a field; ``base`` is the object as a whole."""
        self.errors.setdefault(name, []).append(text)


@dataclass
class Writer(Reader):
    """Writes the records that it reads."""

    _coming_fields: dict[int, tuple[int, int]] = field_(default_factory=dict)

    def write(self, call: Call, table: Table, manner: Manner) -> list[Plan]:
        """Carry out a write and say what became of each object, in the order of the request. The lock must be held."""
        rows = call.form.rows()
        self._meddle(table, rows)
        rows = [row._replace(id=table.stands_for(row.id)) for row in rows]
        selected = self._working_set(call, table, rows)
        gone = any(row.id and row.id not in selected for row in rows)
        if gone and self.faults.fires("deleted_id_fails_batch_404"):
            raise MalformedError("an object could not be found", HTTPStatus.NOT_FOUND)
        plans = [Plan(row) for row in rows]
        for plan in plans:
            if plan.row.method == "POST":
                self._plan_create(table, plan, manner)
            elif plan.row.id in selected:
                self._plan_change(table, plan, table.records[plan.row.id], manner)
            else:
                plan.missing = True
                plan.blame("base", NOT_FOUND_TEXT)
        self._refuse(plans)
        if manner.per_object or not any(plan.fails for plan in plans):
            for plan in plans:
                if not plan.fails:
                    self._commit(plan, table, manner, call.request.at)
        return plans

    def _working_set(self, call: Call, table: Table, rows: Sequence[Row]) -> set[int]:
        """Give the ids that the filter selects; they must be those of the objects, but for ones that are gone."""
        sent = {row.id for row in rows if row.id}
        filters, at = call.form.filters(), call.request.at
        if not filters and sent:
            raise MalformedError("a filter must select the objects that are to be changed")
        if not filters:
            return set()
        found = self.matching(table, filters, call.form.controls.get("_fm", ""), at)
        selected = {record.id for record in found if not record.is_deleted}
        if selected - sent:
            raise MalformedError("the filter selects objects that are not in the request")
        left = (table.records.get(id_) for id_ in sent - selected)
        if any(one is not None and not one.is_deleted and self.sees(table, one, at) for one in left):
            raise MalformedError("the filter does not select each object of the request")
        return selected

    # -- what other people and processes do between a client's look and its write, as faults

    def _meddle(self, table: Table, rows: Sequence[Row]) -> None:
        store, name = self.store, table.record_class.name
        existing = [row.id for row in rows if row.id in table.records]

        def each(fault: str, act: Callable[[int, Mapping[str, Any]], object], *, every: bool = False) -> None:
            options = self.faults.take(fault) if existing else None
            if options is None:
                return
            concerned = existing if every else existing[:1]
            if "ids" in options:
                concerned = [id_ for id_ in existing if id_ in options["ids"]]
            elif "indexes" in options:
                concerned = [id_ for position, id_ in enumerate(existing) if position in options["indexes"]]
            for id_ in concerned:
                act(id_, options)

        each("stale_some", lambda id_, _: store.touch(name, id_))
        each("stale_all", lambda id_, _: store.touch(name, id_), every=True)
        each("stale_again_and_again", lambda id_, _: store.touch(name, id_), every=True)
        each("delete_between_read_and_write", lambda id_, _: store.delete(name, id_))
        each("read_only_between_read_and_write", lambda id_, _: store.make_read_only(id_, name))
        if name == PERSON:
            each("merge_between_read_and_write", self._merge)

    def _merge(self, loser: int, options: Mapping[str, Any]) -> None:
        winner = options.get("into") or self.store.add_person(name="Merged Example")
        self.store.merge_people(winner, loser, alias=bool(options.get("alias")))

    def _refuse(self, plans: Sequence[Plan]) -> None:
        """Make objects fail as a validation rule of the customer's would."""
        one = self.faults.take("refuse_one")
        if one is not None:
            _blame(plans[one.get("index", 0) :][:1], one)
        everyone = self.faults.take("refuse_all")
        if everyone is not None:
            _blame(plans, everyone)
        options = self.faults.peek("refuse_value") or {}
        name = str(options.get("field"))
        sent = [plan for plan in plans if name in plan.row.fields]
        concerned = [plan for plan in sent if options.get("value", plan.row.fields[name]) == plan.row.fields[name]]
        if concerned and self.faults.fires("refuse_value"):
            _blame(concerned, options)

    # -- what each object would do, or why it cannot

    def _plan_create(self, table: Table, plan: Plan, manner: Manner) -> None:
        name = table.record_class.name
        if not may(self.faults, "create", name):
            plan.blame("base", "You do not have permission to create this record")
        self._read_fields(table, plan, manner)
        for field in table.fields.values():
            needed = plan.changes.get(field.name) in (None, "") and field.name not in plan.errors
            if needed and is_required(self.faults, name, field):
                plan.blame(field.name, REQUIRED_TEXT)
        if name == CUSTOM_FIELD and not plan.errors:
            self._check_custom_field(plan)
        if name == PICKLIST_ENTRY and not plan.errors and self._picklist(plan.changes["picklist_id"]) is None:
            plan.blame("picklist_id", NOT_FOUND_TEXT)

    def _plan_change(self, table: Table, plan: Plan, record: Record, manner: Manner) -> None:
        plan.record = record
        plan.stale = plan.row.lock_version != record.lock_version
        may_update = plan.row.method == "DELETE" or may(self.faults, "update", table.record_class.name)
        if record.read_only or not may_update:
            plan.blame("base", "You do not have permission to change this record")
        if plan.row.method == "DELETE":
            return
        self._read_fields(table, plan, manner)
        for name, value in list(plan.changes.items()):
            field, kept = table.fields[name], record.values.get(name)
            if field.required and value in (None, ""):
                plan.blame(name, REQUIRED_TEXT)
            elif kept == value or (kept is None and value == "" and field.datatype in TEXT_TYPES):
                del plan.changes[name]
                plan.unchanged.append(name)

    def _read_fields(self, table: Table, plan: Plan, manner: Manner) -> None:
        creates = plan.row.method == "POST"
        for name, text in plan.row.fields.items():
            field = table.fields.get(name)
            if field is not None and may_set(self.faults, field, "createable" if creates else "updateable"):
                self._read_field(plan, field, text)
            elif manner.strict:
                plan.blame(name, "is not a recognised attribute" if field is None else "cannot be set")

    def _read_field(self, plan: Plan, field: Field, text: str | None) -> None:
        try:
            value = None if text is None else self.values.read(field, text)
        except ValueError as error:
            plan.blame(field.name, str(error))
            return
        kept_as = field.twin_of or field.name
        if kept_as in plan.changes:
            plan.blame(field.name, f"only one of {kept_as}, {kept_as}_date and {kept_as}_datetime may be set")
            return
        picklist = self._picklist(field.picklist_id)
        known = value is None or field.picklist_id is None or value in self.store.picklist_values(field.picklist_id)
        if not known and (picklist is None or not picklist.values.get("unrestricted")):
            if picklist is not None and picklist.values.get("auto_create"):
                plan.entries.append((picklist.id, str(value)))
            else:
                plan.blame(field.name, "is not a valid picklist value")
        plan.changes[kept_as] = twin_text(field, value, self.store.zone) if field.twin_of else value
        plan.shown.append(field.name)

    def _picklist(self, picklist_id: Any) -> Record | None:
        record = self.store.tables[PICKLIST].records.get(picklist_id)
        return None if record is None or record.is_deleted else record

    # -- what is done

    def _commit(self, plan: Plan, table: Table, manner: Manner, at: Instant) -> None:
        plan.done = True
        for picklist_id, value in plan.entries:
            if value not in self.store.picklist_values(picklist_id):
                self.store.add(PICKLIST_ENTRY, picklist_id=picklist_id, value=value)
        creator, is_new = manner.application, plan.record is None
        plan.record = record = self.store.commit(
            *(table, plan.record, plan.row.method, plan.changes), same=plan.unchanged, created_through=creator
        )
        if not is_new:
            return
        late = self.faults.take("created_rows_appear_late")
        if late is not None:
            record.visible_at = at + int(late.get("seconds", 0) * 1000)
            record.hidden_reads = int(late.get("lookups", 0 if "seconds" in late else 1))
            table.late.add(record.id)
        if table.record_class.name == CUSTOM_FIELD:
            self.store.name_custom_field(record)
            slow = self.faults.take("custom_field_slow")
            polls, pause = (1, 0) if slow is None else (slow.get("polls", 3), slow.get("seconds", 0))
            self._coming_fields[record.id] = (int(polls), at + int(pause * 1000))

    # -- custom fields, which are available only after a while (example ``custom_field``)

    def _check_custom_field(self, plan: Plan) -> None:
        word = self.faults.take("datetime_word")
        words = set(DATA_TYPES) if word is None else {*DATA_TYPES, word.get("word", "date_time")} - {"datetime"}
        wanted = plan.changes
        if wanted["data_type"] not in words:
            plan.blame("data_type", "is not included in the list")
        if wanted["resource_type"] not in self.store.tables:
            plan.blame("resource_type", "is not included in the list")
        picklist_id = wanted.get("picklist_id")
        if wanted["data_type"] == "picklist" and self._picklist(picklist_id) is None:
            plan.blame("picklist_id", REQUIRED_TEXT if picklist_id is None else NOT_FOUND_TEXT)

    def look_at_fields(self, at: Instant) -> None:
        """Count a look-up of custom fields; those that waited long enough become available."""
        for id_, (polls, ready_at) in list(self._coming_fields.items()):
            self._coming_fields[id_] = (polls - 1, ready_at)
            if polls > 1 or at < ready_at:
                continue
            del self._coming_fields[id_]
            record = self.store.tables[CUSTOM_FIELD].records[id_]
            is_time = DATA_TYPES.get(record.values["data_type"], "datetime") == "datetime"
            as_day = is_time and self.faults.fires("custom_datetime_is_date")
            self.store.open_custom_field(record, datatype="date" if as_day else None)


def _blame(plans: Sequence[Plan], options: Mapping[str, Any]) -> None:
    for plan in plans:
        plan.blame(str(options.get("field", "base")), str(options.get("text", REFUSED_TEXT)))


def document(plans: Sequence[Plan], table: Table, reader: Reader) -> Document:
    """Build the answer to a write, bent by whichever faults are on. The store's lock must be held."""
    faults = reader.faults
    if any(plan.missing for plan in plans) and faults.fires("deleted_id_shortens_results"):
        plans = [plan for plan in plans if not plan.missing]
    stale = any(plan.stale for plan in plans)
    places = _stale_places(faults) if stale else ()
    answer: Document = {"success": all(plan.done for plan in plans)}
    errors = {name: texts[0] for plan in plans for name, texts in plan.errors.items()}
    if "failures" in places:
        answer["failures"] = [STALE_TEXT]
    if "errors" in places:
        errors["base"] = STALE_TEXT
    flat = faults.fires("errors_flat")
    if errors:
        answer["errors"] = errors if flat else {"[]": errors}
    if "affected_object_errors" in places:
        answer["affected_object_errors"] = [{"base": [STALE_TEXT]} if plan.stale else {} for plan in plans]
    for plan in plans:
        if plan.stale and "information" in places:
            plan.blame("base", STALE_TEXT)
    answer["affected_object_information"] = [
        {"success": plan.done, "errors": plan.errors, "warnings": {}} for plan in plans
    ]
    answer["affected_objects"] = [_result(plan, table, reader) for plan in plans]
    if answer["success"]:
        answer |= {"flash": "Updated successfully", "updates": {}}
    _bend(answer, plans, faults)
    return answer


def _stale_places(faults: FaultBoard) -> tuple[str, ...]:
    """Say where the text on a stale object stands."""
    if faults.fires("stale_without_text"):
        return ()
    options = faults.take("stale_text_in")
    return ("failures", "information") if options is None else (options.get("place", "failures"),)


def _result(plan: Plan, table: Table, reader: Reader) -> Document:
    row = plan.row
    if not plan.done or plan.record is None:  # what was attempted is shown, not what is stored
        return {"id": row.id or None, "lock_version": row.lock_version, **row.fields}
    if row.method == "DELETE":
        return {"id": row.id, "lock_version": row.lock_version}
    if row.method == "POST":
        return reader.show(table, plan.record, None)
    stamps = ("updated_at", "updated_by") if plan.changes else ()
    changed = (name for name in plan.shown if (table.fields[name].twin_of or name) in plan.changes)
    return reader.show(table, plan.record, ["id", "lock_version", *stamps, *changed])


def _bend(answer: Document, plans: Sequence[Plan], faults: FaultBoard) -> None:
    failed = not answer["success"]
    results, information = answer["affected_objects"], answer["affected_object_information"]
    if failed and faults.fires("top_level_success_true_on_partial"):
        answer["success"] = True
    if faults.fires("results_longer"):
        results.insert(0, {"id": 999_999, "lock_version": 3, "name": "Somebody Else"})
        information.insert(0, {"success": True, "errors": {}, "warnings": {}})
    options = faults.take("results_shorter")
    if options is not None and results:
        index = options.get("index", len(results) - 1)
        del results[index : index + 1], information[index : index + 1]
    if faults.fires("results_reordered"):
        results.reverse()
        information.reverse()
    options = faults.take("information_missing")
    if options is not None:  # the shape of the guide's oldest examples
        form = options.get("form", "empty")
        del answer["affected_object_information"]
        if form != "absent":
            answer["affected_object_information"] = [dict(_OLD_FORMS[form]) for _ in information]
        if any(plan.fails for plan in plans):
            answer["affected_object_errors"] = [entry["errors"] for entry in information]
    if not failed and faults.fires("top_level_success_false_on_success_info_missing"):
        answer["success"] = False
        answer.pop("affected_object_information", None)
