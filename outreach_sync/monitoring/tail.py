"""The last lines of a run's log, kept for whoever is told that it failed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Log
    from outreach_sync.scrubbing import Scrubber

_LINES = 50
_LONGEST = 500


class Tail:
    """A log that hands everything on and keeps the last lines above debug, without secrets.

    Attributes:
        lines: those lines, oldest first, as `event name=value name=value`.
    """

    def __init__(self, log: Log, scrubber: Scrubber) -> None:
        """Begin with none."""
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._log = log
        self._scrubber = scrubber

    def debug(self, event: str, **values: Any) -> Any:
        """Hand on a detail."""
        return self._log.debug(event, **values)

    def info(self, event: str, **values: Any) -> Any:
        """Hand on and keep what was done."""
        self._keep(event, values)
        return self._log.info(event, **values)

    def warning(self, event: str, **values: Any) -> Any:
        """Hand on and keep what somebody may have to look at."""
        self._keep(event, values)
        return self._log.warning(event, **values)

    def _keep(self, event: str, values: dict[str, Any]) -> None:
        line = " ".join((event, *(f"{name}={value}" for name, value in values.items() if name != "exc_info")))
        self.lines.append(self._scrubber.text(line)[:_LONGEST])
