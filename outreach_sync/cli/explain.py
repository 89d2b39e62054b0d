"""`explain`, `failures`, `probe-skips`: why a record says what it says, what was refused, what counts as skipped."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click
import yaml
from rich.text import Text

from outreach_sync.cli.context import (
    FullHelp,
    Invocation,
    as_json,
    invocation,
    linked,
    print_json,
    print_table,
    say,
    shown_value,
    stop_on_signals,
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
    from contextlib import AbstractContextManager

    from outreach_sync.store.outbox import Entry


_ID = click.IntRange(1, 2**63 - 1)
_SHOWN_WRITES = 25


@click.command()
@click.argument("who", required=False, metavar="[EMAIL|PERS-n]")
@click.option("--prospect", "prospect_id", type=_ID, help="A prospect's id in Outreach.")
@click.option("--person", "person_id", type=_ID, help="A Person's id in Workbooks.")
@click.option("--task", "task_id", type=_ID, help="A task's id in Outreach.")
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


def _person_lines(document: Mapping[str, Any], links: Links) -> Iterator[_Line]:
    person = document["person"]
    if person is None:
        yield "No Person is linked."
    else:
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
    yield ""
    yield "Behind it in Outreach, as last read:"
    for one in document["prospects"]:
        yield "  ", linked(f"prospect {one['id']}", links.prospect(one["id"])), f" {_about(one)}"
    yield from map(_state_line, document["sequence_states"])
    yield ""
    yield f"It should say, because of: {document['because']}"
    yield from _fields(document["wanted"])
    if document["problem"]:
        yield f"Not decided: {document['problem']}"
    yield "Nothing differs." if not document["differs"] else "What differs:"
    yield from _fields(document["differs"])
    yield from _tasks(document["tasks"])
    yield from _queue(document["queued"])
    yield from _timeline(document["history"])


def _about(prospect: Mapping[str, Any]) -> str:
    marks = [
        *(["never seen itself"] if not prospect["known"] else []),
        *(["opted out"] if prospect["opted_out"] else []),
        *(["opted out of e-mail"] if prospect["email_opted_out"] else []),
        *([f"deleted {prospect['trashed_at']}"] if prospect["trashed_at"] else []),
    ]
    emails = ", ".join(prospect["emails"]) or "no address"
    return "; ".join((f"{prospect['name']} ({emails})", *marks))


def _state_line(one: Mapping[str, Any]) -> str:
    sequence = one["sequence"] or f"sequence {one['sequence_id']}"
    return f"  sequence state {one['id']}: {one['state']} since {one['at'] or 'unknown'}, in {sequence}"


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
    yield from _queue(document["queued"])
    yield from _timeline(document["history"])


def _tasks(tasks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if tasks:
        yield ""
        yield "Skipped tasks:"
    for task in tasks:
        became = "not sent yet" if task["workbooks_id"] is None else f"Workbooks Task {task['workbooks_id']}"
        yield f"  task {task['id']} ({task['task_type']}): {became}; {task['because']}"


def _queue(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if entries:
        yield ""
        yield "Queued:"
    for entry in entries:
        due = f", next try {entry['next_attempt_at']}" if entry["next_attempt_at"] else ""
        yield f"  {entry['id']} {entry['action']} {entry['record']}, {entry['state']}{due}: {entry['why']}"


def _timeline(written: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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
        first, *more = re.split(r"\n", str(value) if value is not None else "-")
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
    links = Links.of(context.config(require_secrets=False))
    with _read(context) as state:
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
    entries = _change(context, "retry", ids, recreate_hidden if recreate else _make_due)
    if as_json:
        print_json({"retried": [entry.id for entry in entries]})
    else:
        say(f"{len(entries):,} due now; the next run tries them.")


def _make_due(store: Store, entries: Collection[Entry]) -> None:
    store.outbox.retry([entry.id for entry in entries])


@failures.command()
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@as_json
@invocation
def discard(context: Invocation, ids: tuple[int, ...], as_json: bool) -> None:  # noqa: FBT001
    """Give up the refusals named, until a record of theirs next changes in Outreach."""
    entries = _change(context, "discard", ids, lambda store, found: store.outbox.discard(one.id for one in found))
    if as_json:
        print_json({"discarded": [entry.id for entry in entries]})
    else:
        say(f"{len(entries):,} discarded.")


def _read(context: Invocation) -> AbstractContextManager[Store | None]:
    state = context.state_to_read()
    return nullcontext() if state is None else state


def _change(
    context: Invocation, what: str, ids: tuple[int, ...], change: Callable[[Store, Collection[Entry]], object]
) -> list[Entry]:
    """Change the queue under the run lock; where no run was ever made there is nothing to change."""
    path = context.state_path
    if not is_there(path):
        return failures_with_ids(None, ids)
    with run_lock(path, f"failures {what}"), Store.open(path) as state:
        with stop_on_signals() as stop:
            refuse_another_account(context.config(require_secrets=False), state, stop)
        entries = failures_with_ids(state, ids)
        with state.transaction():
            change(state, entries)
        return entries


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
        document = probe(source, since, days, config, open_tasks)
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
