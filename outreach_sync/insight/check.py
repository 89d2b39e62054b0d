"""Checks: whether everything a run needs is in place, each thing tried by itself and none keeping another from it.

In the order in which people would look: what is on this machine, then Outreach, then Workbooks.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import instants
from outreach_sync.config import read_config
from outreach_sync.errors import (
    ConfigError,
    InterruptedByError,
    LockHeldError,
    NotAllowedError,
    OutreachSyncError,
    ServiceError,
    StateError,
)
from outreach_sync.identity import look_at, refuse
from outreach_sync.insight.status import LARGE_PLAN, SMALL_PLAN, token_age, yearly_cost
from outreach_sync.outreach.auth import SCOPES
from outreach_sync.outreach.client import Outreach
from outreach_sync.provision import titled_fields
from outreach_sync.records import Stream
from outreach_sync.rules.person import mailbox
from outreach_sync.rules.skipped import named_attributes
from outreach_sync.store import Store, is_there
from outreach_sync.workbooks import metadata, wire
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.wire import PERSON_CLASS, REFERENCE, TASK_CLASS, Filter, Reading, list_value, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.workbooks.metadata import FieldType, RecordType

CONFIG, REFUSED, UNAVAILABLE = 2, 3, 4
"""Exit statuses: by what kind of thing is wrong."""

EVENTS_SCOPE = "events.read"
TASK_ATTRIBUTES = frozenset(
    [
        "action", "autoskipAt", "compiledSequenceTemplateHtml", "completed", "completedAt", "createdAt", "dueAt",
        "note", "opportunityAssociation", "scheduledAt", "state", "stateChangedAt", "taskType", "updatedAt",
    ]
)  # fmt: skip
"""The attributes of a task in Outreach's published OpenAPI."""

TASK_RELATIONSHIPS = frozenset(
    [
        "account", "call", "completer", "creator", "defaultPluginMapping", "mailing", "opportunity", "owner",
        "prospect", "prospectAccount", "prospectOwner", "prospectStage", "sequence", "sequenceState",
        "sequenceStateSequenceStep", "sequenceStateStartingTemplate", "sequenceStep", "sequenceTemplate",
        "sequenceTemplateTemplate", "subject", "taskDisposition", "taskPriority", "taskPurpose", "taskTheme",
        "team", "template",
    ]
)  # fmt: skip
"""The to-one relationships of a task in Outreach's published OpenAPI."""

_PATIENCE_MS = 20_000
"""How long one check waits for a service: a person is waiting for the answer."""

_OF_RUNS = "next run"
_LATER = "Try again later; the status page of the service may say more."
"""Instead of what is said to whom a run has failed: that nothing is lost, and that the next one goes on."""

_CLOCK_TOLERANCE_MS = 5 * 60_000
_ONE_ROW = (("page[size]", "1"), ("count", "false"))
_LOGIN = "workbooks login"
_REST = ("workbooks fields", "workbooks picklists", "workbooks permissions", "workbooks eq ignores case")
_NO_EMAIL_TITLE = "no email"
_PERSON_FIELDS = ("name", "person_first_name", "person_last_name", wire.EMAIL, REFERENCE)
_TASK_FIELDS = (
    *("name", "activity_type", "activity_status", "description", "due_date"),
    *("primary_contact_id", "primary_contact_type", REFERENCE),
)


class Check(NamedTuple):
    """One thing that was looked at. `status` is ok, warn or fail.

    `exit_status` is what a failure ends the command with. `hint` says what to do; empty where there is nothing to do.
    """

    name: str
    status: str
    detail: str
    hint: str = ""
    exit_status: int = REFUSED

    def as_json(self) -> dict[str, str]:
        """Return it as `check --json` has it."""
        return {"name": self.name, "status": self.status, "detail": self.detail, "hint": self.hint}


def ok(name: str, detail: str) -> Check:
    """Report that all is well."""
    return Check(name, "ok", detail)


def warn(name: str, detail: str, hint: str = "") -> Check:
    """Report something that works, but perhaps not as meant."""
    return Check(name, "warn", detail, hint)


def fail(name: str, detail: str, hint: str = "", *, exit_status: int = REFUSED) -> Check:
    """Report something that keeps runs from working."""
    return Check(name, "fail", detail, hint, exit_status)


def exit_status(checks: Iterable[Check]) -> int:
    """Say what the command ends with: config (2) before what is refused (3) before what is down (4)."""
    return min((check.exit_status for check in checks if check.status == "fail"), default=0)


def guarded(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Look, and turn what goes wrong into a check of that name.

    Raises:
        InterruptedByError: asked to stop.
    """
    try:
        yield from look()
    except OutreachSyncError as error:
        yield _failed_by(name, error)


def _failed_by(name: str, error: OutreachSyncError) -> Check:
    """Report what an error says; that another run holds the lock is not a failure.

    Raises:
        InterruptedByError: the error is a request to stop.
    """
    match error:
        case InterruptedByError():
            raise error
        case LockHeldError():
            return warn(name, f"not tried: {error.message}", "Try again when that run has ended.")
        case ServiceError():
            hint = _LATER if not error.advice or _OF_RUNS in error.advice else error.advice
            return fail(name, error.message, hint, exit_status=UNAVAILABLE)
        case ConfigError():
            return fail(name, "\n".join((error.message, *error.problems)), error.advice, exit_status=CONFIG)
        case StateError():
            return fail(name, error.message, error.advice, exit_status=CONFIG)
    return fail(name, error.message, error.advice)


def check_everything(find: Callable[[], Path], stop: StopSignal) -> Iterator[Check]:
    """Check everything, one thing at a time; only a config that cannot be read ends it.

    Args:
        find: returns where the config is, or raises ConfigError.
        stop: the request to stop.

    Raises:
        InterruptedByError: asked to stop.
    """
    try:
        path = find()
        loaded = read_config(path, require_secrets=False)
    except ConfigError as error:
        yield _failed_by("config", error)
        return
    config = loaded.config
    yield from guarded("config", lambda: [_complete(path)])
    name = "config permissions"
    warning = loaded.warning
    yield ok(name, "only its owner can read what is secret in it") if warning is None else warn(name, warning)
    yield from guarded("state", lambda: [_state(config.state.path)])
    yield from guarded("requests a year", lambda: [_cost(config)])
    yield from guarded("refresh token age", lambda: [_token(config)])
    yield _skip_rule(config)
    patience = min(config.sync.patience_ms, _PATIENCE_MS)
    hurried = config.model_copy(update={"sync": config.sync.model_copy(update={"patience_ms": patience})})
    yield from _outreach(hurried, stop)
    yield from _workbooks(hurried, stop)
    yield from guarded("accounts", lambda: _accounts(hurried, stop))


# -- this machine


def _accounts(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check that the state belongs to both services; the next run remembers what is not known yet."""
    name = "accounts"
    store = Store.open_to_read(config.state.path)
    if store is None:
        yield ok(name, "there is no state yet: it will belong to this Outreach and this Workbooks")
        return
    with store:
        refuse(config, look_at(config, store, Outreach(config, stop), Workbooks(config, stop)))
    yield ok(name, "the state belongs to this Outreach and this Workbooks")


def _complete(path: Path) -> Check:
    """Load it once more, now with all its secrets; without some of them the rest can still be tried."""
    read_config(path)
    return ok("config", str(path))


def _state(path: Path) -> Check:
    """Open the state for reading, and see whether it could be written, without making it."""
    state = Store.open_to_read(path)
    if state is not None:
        state.close()
    exists = is_there(path)
    place = path if exists else next(place for place in path.absolute().parents if place.exists())
    directory = path.absolute().parent if exists else place
    if not (os.access(place, os.W_OK) and os.access(directory, os.W_OK | os.X_OK)):
        hint = "Give the user that runs this the right to write there, or set state.path."
        return fail("state", f"{place} is not writable", hint, exit_status=CONFIG)
    return ok("state", f"{path}" if exists else f"{path}, which the first run makes")


def _cost(config: Config) -> Check:
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        cost = yearly_cost(config, state)
    detail = f"about {cost.requests:,} Outreach requests a year, {'measured' if cost.measured else 'estimated'}"
    hint = "Lengthen schedule.every, or ask Outreach how many your plan allows (250,000 to 1,000,000)."
    if cost.requests > LARGE_PLAN:
        return fail("requests a year", f"{detail}: more than any plan allows", hint, exit_status=CONFIG)
    if cost.requests > SMALL_PLAN:
        return warn("requests a year", f"{detail}: more than the smallest plan allows", hint)
    return ok("requests a year", detail)


def _token(config: Config) -> Check:
    name = "refresh token age"
    age = token_age(config.state.path, instants.now())
    if age is None:
        return ok(name, "no token is stored yet")
    if age["warning"]:
        return warn(name, age["warning"], "Let runs go on at least weekly; `outreach-sync auth login` gives a new one.")
    return ok(name, f"renewed {age['issued_at']}, {age['age_days']:g} days ago")


def _skip_rule(config: Config) -> Check:
    named = named_attributes(config.sync.tasks.skipped_when)
    known = TASK_ATTRIBUTES | TASK_RELATIONSHIPS
    unknown = sorted(named - known)
    if not unknown:
        return ok("skip rule", f"looks at {', '.join(sorted(named)) or 'nothing'}")
    near = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
    shown = ", ".join(f"{name} (did you mean {close[0]}?)" if close else name for name, close in near.items())
    hint = "An attribute that does not exist is always null, so a condition on null takes every task."
    return warn("skip rule", f"Outreach's published reference of tasks lacks {shown}", hint)


# -- Outreach


def _outreach(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check Outreach; where it does not let us in, its other checks say that they were not tried."""
    try:
        client = Outreach(config, stop)
        client.get("/api/v2/prospects", _ONE_ROW)
        login = ok("outreach login", config.outreach.base_url)
    except NotAllowedError:
        login = ok("outreach login", config.outreach.base_url)  # who we are is accepted; the scopes say what is not
    except OutreachSyncError as error:
        login = _failed_by("outreach login", error)
    yield login
    wanted = [scope for scope in SCOPES if scope != EVENTS_SCOPE or Stream.EVENTS in config.sync.streams]
    for scope in wanted:
        yield _scope(client, scope) if login.status == "ok" else _not_tried(_scope_name(scope), login)
    if login.status == "ok":
        yield _clock("outreach clock", client.transport.server_now())


def _not_tried(name: str, because: Check) -> Check:
    """Report a check that its login kept from being tried; of a warning there is no more than a warning."""
    detail = f"not tried, since {because.name} {'failed' if because.status == 'fail' else 'was not tried'}"
    return because._replace(name=name, detail=detail, hint="")


def _scope_name(scope: str) -> str:
    return f"outreach scope {scope}"


def _scope(client: Outreach, scope: str) -> Check:
    name = _scope_name(scope)
    try:
        rows = client.get(f"/api/v2/{scope.partition('.')[0]}", _ONE_ROW)["data"]
    except NotAllowedError as error:
        if scope != EVENTS_SCOPE:
            return _failed_by(name, error)
        return warn(name, f"{error.message} Runs go on without events: skips, removals and opt-outs that only an event "
                    "tells are missed.", error.advice)  # fmt: skip
    except OutreachSyncError as error:
        return _failed_by(name, error)
    if rows:
        return ok(name, "granted")
    return warn(
        name,
        "granted, but not one record can be seen",
        "If Outreach has any, the governance profile of the user hides them: use a user that may see all records.",
    )


def _clock(name: str, server: Instant | None) -> Check:
    """Compare a service's clock with this machine's."""
    if server is None:
        return warn(name, "its answers carry no Date", "Bounds come from the data alone.")
    seconds = (instants.now() - server) / 1000
    if abs(seconds) * 1000 <= _CLOCK_TOLERANCE_MS:
        return ok(name, f"{abs(seconds):.0f} s from this machine's")
    direction = "ahead of" if seconds > 0 else "behind"
    hint = "Runs do not rely on this machine's clock, but logs and pauses do: set it, best by NTP."
    return warn(name, f"this machine is {abs(seconds):,.0f} s {direction} the service", hint)


# -- Workbooks


def _workbooks(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check Workbooks; where it does not let us in, its other checks say that they were not tried."""
    try:
        target = Workbooks(config, stop)
        types = target.metadata.read_types((PERSON_CLASS, TASK_CLASS))
    except OutreachSyncError as error:
        login = _failed_by(_LOGIN, error)
        yield login
        yield from (_not_tried(name, login) for name in _REST)
        return
    yield ok(_LOGIN, config.workbooks.base_url)
    person, task = types.get(PERSON_CLASS), types.get(TASK_CLASS)
    yield from _person(config, person)
    yield from _task(task)
    yield from guarded("workbooks picklists", lambda: _picklists(config, target, person, task))
    yield from guarded("workbooks eq ignores case", lambda: [_case(target)])
    yield _clock("workbooks clock", target.server_now())


def _hidden(class_name: str) -> Check:
    hidden = metadata.hidden_type(class_name)
    return fail("workbooks fields", f"{hidden.subject}: {hidden.problem}", hidden.hint)


def _person(config: Config, person: RecordType | None) -> Iterator[Check]:
    if person is None:
        yield _hidden(PERSON_CLASS)
        return
    people, fields = config.sync.people, config.workbooks.fields.model_dump()
    creates = people.when_missing == "create" and not people.only_where
    proposed = titled_fields(person, fields)
    for role, field_name in fields.items():
        if field_name is not None:
            yield from _configured_field(person, role, field_name, proposed.get(role))
        elif role in proposed:
            yield warn(
                f"workbooks field {role}",
                f"not configured, and Person has '{person.fields[proposed[role]].title}' ({proposed[role]}), as the "
                "vendor's own integration makes it",
                f"Set workbooks.fields.{role} to {proposed[role]}, and people whom that one linked are found by it.",
            )
    yield _is_no_email(config, person)
    yield from _permissions(person, ("create", "update") if creates else ("update",))
    if creates:
        written = (*_PERSON_FIELDS, *people.create_fields)
        yield _createable(person, written)
        yield _required(person, {*written, *(name for name in fields.values() if name)}, "sync.people.create_fields")


def _configured_field(person: RecordType, role: str, name: str, proposed: str | None) -> Iterator[Check]:
    problems = metadata.field_problems(person, {role: name})
    for finding in problems:
        make = fail if finding.fatal else warn
        hint = finding.hint
        if proposed is not None and name not in person.fields:
            title = person.fields[proposed].title
            hint = f"Person has '{title}' ({proposed}): set workbooks.fields.{role} to it, don't make another one."
        yield make(f"workbooks field {role}", f"{finding.subject}: {finding.problem}", hint)
    if not problems:
        yield ok(f"workbooks field {role}", f"{name} ({person.fields[name].datatype})")


def _is_no_email(config: Config, person: RecordType) -> Check:
    name = "workbooks field no_email is No Email"
    field = person.fields.get(config.workbooks.fields.no_email)
    if field is None or field.title.casefold() == _NO_EMAIL_TITLE:
        return ok(name, "its title is 'No Email'" if field is not None else "not tried, since the field is not there")
    return warn(
        name,
        f"the title of {field.name} is '{field.title}', not 'No Email'",
        "Make sure that this is the field that keeps e-mail from being sent; else set workbooks.fields.no_email.",
    )


def _task(task: RecordType | None) -> Iterator[Check]:
    if task is None:
        yield _hidden(TASK_CLASS)
        return
    yield from _permissions(task, ("create",))
    yield _createable(task, _TASK_FIELDS)
    yield _required(task, set(_TASK_FIELDS), "")


def _permissions(described: RecordType, actions: tuple[str, ...]) -> Iterator[Check]:
    for action in actions:
        name = f"workbooks permission {described.controller or described.class_name} {action}"
        problems = metadata.permission_problems(described, (action,))
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


def _required(described: RecordType, written: set[str], key: str) -> Check:
    """Look whether Workbooks wants a field filled on a new record that nobody fills."""
    name = f"workbooks required {described.controller or described.class_name}"
    missing = [one for one in described.fields.values() if one.required and one.createable and one.name not in written]
    if not missing:
        return ok(name, "every field that a new record must have is written")
    shown = ", ".join(f"{one.name} ('{one.title}')" for one in missing)
    fill = f"Fill it from a prospect's attribute by {key}, or make" if key else "Make"
    return fail(name, f"a new record must have {shown}, and nothing fills it", f"{fill} it optional in Workbooks.")


class _Labels(NamedTuple):
    """Values that a picklist must have: the check's name, the field, the key of the config, the values."""

    check: str
    field: FieldType | None
    key: str
    values: tuple[str, ...]


def _picklists(
    config: Config, target: Workbooks, person: RecordType | None, task: RecordType | None
) -> Iterator[Check]:
    wanted = list(_wanted_labels(config, {} if person is None else person.fields, {} if task is None else task.fields))
    links = [one.field.picklist for one in wanted if one.field is not None and one.field.picklist is not None]
    ids = {link.picklist_id for link in links if link.picklist_id is not None}
    try:
        entries = target.metadata.read_picklist_entries(ids)
    except NotAllowedError as error:
        yield warn("workbooks picklists", error.message, "The entries could not be compared with the labels.")
        return
    yield from (_labels(one, entries) for one in wanted if one.field is not None)


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
    missing = metadata.missing_labels(entries[link.picklist_id], wanted.values)
    if not missing:
        return ok(wanted.check, f"all in the picklist '{link.name}'")
    shown = ", ".join(f"'{one.label}'" + (f" (it has '{one.nearest}')" if one.nearest else "") for one in missing)
    detail = f"the picklist '{link.name}' lacks {shown}"
    hint = f"Spell {wanted.key} as the picklist does, or add the entries (`outreach-sync provision`)."
    if link.unrestricted or link.auto_create:
        how = "it takes any value" if link.unrestricted else "Workbooks would add them as new entries"
        return warn(wanted.check, f"{detail}; {how}", hint)
    return fail(wanted.check, detail, hint)


def _case(client: Workbooks) -> Check:
    """Find out whether `eq` ignores case, by somebody's address in the other case."""
    name = "workbooks eq ignores case"
    reading = Reading((Filter(wire.EMAIL, "not_blank", ""),), ("id", wire.EMAIL))
    rows = client.read(wire.PEOPLE, reading, asked_for=lambda row: bool(row.get(wire.EMAIL)), at_most=1)
    known = [(str(row.get("id")), read_text(row.get(wire.EMAIL)) or "") for row in rows]
    cased = [(one, email) for one, email in known if email.isascii() and email.swapcase() != email]
    if not cased:
        return ok(name, "nobody has an address to try it with")
    person_id, email = cased[0]
    reading = Reading((Filter(wire.EMAIL, "eq", list_value([email.swapcase()])),), ("id", wire.EMAIL))
    found = client.read(
        wire.PEOPLE,
        reading,
        asked_for=lambda row: mailbox(read_text(row.get(wire.EMAIL)) or "") == mailbox(email),
    )
    if any(str(row.get("id")) == person_id for row in found):
        return ok(name, "it does")
    hint = "Addresses are asked for as they are and in lower case; somebody stored in yet another spelling is missed."
    return warn(name, "it does not: addresses in another case are not found by it", hint)
