"""The SQLite file: what was read, what Workbooks last accepted, what waits, how far each stream is.

One writer at a time (the run lock); everything reaches the file through `Store.transaction`.
"""

from outreach_sync.store.store import Store

__all__ = ["Store"]
