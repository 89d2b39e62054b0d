"""`report`: how the sync is doing, as one page."""

from __future__ import annotations

from pathlib import Path

import click

from outreach_sync.cli.context import Invocation, invocation
from outreach_sync.instants import now
from outreach_sync.report import render, write_page
from outreach_sync.report.figures import gather
from outreach_sync.store import Store
from outreach_sync.store.lock import holder

_TO_STDOUT = "-"


@click.command()
@click.option("--out", required=True, metavar="FILE.html", help="Where to write the page; - is stdout.")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many days back, today included."
)
@invocation
def report(context: Invocation, out: str, days: int) -> None:
    """Write a self-contained page: verdict, refusals, last changes, states, skipped tasks, opt-outs, runs and outages.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; 2 config, state, or a file
    that cannot be written.
    """
    config = context.config(require_secrets=False)
    running = holder(config.state.path)
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        figures = gather(state, config, now(), days=days, scrubber=context.scrubber, holder=running)
    page = render(figures)
    if out == _TO_STDOUT:
        click.echo(page, nl=False)
        return
    write_page(page, Path(out))
    runs = f"{figures.run_count:,} run{'' if figures.run_count == 1 else 's'}"
    click.echo(context.scrubber.text(f"Wrote {out}: {runs} in the last {days} day{'' if days == 1 else 's'}."))
