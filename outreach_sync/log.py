"""What is logged and printed: structlog's events on stderr, and the one choke point through which everything goes.

An event is one line, JSON off a terminal. Names, notes and states come from two services: they must not forge a line
or steer a terminal, and no secret may appear. Commands send what they print through the same scrubbing.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger as Log

__all__ = ["Log", "holds_secret", "keep_secret", "masked", "scrubbed", "start_logging"]
_SHORTEST_SECRET = 6
_kept: set[str] = set()


def keep_secret(*secrets: str) -> None:
    """Have everything in this process take these out, but for those too short to be told from ordinary text."""
    _kept.update(filter(None, secrets))


def holds_secret(text: str) -> bool:
    """Say whether a text has a secret in it, or is one, however short."""
    return text in _kept or masked(text) != text


def masked(text: str) -> str:
    """Return a text that came from a service without what this process keeps secret, fit to be stored."""
    for secret in _kept:
        text = text if len(secret) < _SHORTEST_SECRET else text.replace(secret, "***")
    return text


def scrubbed(value: object, *, one_line: bool = False) -> str:
    """Return a text (None: empty) without secrets, and with control characters made visible.

    `one_line`: it is a value that came from a service, which must not begin a line of its own.
    """
    text = masked("" if value is None else str(value))
    if text.isprintable():
        return text
    shown = "".join(one if one.isprintable() or one == "\n" else f"\\x{ord(one):02x}" for one in text)
    return shown.replace("\n", "\\n") if one_line else shown


def _clean(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {
                _clean(name): scrubbed(one) if name == "exception" and isinstance(one, str) else _clean(one)
                for name, one in value.items()
            }
        case list() | tuple():
            return [_clean(one) for one in value]
    return scrubbed(value, one_line=True)


def start_logging(level: str, form: str) -> Log:
    """Set up logging from a level on, in a form (json, console, auto); colours as https://no-color.org wants them."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in {None, "", "dumb"}
    colours, traceback = sys.stderr.isatty() and not plain, structlog.dev.plain_traceback
    render = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=traceback)
    in_a_line = [  # whole documents are left out of what people read: a command shows what is in them itself
        lambda _logger, _name, event: {name: value for name, value in event.items() if not isinstance(value, dict)},
        render,
    ]
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,  # without local variables: they may hold a secret
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            lambda _logger, _name, event: _clean(event),
            *(in_a_line if console else [structlog.processors.JSONRenderer(ensure_ascii=False)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    log: Log = structlog.get_logger()
    return log
