"""`explain`: how a Person's or Task's values were decided."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import linked, print_json, say, shown_value
from outreach_sync.errors import UsageError
from outreach_sync.insight.explain import Links, explain_person, explain_prospect, explain_task, explain_text
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
