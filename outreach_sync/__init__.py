"""Keeps Workbooks CRM true to what happens in Outreach."""

__version__ = "1.0.0"
