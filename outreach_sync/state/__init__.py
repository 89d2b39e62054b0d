"""The SQLite file: what was read, what Workbooks last accepted, what waits, how far each stream is.

One writer at a time (the run lock); everything reaches the file through `State.transaction`.
"""

from outreach_sync.state.database import State

__all__ = ["State"]
