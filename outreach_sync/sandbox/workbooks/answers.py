"""What the service says of a write: results for each object, errors wherever they may stand, and a verdict on top.

Shapes: API developers guide, "Affected objects" and its examples, the oldest of which is the fault
``information_missing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.faults import number_option
from outreach_sync.sandbox.workbooks.planning import STALE_TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.planning import Plan
    from outreach_sync.sandbox.workbooks.reading import Reader
    from outreach_sync.sandbox.workbooks.sessions import Manner
    from outreach_sync.sandbox.workbooks.table import Table

Document = dict[str, Any]

_ALWAYS_SHOWN = ("id", "lock_version")
_STAMPS = ("updated_at", "updated_by")
_USUAL_PLACES = ("failures", "information")
_OLD_FORMS = {"empty": {}, "message": {"message": [{"title": "Information", "body": "The record was examined."}]}}


class Answerer:
    """Turns what became of the objects of a write into the answer's document."""

    def __init__(self, reader: Reader, faults: FaultBoard) -> None:
        """Take the reader that shows values, and the faults that bend answers."""
        self._reader = reader
        self._faults = faults

    def document(self, plans: Sequence[Plan], table: Table, manner: Manner, *, kind: str) -> Document:
        """Build the answer, bent by whichever faults are on."""
        if any(plan.missing for plan in plans) and self._faults.take("deleted_id_shortens_results", kind) is not None:
            plans = [plan for plan in plans if not plan.missing]
        places = self._stale_places(plans, kind)
        document: Document = {
            "success": all(plan.done for plan in plans),
            **_top_level_errors(plans, places, flat=self._faults.throughout("errors_flat") is not None),
            "affected_object_information": [self._information(plan, places, kind) for plan in plans],
            "affected_objects": [self._result(plan, table, manner) for plan in plans],
        }
        if document["success"]:
            document |= {"flash": "Updated successfully", "updates": {}}
        self._bend(document, plans, kind)
        return document

    def _stale_places(self, plans: Sequence[Plan], kind: str) -> tuple[str, ...]:
        if not any(plan.stale for plan in plans):
            return _USUAL_PLACES
        if self._faults.take("stale_without_text", kind) is not None:
            return ()
        options = self._faults.take("stale_text_in", kind)
        return _USUAL_PLACES if options is None else (str(options.get("place", "failures")),)

    def _information(self, plan: Plan, places: tuple[str, ...], kind: str) -> Document:
        errors = {name: list(texts) for name, texts in plan.errors.items()}
        if plan.stale and "information" in places:
            errors.setdefault("base", []).append(STALE_TEXT)
        undone = not plan.done and not plan.fails
        success = plan.done or (undone and self._faults.take("undone_reads_as_success", kind) is not None)
        return {"success": success, "errors": errors, "warnings": {}}

    def _result(self, plan: Plan, table: Table, manner: Manner) -> Document:
        if not plan.done or plan.record is None:
            return _attempt(plan)
        if plan.row.method == "DELETE":
            return {"id": plan.row.id, "lock_version": plan.row.lock_version}
        if plan.row.method == "POST":
            return self._reader.show(table, plan.record, None, manner.forms)
        names = [*_ALWAYS_SHOWN, *(_STAMPS if plan.changes else ())]
        names += [name for name in plan.shown if (table.fields[name].twin_of or name) in plan.changes]
        return self._reader.show(table, plan.record, names, manner.forms)

    def _bend(self, document: Document, plans: Sequence[Plan], kind: str) -> None:
        failed = not document["success"]
        if failed and self._faults.take("top_level_success_true_on_partial", kind) is not None:
            document["success"] = True
        self._bend_length(document, kind)
        if self._faults.take("results_reordered", kind) is not None:
            document["affected_objects"].reverse()
            document["affected_object_information"].reverse()
        options = self._faults.take("information_missing", kind)
        if options is not None:
            _age(document, str(options.get("form", "empty")), plans)
        if not failed and self._faults.take("top_level_success_false_on_success_info_missing", kind) is not None:
            document["success"] = False
            del document["affected_object_information"]

    def _bend_length(self, document: Document, kind: str) -> None:
        results, information = document["affected_objects"], document["affected_object_information"]
        if self._faults.take("results_longer", kind) is not None:
            results.insert(0, {"id": 999_999, "lock_version": 3, "name": "Somebody Else"})
            information.insert(0, {"success": True, "errors": {}, "warnings": {}})
        options = self._faults.take("results_shorter", kind)
        if options is not None and results:
            index = int(number_option(options, "index", len(results) - 1))
            del results[index : index + 1], information[index : index + 1]


def refusal(text: str) -> Document:
    """Build the answer to a request that makes no sense as a whole."""
    return {"success": False, "failures": [text]}


def _attempt(plan: Plan) -> Document:
    """Show what was attempted, not what is stored, as the service does where an object failed."""
    row = plan.row
    return {"id": row.id or None, "lock_version": row.lock_version, **row.fields}


def _top_level_errors(plans: Sequence[Plan], places: tuple[str, ...], *, flat: bool) -> Document:
    found: Document = {}
    errors = {name: texts[0] for plan in plans for name, texts in plan.errors.items()}
    stale = any(plan.stale for plan in plans)
    if stale and "failures" in places:
        found["failures"] = [STALE_TEXT]
    if stale and "errors" in places:
        errors["base"] = STALE_TEXT
    if errors:
        found["errors"] = errors if flat else {"[]": errors}
    if stale and "affected_object_errors" in places:
        found["affected_object_errors"] = [{"base": [STALE_TEXT]} if plan.stale else {} for plan in plans]
    return found


def _age(document: Document, form: str, plans: Sequence[Plan]) -> None:
    """Give the answer the shape it has in the guide's oldest examples."""
    information = document.pop("affected_object_information")
    if form != "absent":
        document["affected_object_information"] = [dict(_OLD_FORMS[form]) for _ in information]
    if any(plan.fails for plan in plans):
        document["affected_object_errors"] = [entry["errors"] for entry in information]
