"""`explain`: why a Person or Task says what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json
from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ID = click.IntRange(1, 2**63 - 1)


@click.command()
@click.option("--prospect", "prospect_id", type=_ID, help="A prospect's id in Outreach.")
@click.option("--person", "person_id", type=_ID, help="A Person's id in Workbooks.")
@click.option("--task", "task_id", type=_ID, help="A task's id in Outreach.")
@as_json
@invocation
def explain(
    context: Invocation,
    prospect_id: int | None,
    person_id: int | None,
    task_id: int | None,
    as_json: bool,  # noqa: FBT001 - click's form
) -> None:
    """Say why a Person or Task says what it says: what was read, the rule, the last write, what waits.

    Reads the local state only, so it shows what the last run saw. Exit status: 0; 2 an id that is not in the state.
    """
    if sum(one is not None for one in (prospect_id, person_id, task_id)) != 1:
        raise click.UsageError("name one of --prospect, --person and --task.")
    document = _explained(context, prospect_id, person_id, task_id)
    if as_json:
        print_json(document)
        return
    lines = _task_lines(document) if task_id is not None else _person_lines(document)
    for line in lines:
        click.echo(context.scrubber.text(line))


def _explained(
    context: Invocation, prospect_id: int | None, person_id: int | None, task_id: int | None
) -> dict[str, Any]:
    from outreach_sync.insight import explain as explaining  # noqa: PLC0415

    config = context.config(require_secrets=False)
    state = context.state_to_read()
    if state is None:
        raise UsageError("there is no state yet: no run was made.", advice="`outreach-sync run` makes one.")
    with state:
        if person_id is not None:
            return explaining.explain_person(state, config, person_id)
        if task_id is not None:
            return explaining.explain_task(state, config, task_id)
        return explaining.explain_prospect(state, config, prospect_id or 0)


def _person_lines(document: Mapping[str, Any]) -> Iterator[str]:
    person = document["person"]
    if person is None:
        yield "No Person is linked."
    else:
        yield f"Person {person['id']}, found by the rule '{person['linked_by']}' at {person['linked_at']}."
        if person["deleted"]:
            yield "It is deleted in Workbooks, and stays so (sync.when_deleted)."
        yield f"Last written: {person['last_written_at'] or 'never, nothing differed'}."
        yield "It holds, as last accepted or read:"
        yield from _fields(person["holds"])
        if not person["certain"]:
            yield "  (not certain any more: it is read before it is next written)"
    yield "\nBehind it in Outreach, as last read:"
    yield from map(_prospect_line, document["prospects"])
    yield from map(_state_line, document["sequence_states"])
    yield f"\nIt should say, because of: {document['because']}"
    yield from _fields(document["wanted"])
    if document["problem"]:
        yield f"Not decided: {document['problem']}"
    yield "Nothing differs." if not document["differs"] else "What differs:"
    yield from _fields(document["differs"])
    yield from _tasks(document["tasks"])
    yield from _queue(document["queued"])


def _prospect_line(prospect: Mapping[str, Any]) -> str:
    marks = [
        *(["never seen itself"] if not prospect["known"] else []),
        *(["opted out"] if prospect["opted_out"] else []),
        *(["opted out of e-mail"] if prospect["email_opted_out"] else []),
        *([f"deleted {prospect['trashed_at']}"] if prospect["trashed_at"] else []),
    ]
    emails = ", ".join(prospect["emails"]) or "no address"
    return f"  prospect {prospect['id']} {prospect['name']} ({emails}){'; ' if marks else ''}{', '.join(marks)}"


def _state_line(one: Mapping[str, Any]) -> str:
    sequence = one["sequence"] or f"sequence {one['sequence_id']}"
    return f"  sequence state {one['id']}: {one['state']} since {one['at'] or 'unknown'}, in {sequence}"


def _task_lines(document: Mapping[str, Any]) -> Iterator[str]:
    task = document["task"]
    yield f"Task {task['id']} ({task['task_type']}) of prospect {document['prospect_id'] or 'nobody'}, as last read:"
    yield from _fields(document["attributes"])
    yield f"{'Skipped' if task['skipped'] else 'Not skipped'}: {document['because']}."
    if task["workbooks_id"] is not None:
        when = f"created {task['sent_at']}" if task["sent_at"] else "found there"
        yield f"In Workbooks it is Task {task['workbooks_id']} ({task['reference']}), {when}."
    elif task["skipped"]:
        person = document["person_id"]
        yield f"Not in Workbooks yet; its Person is {'unknown' if person is None else person}."
    yield from _queue(document["queued"])


def _tasks(tasks: list[Mapping[str, Any]]) -> Iterator[str]:
    if tasks:
        yield "\nSkipped tasks:"
    for task in tasks:
        became = "not sent yet" if task["workbooks_id"] is None else f"Workbooks Task {task['workbooks_id']}"
        yield f"  task {task['id']} ({task['task_type']}): {became}; {task['because']}"


def _queue(entries: list[Mapping[str, Any]]) -> Iterator[str]:
    if entries:
        yield "\nQueued:"
    for entry in entries:
        due = f", next try {entry['next_attempt_at']}" if entry["next_attempt_at"] else ""
        yield f"  {entry['id']} {entry['action']} {entry['record']}, {entry['state']}{due}: {entry['why']}"


def _fields(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        shown = str(value).replace("\n", "\n" + " " * 32) if value is not None else "-"
        yield f"  {name:<29} {shown}"
