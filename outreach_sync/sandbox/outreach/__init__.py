"""Outreach, simulated: OAuth, the REST API v2 for what outreach-sync reads, and its documented and reported quirks."""

from outreach_sync.sandbox.outreach.service import OutreachSandbox
from outreach_sync.sandbox.outreach.store import OutreachStore

__all__ = ["OutreachSandbox", "OutreachStore"]
