"""What every command needs: its config, its log, what it prints, how errors are said, and the requests to stop."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from outreach_sync.config import exposed_secrets, find_config, load_config
from outreach_sync.files import root_among_others
from outreach_sync.http import StopSignal
from outreach_sync.log import on_one_line, scrubbed, start_logging
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.log import Log


@dataclass
class Invocation:
    """One invocation: where its config is, and how it logs; None: not given.

    `latest` is the one of this process, for what is said when it has ended; None: the command line made no sense.
    """

    latest: ClassVar[Invocation | None] = None
    given_config: Path | None
    log_format: str | None
    log_level: str | None
    log: Log | None = None

    def config(self, *, require_secrets: bool = True) -> Config:
        """Load the config, and warn where others can read a secret in it.

        Raises:
            ConfigError: there is none, or it is wrong.
        """
        path = find_config(self.given_config)
        config = load_config(path, require_secrets=require_secrets)
        for warning in (exposed_secrets(path), root_among_others(config.state.path)):
            if warning is not None:
                click.echo(f"outreach-sync: warning: {warning}", err=True)
        return config

    def start_log(self, config: Config, level: str | None = None) -> Log:
        """Return the logger: the command line's wishes, then the command's `level`, then the config's."""
        least = self.log_level or level or config.logging.level
        self.log = start_logging(least, self.log_format or config.logging.format)
        return self.log


def store_of(config: Config) -> Store:
    """Open the state without changing it; an empty one in its place before the first run."""
    return Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path)


def say_error(error: OutreachSyncError) -> int:
    """Print the line of an error; return its exit status."""
    click.echo(f"outreach-sync: {scrubbed(str(error))}", err=True)
    return error.exit_status


def say_bug(bug: Exception) -> None:
    """Print a line about a bug; its traceback goes to the log, at debug, in a command that keeps none as well."""
    context = Invocation.latest
    log = context.log if context is not None else None
    if log is None and context is not None and context.log_level == "debug":
        log = start_logging("debug", context.log_format or "auto")
    if log is not None:
        log.debug("bug", exc_info=bug)
    click.echo(
        f"outreach-sync: a bug in this program: {type(bug).__name__}. Nothing that was committed is lost; "
        f"run again with --log-level debug and report what it logs.",
        err=True,
    )


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print one line for each field, for a spreadsheet.")
invocation = click.make_pass_decorator(Invocation)
ID = click.IntRange(1, 2**63 - 1)


_GRACE_SECONDS = 25.0
_HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


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

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, ask) for number in _HANDLED - ignored}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_after_grace(number: int) -> None:
    """End the process where an exchange hangs: the state says what was being sent, and the next run looks."""
    timer = threading.Timer(_GRACE_SECONDS, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()


# -- what is printed

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


def safe(value: object) -> str:
    """Return a value of a service's on one line, without secrets and control characters; None is empty."""
    return "" if value is None else on_one_line(str(value))


def say(*parts: object, style: str = "") -> None:
    """Print a line; what is no `Text` is made safe."""
    terminal().print(Text.assemble(*(one if isinstance(one, Text) else safe(one) for one in parts), style=style))


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
        texts = ("" if one is None else scrubbed(str(one)) for one in cells)
        writer.writerow([f"'{text}" if text.startswith(_FORMULA_STARTS) else text for text in texts])


def print_table(rows: Iterable[Sequence[Any]], headers: Sequence[str], *, right: Sequence[int] = ()) -> None:
    """Print a table as wide as it has to be; on a terminal long cells are wrapped.

    Args:
        rows: the cells; what is no `Text` is made safe.
        headers: one for each column.
        right: which columns hold numbers.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else safe(cell) for cell in row))
    terminal().print(table, soft_wrap=False)


def shown_value(value: Any) -> str:
    """Write a field's value on one line; nothing is `∅`."""
    if value is None or value == "":
        return plain_or("∅", "-")
    return str(value).lower() if isinstance(value, bool) else str(value).replace("\n", " | ")


def linked(label: str, url: str) -> Text:
    """Return a text that can be clicked on terminals that know how; without an address it is only a text."""
    return Text(safe(label), style=f"link {url}" if url else "")


def plain_or(fancy: str, plain: str) -> str:
    """Choose the sign that stdout can spell."""
    try:
        fancy.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return plain
    return fancy
