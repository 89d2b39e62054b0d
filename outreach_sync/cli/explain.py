"""`explain`, `failures`, `probe-skips`: why a record says what it says, what was refused, what counts as skipped."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import yaml

from outreach_sync.cli import Commands, ui
from outreach_sync.errors import UsageError
from outreach_sync.insight import explain as why
from outreach_sync.insight.probe import probe
from outreach_sync.instants import Instant, ago, now
from outreach_sync.outreach.client import Outreach
from outreach_sync.store import Store, is_there
from outreach_sync.store.cache import NEWEST_OPEN
from outreach_sync.store.outbox import is_due
from outreach_sync.store.progress import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.store.outbox import Entry


_SHOWN_WRITES = 25
_EXPLAINED: Mapping[str, Callable[[Store, Config, Any], dict[str, Any]]] = {
    "who": why.explain_text, "prospect_id": why.explain_prospect,
    "person_id": why.explain_person, "task_id": why.explain_task,
}  # fmt: skip


@click.command()
@click.argument("who", required=False, metavar="[EMAIL|PERS-n]")
@click.option("--prospect", "prospect_id", type=ui.ID, help="A prospect's id in Outreach.")
@click.option("--person", "person_id", type=ui.ID, help="A Person's id in Workbooks.")
@click.option("--task", "task_id", type=ui.ID, help="A task's id in Outreach.")
@ui.as_json
@ui.invocation
def explain(context: ui.Invocation, /, **asked: Any) -> None:
    """Explain how a Person's or Task's values were decided: what was read, the rule, what was written, what waits.

    Name somebody by an e-mail address, by PERS-n, or by an id. Reads the local state only, so it shows what the last
    run saw. Exit status: 0; 2 somebody or something that is not in the state.
    """
    given = [(name, value) for name, value in asked.items() if value is not None]
    if len(given) != 1:
        raise click.UsageError("name one: an e-mail address, PERS-n, --prospect, --person or --task.")
    ((name, value),) = given
    config = context.config(require_secrets=False)
    state = Store.open_to_read(config.state.path)
    if state is None:
        raise UsageError("there is no state yet: no run was made.", advice="`outreach-sync run` makes one.")
    with state:
        document = _EXPLAINED[name](state, config, value)
    context.answer(document, (_task_lines if name == "task_id" else _person_lines)(document, why.Links.of(config)))


def _person_lines(document: Mapping[str, Any], links: why.Links) -> Iterator[ui.Line]:
    none = "No Person is linked." if document["differs"] else "No Person is linked, and the next run makes none."
    yield from _linked_person(document["person"], links) if document["person"] else [none]
    yield ""
    yield "Behind it in Outreach, as last read:"
    for one in document["prospects"]:
        marks = {
            "never seen itself": not one["known"],
            "opted out": one["opted_out"],
            "opted out of e-mail": one["email_opted_out"],
            f"deleted {one['trashed_at']}": one["trashed_at"],
            "no longer in Outreach: of its states only an opt-out counts": one["gone"],
        }
        who = f" {one['name']} ({', '.join(one['emails']) or 'no address'})"
        marked = "; ".join((who, *(mark for mark, holds in marks.items() if holds)))
        yield "  ", ui.linked(f"prospect {one['id']}", links.prospect(one["id"])), marked
    for one in document["sequence_states"]:
        sequence = one["sequence"] or f"sequence {one['sequence_id']}"
        yield f"  sequence state {one['id']}: {one['state']} since {one['at'] or 'unknown'}, in {sequence}"
    yield ""
    yield f"It should say, because of: {document['because']}"
    yield from _fields(document["wanted"])
    if document["problem"]:
        yield f"Not decided: {document['problem']}"
    yield "Nothing is to be written." if not document["differs"] else "What differs:"
    yield from _fields(document["differs"])
    yield from ("", "Skipped tasks:") if document["tasks"] else ()
    for task in document["tasks"]:
        became = "not sent yet" if task["workbooks_id"] is None else f"Workbooks Task {task['workbooks_id']}"
        yield f"  task {task['id']} ({task['task_type']}): {became}; {task['because']}"
    yield from _what_waits_and_was_written(document)


def _linked_person(person: Mapping[str, Any], links: why.Links) -> Iterator[ui.Line]:
    name = ui.linked(f"Person {person['id']}", links.person(person["id"]))
    yield name, f", found by the rule '{person['linked_by']}' at {person['linked_at']}."
    if person["deleted"]:
        yield "It is deleted in Workbooks, and stays so (sync.when_deleted)."
    if person["hidden"]:
        yield "Workbooks does not show it any more, neither alive nor deleted: nothing is written to it."
    if person["untouched"]:
        yield "It is left alone: it does not have the values of sync.people.only_where."
    yield f"Last written: {person['last_written_at'] or 'never'}."
    yield "It holds, as last accepted or read:"
    yield from _fields(person["holds"])
    if not person["certain"]:
        yield "  (not certain any more: it is read before it is next written)"


def _task_lines(document: Mapping[str, Any], links: why.Links) -> Iterator[ui.Line]:
    task, prospect = document["task"], document["prospect_id"]
    whose = "nobody" if prospect is None else ui.linked(f"prospect {prospect}", links.prospect(prospect))
    yield f"Task {task['id']} ({task['task_type']}) of ", whose, ", as last read:"
    yield from _fields(document["attributes"])
    yield f"{'Skipped' if task['skipped'] else 'Not skipped'}: {document['because']}."
    if task["workbooks_id"] is not None:
        when = f"created {task['sent_at']}" if task["sent_at"] else "found there"
        there = ui.linked(f"Task {task['workbooks_id']}", links.task(task["workbooks_id"]))
        yield "In Workbooks it is ", there, f" ({task['reference']}), {when}."
    elif task["skipped"]:
        yield f"Not in Workbooks yet; its Person is {document['person_id'] or 'unknown'}."
    yield from _what_waits_and_was_written(document)


def _what_waits_and_was_written(document: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "Queued:") if document["queued"] else ()
    for entry in document["queued"]:
        due = f", next try {entry['next_attempt_at']}" if entry["next_attempt_at"] else ""
        yield f"  {entry['id']} {entry['action']} {entry['record']}, {entry['state']}{due}: {entry['why']}"
    written: Sequence[Mapping[str, Any]] = document["history"]
    yield from ("", "Written, newest first:") if written else ()
    because = None
    for one in written[:_SHOWN_WRITES]:
        if because != (because := f"  {one['at']} by run {one['run_id']}: {one['because']}"):
            yield because
        what = f"Task {one['workbooks_id']}, " if one["record"] == "task" else ""
        yield f"    {what}{one['field']}: {ui.shown_value(one['old'])} → {ui.shown_value(one['new'])}"
    if len(written) > _SHOWN_WRITES:
        yield f"  and {len(written) - _SHOWN_WRITES:,} more: `outreach-sync history` has all."


def _fields(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        first, *more = ui.shown_value(value, "\n").split("\n")
        yield f"  {name:<29} {first}"
        yield from (f"{'':<32}{line}" for line in more)


_SHOWN = 25


@click.group(cls=Commands)
def failures() -> None:
    """List, show, retry or discard what Workbooks or a rule refused.

    Exit status: 0; 2 an unknown id, config or state; 5 another run holds the lock (retry and discard change the queue).
    """


@failures.command("list")
@ui.as_json
@ui.invocation
def list_failures(context: ui.Invocation) -> None:
    """List what was refused, by kind, and what to do about each kind."""
    with context.reading() as (config, state):
        entries = why.failures_with_ids(state, ())
    context.answer([why.failure_document(entry) for entry in entries], _refusals(entries, why.Links.of(config)))


def _refusals(entries: Sequence[Entry], links: why.Links) -> Iterator[ui.Line]:
    at = now()

    def cells(entry: Entry) -> tuple[object, ...]:
        due = "parked" if entry.state == "parked" else "next run"
        if entry.next_attempt_at is not None and not is_due(entry.next_attempt_at, at):
            due = f"in {ago(entry.next_attempt_at - at)}"
        named = "unknown" if entry.prospect_id is None else f"prospect {entry.prospect_id}"
        what = named if entry.task_id is None else f"task {entry.task_id}"
        source = ui.linked(what, links.prospect(entry.prospect_id))
        person = entry.person_id and ui.linked(f"Person {entry.person_id}", links.person(entry.person_id))
        return entry.id, source, person, entry.attempts, due, entry.reason

    if not entries:
        yield "Nothing is refused."
    for kind, group in why.by_kind(entries).items():
        yield ui.line(f"{kind.title}: {len(group):,}", style="bold")
        yield f"  What to do: {kind.advice}"
        yield ""
        columns = ("id", "in Outreach", "in Workbooks", "tries", "next try", "reason")
        yield ui.table(map(cells, group[:_SHOWN]), columns, right=(0, 3))
        if len(group) > _SHOWN:
            yield f"and {len(group) - _SHOWN:,} more; `failures list --json` has all."
        yield ""


@failures.command()
@click.argument("failure_id", metavar="ID", type=int)
@ui.as_json
@ui.invocation
def show(context: ui.Invocation, failure_id: int) -> None:
    """Show one refusal: what was to be written, why it was refused, what to do."""
    with context.reading() as (_, state):
        entry = why.failures_with_ids(state, [failure_id])[0]
    more = {"action": entry.action, "fields": dict(entry.fields), "advice": why.kind_of(entry).advice}
    document = {**why.failure_document(entry), **more}
    said = [f"{name:<16}{'' if value is None else value}" for name, value in document.items() if name != "fields"]
    fields = ["What was to be written:", *_fields(why.readable(entry.fields))] if entry.fields else []
    context.answer(document, [*said, *fields])


@failures.command()
@click.argument("ids", metavar="[ID]...", type=int, nargs=-1)
@click.option("--recreate", is_flag=True, help="Create People again that Workbooks does not show any more; name them.")
@ui.as_json
@ui.invocation
def retry(context: ui.Invocation, /, *, ids: tuple[int, ...], recreate: bool) -> None:
    """Make all refusals, or those named, due now; parked ones too. The next run tries them."""
    if recreate and not ids:
        raise click.UsageError("--recreate needs the ids of the refusals: whoever is only hidden would be made twice.")
    with _changing(context, "retry", ids) as (store, entries):
        changed = [entry.id for entry in entries]
        if recreate:
            why.recreate_hidden(store, entries)
        else:
            store.outbox.retry(changed)
    context.answer({"retried": changed}, [f"{len(changed):,} due now; the next run tries them."])


@failures.command()
@click.argument("ids", metavar="ID...", type=int, nargs=-1, required=True)
@ui.as_json
@ui.invocation
def discard(context: ui.Invocation, ids: tuple[int, ...]) -> None:
    """Give up the refusals named, until a record of theirs next changes in Outreach."""
    with _changing(context, "discard", ids) as (store, entries):
        changed = [entry.id for entry in entries]
        store.outbox.discard(changed)
    context.answer({"discarded": changed}, [f"{len(changed):,} discarded."])


@contextmanager
def _changing(context: ui.Invocation, what: str, ids: tuple[int, ...]) -> Iterator[tuple[Store, list[Entry]]]:
    config = context.config(require_secrets=False)
    with ui.changing(config, f"failures {what}", in_vain=not is_there(config.state.path)) as store:
        entries = why.failures_with_ids(store, ids)
        with store.transaction():
            yield store, entries


_YES_NO = {True: "yes", False: "no", None: "null"}
_OPEN_TASKS = 1_000
_COMBINATION = (
    *("sequence", "state", "completed", "completedAt", "completer"),
    *("autoskipAt", "tasks", "rule", "event", "such as"),
)
_SUCH_AS = " (such as {})"
_TO_SETTLE_IT = (
    "To settle it: skip one e-mail task and one call task in a test account, complete one, let one be skipped by "
    "itself, and compare this page before and after."
)


@click.command("probe-skips")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far back to read.")
@ui.as_json
@ui.invocation
def probe_skips(context: ui.Invocation, days: int) -> None:
    """Show what skips look like: events by name, each skip's task, what rule and absence say, and where they differ.

    Reads events and tasks of the last days from Outreach and keeps nothing but a rotated token. Exit status: 0, also
    where events may not be read; 3 not authenticated or not allowed; 4 Outreach is unavailable.
    """
    with context.reading(require_secrets=True) as (config, store):
        open_tasks = [one.task for one in store.cache.tasks(NEWEST_OPEN, _OPEN_TASKS)]
    with ui.stop_on_signals() as stop:
        source = Outreach(config, stop, want_steps=True)
        since = Instant(source.server_time() - days * DAY_MS)
        document = probe(source, since, days, config, open_tasks)
    context.answer(document, _found_skips(document))


def _found_skips(document: Mapping[str, Any]) -> Iterator[ui.Line]:
    yield from _found_events(document["events"], document["since"])
    skips = document["skips"]
    if skips:
        yield "What the task of each skip looks like now:"
        columns = ("at", "task", "prospect", "state", "completed", "completer", "rule", "absence")
        yield ui.table(map(_skip_cells, skips[-_SHOWN:]), columns)
        if len(skips) > _SHOWN:
            yield f"and {len(skips) - _SHOWN:,} earlier ones; --json has all."
        yield ""
    named = f"{document['read']:,} tasks changed or were named by an event"
    yield f"{named}, {document['sequence_tasks']:,} of them belong to a sequence; the rule takes {document['taken']:,}."
    yield ui.table(map(_combination_cells, document["combinations"]), _COMBINATION, right=(6, 7, 8))
    yield ""
    absence = document["absence"]
    without = f"{absence['gone_without_event']:,} of these without an event{_listed(absence['examples'], _SUCH_AS)}"
    asked = f"of {absence['asked_for']:,} open tasks whose sequence went on"
    yield f"Absence: {asked}, {absence['gone']:,} are gone; {without}."
    for one in document["disagreements"]:
        yield f"Disagreement: {one['says']}: {one['tasks']:,} tasks{_listed(one['examples'], _SUCH_AS)}."
    yield ""
    for one in document["recommendations"]:
        yield ui.line(f"→ {one}", style="bold")
    if document["recommended"] != document["rule"]:
        rule = {"sync": {"tasks": {"skipped_when": document["recommended"]}}}
        yield from str(yaml.safe_dump(rule, sort_keys=False, allow_unicode=True)).splitlines()
    yield ""
    yield _TO_SETTLE_IT


def _found_events(events: Mapping[str, Any], since: str) -> Iterator[ui.Line]:
    if events["problem"]:
        yield ui.line(f"Events: {events['problem']}", style="bold yellow")
        yield ""
        return
    part = "" if events["complete"] else f", the newest {events['read']:,} only"
    yield f"Events since {since} by name{part}:"
    names = events["names"]
    rows = [
        (one["name"], f"{one['count']:,}", "skipped" if one["means_skipped"] else "", _listed(one["examples"]))
        for one in names[:_SHOWN]
    ]
    yield ui.table(rows, ("event", "count", "means", "such as"), right=(1,))
    if len(names) > _SHOWN:
        yield f"and {len(names) - _SHOWN:,} more names; --json has all."
    yield f"{events['skips']:,} say that a task was skipped, {events['skips_without_task']:,} of them name no task."
    yield ""


def _skip_cells(one: Mapping[str, Any]) -> tuple[Any, ...]:
    looks = ("gone", "", "") if one["gone"] else (one["state"], _shown(one["completed"]), _shown(one["completer"]))
    witnesses = ("rule_takes_it", "absence_takes_it")
    says = [_shown(one[name]) if one["in_sequence"] else "no sequence" for name in witnesses]
    return (one["at"], one["task_id"], one["prospect_id"], *looks, *says)


def _combination_cells(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        *(_YES_NO[one["in_sequence"]], one["state"], _shown(one["completed"])),
        *("null" if one[name] else "set" for name in ("completed_at_null", "completer_null")),
        *(one["autoskip"], f"{one['count']:,}", f"{one['taken']:,}", f"{one['skipped']:,}", _listed(one["examples"])),
    )


def _shown(value: Any) -> str:
    return _YES_NO[value] if value is None or isinstance(value, bool) else str(value)


def _listed(examples: Sequence[int], form: str = "{}") -> str:
    return form.format(", ".join(map(str, examples))) if examples else ""
