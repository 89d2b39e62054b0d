"""`report`: how the sync is doing, as one page."""

from __future__ import annotations

from pathlib import Path

import click

from outreach_sync.cli.context import Invocation, invocation

_TO_STDOUT = "-"


@click.command()
@click.option("--out", required=True, metavar="FILE.html", help="Where to write the page; - is stdout.")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many days back, today included."
)
@invocation
def report(context: Invocation, out: str, days: int) -> None:
    """Write a self-contained page: states, runs, opt-outs, skipped tasks, and what was refused.

    Reads the local state only and takes no lock. Exit status: 0, also before the first run; 2 config, state, or a file
    that cannot be written.
    """
    from outreach_sync.config.quick import settings_of  # noqa: PLC0415 - not for --help
    from outreach_sync.instants import now  # noqa: PLC0415
    from outreach_sync.report.figures import gather  # noqa: PLC0415
    from outreach_sync.report.page import render  # noqa: PLC0415
    from outreach_sync.report.page_file import write_page  # noqa: PLC0415

    settings = settings_of(context.config(require_secrets=False))  # in full, so that the scrubber knows the secrets
    state = context.state_to_read()
    try:
        figures = gather(state, settings, now(), days=days, scrubber=context.scrubber)
    finally:
        if state is not None:
            state.close()
    page = render(figures)
    if out == _TO_STDOUT:
        click.echo(page, nl=False)
        return
    write_page(page, Path(out))
    runs = f"{figures.run_count:,} run{'' if figures.run_count == 1 else 's'}"
    click.echo(context.scrubber.text(f"Wrote {out}: {runs} in the last {days} day{'' if days == 1 else 's'}."))
