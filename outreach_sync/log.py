"""What is logged and printed: structlog's events on stderr, and the one choke point through which everything goes.

An event is one line: JSON off a terminal, readable on one. Names, notes and states come from two services and must not
be able to forge a line or steer a terminal; secrets must not appear at all. The scrubber is a link of the chain of
processors, and commands send what they print through it as well.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Collection, MutableMapping

_MASK = "***"
_SHORTEST_SECRET = 6
_TRACEBACK = "exception"
_kept: set[str] = set()


def keep_secret(*secrets: str) -> None:
    """Have everything in this process take these out too: tokens are issued while it runs."""
    _kept.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def masked(text: str) -> str:
    """Return a text that came from a service without what this process keeps secret, fit to be stored."""
    for secret in _kept:
        text = text.replace(secret, _MASK)
    return text


class Scrubber:
    """The choke point: takes secrets and control characters out of whatever is said."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        """Know some secrets; more may be added as they are learned."""
        self._secrets: set[str] = set()
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Add secrets; those too short to be told from ordinary text are left out."""
        self._secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)

    def text(self, text: str) -> str:
        """Return the text without secrets and with control characters made visible."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        text = masked(text)
        if text.isprintable():
            return text
        return "".join(one if one.isprintable() or one == "\n" else f"\\x{ord(one):02x}" for one in text)

    def line(self, text: str) -> str:
        """Return a value that came from a service, as `text` does and on one line: it must not begin one of its own."""
        return self.text(text).replace("\n", "\\n")

    def __call__(self, _logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Scrub a log event: a structlog processor."""
        return {
            name: self.text(value) if name == _TRACEBACK and isinstance(value, str) else self._value(value)
            for name, value in event.items()
        }

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.line(value)
        if isinstance(value, dict):
            return {self._value(name): self._value(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(one) for one in value]
        return value if value is None or isinstance(value, (bool, int, float)) else self.line(str(value))


class Log(Protocol):
    """Where it is said what happens: structlog's bound logger, or what keeps the last events beside it."""

    def debug(self, event: str, **values: Any) -> Any:
        """Say a detail."""

    def info(self, event: str, **values: Any) -> Any:
        """Say what was done."""

    def warning(self, event: str, **values: Any) -> Any:
        """Say what somebody may have to look at."""


def _in_a_line(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave whole documents out of what people read: a command shows what is in them itself."""
    return {name: value for name, value in event.items() if not isinstance(value, dict)}


def start_logging(level: str, form: str, scrubber: Scrubber) -> Log:
    """Set logging up for this process and return its logger.

    Args:
        level: the least that is said: debug, info, warning or error.
        form: json, console, or auto: console on a terminal. Colours are for terminals that show them.
        scrubber: the choke point.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    render = structlog.dev.ConsoleRenderer(colors=shows_colours(), exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,  # without local variables: they may hold a secret
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            scrubber,
            *([_in_a_line, render] if console else [structlog.processors.JSONRenderer(ensure_ascii=False)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    log: Log = structlog.get_logger()
    return log


def shows_colours() -> bool:
    """Say whether stderr is a terminal that shows colours to someone who wants them (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {None, "", "dumb"}
