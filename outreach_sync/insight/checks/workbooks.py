"""Workbooks: the login, fields, picklists, permissions, how `eq` compares, and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import assembly
from outreach_sync.errors import NotAllowedError, OutreachSyncError
from outreach_sync.insight.checks.check import fail, failed_by, guarded, ok, warn
from outreach_sync.insight.checks.outreach import clock, not_tried
from outreach_sync.rules.matching import mailbox
from outreach_sync.workbooks import metadata as findings, records
from outreach_sync.workbooks.wire import PERSON_CLASS, REFERENCE, TASK_CLASS, Filter, Reading, list_value, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.insight.checks.check import Check
    from outreach_sync.workbooks.client import WorkbooksClient
    from outreach_sync.workbooks.metadata import FieldType, RecordType
    from outreach_sync.workbooks.records import Workbooks

_LOGIN = "workbooks login"
_REST = ("workbooks fields", "workbooks picklists", "workbooks permissions", "workbooks eq ignores case")
_NO_EMAIL_TITLE = "no email"
_PERSON_FIELDS = ("name", "person_first_name", "person_last_name", records.EMAIL, REFERENCE)
_TASK_FIELDS = (
    *("name", "activity_type", "activity_status", "description", "due_date"),
    *("primary_contact_id", "primary_contact_type", REFERENCE),
)


class _Labels(NamedTuple):
    """Values that a picklist must have: the check's name, the field, the key of the config, the values."""

    check: str
    field: FieldType | None
    key: str
    values: tuple[str, ...]


def workbooks_checks(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check Workbooks; where it does not let us in, its other checks say that they were not tried."""
    try:
        target = assembly.workbooks_from(config, stop)
        types = target.metadata.read_types((PERSON_CLASS, TASK_CLASS))
    except OutreachSyncError as error:
        login = failed_by(_LOGIN, error)
        yield login
        yield from (not_tried(name, login) for name in _REST)
        return
    yield ok(_LOGIN, config.workbooks.base_url)
    person, task = types.get(PERSON_CLASS), types.get(TASK_CLASS)
    yield from _records(config, person, task)
    yield from guarded("workbooks picklists", lambda: _picklists(config, target, person, task))
    yield from guarded("workbooks eq ignores case", lambda: [_case(target.client)])
    yield clock("workbooks clock", target.server_now())


def _records(config: Config, person: RecordType | None, task: RecordType | None) -> Iterator[Check]:
    for described, name in ((person, PERSON_CLASS), (task, TASK_CLASS)):
        if described is None:
            hidden = findings.hidden_type(name)
            yield fail("workbooks fields", f"{hidden.subject}: {hidden.problem}", hidden.hint)
    if person is not None:
        creates = config.sync.people.when_missing == "create"
        yield from _person_fields(config, person)
        yield from _permissions(person, ("create", "update") if creates else ("update",))
        if creates:
            yield _createable(person, (*_PERSON_FIELDS, *config.sync.people.create_fields))
    if task is not None:
        yield from _permissions(task, ("create",))
        yield _createable(task, _TASK_FIELDS)


def _person_fields(config: Config, person: RecordType) -> Iterator[Check]:
    for role, field_name in config.workbooks.fields.model_dump().items():
        if field_name is None:
            continue
        name = f"workbooks field {role}"
        problems = findings.field_problems(person, {role: field_name})
        for finding in problems:
            make = fail if finding.fatal else warn
            yield make(name, f"{finding.subject}: {finding.problem}", finding.hint)
        if not problems:
            yield ok(name, f"{field_name} ({person.fields[field_name].datatype})")
    no_email = person.fields.get(config.workbooks.fields.no_email)
    if no_email is not None and no_email.title.casefold() != _NO_EMAIL_TITLE:
        yield warn(
            "workbooks field no_email is No Email",
            f"the title of {no_email.name} is '{no_email.title}', not 'No Email'",
            "Make sure that this is the field that keeps e-mail from being sent; else set workbooks.fields.no_email.",
        )
    elif no_email is not None:
        yield ok("workbooks field no_email is No Email", f"its title is '{no_email.title}'")


def _permissions(described: RecordType, actions: tuple[str, ...]) -> Iterator[Check]:
    for action in actions:
        name = f"workbooks permission {described.controller or described.class_name} {action}"
        problems = findings.permission_problems(described, (action,))
        yield fail(name, problems[0].problem, problems[0].hint) if problems else ok(name, "permitted")


def _createable(described: RecordType, names: Iterable[str]) -> Check:
    """Look whether what is written to new records can be; nested names need not be in the metadata."""
    name = f"workbooks new {described.controller or described.class_name}"
    fields = described.fields
    missing = [one for one in names if "[" not in one and (one not in fields or not fields[one].createable)]
    if missing:
        hint = "Give the API key's user access to them, or correct sync.people.create_fields."
        return fail(name, f"fields that cannot be set on a new record: {', '.join(missing)}", hint)
    return ok(name, "every field of a new record can be set")


def _picklists(
    config: Config, target: Workbooks, person: RecordType | None, task: RecordType | None
) -> Iterator[Check]:
    wanted = list(_wanted_labels(config, _fields(person), _fields(task)))
    links = [one.field.picklist for one in wanted if one.field is not None and one.field.picklist is not None]
    ids = {link.picklist_id for link in links if link.picklist_id is not None}
    try:
        entries = target.metadata.read_picklist_entries(ids)
    except NotAllowedError as error:
        yield warn("workbooks picklists", error.message, "The entries could not be compared with the labels.")
        return
    yield from (_labels(one, entries) for one in wanted if one.field is not None)


def _fields(described: RecordType | None) -> Mapping[str, FieldType]:
    return {} if described is None else described.fields


def _wanted_labels(config: Config, person: Mapping[str, FieldType], task: Mapping[str, FieldType]) -> Iterator[_Labels]:
    sync = config.sync
    state = person.get(config.workbooks.fields.sequence_state)
    yield _Labels("workbooks labels", state, "sync.labels", tuple(dict.fromkeys(sync.labels.values())))
    yield _Labels("workbooks task status", task.get("activity_status"), "sync.tasks.status", (sync.tasks.status,))
    types = tuple(dict.fromkeys(sync.tasks.type.values()))
    yield _Labels("workbooks task types", task.get("activity_type"), "sync.tasks.type", types)


def _labels(wanted: _Labels, entries: Mapping[int, tuple[str, ...]]) -> Check:
    link = None if wanted.field is None else wanted.field.picklist
    if link is None:
        return ok(wanted.check, "free text, no picklist")
    if link.picklist_id is None or not entries.get(link.picklist_id):
        return warn(wanted.check, f"the entries of the picklist '{link.name}' cannot be read", "Compare them by hand.")
    missing = findings.missing_labels(entries[link.picklist_id], wanted.values)
    if not missing:
        return ok(wanted.check, f"all in the picklist '{link.name}'")
    shown = ", ".join(f"'{one.label}'" + (f" (it has '{one.nearest}')" if one.nearest else "") for one in missing)
    detail = f"the picklist '{link.name}' lacks {shown}"
    hint = f"Spell {wanted.key} as the picklist does, or add the entries (`outreach-sync provision`)."
    if link.unrestricted or link.auto_create:
        how = "it takes any value" if link.unrestricted else "Workbooks would add them as new entries"
        return warn(wanted.check, f"{detail}; {how}", hint)
    return fail(wanted.check, detail, hint)


def _case(client: WorkbooksClient) -> Check:
    """Find out whether `eq` ignores case, by somebody's address in the other case."""
    name = "workbooks eq ignores case"
    known = next(iter(_people_with_email(client)), None)
    if known is None:
        return ok(name, "nobody has an address to try it with")
    person_id, email = known
    reading = Reading((Filter(records.EMAIL, "eq", list_value([email.swapcase()])),), ("id", records.EMAIL))
    rows = client.read(
        records.PEOPLE,
        reading,
        asked_for=lambda row: mailbox(read_text(row.get(records.EMAIL)) or "") == mailbox(email),
    )
    if any(str(row.get("id")) == person_id for row in rows):
        return ok(name, "it does")
    hint = "Addresses are asked for as they are and in lower case; somebody stored in yet another spelling is missed."
    return warn(name, "it does not: addresses in another case are not found by it", hint)


def _people_with_email(client: WorkbooksClient) -> list[tuple[str, str]]:
    """Return ids and addresses of the first page of People that have one with a letter in it."""
    reading = Reading((Filter(records.EMAIL, "not_blank", ""),), ("id", records.EMAIL))
    rows = client.read(records.PEOPLE, reading, asked_for=lambda row: bool(row.get(records.EMAIL)), at_most=1)
    addresses = [(str(row.get("id")), read_text(row.get(records.EMAIL)) or "") for row in rows]
    return [(one, email) for one, email in addresses if email.isascii() and email.swapcase() != email]
