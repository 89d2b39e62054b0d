"""What the API wrote, object by object, so that a test can tell what a client did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from outreach_sync.instants import Instant

Changed = Mapping[str, tuple[Any, Any]]
"""Fields that changed: what they held, and hold now."""


class CommittedWrite(NamedTuple):
    """One object that the API wrote: which fields changed, old and new, and which already held what was sent."""

    record_class: str
    id: int
    method: str
    changed: Changed
    unchanged: tuple[str, ...]
    at: Instant
