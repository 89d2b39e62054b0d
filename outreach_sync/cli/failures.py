"""`failures`: what was refused, and why; try it again or give it up."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json, print_table
from outreach_sync.insight import failures as refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from outreach_sync.state import State
    from outreach_sync.state.outbox import Entry

_SHOWN = 25


@click.group()
def failures() -> None:
    """List, show, retry or discard what Workbooks or a rule refused.

    Exit status: 0; 2 an unknown id, config or state; 5 another run holds the lock (retry and discard change the queue).
    """


@failures.command("list")
@as_json
@invocation
def list_failures(context: Invocation, as_json: bool) -> None:  # noqa: FBT001 - click's form, here and below
    """List what was refused, by kind, and what to do about each kind."""
    with _read(context) as state:
        entries = refusals.failures_with_ids(state, ())
    if as_json:
        print_json([refusals.failure_document(entry) for entry in entries])
        return
    if not entries:
        click.echo("Nothing is refused.")
    for kind, group in refusals.by_kind(entries).items():
        click.echo(f"{kind.title}: {len(group)}")
        click.echo(f"  What to do: {kind.advice}\n")
        _print_group(group)
        click.echo()


def _print_group(entries: Collection[Entry]) -> None:
    rows = []
    for entry in list(entries)[:_SHOWN]:
        shown = refusals.failure_document(entry)
        due = shown["next_attempt_at"] or ("parked" if shown["state"] == "parked" else "next run")
        rows.append((entry.id, _who(entry), entry.attempts, due, entry.reason))
    print_table(rows, ("id", "record", "tries", "next try", "reason"))
    if len(entries) > _SHOWN:
        click.echo(f"… and {len(entries) - _SHOWN} more; `failures list --json` has all.")


def _who(entry: Entry) -> str:
    if entry.task_id is not None:
        return f"task {entry.task_id}"
    person = f", Person {entry.person_id}" if entry.person_id is not None else ""
    return f"prospect {entry.prospect_id}{person}" if entry.prospect_id is not None else f"unknown{person}"


@failures.command()
@click.argument("failure_id", metavar="ID", type=int)
@as_json
@invocation
def show(context: Invocation, failure_id: int, as_json: bool) -> None:  # noqa: FBT001
    """Show one refusal: what was to be written, why it was refused, what to do."""
    with _read(context) as state:
        entry = refusals.failures_with_ids(state, [failure_id])[0]
    document = {
        **refusals.failure_document(entry),
        "action": entry.action,
        "fields": dict(entry.fields),
        "advice": refusals.kind_of(entry).advice,
    }
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        click.echo(context.scrubber.text(f"{name:<16}{'' if value is None else value}"))


@failures.command()
@click.argument("ids", metavar="[ID]...", type=int, nargs=-1)
@as_json
@invocation
def retry(context: Invocation, ids: tuple[int, ...], as_json: bool) -> None:  # noqa: FBT001
    """Make all refusals, or those named, due now; parked ones too. The next run tries them."""
    entries = _change(context, "retry", ids, refusals.retry)
    if as_json:
        print_json({"retried": [entry.id for entry in entries]})
    else:
        click.echo(f"{len(entries)} due now; the next run tries them.")


@failures.command()
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@as_json
@invocation
def discard(context: Invocation, ids: tuple[int, ...], as_json: bool) -> None:  # noqa: FBT001
    """Give up the refusals named; a record is looked at again when it next changes in Outreach."""
    entries = _change(context, "discard", ids, refusals.discard)
    if as_json:
        print_json({"discarded": [entry.id for entry in entries]})
    else:
        click.echo(f"{len(entries)} discarded.")


def _read(context: Invocation) -> AbstractContextManager[State | None]:
    state = context.state_to_read()
    return nullcontext() if state is None else state


def _change(
    context: Invocation, what: str, ids: tuple[int, ...], change: Callable[[State, Collection[Entry]], None]
) -> list[Entry]:
    """Change the queue under the run lock; where no run was ever made there is nothing to change."""
    from outreach_sync.state import State  # noqa: PLC0415 - not for --help
    from outreach_sync.state.database import is_there  # noqa: PLC0415
    from outreach_sync.state.lock import run_lock  # noqa: PLC0415

    path = context.state_path
    if not is_there(path):
        return refusals.failures_with_ids(None, ids)
    with run_lock(path, f"failures {what}"), State.open(path) as state:
        entries = refusals.failures_with_ids(state, ids)
        change(state, entries)
        return entries
