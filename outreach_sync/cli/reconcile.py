"""`reconcile`: compare everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import as_json, invocation
from outreach_sync.cli.logging import command_log
from outreach_sync.cli.run import progress_bar, show
from outreach_sync.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from outreach_sync.cli.context import Invocation


@click.command()
@click.option("--dry-run", is_flag=True, help="Compare, show every repair, and write nothing but a rotated token.")
@click.option("--allow-bulk", is_flag=True, help="Lift the guard against mass changes, this once.")
@as_json
@invocation
def reconcile(
    context: Invocation,
    dry_run: bool,  # noqa: FBT001 - click passes options so
    allow_bulk: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Compare everything, and repair the difference.

    Finds sequence states that no longer exist in Outreach, people and tasks that were edited, deleted or merged in
    Workbooks, and people who had no match so far. An interrupted walk through Outreach goes on the next time. Exit
    status as for `run`; 6: it would change too much, and nothing of what it found was kept.
    """
    config = context.config()
    from outreach_sync.conduct import Options, conduct  # noqa: PLC0415 - after the config is known to be right
    from outreach_sync.reconcile import reconcile as repair  # noqa: PLC0415

    options = Options("reconcile", dry_run, allow_bulk=allow_bulk)
    with stop_on_signals() as stop, progress_bar() as on_progress:
        ended = conduct(
            config,
            options,
            stop,
            command_log(context, config),
            work=lambda run: repair(run, allow_bulk=allow_bulk),
            on_progress=on_progress,
        )
    return show(ended, as_json=as_json)
