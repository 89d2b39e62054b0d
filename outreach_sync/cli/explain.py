"""`explain`, `failures`, `probe-skips`: why a record says what it says, what was refused, what counts as skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import yaml
from rich.text import Text

from outreach_sync.cli import FullHelp
from outreach_sync.cli.context import (
    ID,
    Invocation,
    as_json,
    invocation,
    linked,
    print_json,
    print_table,
    say,
    shown_value,
    stop_on_signals,
    store_of,
)
from outreach_sync.errors import UsageError
from outreach_sync.identity import refuse_another_account
from outreach_sync.insight.explain import (
    Links,
    by_kind,
    explain_person,
    explain_prospect,
    explain_task,
    explain_text,
    failure_document,
    failures_with_ids,
    kind_of,
    recreate_hidden,
)
from outreach_sync.insight.probe import probe
from outreach_sync.instants import Instant, ago, now
from outreach_sync.outreach.client import Outreach
from outreach_sync.store import Store, is_there, run_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from outreach_sync.store.outbox import Entry


_SHOWN_WRITES = 25


@click.command()
@click.argument("who", required=False, metavar="[EMAIL|PERS-n]")
@click.option("--prospect", "prospect_id", type=ID, help="A prospect's id in Outreach.")
@click.option("--person", "person_id", type=ID, help="A Person's id in Workbooks.")
@click.option("--task", "task_id", type=ID, help="A task's id in Outreach.")
@as_json
@invocation
def explain(context: Invocation, /, *, who: str | None, as_json: bool, **ids: int | None) -> None:
    """Explain how a Person's or Task's values were decided: what was read, the rule, what was written, what waits.

    Name somebody by an e-mail address, by PERS-n, or by an id. Reads the local state only, so it shows what the last
    run saw. Exit status: 0; 2 somebody or something that is not in the state.
    """
    if sum(one is not None for one in (who, *ids.values())) != 1:
        raise click.UsageError("name one: an e-mail address, PERS-n, --prospect, --person or --task.")
    config = context.config(require_secrets=False)
    state = Store.open_to_read(config.state.path)
    if state is None:
        raise UsageError("there is no state yet: no run was made.", advice="`outreach-sync run` makes one.")
    with state:
        if who is not None:
            document = explain_text(state, config, who)
        elif (task_id := ids["task_id"]) is not None:
            document = explain_task(state, config, task_id)
        elif (person_id := ids["person_id"]) is not None:
            document = explain_person(state, config, person_id)
        else:
            document = explain_prospect(state, config, ids["prospect_id"] or 0)
    if as_json:
        print_json(document)
        return
    lines = _task_lines if ids["task_id"] is not None else _person_lines
    for line in lines(document, Links.of(config)):
        say(*line) if isinstance(line, tuple) else say(line)


_Line = str | tuple[str | Text, ...]


def _lines_of_person(person: Mapping[str, Any], links: Links) -> Iterator[_Line]:
    name = linked(f"Person {person['id']}", links.person(person["id"]))
    yield name, f", found by the rule '{person['linked_by']}' at {person['linked_at']}."
    if person["deleted"]:
        yield "It is deleted in Workbooks, and stays so (sync.when_deleted)."
    if person["hidden"]:
        yield "Workbooks does not show it any more, neither alive nor deleted: nothing is written to it."
    if person["untouched"]:
        yield "It is left alone: it does not have the values of sync.people.only_where."
    yield f"Last written: {person['last_written_at'] or 'never, nothing differed'}."
    yield "It holds, as last accepted or read:"
    yield from _fields(person["holds"])
    if not person["certain"]:
        yield "  (not certain any more: it is read before it is next written)"


def _person_lines(document: Mapping[str, Any], links: Links) -> Iterator[_Line]:
    if document["person"] is None:
        yield "No Person is linked."
    else:
        yield from _lines_of_person(document["person"], links)
    yield ""
    yield "Behind it in Outreach, as last read:"
    for one in document["prospects"]:
        marks = {
            "never seen itself": not one["known"],
            "opted out": one["opted_out"],
            "opted out of e-mail": one["email_opted_out"],
            f"deleted {one['trashed_at']}": one["trashed_at"],
        }
        who = f" {one['name']} ({', '.join(one['emails']) or 'no address'})"
        marked = "; ".join((who, *(mark for mark, holds in marks.items() if holds)))
        yield "  ", linked(f"prospect {one['id']}", links.prospect(one["id"])), marked
    for one in document["sequence_states"]:
        sequence = one["sequence"] or f"sequence {one['sequence_id']}"
        yield f"  sequence state {one['id']}: {one['state']} since {one['at'] or 'unknown'}, in {sequence}"
    yield ""
    yield f"It should say, because of: {document['because']}"
    yield from _fields(document["wanted"])
    if document["problem"]:
        yield f"Not decided: {document['problem']}"
    yield "Nothing differs." if not document["differs"] else "What differs:"
    yield from _fields(document["differs"])
    if document["tasks"]:
        yield ""
        yield "Skipped tasks:"
    for task in document["tasks"]:
        became = "not sent yet" if task["workbooks_id"] is None else f"Workbooks Task {task['workbooks_id']}"
        yield f"  task {task['id']} ({task['task_type']}): {became}; {task['because']}"
    yield from _what_waits_and_was_written(document)


def _task_lines(document: Mapping[str, Any], links: Links) -> Iterator[_Line]:
    task, prospect = document["task"], document["prospect_id"]
    whose = linked(f"prospect {prospect}", links.prospect(prospect)) if prospect is not None else "nobody"
    yield f"Task {task['id']} ({task['task_type']}) of ", whose, ", as last read:"
    yield from _fields(document["attributes"])
    yield f"{'Skipped' if task['skipped'] else 'Not skipped'}: {document['because']}."
    if task["workbooks_id"] is not None:
        when = f"created {task['sent_at']}" if task["sent_at"] else "found there"
        there = linked(f"Task {task['workbooks_id']}", links.task(task["workbooks_id"]))
        yield "In Workbooks it is ", there, f" ({task['reference']}), {when}."
    elif task["skipped"]:
        person = document["person_id"]
        yield f"Not in Workbooks yet; its Person is {'unknown' if person is None else person}."
    yield from _what_waits_and_was_written(document)


def _what_waits_and_was_written(document: Mapping[str, Any]) -> Iterator[str]:
    if document["queued"]:
        yield ""
        yield "Queued:"
    for entry in document["queued"]:
        due = f", next try {entry['next_attempt_at']}" if entry["next_attempt_at"] else ""
        yield f"  {entry['id']} {entry['action']} {entry['record']}, {entry['state']}{due}: {entry['why']}"
    written: Sequence[Mapping[str, Any]] = document["history"]
    if written:
        yield ""
        yield "Written, newest first:"
    because = None
    for one in written[:_SHOWN_WRITES]:
        if because != (because := f"  {one['at']} by run {one['run_id']}: {one['because']}"):
            yield because
        what = f"Task {one['workbooks_id']}, " if one["record"] == "task" else ""
        yield f"    {what}{one['field']}: {shown_value(one['old'])} → {shown_value(one['new'])}"
    if len(written) > _SHOWN_WRITES:
        yield f"  and {len(written) - _SHOWN_WRITES:,} more: `outreach-sync history` has all."


def _fields(fields: Mapping[str, Any]) -> Iterator[str]:
    """Show fields one below the other; a value of several lines (sequences) keeps them."""
    for name, value in fields.items():
        first, *more = ("-" if value is None else str(value)).split("\n")
        yield f"  {name:<29} {first}"
        yield from (f"{'':<32}{line}" for line in more)


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
    config = context.config(require_secrets=False)
    with store_of(config) as state:
        entries = failures_with_ids(state, ())
    if as_json:
        print_json([failure_document(entry) for entry in entries])
        return
    if not entries:
        say("Nothing is refused.")
    for kind, group in by_kind(entries).items():
        say(f"{kind.title}: {len(group):,}", style="bold")
        say(f"  What to do: {kind.advice}")
        say()
        rows = [_failure_cells(entry, Links.of(config)) for entry in group[:_SHOWN]]
        print_table(rows, ("id", "in Outreach", "in Workbooks", "tries", "next try", "reason"), right=(0, 3))
        if len(group) > _SHOWN:
            say(f"and {len(group) - _SHOWN:,} more; `failures list --json` has all.")
        say()


def _failure_cells(entry: Entry, links: Links) -> tuple[object, ...]:
    due = "parked" if entry.state == "parked" else "next run"
    if entry.next_attempt_at is not None and entry.next_attempt_at > now():
        due = f"in {ago(entry.next_attempt_at - now())}"
    named = "unknown" if entry.prospect_id is None else f"prospect {entry.prospect_id}"
    named = named if entry.task_id is None else f"task {entry.task_id}"
    source = named if entry.prospect_id is None else linked(named, links.prospect(entry.prospect_id))
    person = "" if entry.person_id is None else linked(f"Person {entry.person_id}", links.person(entry.person_id))
    return entry.id, source, person, entry.attempts, due, entry.reason


@failures.command()
@click.argument("failure_id", metavar="ID", type=int)
@as_json
@invocation
def show(context: Invocation, failure_id: int, as_json: bool) -> None:  # noqa: FBT001
    """Show one refusal: what was to be written, why it was refused, what to do."""
    with store_of(context.config(require_secrets=False)) as state:
        entry = failures_with_ids(state, [failure_id])[0]
    document = {
        **failure_document(entry),
        "action": entry.action,
        "fields": dict(entry.fields),
        "advice": kind_of(entry).advice,
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
    changed = _change(context, "retry", ids, recreate_hidden if recreate else _make_due)
    if as_json:
        print_json({"retried": changed})
    else:
        say(f"{len(changed):,} due now; the next run tries them.")


def _make_due(store: Store, entries: Collection[Entry]) -> None:
    store.outbox.retry([entry.id for entry in entries])


@failures.command()
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@as_json
@invocation
def discard(context: Invocation, ids: tuple[int, ...], as_json: bool) -> None:  # noqa: FBT001
    """Give up the refusals named, until a record of theirs next changes in Outreach."""
    changed = _change(context, "discard", ids, lambda store, found: store.outbox.discard(one.id for one in found))
    if as_json:
        print_json({"discarded": changed})
    else:
        say(f"{len(changed):,} discarded.")


def _change(
    context: Invocation, what: str, ids: tuple[int, ...], change: Callable[[Store, Collection[Entry]], object]
) -> list[int]:
    """Change the queue under the run lock; return the ids. Before the first run there is nothing to change."""
    config = context.config(require_secrets=False)
    if not is_there(config.state.path):
        return [entry.id for entry in failures_with_ids(None, ids)]
    with run_lock(config.state.path, f"failures {what}"), Store.open(config.state.path) as state:
        with stop_on_signals() as stop:
            refuse_another_account(config, state, stop)
        entries = failures_with_ids(state, ids)
        with state.transaction():
            change(state, entries)
        return [entry.id for entry in entries]


_DAY_MS = 86_400_000
_YES_NO = {True: "yes", False: "no", None: "null"}
_OPEN_TASKS = 1_000
_TAKEN_BY = ("rule_takes_it", "absence_takes_it")
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
    with store_of(config) as state:
        open_tasks = state.cache.newest_open_tasks(_OPEN_TASKS)
    with stop_on_signals() as stop:
        source = Outreach(config, stop, want_steps=True)
        since = Instant(source.server_time() - days * _DAY_MS)
        document = probe(source, since, days, config, open_tasks)
    if as_json:
        print_json(document)
        return
    _print_events(document["events"], document["since"])
    _print_skips(document["skips"])
    say(
        f"{document['read']:,} tasks changed or were named by an event, {document['sequence_tasks']:,} of them belong "
        f"to a sequence; the rule takes {document['taken']:,}."
    )
    print_table(map(_combination_cells, document["combinations"]), _COMBINATION, right=(6, 7, 8))
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
    rows = [
        (one["name"], f"{one['count']:,}", "skipped" if one["means_skipped"] else "", _listed(one["examples"]))
        for one in names[:_SHOWN]
    ]
    print_table(rows, ("event", "count", "means", "such as"), right=(1,))
    if len(names) > _SHOWN:
        say(f"and {len(names) - _SHOWN:,} more names; --json has all.")
    say(f"{events['skips']:,} say that a task was skipped, {events['skips_without_task']:,} of them name no task.")
    say()


def _print_skips(skips: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for one in skips[-_SHOWN:]:
        now_ = ("gone", "", "") if one["gone"] else (one["state"], _shown(one["completed"]), _shown(one["completer"]))
        says = ("no sequence" if not one["in_sequence"] else _shown(one[name]) for name in _TAKEN_BY)
        rows.append((one["at"], one["task_id"], one["prospect_id"], *now_, *says))
    if rows:
        say("What the task of each skip looks like now:")
        print_table(rows, ("at", "task", "prospect", "state", "completed", "completer", "rule", "absence"))
        if len(skips) > _SHOWN:
            say(f"and {len(skips) - _SHOWN:,} earlier ones; --json has all.")
        say()


_COMBINATION = (
    *("sequence", "state", "completed", "completedAt", "completer"),
    *("autoskipAt", "tasks", "rule", "event", "such as"),
)


def _combination_cells(one: Mapping[str, Any]) -> tuple[Any, ...]:
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
