"""What every step of one run shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from outreach_sync import instants

if TYPE_CHECKING:
    from collections.abc import Callable

    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.http import StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.pipeline.ports import Plan, Source, Target
    from outreach_sync.pipeline.tally import Tally
    from outreach_sync.state import State


class Log(Protocol):
    """Where a run says what it does: structlog's bound logger, or nothing."""

    def debug(self, event: str, **values: Any) -> Any:
        """Say a detail."""

    def info(self, event: str, **values: Any) -> Any:
        """Say what was done."""

    def warning(self, event: str, **values: Any) -> Any:
        """Say what somebody may have to look at."""


@dataclass(slots=True)
class Run:
    """One run: its state (a scratch copy for a dry run), both services, the plan, and what it has done so far.

    `source_is_down`: Outreach could not be read in this run, and nothing but the streams is asked for.
    `clock` says what time this machine has, for pauses and for the record, never for bounds.
    """

    id: str
    state: State
    source: Source
    target: Target
    plan: Plan
    tally: Tally
    stop: StopSignal
    log: Log
    clock: Callable[[], Instant] = field(default=instants.now)
    source_is_down: bool = False
    source_failure: OutreachSyncError | None = None
    on_progress: Callable[[str, int], None] = field(default=lambda _what, _count: None)

    @property
    def dry(self) -> bool:
        """Whether nothing may be written anywhere."""
        return self.tally.dry_run
