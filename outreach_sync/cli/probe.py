"""`probe-skips`: what skips look like in this account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import yaml

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json, print_table, say
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.insight.probe import collect, probe_document
from outreach_sync.instants import Instant
from outreach_sync.outreach.client import Outreach
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY_MS = 86_400_000
_YES_NO = {True: "yes", False: "no", None: "null"}
_OPEN_TASKS = 1_000
_SHOWN_NAMES, _SHOWN_SKIPS = 25, 25
_TO_SETTLE_IT = (
    "To settle it: skip one e-mail task and one call task in a test account, complete one, let one be skipped by "
    "itself, and compare this page before and after."
)


@click.command("probe-skips")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far back to read.")
@as_json
@invocation
def probe_skips(context: Invocation, days: int, as_json: bool) -> None:  # noqa: FBT001 - click's form
    """Show what skips look like: events by name, each skip's task, what rule and absence say, and where they differ.

    Reads events and tasks of the last days from Outreach and keeps nothing but a rotated token. Exit status: 0, also
    where events may not be read; 3 not authenticated or not allowed; 4 Outreach is unavailable.
    """
    config = context.config()
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        open_tasks = state.cache.newest_open_tasks(_OPEN_TASKS)
    with stop_on_signals() as stop:
        source = Outreach(config, stop, want_steps=True)
        since = Instant(source.server_time() - days * _DAY_MS)
        found = collect(source, since, config, open_tasks)
    document = probe_document(found, days, config)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    _print_events(document["events"], document["since"])
    _print_skips(document["skips"])
    say(
        f"{document['read']:,} tasks changed or were named by an event, {document['sequence_tasks']:,} of them belong "
        f"to a sequence; the rule takes {document['taken']:,}."
    )
    print_table(
        map(_row, document["combinations"]),
        (
            "sequence",
            "state",
            "completed",
            "completedAt",
            "completer",
            "autoskipAt",
            "tasks",
            "rule",
            "event",
            "such as",
        ),
        right=(6, 7, 8),
    )
    say()
    absence = document["absence"]
    say(
        f"Absence: of {absence['asked_for']:,} open tasks whose sequence went on, {absence['gone']:,} are gone; "
        f"{absence['gone_without_event']:,} of these without an event{_such_as(absence['examples'])}."
    )
    for one in document["disagreements"]:
        say(f"Disagreement: {one['says']}: {one['tasks']:,} tasks{_such_as(one['examples'])}.")
    say()
    for one in document["recommendations"]:
        say(f"→ {one}", style="bold")
    if document["recommended"] != document["rule"]:
        rule = {"sync": {"tasks": {"skipped_when": document["recommended"]}}}
        for line in str(yaml.safe_dump(rule, sort_keys=False, allow_unicode=True)).splitlines():
            say(line)
    say()
    say(_TO_SETTLE_IT)


def _print_events(events: Mapping[str, Any], since: str) -> None:
    if events["problem"]:
        say(f"Events: {events['problem']}", style="bold yellow")
        say()
        return
    part = "" if events["complete"] else f", the newest {events['read']:,} only"
    say(f"Events since {since} by name{part}:")
    names = events["names"]
    print_table(
        [
            (one["name"], f"{one['count']:,}", "skipped" if one["means_skipped"] else "", _listed(one["examples"]))
            for one in names[:_SHOWN_NAMES]
        ],
        ("event", "count", "means", "such as"),
        right=(1,),
    )
    if len(names) > _SHOWN_NAMES:
        say(f"and {len(names) - _SHOWN_NAMES:,} more names; --json has all.")
    say(f"{events['skips']:,} say that a task was skipped, {events['skips_without_task']:,} of them name no task.")
    say()


def _print_skips(skips: list[Mapping[str, Any]]) -> None:
    if not skips:
        return
    say("What the task of each skip looks like now:")
    print_table(
        [
            (
                *(one["at"], one["task_id"], one["prospect_id"]),
                *(
                    ("gone", "", "")
                    if one["gone"]
                    else (one["state"], _shown(one["completed"]), _shown(one["completer"]))
                ),
                *(
                    "no sequence" if not one["in_sequence"] else "yes" if one[name] else "no"
                    for name in ("rule_takes_it", "absence_takes_it")
                ),
            )
            for one in skips[-_SHOWN_SKIPS:]
        ],
        ("at", "task", "prospect", "state", "completed", "completer", "rule", "absence"),
    )
    if len(skips) > _SHOWN_SKIPS:
        say(f"and {len(skips) - _SHOWN_SKIPS:,} earlier ones; --json has all.")
    say()


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        *(_YES_NO[one["in_sequence"]], one["state"], _shown(one["completed"])),
        *("null" if one[name] else "set" for name in ("completed_at_null", "completer_null")),
        *(one["autoskip"], f"{one['count']:,}", f"{one['taken']:,}", f"{one['skipped']:,}", _listed(one["examples"])),
    )


def _shown(value: Any) -> str:
    return _YES_NO[value] if value is None or isinstance(value, bool) else str(value)


def _listed(examples: list[int]) -> str:
    return ", ".join(map(str, examples))


def _such_as(examples: list[int]) -> str:
    return f" (such as {_listed(examples)})" if examples else ""
