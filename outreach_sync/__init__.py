"""Keeps Workbooks CRM true to what happens in Outreach."""

import gc

__version__ = "1.0.0"
gc.set_threshold(50_000)  # before Python looks for cycles: imports and pages make thousands of containers, and no cycle
