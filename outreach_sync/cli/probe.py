"""`probe-skips`: what skipped tasks look like in this account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json, print_table
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.instants import Instant, to_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.records import SourceTask

_DAY_MS = 86_400_000
_YES_NO = {True: "yes", False: "no", None: "null"}
_TO_SETTLE_IT = (
    "None of this proves anything. To settle it: skip one e-mail task and one call task in a test account, complete\n"
    "one, let one be skipped by itself, and compare these numbers before and after."
)


@click.command("probe-skips")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far back to read.")
@as_json
@invocation
def probe_skips(context: Invocation, days: int, as_json: bool) -> None:  # noqa: FBT001 - click's form
    """Count every combination of the task attributes that could mean skipped, and say which today's rule takes.

    Reads the tasks of the last days from Outreach and keeps nothing but a rotated token. Exit status: 0; 3 not
    authenticated or not allowed; 4 Outreach is unavailable.
    """
    from outreach_sync.insight.probe_skips import count_looks, probe_document  # noqa: PLC0415 - not for --help

    config = context.config()
    with stop_on_signals() as stop:
        since, tasks = _read(config, days, stop)
        counted = count_looks(tasks, config.sync.tasks.skipped_when)
    document = {
        "days": days,
        "since": to_iso(since),
        **probe_document(counted, config.sync.tasks.skipped_when),
    }
    if as_json:
        print_json(document)
    else:
        _print(context, document)


def _read(config: Config, days: int, stop: StopSignal) -> tuple[Instant, Iterator[SourceTask]]:
    """Return since when, by Outreach's clock, and each task that changed since then, once."""
    from outreach_sync.outreach.walk import Outreach  # noqa: PLC0415
    from outreach_sync.records import Stream  # noqa: PLC0415

    source = Outreach(config, stop)
    since = Instant(source.server_time() - days * _DAY_MS)

    def tasks() -> Iterator[SourceTask]:
        seen = set[int]()
        for page in source.pages(Stream.TASKS, source.first_url(Stream.TASKS, since)):
            yield from (task for task in page.tasks if task.id not in seen)
            seen.update(task.id for task in page.tasks)

    return since, tasks()


def _print(context: Invocation, document: Mapping[str, Any]) -> None:
    click.echo(
        f"{document['read']:,} tasks changed since {document['since']}, {document['sequence_tasks']:,} of them belong "
        f"to a sequence; today's rule takes {document['taken']:,}.\n"
    )
    print_table(
        map(_row, document["combinations"]),
        ("sequence", "state", "completed", "completedAt", "completer", "autoskipAt", "tasks", "taken", "examples"),
    )
    click.echo("\nWhat speaks for what:")
    for one in document["hypotheses"]:
        examples = f" (such as {', '.join(map(str, one['examples']))})" if one["examples"] else ""
        click.echo(context.scrubber.text(f"  {one['name']}: {one['tasks']:,} tasks{examples}: {one['says']}"))
    click.echo(f"\n{document['recommendation']}")
    if document["recommended"] != document["rule"]:
        click.echo(context.scrubber.text(_as_yaml(document["recommended"])))
    click.echo(f"\n{_TO_SETTLE_IT}")


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    completed_at = "null" if one["completed_at_null"] else "set"
    completer = "null" if one["completer_null"] else "set"
    taken = one["taken"] if one["taken"] in {0, one["count"]} else f"{one['taken']} of them"
    return (
        *(_YES_NO[one["in_sequence"]], one["state"], _YES_NO.get(one["completed"], one["completed"]), completed_at),
        *(completer, one["autoskip"], one["count"], taken or "-", ", ".join(map(str, one["examples"]))),
    )


def _as_yaml(conditions: list[dict[str, Any]]) -> str:
    import yaml  # noqa: PLC0415

    rule = {"sync": {"tasks": {"skipped_when": conditions}}}
    return "\n" + str(yaml.safe_dump(rule, sort_keys=False, allow_unicode=True)).rstrip()
