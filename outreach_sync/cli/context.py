"""What every command needs: its config, its log, how errors are said, and the requests to stop."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import click

from outreach_sync.config import Config, find_config, read_config
from outreach_sync.files import root_among_others
from outreach_sync.http import StopSignal
from outreach_sync.log import Scrubber, keep_secret, start_logging
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.log import Log


class Invocation:
    """One invocation: where its config is, and how it logs. `scrubber` is the choke point of all that is printed.

    `latest` is the one of this process, for what is said when it has ended; None: the command line made no sense.
    """

    scrubber: ClassVar[Scrubber] = Scrubber()
    latest: ClassVar[Invocation | None] = None

    def __init__(self, config: Path | None, log_format: str | None, log_level: str | None) -> None:
        """Keep the program's own options; None: not given."""
        self.given_config = config
        self.log_format = log_format
        self.log_level = log_level
        self.log: Log | None = None

    @property
    def config_path(self) -> Path:
        """Where the config is.

        Raises:
            ConfigError: there is none.
        """
        return find_config(self.given_config)

    def config(self, *, require_secrets: bool = True) -> Config:
        """Load the config, teach the scrubber its secrets, and warn where others can read one.

        Raises:
            ConfigError: it is wrong.
        """
        loaded = read_config(self.config_path, require_secrets=require_secrets)
        keep_secret(*loaded.config.secrets)
        for warning in (loaded.warning, root_among_others(loaded.config.state.path)):
            if warning is not None:
                click.echo(f"outreach-sync: warning: {warning}", err=True)
        return loaded.config

    @property
    def state_path(self) -> Path:
        """Where the state is.

        Raises:
            ConfigError: the config is wrong.
        """
        return self.config(require_secrets=False).state.path

    def state_to_read(self) -> Store | None:
        """Open the state without changing it; None: there is none yet."""
        return Store.open_to_read(self.state_path)


def command_log(context: Invocation, config: Config, *, level: str | None = None) -> Log:
    """Return the logger of this invocation: the command line's wishes, then the command's, then the config's.

    Args:
        context: what was asked for before the command.
        config: the config.
        level: the least that is said, as far as the command says so itself.
    """
    least = context.log_level or level or config.logging.level
    context.log = start_logging(least, context.log_format or config.logging.format, context.scrubber)
    return context.log


def say_error(error: OutreachSyncError) -> int:
    """Print the line of an error; return its exit status."""
    click.echo(f"outreach-sync: {Invocation.scrubber.text(str(error))}", err=True)
    return error.exit_status


def say_bug(bug: Exception) -> None:
    """Print a line about a bug; its traceback goes to the log, at debug, in a command that keeps none as well."""
    context = Invocation.latest
    log = context.log if context is not None else None
    if log is None and context is not None and context.log_level == "debug":
        log = start_logging("debug", context.log_format or "auto", context.scrubber)
    if log is not None:
        log.debug("bug", exc_info=bug)
    click.echo(
        f"outreach-sync: a bug in this program: {type(bug).__name__}. Nothing that was committed is lost; "
        f"run again with --log-level debug and report what it logs.",
        err=True,
    )


class FullHelp(click.Group):
    """A group whose help shows the first sentence of each command whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        lines = [
            (name, " ".join((command.help or "").partition("\n\n")[0].split())) for name, command in commands if command
        ]
        with formatter.section("Commands"):
            formatter.write_dl(lines)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
invocation = click.make_pass_decorator(Invocation)


_GRACE_SECONDS = 25.0
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def stop_on_signals(*, forced_status: int | None = None) -> Iterator[StopSignal]:
    """Turn the signals into a request to stop, for the block. A SIGHUP that is ignored (nohup) stays so.

    Args:
        forced_status: the exit status where the grace is over; None: 128 and the signal.
    """
    stop = StopSignal()

    def ask(number: int, _frame: object) -> None:
        if not stop.is_set():
            _end_after_grace(number if forced_status is None else forced_status - 128)
        stop.set(number)

    before = {number: signal.signal(number, ask) for number in _HANDLED if not _is_ignored_hangup(number)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored_hangup(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _end_after_grace(number: int) -> None:
    """End the process where an exchange hangs: the state says what was being sent, and the next run looks."""
    timer = threading.Timer(_GRACE_SECONDS, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()
