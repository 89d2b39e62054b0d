"""`run`: one cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation, print_json, print_table
from outreach_sync.cli.logging import command_log
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.config.start import Back
from outreach_sync.instants import Instant, OutOfReachError, parse_duration, parse_moment
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.conduct import Ended

_REFUSED = 1
_SHOWN = 25
_STREAMS = [stream.value for stream in Stream]


class Moment(click.ParamType[Instant | Back]):
    """A time: ISO 8601 (UTC unless it has a zone), or a duration back from what Outreach's clock reads."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Instant | Back:
        """Parse it."""
        if isinstance(value, (int, Back)):
            return value if isinstance(value, Back) else Instant(value)
        for reads in (parse_moment, _back):
            try:
                return reads(value)
            except OutOfReachError as error:
                raise click.BadParameter(f"'{value}' {error}; --full reads from sync.start", ctx, param) from error
            except ValueError:
                continue
        raise click.BadParameter(
            f"'{value}' is no time: write 2026-09-01, 2026-09-01T10:00:00Z, or a duration such as 7d", ctx, param
        )


def _back(text: str) -> Back:
    return Back(parse_duration(text))


@click.command()
@click.option("--dry-run", is_flag=True, help="Read, show every change, and write nothing but a rotated token.")
@click.option("--full", is_flag=True, help="Ignore the watermarks: read again from sync.start.")
@click.option("--since", type=Moment(), help="Read from this time instead of the watermarks.")
@click.option("--stream", "streams", multiple=True, type=click.Choice(_STREAMS), help="Only this stream; repeatable.")
@click.option("--allow-bulk", is_flag=True, help="Lift the guard against mass changes, this once.")
@as_json
@invocation
def run(  # noqa: PLR0917 - click passes one argument for each option
    context: Invocation,
    dry_run: bool,  # noqa: FBT001
    full: bool,  # noqa: FBT001
    since: Instant | Back | None,
    streams: tuple[str, ...],
    allow_bulk: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Run one cycle: read what changed in Outreach since the watermark, write what differs to Workbooks.

    Exit status: 0 done; 1 some records were refused; 2 config; 3 not authenticated or not allowed; 4 a service was
    unavailable (what was read is kept); 5 another run holds the lock; 6 the guard stopped a mass change.
    """
    if full and since is not None:
        raise click.UsageError("--full and --since exclude each other: --full reads from sync.start.")
    config = context.config()
    from outreach_sync.conduct import Options, conduct  # noqa: PLC0415 - after the config is known to be right

    options = Options("run", dry_run, full, since, streams, allow_bulk)
    unread = [stream for stream in streams if stream not in config.sync.streams]
    if unread:
        raise click.UsageError(f"--stream {unread[0]}: sync.streams in the config leaves this stream out.")
    with stop_on_signals() as stop, progress_bar() as on_progress:
        ended = conduct(config, options, stop, command_log(context, config), on_progress=on_progress)
    return show(ended, as_json=as_json)


def progress_bar() -> Any:
    """Return what shows progress: a live line on a terminal, nothing elsewhere."""
    from outreach_sync.cli.progress import Progress  # noqa: PLC0415

    return Progress()


def show(ended: Ended, *, as_json: bool) -> int:
    """Print how a run ended; return its exit status."""
    from outreach_sync.cli import say_error  # noqa: PLC0415 - the package imports this module

    if as_json:
        print_json(ended.document)
    else:
        _print_summary(ended.document)
        if ended.document["dry_run"]:
            _print_refused(ended.document["refused"])
        elif (
            ended.exit_status == _REFUSED or ended.document["people"]["rejected"] or ended.document["tasks"]["rejected"]
        ):
            click.echo("`outreach-sync failures list` says what was refused, and why.")
    return ended.exit_status if ended.error is None else say_error(ended.error)


def _print_summary(document: Mapping[str, Any]) -> None:
    if document["dry_run"]:
        _print_changes(document)
    rows = [
        (
            name,
            stream["read"],
            stream["changed"],
            stream.get("skipped"),
            stream["requests"],
            stream["watermark"] or "none",
        )
        for name, stream in document["streams"].items()
    ]
    print_table(rows, ("stream", "read", "changed", "skipped", "requests", "watermark"))
    click.echo()
    for record in ("people", "tasks"):
        counts = ", ".join(f"{count} {name}" for name, count in document[record].items())
        click.echo(f"{record}: {counts}")
    requests = document["requests"]
    click.echo(f"requests: {requests['outreach']} to Outreach, {requests['workbooks']} to Workbooks")
    click.echo(f"{'dry run' if document['dry_run'] else 'run'} {document['run_id']}: {document['outcome']}")


def _print_refused(refused: Sequence[Mapping[str, Any]]) -> None:
    """Show what a dry run would have refused: nothing else keeps it."""
    if refused:
        click.echo(f"\nRefused ({len(refused)}); a dry run keeps no list, `failures list` has it after a run:")
    for one in refused[:_SHOWN]:
        source = f"prospect {one['prospect_id']}" if one["task_id"] is None else f"task {one['task_id']}"
        click.echo(Invocation.scrubber.line(f"  {source}: {one['reason']}"))
    if len(refused) > _SHOWN:
        click.echo(f"  … and {len(refused) - _SHOWN} more; --json has all.")


def _print_changes(document: Mapping[str, Any]) -> None:
    for change in document["changes"]:
        who = f"{change['action']} {change['record']} {change['workbooks_id'] or ''}".strip()
        source = f"task {change['task_id']}" if change["task_id"] else f"prospect {change['prospect_id']}"
        click.echo(f"{who} ({source})")
        for name, (old, new) in change["fields"].items():
            click.echo(Invocation.scrubber.line(f"  {name}: {'' if old is None else old} → {new}"))
    if document["guard_would_stop"]:
        click.echo("The guard would stop this before its first write; `--allow-bulk` would let it go on.")
    click.echo()
