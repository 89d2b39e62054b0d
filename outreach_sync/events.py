"""Log events: one line each on stderr, JSON off a terminal, readable on one, and never a secret in either.

Every event passes through the scrubber (`scrubbing`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outreach_sync.config.models import Config
    from outreach_sync.pipeline.run import Log
    from outreach_sync.scrubbing import Scrubber

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def secrets_of(config: Config) -> list[str]:
    """Return every secret that the config holds."""
    outreach = config.outreach
    held = [outreach.client_secret, outreach.refresh_token, config.workbooks.api_key, config.monitoring.ping_url]
    if outreach.s2s is not None:
        held.append(outreach.s2s.private_key)
    return [secret.get_secret_value() for secret in held if secret is not None]


def start_logging(level: str, form: str, scrubber: Scrubber) -> Log:
    """Set logging up for this process and return its logger.

    Args:
        level: the least that is said: debug, info, warning or error.
        form: json, console, or auto: console on a terminal.
        scrubber: the choke point.
    """
    import structlog  # noqa: PLC0415 - slow to import, and `--help` needs none

    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    render: list[Any] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            scrubber,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    log: Log = structlog.get_logger()
    return log
