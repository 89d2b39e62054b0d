"""How far back the first run reads (`sync.start`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from outreach_sync.instants import Instant


class Back(NamedTuple):
    """So many milliseconds before the server's clock."""

    ms: int


class From(NamedTuple):
    """From this time on."""

    at: Instant


class Everything(NamedTuple):
    """All there is."""


Start = Back | From | Everything
