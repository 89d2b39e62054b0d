"""`provision`: make what the config names in Workbooks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json, print_table, say
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.config.starter import replace_file, rewritten
from outreach_sync.identity import refuse_another_workbooks
from outreach_sync.provision import TITLES, Wish, planned, provide
from outreach_sync.workbooks.records import Workbooks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.provision import Provisioned, Step

_SECTION = ("workbooks", "fields")


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@click.option("--datetime-type", default="datetime", show_default=True, help="Workbooks' word for a date with a time.")
@click.option("--write", is_flag=True, help="Write columns that differ into the config without asking.")
@as_json
@invocation
def provision(
    context: Invocation,
    dry_run: bool,  # noqa: FBT001 - click passes options so
    datetime_type: str,
    write: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make the picklist, its entries and the custom fields of a Person that the config names, where they are missing.

    Needs an administrator's API key. What exists is left as it is, so it can be run again at any time. Exit status: 3
    this key may not; 4 Workbooks is not done yet, run it again.
    """
    config = context.config()
    wish = _wish(config, datetime_type)
    with stop_on_signals() as stop:
        target = Workbooks(config, stop)
        refuse_another_workbooks(config, target)
        metadata = target.metadata
        steps = planned(metadata, wish)
        if not as_json:
            print_table([(step.action, step.kind, step.name, step.column) for step in steps], _HEADERS)
        done = None
        if not dry_run:
            done = provide(metadata, steps, wish, stop, patience_seconds=config.sync.patience_ms / 1000)
    changes = _changes(wish, steps, done)
    written = bool(changes) and not dry_run and _write(context, changes, sure=write, may_ask=not as_json)
    if as_json:
        print_json(_document(steps, done, changes, dry_run=dry_run, written=written))
    else:
        _tell(steps, done, changes, written=written)


_HEADERS = ("action", "what", "name", "column")


def _wish(config: Config, datetime_type: str) -> Wish:
    named = config.workbooks.fields.model_dump()
    fields = {role: named[role] for role in TITLES if named[role] is not None}
    return Wish(fields, tuple(dict.fromkeys(config.sync.labels.values())), datetime_type)


def _changes(wish: Wish, steps: Sequence[Step], done: Provisioned | None) -> dict[str, str]:
    """Return the columns that the config should name, by role, where it names none or others."""
    columns = {step.role: step.column for step in steps if step.role is not None and step.column is not None}
    columns |= {} if done is None else done.columns
    return {role: column for role, column in columns.items() if column is not None and wish.fields.get(role) != column}


def _write(context: Invocation, changes: Mapping[str, str], *, sure: bool, may_ask: bool) -> bool:
    """Write the columns into the config, if that is wanted and can be done; say whether it was."""
    path = context.config_path
    text = rewritten(path.read_text(encoding="utf-8"), _SECTION, changes)
    if text is None:
        return False
    if not sure:
        asks = may_ask and sys.stdin.isatty()
        if not asks or not click.confirm(f"Write {', '.join(changes.values())} into {path}?", err=True):
            return False
    replace_file(path, text)
    return True


def _document(
    steps: Sequence[Step], done: Provisioned | None, changes: Mapping[str, str], *, dry_run: bool, written: bool
) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "steps": [{"action": one.action, "kind": one.kind, "name": one.name, "role": one.role} for one in steps],
        "columns": {} if done is None else dict(done.columns),
        "findings": [] if done is None else [f"{one.subject}: {one.problem}. {one.hint}" for one in done.findings],
        "config_changes": {f"workbooks.fields.{role}": column for role, column in changes.items()},
        "config_written": written,
    }


def _tell(steps: Sequence[Step], done: Provisioned | None, changes: Mapping[str, str], *, written: bool) -> None:
    for step in steps:
        if step.action == "keep":
            say(
                f"The picklist spells '{step.name}' differently (dash, blank or case): nothing was added. Set that "
                f"spelling under sync.labels."
            )
        elif step.action == "propose":
            say(
                f"Person has '{step.name}' ({step.column}), as the vendor's own integration makes it: people whom that "
                f"one linked are found by it if workbooks.fields.{step.role} names it."
            )
    for one in () if done is None else done.findings:
        say(f"Warning: {one.subject}: {one.problem}. {one.hint}")
    if done is None:
        say("Nothing was made.")
    elif not changes:
        say("Workbooks has everything that the config names.")
    if written:
        say(f"The config now names {', '.join(changes.values())}.")
    elif changes:
        say("The columns are not named so in the config. Change these lines of it, under workbooks.fields:")
        for role, column in changes.items():
            say(f"    {role}: {column}")
