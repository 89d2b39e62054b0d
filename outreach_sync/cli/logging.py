"""Logging as a command sets it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation
    from outreach_sync.config.model import Config
    from outreach_sync.pipeline.run import Log


def command_log(invocation: Invocation, config: Config, *, level: str | None = None) -> Log:
    """Return the logger of this invocation: the command line's wishes, then the command's, then the config's.

    Args:
        invocation: what was asked for before the command.
        config: the config.
        level: the least that is said, as far as the command says so itself.
    """
    from outreach_sync.events import start_logging  # noqa: PLC0415 - not for --help

    level = invocation.log_level or level or config.logging.level
    return start_logging(level, invocation.log_format or config.logging.format, invocation.scrubber)


def log_bug(bug: Exception) -> None:
    """Log the traceback of a bug, at debug, without local variables: they may hold a secret.

    A command that keeps no log does so too, where `--log-level debug` asks for it.
    """
    from outreach_sync.cli.context import Invocation  # noqa: PLC0415
    from outreach_sync.events import start_logging, started_log  # noqa: PLC0415

    log, invocation = started_log(), Invocation.latest
    if log is None and invocation is not None and invocation.log_level == "debug":
        log = start_logging("debug", invocation.log_format or "auto", invocation.scrubber)
    if log is not None:
        log.debug("bug", exc_info=bug)
