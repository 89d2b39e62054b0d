"""Assembly: from the config to the pieces that a command needs. The only place that knows them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.config.values import Back, From
from outreach_sync.rules.watermark import Reading
from outreach_sync.workbooks.records import Workbooks

if TYPE_CHECKING:
    from outreach_sync.config.model import Config
    from outreach_sync.http import OnRetry, StopSignal
    from outreach_sync.instants import Instant


def reading_from(config: Config, *, full: bool, since: Instant | Back | None) -> Reading:
    """Return from where a run reads, as the config and the command line say."""
    start = config.sync.start
    return Reading(
        start=start.ms if isinstance(start, Back) else None,
        start_at=start.at if isinstance(start, From) else None,
        overlap=config.sync.overlap_ms,
        late_sweep=config.sync.late_sweep_ms,
        full=full,
        since=None if isinstance(since, Back) else since,
        ago=since.ms if isinstance(since, Back) else None,
    )


def workbooks_from(config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> Workbooks:
    """Return Workbooks, ready to be read and written.

    Raises:
        ConfigError: the key is missing.
    """
    return Workbooks(
        config.workbooks,
        stop,
        patience_seconds=config.sync.patience_ms / 1000,
        only_where=config.sync.people.only_where,
        on_retry=on_retry,
    )
