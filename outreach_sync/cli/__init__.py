"""The command line. Each family of commands is a module that is imported when it is used; rules live elsewhere."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outreach_sync import __version__
from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from _typeshed import ReadableBuffer

# name -> (module, the line that `--help` shows). The help of all commands must not import any of them.
COMMANDS = {
    "run": ("run", "Run one cycle: read what changed, write what differs."),
    "schedule": ("run", "Run on a schedule until stopped."),
    "auth": ("setup", "Log in to Outreach, and show what is known of the tokens."),
    "provision": ("setup", "Create the picklist and the custom fields in Workbooks."),
    "reconcile": ("run", "Compare everything with both services, and repair the difference."),
    "check": ("setup", "Try config, logins, scopes, fields, picklists and permissions."),
    "forget": ("state", "Erase a person's data."),
    "state": ("state", "Back up, restore, verify or rebind the local database."),
    "status": ("state", "Show watermarks, last runs, and what is queued and parked."),
    "history": ("state", "Show every accepted write: when, by which run, old and new value, and why."),
    "failures": ("explain", "List, show, retry or discard what was refused."),
    "report": ("state", "Write a self-contained page of charts and tables."),
    "explain": ("explain", "Explain how a Person's or Task's values were decided."),
    "init": ("setup", "Write a commented config to start from."),
    "probe-skips": ("explain", "Show what skips look like: events, tasks, where they differ."),
    "demo": ("sandbox", "Show cycles against both services, simulated; needs no account."),
    "sandbox": ("sandbox", "Serve both services, simulated, and print a config that uses them."),
}


class Commands(click.Group):
    """A group whose help shows the first sentence of each command whole; a command's module is imported when used."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list of commands."""
        lines = ((name, (one.help or "").partition("\n\n")[0]) for name, one in self.commands.items())
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(line.split())) for name, line in lines])

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order in which they are of use."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None where there is none of that name."""
        command = super().get_command(ctx, cmd_name)
        if self is not cli or command is None:
            return command
        module = import_module(f"outreach_sync.cli.{COMMANDS[cmd_name][0]}")
        used: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return used


@click.group(
    cls=Commands,
    commands={name: click.Command(name, help=line) for name, (_, line) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    from outreach_sync.cli.ui import Invocation  # noqa: PLC0415 - not for --help

    context.obj = Invocation.latest = Invocation(config, log_format, log_level)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, else this process's; return the exit status. Errors become one line that says what to do."""
    with dependable_streams():
        try:
            result = cli.main(arguments, prog_name="outreach-sync", standalone_mode=False)
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except click.ClickException as error:
            error.show()
            return 2
        except click.Abort:
            return 130
        except Exception as error:  # noqa: BLE001 - the outermost one
            from outreach_sync.cli.ui import say_failure  # noqa: PLC0415 - not for --help

            return say_failure(error)
        return result if isinstance(result, int) else 0


# How a stream that is closed is opened: what is read is empty, what is written to stdout fails, to stderr vanishes.
_STANDARD = (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))


@contextmanager
def dependable_streams() -> Iterator[None]:
    """Let no failure of the standard streams be taken for a bug or end a run; what the encoding lacks is escaped."""
    for name, flags, mode in _STANDARD:
        if getattr(sys, name) is None:  # its number must not be given to a file, which would then be written into
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))
    before = sys.stdout, sys.stderr
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        with suppress(io.UnsupportedOperation):  # it is in memory, and stays as it is
            below = _Dependable(stream.fileno(), "w", closefd=False)
            below.is_stdout = name == "stdout"
            buffer, spelled = io.BufferedWriter(below), {"encoding": stream.encoding, "errors": "backslashreplace"}
            setattr(sys, name, io.TextIOWrapper(buffer, line_buffering=True, **spelled))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Dependable(io.FileIO):
    """What is below stdout or stderr."""

    # A reader of stdout who stops has seen enough: the rest goes nowhere, the exit status stays. A stdout that cannot
    # be written is an error, once. stderr is tried each time, as a full disk may have room again.

    is_stdout = False
    _gone = False

    def write(self, some: ReadableBuffer, /) -> int | None:  # type: ignore[override]  # as FileIO does
        try:
            while not self._gone:
                written = super().write(some)
                if written is not None:
                    return written
                if not self.is_stdout:
                    break
                select.select((), (self,), ())  # a full pipe that whoever made it does not wait for
        except OSError as problem:
            self._gone = self.is_stdout
            if self.is_stdout and problem.errno != errno.EPIPE:
                why = f"stdout cannot be written: {problem.strerror}."
                raise UsageError(why, advice="What was done until then stands.") from problem
        return memoryview(some).nbytes
