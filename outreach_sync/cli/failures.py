"""`failures`: what was refused, and why; try it again or give it up."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import FullHelp, Invocation, as_json, invocation
from outreach_sync.cli.output import linked, print_json, print_table, say
from outreach_sync.insight import failures as refusals
from outreach_sync.insight.explain import Links
from outreach_sync.instants import ago, now
from outreach_sync.store import Store
from outreach_sync.store.lock import run_lock
from outreach_sync.store.store import is_there

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from rich.text import Text

    from outreach_sync.store.outbox import Entry

_SHOWN = 25


@click.group(cls=FullHelp)
def failures() -> None:
    """List, show, retry or discard what Workbooks or a rule refused.

    Exit status: 0; 2 an unknown id, config or state; 5 another run holds the lock (retry and discard change the queue).
    """


@failures.command("list")
@as_json
@invocation
def list_failures(context: Invocation, as_json: bool) -> None:  # noqa: FBT001 - click's form, here and below
    """List what was refused, by kind, and what to do about each kind."""
    links = Links.of(context.config(require_secrets=False))
    with _read(context) as state:
        entries = refusals.failures_with_ids(state, ())
    if as_json:
        print_json([refusals.failure_document(entry) for entry in entries])
        return
    if not entries:
        say("Nothing is refused.")
    for kind, group in refusals.by_kind(entries).items():
        say(f"{kind.title}: {len(group):,}", style="bold")
        say(f"  What to do: {kind.advice}")
        say()
        _print_group(group, links)
        say()


def _print_group(entries: Collection[Entry], links: Links) -> None:
    rows = []
    for entry in list(entries)[:_SHOWN]:
        due = "parked" if entry.state == "parked" else "next run"
        if entry.next_attempt_at is not None and entry.next_attempt_at > now():
            due = f"in {ago(entry.next_attempt_at - now())}"
        rows.append((entry.id, _source(entry, links), _person(entry, links), entry.attempts, due, entry.reason))
    print_table(rows, ("id", "in Outreach", "in Workbooks", "tries", "next try", "reason"), right=(0, 3))
    if len(entries) > _SHOWN:
        say(f"and {len(entries) - _SHOWN:,} more; `failures list --json` has all.")


def _source(entry: Entry, links: Links) -> Text | str:
    if entry.prospect_id is None:
        return "unknown" if entry.task_id is None else f"task {entry.task_id}"
    label = f"prospect {entry.prospect_id}" if entry.task_id is None else f"task {entry.task_id}"
    return linked(label, links.prospect(entry.prospect_id))


def _person(entry: Entry, links: Links) -> Text | str:
    return "" if entry.person_id is None else linked(f"Person {entry.person_id}", links.person(entry.person_id))


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
        say(f"{name:<16}{'' if value is None else value}")


@failures.command()
@click.argument("ids", metavar="[ID]...", type=int, nargs=-1)
@click.option("--recreate", is_flag=True, help="Create People again that Workbooks does not show any more; name them.")
@as_json
@invocation
def retry(context: Invocation, ids: tuple[int, ...], recreate: bool, as_json: bool) -> None:  # noqa: FBT001
    """Make all refusals, or those named, due now; parked ones too. The next run tries them."""
    if recreate and not ids:
        raise click.UsageError("--recreate needs the ids of the refusals: whoever is only hidden would be made twice.")
    entries = _change(context, "retry", ids, refusals.recreate if recreate else refusals.retry)
    if as_json:
        print_json({"retried": [entry.id for entry in entries]})
    else:
        say(f"{len(entries):,} due now; the next run tries them.")


@failures.command()
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@as_json
@invocation
def discard(context: Invocation, ids: tuple[int, ...], as_json: bool) -> None:  # noqa: FBT001
    """Give up the refusals named, until a record of theirs next changes in Outreach."""
    entries = _change(context, "discard", ids, refusals.discard)
    if as_json:
        print_json({"discarded": [entry.id for entry in entries]})
    else:
        say(f"{len(entries):,} discarded.")


def _read(context: Invocation) -> AbstractContextManager[Store | None]:
    state = context.state_to_read()
    return nullcontext() if state is None else state


def _change(
    context: Invocation, what: str, ids: tuple[int, ...], change: Callable[[Store, Collection[Entry]], None]
) -> list[Entry]:
    """Change the queue under the run lock; where no run was ever made there is nothing to change."""
    path = context.state_path
    if not is_there(path):
        return refusals.failures_with_ids(None, ids)
    with run_lock(path, f"failures {what}"), Store.open(path) as state:
        entries = refusals.failures_with_ids(state, ids)
        change(state, entries)
        return entries
