"""`init`: the config to start from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outreach_sync.config.load import usual_places
from outreach_sync.config.starter import Answer, starter_config
from outreach_sync.errors import ConfigError, UsageError
from outreach_sync.files import make_directory, write_whole
from outreach_sync.instants import parse_duration, parse_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE = usual_places()[0]
_TO_STDOUT = Path("-")


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default=None, required=False)
@click.option("--defaults", is_flag=True, help="Ask nothing, also on a terminal.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(path: Path | None, defaults: bool, force: bool) -> None:  # noqa: FBT001 - click's form
    """Write a commented config that has every key with its default, readable by its owner only.

    PATH is config/outreach-sync.yaml unless given; - is stdout. Secrets are never asked for: the config takes them
    from the environment, or from files. Exit status: 0; 2 there is a file already.
    """
    target = path or _PLACE
    if target == _TO_STDOUT:
        click.echo(starter_config({}), nl=False)
        return
    if not force and _is_there(target):
        raise _exists(target)
    asks = not defaults and sys.stdin.isatty() and sys.stdout.isatty()
    _write(target, starter_config(_answers() if asks else {}), replace=force)
    _say_next(target)


def _answers() -> Mapping[str, Answer]:
    """Ask for the few things that matter and have no default that is right for everyone."""
    click.echo("Press Enter to keep what is in brackets; everything can be changed in the file later.\n")
    answers: dict[str, Answer] = {
        "workbooks.base_url": click.prompt(
            "Your Workbooks address", default="https://secure.workbooks.com", value_proc=_https
        ),
        "outreach.redirect_uri": click.prompt(
            "Redirect URI of your Outreach app", default="https://localhost:8484/callback", value_proc=_https
        ),
        "sync.start": click.prompt(
            "How far back the first run reads (90d, a date, or all)", default="90d", value_proc=_start
        ),
        "sync.people.when_missing": click.prompt(
            "When Workbooks has no Person for a prospect", default="create", type=click.Choice(["create", "skip"])
        ),
        "schedule.every": click.prompt("Pause between cycles", default="10m", value_proc=_duration),
    }
    return answers


def _https(text: str) -> str:
    if not text.startswith("https://") or len(text) == len("https://"):
        raise click.BadParameter("an address that begins with https://")
    return text


def _start(text: str) -> str:
    if text == "all":
        return text
    try:
        parse_moment(text)
    except ValueError:
        return _duration(text)
    return text


def _duration(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


def _write(target: Path, text: str, *, replace: bool) -> None:
    """Write the file with mode 0600 from its first moment on; a file that is there is only replaced whole."""
    try:
        make_directory(target.parent)
        if replace:
            write_whole(target, text, private=True)
        else:
            _create(target, text)
    except FileExistsError as error:
        raise (_exists(target) if _is_there(target) else _unwritable(target, error)) from error  # somebody was quicker
    except OSError as error:
        raise _unwritable(target, error) from error


def _create(target: Path, text: str) -> None:
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        target.unlink()  # half a config would be found, and taken for a whole one
        raise


def _is_there(target: Path) -> bool:
    try:
        return target.exists()
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{target} cannot be written: {error.strerror}.")


def _exists(target: Path) -> UsageError:
    return UsageError(f"{target} exists already; it was left as it is.", advice="Name another path, or use --force.")


def _say_next(target: Path) -> None:
    usual = {place.absolute() for place in usual_places()}
    program = "outreach-sync" if target.absolute() in usual else f"outreach-sync -c {target}"
    click.echo(f"Wrote {target}. Next:")
    click.echo("  1. Set OUTREACH_CLIENT_ID, OUTREACH_CLIENT_SECRET and WORKBOOKS_API_KEY in the environment.")
    click.echo(f"  2. {program} auth login")
    click.echo(f"  3. {program} provision     creates the picklist and the fields in Workbooks, where they are missing")
    click.echo(f"  4. {program} check")
    click.echo(f"  5. {program} run --dry-run")
    click.echo(f"  6. {program} run --limit 5  a pilot: look at these people in Workbooks, then run without --limit")
    click.echo("     (or name the people of a pilot by sync.people.only_where)")
