"""Workbooks CRM, simulated: an HTTP server that follows the documented API, its traps and its faults included."""

from outreach_sync.sandbox.workbooks.service import WorkbooksSandbox
from outreach_sync.sandbox.workbooks.store import WorkbooksStore

__all__ = ["WorkbooksSandbox", "WorkbooksStore"]
