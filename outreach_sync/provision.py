"""Provision: makes the picklist and custom fields that the config names, unless column, title or name is there."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.errors import NotAllowedError, UnavailableError, UntrustedAnswerError, UsageError
from outreach_sync.http import pause
from outreach_sync.records import Accepted, Rejected, Unknown, Write
from outreach_sync.rules.person import ROLES
from outreach_sync.workbooks.metadata import field_problems, missing_labels, plain, read_picklist_entries, read_types
from outreach_sync.workbooks.wire import PERSON_CLASS, read_text, record_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.http import StopSignal
    from outreach_sync.records import WriteValue
    from outreach_sync.workbooks.client import Workbooks
    from outreach_sync.workbooks.metadata import FieldType, Finding, RecordType

PICKLIST = "Sequence States"
# The custom fields that can be made, by role, and their titles; the No Email field is Workbooks' own.
TITLES = {role.name: role.title for role in ROLES if role.made_as is not None}
_LINK = "outreach_id"
_DATA_TYPES = {role.name: role.made_as for role in ROLES if role.made_as}
_PICKLISTS, _ENTRIES, _CUSTOM_FIELDS = "admin/picklists", "admin/picklist_entries", "admin/custom_fields"
_CUSTOM_FIELD_COLUMNS = ("id", "title", "status", "value_column_name")
_COLUMN_PREFIX = "cf_person_"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_MADE_BY = "Kept by outreach-sync."
_ADMINISTRATOR = (
    "Run `outreach-sync provision` once with an administrator's API key, or have an administrator make what "
    "`provision --dry-run` shows."
)


class Wish(NamedTuple):
    """What Workbooks shall have."""

    fields: Mapping[str, str]  # the configured columns by role
    labels: Sequence[str]  # the entries of the picklist
    datetime_type: str  # Workbooks' word for a date-time field, which is not published


class Step(NamedTuple):
    """One thing (a picklist, entry or field, by its name, label or title) and what is to be done about it."""

    action: str  # exists, create, keep (differs in typography only: left alone), propose (there, but not configured)
    kind: str
    name: str
    role: str | None = None
    id: int | None = None  # of a picklist that exists, or of a custom field that is not available yet
    column: str | None = None  # of a field that exists


def planned(client: Workbooks, wish: Wish) -> list[Step]:
    """Compare the wish with what is there; nothing is written."""
    person = _person(client)
    fields = [_field_step(client, person, role, wish) for role in TITLES if role in wish.fields]
    steps = [*_picklist_steps(client, person, fields, wish), *fields]
    for role, column in titled_fields(person, {role: wish.fields.get(role) for role in TITLES}).items():
        if role not in wish.fields:
            steps.append(Step("propose", "field", person.fields[column].title, role, column=column))
    return steps


def provide(
    client: Workbooks, steps: Sequence[Step], wish: Wish, stop: StopSignal, *, patience_seconds: float
) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Do what was planned; return the fields' columns and problems. UnavailableError: lost or not ready, run again."""
    picklist_id = None
    for step in steps:
        if step.kind == "picklist":
            named: dict[str, WriteValue] = {"name": step.name, "description": _MADE_BY}
            picklist_id = step.id or _make(client, _PICKLISTS, [(step, named)])[0]
    if picklist_id is not None:
        entries = [step for step in steps if step.kind == "entry" and step.action == "create"]
        _make(client, _ENTRIES, [(step, {"picklist_id": picklist_id, "value": step.name}) for step in entries])
    fields = {str(step.role): step for step in steps if step.kind == "field" and step.action != "propose"}
    coming: dict[str, int] = {}
    for role, step in fields.items():
        if step.column is None:
            described: dict[str, WriteValue] = {
                "title": step.name,
                "resource_type": PERSON_CLASS,
                "data_type": _DATA_TYPES.get(role, wish.datetime_type),
                "description": _MADE_BY,
            }
            if picklist_id is not None and role == "sequence_state":
                described["picklist_id"] = picklist_id
            coming[role] = step.id or _make(client, _CUSTOM_FIELDS, [(step, described)])[0]
    ends = time.monotonic() + patience_seconds
    columns = {role: step.column or _wait_for(client, coming[role], stop, ends) for role, step in fields.items()}
    return columns, field_problems(_person(client), columns)


def titled_fields(person: RecordType, fields: Mapping[str, str | None]) -> dict[str, str]:
    """Return the columns of fields that have a wanted title and are not the configured ones, by role."""
    # The vendor's own integration makes such fields: a second one would confuse everybody. Of a role that is not
    # configured, only the field that links people counts.
    return {
        role: field.name
        for role, column in fields.items()
        if (column not in person.fields if column is not None else role == _LINK)
        and role in TITLES
        and (field := _titled(person, TITLES[role])) is not None
        and field.name not in fields.values()
    }


def _titled(person: RecordType, title: str) -> FieldType | None:
    custom = [field for field in person.fields.values() if field.name.startswith("cf_")]
    return next((field for field in custom if field.title.casefold() == title.casefold()), None)


@contextmanager
def _administration() -> Iterator[None]:
    try:
        yield
    except NotAllowedError as refusal:
        said = f"this API key may not use Workbooks' administration: {refusal.message}"
        raise NotAllowedError(said, advice=_ADMINISTRATOR) from refusal


def _person(client: Workbooks) -> RecordType:
    person = read_types(client, (PERSON_CLASS,)).get(PERSON_CLASS)
    if person is None:
        raise NotAllowedError("the API key cannot see People.", advice="Give its user access in Workbooks.")
    return person


def _field_step(client: Workbooks, person: RecordType, role: str, wish: Wish) -> Step:
    title = TITLES[role]
    existing = person.fields.get(wish.fields[role]) or _titled(person, title)
    if existing is not None:
        return Step("exists", "field", title, role, column=existing.name)
    with _administration():
        rows = client.by_values(_CUSTOM_FIELDS, "title", (title,), _CUSTOM_FIELD_COLUMNS).get(title, ())
    for row in rows:
        column = read_text(row.get("value_column_name")) or _COLUMN_PREFIX
        if column.startswith(_COLUMN_PREFIX):  # even if it became available this moment
            return Step("exists", "field", title, role, id=record_id(row))
    return Step("create", "field", title, role)


def _picklist_steps(client: Workbooks, person: RecordType, fields: Sequence[Step], wish: Wish) -> list[Step]:
    field = next((person.fields.get(step.column or "") for step in fields if step.role == "sequence_state"), None)
    link = None if field is None else field.picklist
    if field is not None and link is None:
        return []
    if link is not None and link.picklist_id is not None:
        name, found = link.name or PICKLIST, [link.picklist_id]
    else:
        with _administration():
            rows = client.by_values(_PICKLISTS, "name", (PICKLIST,), ("id",)).get(PICKLIST, ())
        name, found = PICKLIST, list(map(record_id, rows))
    if len(found) > 1:
        said = f"Workbooks has several picklists named '{PICKLIST}' (ids {', '.join(map(str, found))})."
        raise UsageError(said, advice="Rename or delete all but one, then run `outreach-sync provision` again.")
    if not found:
        return [Step("create", "picklist", PICKLIST), *(Step("create", "entry", label) for label in wish.labels)]
    with _administration():
        entries = read_picklist_entries(client, found)[found[0]]
    missing = missing_labels(entries, wish.labels)
    steps = [Step("exists", "picklist", name, id=found[0])]
    for label in wish.labels:
        near = missing.get(label)
        lacking = "keep" if near is not None and plain(near) == plain(label) else "create"
        steps.append(Step(lacking if label in missing else "exists", "entry", label))
    return steps


def _make(client: Workbooks, controller: str, wanted: Sequence[tuple[Step, Mapping[str, WriteValue]]]) -> list[int]:
    with _administration():
        verdicts = client.write(controller, [Write(0, 0, fields) for _, fields in wanted])
    made = []
    for (step, _), verdict in zip(wanted, verdicts, strict=True):
        what = f"the {step.kind} '{step.name}'"
        match verdict:
            case Accepted():
                made.append(verdict.id)
            case Rejected():
                message = f"Workbooks refuses {what}: {'; '.join(verdict.reasons)}."
                if any("data_type" in reason for reason in verdict.reasons):  # all others are a matter of rights
                    raise UsageError(message, advice="Name Workbooks' word for a date with a time by --datetime-type.")
                raise NotAllowedError(message, advice=_ADMINISTRATOR)
            case Unknown():
                advice = "Run `outreach-sync provision` again: it finds what exists."
                raise UnavailableError(f"whether {what} was made is not known ({verdict.why}).", advice=advice)
            case _:
                raise UntrustedAnswerError(f"Workbooks calls {what} stale, although it is new.")
    return made


def _wait_for(client: Workbooks, field_id: int, stop: StopSignal, ends: float) -> str:
    seconds = _FIRST_PAUSE
    while True:
        for row in client.by_ids(_CUSTOM_FIELDS, (field_id,), _CUSTOM_FIELD_COLUMNS, include_deleted=False):
            column = read_text(row.get("value_column_name"))
            if column is not None and (read_text(row.get("status")) or "").lower() == "available":
                return column
        if time.monotonic() + seconds > ends:
            advice = "Run `outreach-sync provision` again in a while: it goes on from here."
            raise UnavailableError("Workbooks has not finished making the fields.", advice=advice)
        pause(seconds, stop)
        seconds = min(2 * seconds, _LONGEST_PAUSE)
