"""What every command needs: its config and state, what it prints, how errors are said, and the requests to stop."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from outreach_sync.config import exposed_secrets, find_config, load_config
from outreach_sync.errors import OutreachSyncError, UsageError
from outreach_sync.files import root_among_others
from outreach_sync.http import StopSignal
from outreach_sync.identity import refuse_another_account
from outreach_sync.log import scrubbed, start_logging
from outreach_sync.store import Store, run_lock

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.log import Log

# What is printed as a line, or as several; what is no `Text` is made safe.
Line = str | Text | Table | tuple[str | Text, ...]


@dataclass
class Invocation:
    """One invocation; None: not given. `latest` is this process's, None where the command line made no sense."""

    latest: ClassVar[Invocation | None] = None
    given_config: Path | None
    log_format: str | None
    log_level: str | None
    log: Log | None = None
    as_json: bool = False

    def config(self, *, require_secrets: bool = True) -> Config:
        """Load the config, and warn where others can read a secret in it."""
        path = find_config(self.given_config)
        config = load_config(path, require_secrets=require_secrets)
        for warning in (exposed_secrets(path), root_among_others(config.state.path)):
            if warning is not None:
                click.echo(f"outreach-sync: warning: {warning}", err=True)
        return config

    @contextmanager
    def reading(self, *, require_secrets: bool = False) -> Iterator[tuple[Config, Store]]:
        """Load the config and open the state without changing it; an empty one in its place before the first run."""
        config = self.config(require_secrets=require_secrets)
        with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as store:
            yield config, store

    def start_log(self, config: Config, level: str | None = None) -> Log:
        """Return the logger: the command line's wishes, then the command's `level`, then the config's."""
        least = self.log_level or level or config.logging.level
        self.log = start_logging(least, self.log_format or config.logging.format)
        return self.log

    def answer(self, document: Any, lines: Iterable[Line]) -> None:
        """Print what was asked for: exactly one JSON document, or else the lines."""
        if self.as_json:
            print_json(document)
        else:
            show(lines)


def say_failure(error: Exception) -> int:
    """Print the line of what ended a command, and log a bug's traceback at debug; return the exit status."""
    if isinstance(error, UnicodeError):
        advice = "Look at the command line, the environment, and what was typed or pasted."
        error = UsageError("a text that was given is not UTF-8.", advice=advice)
    if isinstance(error, OutreachSyncError):
        click.echo(f"outreach-sync: {scrubbed(error)}", err=True)
        return error.exit_status
    context = Invocation.latest
    if context is not None and context.log is None and context.log_level == "debug":
        context.log = start_logging("debug", context.log_format or "auto")
    if context is not None and context.log is not None:
        context.log.debug("bug", exc_info=error)
    advice = "Nothing that was committed is lost; run again with --log-level debug and report what it logs."
    click.echo(f"outreach-sync: a bug in this program: {type(error).__name__}. {advice}", err=True)
    return OutreachSyncError.exit_status


def _answer_in_json(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    invocation = context.find_object(Invocation)
    if invocation is not None:
        invocation.as_json = wanted


as_json = click.option(
    "--json", "as_json", is_flag=True, expose_value=False, callback=_answer_in_json, help="Print one JSON document."
)
as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print one line for each field, for a spreadsheet.")
invocation = click.make_pass_decorator(Invocation)
ID = click.IntRange(1, 2**63 - 1)
_GRACE_SECONDS = 25.0


@contextmanager
def stop_on_signals(hangups: deque[int] | None = None) -> Iterator[StopSignal]:
    """Turn the signals into a request to stop, for the block. A SIGHUP that is ignored (nohup) stays so."""
    # What hangs is ended after a grace, with 128 and the signal: the next run looks what became of what was sent.
    # With `hangups`, as a schedule wants it, the exit status is 0, and each SIGHUP goes in there.
    stop = StopSignal()

    def ask(number: int, _frame: object) -> None:
        if number == signal.SIGHUP and hangups is not None:
            hangups.append(number)
            return
        if not stop.is_set():
            timer = threading.Timer(_GRACE_SECONDS, os._exit, (128 + number if hangups is None else 0,))
            timer.daemon = True
            timer.start()
        stop.set(number)

    survives = hangups is None and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    handled = (signal.SIGTERM, signal.SIGINT, *(() if survives else (signal.SIGHUP,)))
    before = {number: signal.signal(number, ask) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def changing(config: Config, command: str, *, in_vain: bool = False) -> Iterator[Store]:
    """Open the state of the config's own accounts, under the run lock; `in_vain`: a copy of it, without a lock."""
    path = config.state.path
    opened = Store.open_scratch if in_vain else Store.open
    with nullcontext() if in_vain else run_lock(path, command), opened(path) as store:
        with stop_on_signals() as stop:
            refuse_another_account(config, store, stop)
        yield store


_UNLIMITED_COLUMNS = 10_000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def terminal() -> Console:
    """Return stdout as rich sees it: as wide as the terminal; off one, without colours and never wrapped."""
    is_terminal = sys.stdout.isatty()
    plain = not is_terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in {"dumb", "unknown"}
    return Console(
        file=sys.stdout,
        force_terminal=is_terminal,
        color_system=None if plain else "auto",
        width=None if is_terminal else _UNLIMITED_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )


def line(*parts: object, style: str = "") -> Text:
    """Return a line of several parts; what is no `Text` is made safe."""
    return Text.assemble(
        *(one if isinstance(one, Text) else scrubbed(one, one_line=True) for one in parts), style=style
    )


def table(rows: Iterable[Sequence[object]], headers: Sequence[str], *, right: Sequence[int] = ()) -> Table:
    """Return a table as wide as it has to be; `right` are the columns of numbers; a terminal wraps long cells."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, header in enumerate(headers):
        made.add_column(header, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(line(cell) for cell in row))
    return made


def show(lines: Iterable[Line]) -> None:
    """Print one below the other, each as soon as it is there."""
    console = terminal()
    for one in lines:
        if isinstance(one, Table):
            console.print(one, soft_wrap=False)
        else:
            console.print(line(*one) if isinstance(one, tuple) else line(one))


def print_json(document: Any) -> None:
    """Print exactly one JSON document, in which what could steer a terminal is escaped."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(document, ensure_ascii=ascii_only, indent=2 if sys.stdout.isatty() else None)
    harmless = (one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
    click.echo(text if text.isprintable() else "".join(harmless))


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows for a spreadsheet; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = (json.dumps(one) if isinstance(one, bool) else one for one in map(row.get, columns))
        writer.writerow([f"'{text}" if text.startswith(_FORMULA_STARTS) else text for text in map(scrubbed, cells)])


def shown_value(value: Any, line_end: str = " | ") -> str:
    """Write a field's value, on one line; nothing is `∅`."""
    if value is None or value == "":
        return plain_or("∅", "-")
    return str(value).lower() if isinstance(value, bool) else str(value).replace("\n", line_end)


def counted(count: int, one: str, many: str | None = None) -> str:
    """Say how many there are; `many` only where it is not `one` and an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def linked(label: str, url: str) -> Text:
    """Return a text that can be clicked on terminals that know how; without an address it is only a text."""
    return Text(scrubbed(label, one_line=True), style=f"link {url}" if url else "")


def plain_or(fancy: str, plain: str) -> str:
    """Choose the sign that stdout can spell."""
    try:
        fancy.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return plain
    return fancy
