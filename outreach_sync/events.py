"""Log events: one line each on stderr, JSON off a terminal, readable on one, and never a secret in either.

Every event passes through the scrubber (`scrubbing`). The readable form is structlog's. The JSON form is written here:
an import of structlog takes as long as the rest of a cycle that finds nothing to do, and cron starts one every few
minutes (docs/decisions/0013-performance.md).
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Log
    from outreach_sync.scrubbing import Scrubber

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_started: list[Log] = []


def start_logging(level: str, form: str, scrubber: Scrubber) -> Log:
    """Set logging up for this process and return its logger.

    Args:
        level: the least that is said: debug, info, warning or error.
        form: json, console, or auto: console on a terminal.
        scrubber: the choke point.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    log = _console_log(level, scrubber) if console else JsonLog(level, scrubber, sys.stderr)
    _started[:] = [log]
    return log


def started_log() -> Log | None:
    """Return the logger of this process, None where logging was not set up."""
    return _started[0] if _started else None


class JsonLog:
    """Writes each event as one line of JSON: its values, then `event`, `level` and `timestamp` (UTC)."""

    def __init__(self, level: str, scrubber: Scrubber, out: IO[str]) -> None:
        """Write events of this level and above."""
        self._least = _LEVELS[level]
        self._scrubber = scrubber
        self._out = out

    def debug(self, event: str, **values: Any) -> None:
        """Say a detail."""
        self._say("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        """Say what was done."""
        self._say("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Say what somebody may have to look at."""
        self._say("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        """Say what failed."""
        self._say("error", event, values)

    def _say(self, level: str, event: str, values: dict[str, Any]) -> None:
        if _LEVELS[level] < self._least:
            return
        raised = values.pop("exc_info", None)
        if raised:
            values["exception"] = _traceback(raised)
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        told = self._scrubber(None, level, {**values, "event": event, "level": level, "timestamp": at})
        self._out.write(json.dumps(told, ensure_ascii=False) + "\n")
        self._out.flush()


def _traceback(raised: object) -> str:
    """Format an exception (True: the current one) without local variables: they may hold a secret."""
    error = raised if isinstance(raised, BaseException) else sys.exception()
    return "".join(traceback.format_exception(error)).rstrip() if error is not None else ""


def _console_log(level: str, scrubber: Scrubber) -> Log:
    import structlog  # noqa: PLC0415 - slow to import; see above

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            scrubber,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    log: Log = structlog.get_logger()
    return log
