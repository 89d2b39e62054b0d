"""The command line. Each family of commands is a module that is imported when it is used; rules live elsewhere.

stdout and stderr may be closed, full, a pipe whose reader has gone, or unable to hold every character. What fails there
must not be taken for a bug, and must not keep a run from being done. Whoever reads our stdout and stops has seen
enough: the rest goes nowhere, and the exit status stays what the command says. A stdout that cannot be written is an
error. A stderr that cannot be written loses what would be said there.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from outreach_sync import __version__
from outreach_sync.errors import OutputError, OutreachSyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_USAGE = 2
_BUG = 70
_SIGNALLED = 128
_SIGINT = 2

# name -> (module, attribute, the line that `--help` shows). The help of all commands must not import any of them.
COMMANDS = {
    "run": ("run", "run", "Run one cycle: read what changed, write what differs."),
    "schedule": ("run", "schedule", "Run on a schedule until stopped."),
    "auth": ("setup", "auth", "Log in to Outreach, and show what is known of the tokens."),
    "provision": ("setup", "provision", "Create the picklist and the custom fields in Workbooks."),
    "reconcile": ("run", "reconcile", "Compare everything with both services, and repair the difference."),
    "check": ("setup", "check", "Try config, logins, scopes, fields, picklists and permissions."),
    "forget": ("state", "forget", "Erase a person's data."),
    "state": ("state", "state", "Back up, restore or verify the local database."),
    "status": ("state", "status", "Show watermarks, last runs, and what is queued and parked."),
    "history": ("state", "history", "Show every accepted write: when, by which run, old and new value, and why."),
    "failures": ("explain", "failures", "List, show, retry or discard what was refused."),
    "report": ("state", "report", "Write a self-contained page of charts and tables."),
    "explain": ("explain", "explain", "Explain how a Person's or Task's values were decided."),
    "init": ("setup", "init", "Write a commented config to start from."),
    "probe-skips": ("explain", "probe_skips", "Show what skips look like: events, tasks, where they differ."),
    "demo": ("sandbox", "demo", "Show cycles against both services, simulated; needs no account."),
    "sandbox": ("sandbox", "sandbox", "Serve both services, simulated, and print a config that uses them."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order in which they are of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command, None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"outreach_sync.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where the given one does not exist."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib  # noqa: PLC0415 - only for a typing mistake

            nearest = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="outreach-sync")
@click.option(
    "-c", "--config", type=click.Path(path_type=Path, dir_okay=False), help="The config file; see the README for where."
)
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="Overrides logging.format.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Overrides logging.level.")
@click.pass_context
def cli(context: click.Context, config: Path | None, log_format: str | None, log_level: str | None) -> None:
    """Keep Workbooks in sync with Outreach.

    Results go to stdout, logs and progress to stderr.
    """
    from outreach_sync.cli.context import Invocation  # noqa: PLC0415 - not for --help

    context.obj = Invocation.latest = Invocation(config, log_format, log_level)


def run_command(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status. Errors become one line on stderr that says what to do."""
    with dependable_streams():
        try:
            result = cli.main(list(arguments), prog_name="outreach-sync", standalone_mode=False)
        except Exception as error:  # noqa: BLE001 - the outermost one
            return _status_of(error)
        return result if isinstance(result, int) else 0


def _status_of(error: Exception) -> int:
    from outreach_sync.cli.context import say_bug, say_error  # noqa: PLC0415 - not for --help

    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return _USAGE
        case click.Abort():
            return _SIGNALLED + _SIGINT
        case OutreachSyncError():
            return say_error(error)
    say_bug(error)
    return _BUG


_STANDARD = (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
"""How a stream that is closed is opened: what is read is empty, what is written to stdout fails, to stderr vanishes."""


@contextmanager
def dependable_streams() -> Iterator[None]:
    """Have the standard streams behave as said above, for the block."""
    _open_what_is_closed()
    before = sys.stdout, sys.stderr
    results, messages = Results(sys.stdout), Messages(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", results), cast("TextIO", messages)
    try:
        yield
    finally:
        messages.settle()
        sys.stdout, sys.stderr = before


def _open_what_is_closed() -> None:
    """Keep the numbers of closed streams from being given to files, which would then be written into."""
    for name, flags, mode in _STANDARD:
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


class _Dependable:
    """A text stream in front of another. Its `buffer` is hidden: whoever wrote to that would go past it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str | bytes) -> int:
        """Write a text, as UTF-8 too (click answers shells so); what the encoding lacks is written as an escape."""
        if not text:
            return _probed(text)
        spelled = text if isinstance(text, str) else text.decode()
        try:
            self._try(lambda: self._stream.write(spelled))
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            plain = spelled.encode(encoding, "backslashreplace").decode(encoding)
            self._try(lambda: self._stream.write(plain))
        return len(text)

    def flush(self) -> None:
        """Write what was kept back."""
        self._try(self._stream.flush)

    def _try(self, work: Callable[[], object]) -> None:
        raise NotImplementedError


class Results(_Dependable):
    """Our stdout."""

    def __init__(self, stream: TextIO) -> None:
        """Stand in front of a stream."""
        super().__init__(stream)
        self._gone = False

    def _try(self, work: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            work()
        except OSError as problem:
            self._gone = True
            _discard(self._stream)
            if problem.errno != errno.EPIPE:
                raise OutputError(
                    f"stdout cannot be written: {problem.strerror}.", advice="What was done until then stands."
                ) from problem


class Messages(_Dependable):
    """Our stderr. It is tried each time: a disk that is full may have room again."""

    def _try(self, work: Callable[[], object]) -> None:
        with suppress(OSError):
            work()

    def settle(self) -> None:
        """Give up what still cannot be written: Python would end with a status of its own."""
        try:
            self._stream.flush()
        except OSError:
            _discard(self._stream)
        except ValueError:  # somebody has closed it
            pass


def _probed(nothing: str | bytes) -> int:
    """Answer click, which finds out what a stream takes by writing nothing: text, and that it is full is no answer."""
    if isinstance(nothing, bytes):
        raise TypeError("this is a stream of text")
    return 0


def _discard(stream: TextIO) -> None:
    """Let what the stream still holds, and all that follows, go nowhere."""
    with suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
