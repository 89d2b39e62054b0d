"""`state`: copies of the state file, the way back, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import FullHelp, invocation
from outreach_sync.errors import StateError

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=FullHelp)
def state() -> None:
    """Back up, restore or verify the state."""


@state.command()
@click.argument("path", type=_FILE, required=False)
@invocation
def backup(context: Invocation, path: Path | None) -> None:
    """Copy the state to PATH, or beside it. A run may go on meanwhile. One copy a day is made by itself."""
    from outreach_sync import instants  # noqa: PLC0415 - not for --help
    from outreach_sync.store import Store  # noqa: PLC0415
    from outreach_sync.store.backup import back_up, back_up_elsewhere  # noqa: PLC0415

    source = _existing(context)
    stamp = instants.to_datetime(instants.now()).strftime("%Y-%m-%dT%H%M%S")
    target = path or source.with_name(f"{source.name}.backup-{stamp}")
    with Store.open(source) as opened:
        (back_up_elsewhere if path else back_up)(opened, target)
    click.echo(f"Copied to {target}.")


@state.command()
@click.argument("path", type=_FILE)
@invocation
def restore(context: Invocation, path: Path) -> None:
    """Put the copy at PATH in the place of the state, which is kept beside it."""
    from outreach_sync import instants  # noqa: PLC0415 - not for --help
    from outreach_sync.store.backup import restore as put_back  # noqa: PLC0415
    from outreach_sync.store.lock import run_lock  # noqa: PLC0415

    target = context.state_path
    with run_lock(target, "state restore"):
        replaced = put_back(target, path, now=instants.now())
    click.echo(f"Restored {path}.")
    if replaced is not None:
        click.echo(f"What was there is now {replaced}.")
    click.echo("The next run reads everything again that happened since, and every Person before it is written.")


@state.command()
@invocation
def verify(context: Invocation) -> None:
    """Check that the state is whole, without changing it. Exit status 2: it is damaged."""
    from outreach_sync.store.backup import problems_of  # noqa: PLC0415 - not for --help

    path = _existing(context)
    problems = problems_of(path)
    if problems:
        raise StateError(
            f"the state {path} is damaged: {'; '.join(problems)}.", advice="Restore a backup with `state restore`."
        )
    click.echo(f"{path} is whole.")


def _existing(context: Invocation) -> Path:
    from outreach_sync.store.store import is_there  # noqa: PLC0415 - not for --help

    path = context.state_path
    if not is_there(path):
        raise StateError(f"there is no state at {path} yet.", advice="The first run makes it.")
    return path
