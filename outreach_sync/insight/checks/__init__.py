"""Checks: whether everything a run needs is in place, each thing tried by itself and none keeping another from it."""

from outreach_sync.insight.checks.check import Check, exit_status
from outreach_sync.insight.checks.everything import check_everything

__all__ = ["Check", "check_everything", "exit_status"]
