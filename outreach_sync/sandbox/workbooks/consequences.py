"""What the service does by itself when a Task is saved, as faults: nothing of it is documented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.workbooks import formats
from outreach_sync.sandbox.workbooks.schema import ACTIVITY_LINK, TASK

if TYPE_CHECKING:
    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.planning import Plan
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record

_CLOSING_STATUSES = ("Complete", "Cancelled")


def complete(faults: FaultBoard, plan: Plan, at: Instant, zone: str) -> None:
    """Let a Task that is about to be closed get a completion time, which the answer then shows."""
    closes = plan.changes.get("activity_status") in _CLOSING_STATUSES
    if closes and faults.take("status_sets_completed") is not None:
        plan.changes.setdefault("completed", formats.var_time(at, zone))
        plan.shown += ("completed", "completed_date", "completed_datetime")


def link_contact(store: WorkbooksStore, faults: FaultBoard, record: Record, plan: Plan) -> None:
    """Let a Task that was saved with another primary contact be linked to it as well."""
    contact = plan.changes.get("primary_contact_id")
    if contact is None or faults.take("primary_contact_makes_link") is None:
        return
    kind = record.values.get("primary_contact_type")
    store.add(ACTIVITY_LINK, activity_id=record.id, activity_type=TASK, resource_id=contact, resource_type=kind)
