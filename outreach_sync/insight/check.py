"""Checks: whether everything a run needs is in place, each thing tried by itself and none keeping another from it.

In the order in which people would look: what is on this machine, then Outreach, then Workbooks.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import instants
from outreach_sync.config import exposed_secrets, load_config
from outreach_sync.errors import (
    ConfigError,
    InterruptedByError,
    LockHeldError,
    NotAllowedError,
    OutreachSyncError,
    ServiceError,
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
from outreach_sync.workbooks.wire import PERSON_CLASS, REFERENCE, TASK_CLASS, Filter, Reading, look_up, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.workbooks.metadata import FieldType, PicklistLink, RecordType

TASK_FIELDS = frozenset(
    [
        "action", "autoskipAt", "compiledSequenceTemplateHtml", "completed", "completedAt", "createdAt", "dueAt",
        "note", "opportunityAssociation", "scheduledAt", "state", "stateChangedAt", "taskType", "updatedAt",
        "account", "call", "completer", "creator", "defaultPluginMapping", "mailing", "opportunity", "owner",
        "prospect", "prospectAccount", "prospectOwner", "prospectStage", "sequence", "sequenceState",
        "sequenceStateSequenceStep", "sequenceStateStartingTemplate", "sequenceStep", "sequenceTemplate",
        "sequenceTemplateTemplate", "subject", "taskDisposition", "taskPriority", "taskPurpose", "taskTheme",
        "team", "template",
    ]
)  # fmt: skip
"""The attributes and to-one relationships of a task in Outreach's published OpenAPI."""

_EVENTS_SCOPE = "events.read"
_PATIENCE_MS = 20_000
"""How long one check waits for a service: a person is waiting for the answer."""

_OF_RUNS = "next run"
_LATER = "Try again later; the status page of the service may say more."
"""Instead of what is said to whom a run has failed: that nothing is lost, and that the next one goes on."""

_CLOCK_TOLERANCE_MS = 5 * 60_000
_ONE_ROW = (("page[size]", "1"), ("count", "false"))
_NEW_PERSON = ("name", "person_first_name", "person_last_name", wire.EMAIL, REFERENCE)
_NEW_TASK = (
    *("name", "activity_type", "activity_status", "description", "due_date"),
    *("primary_contact_id", "primary_contact_type", REFERENCE),
)


class Check(NamedTuple):
    """One thing that was looked at. `status` is ok, warn (it works, perhaps not as meant) or fail (runs cannot work).

    `hint` says what to do; empty where there is nothing to do. `exit_status` is what a failure ends the command with.
    """

    status: str
    detail: str
    hint: str = ""
    name: str = ""
    exit_status: int = 3


def exit_status(checks: Iterable[Check]) -> int:
    """Say what the command ends with: config (2) before what is refused (3) before what is down (4)."""
    return min((check.exit_status for check in checks if check.status == "fail"), default=0)


def tried(name: str, look: Callable[..., Check], *given: Any) -> Check:
    """Look, under this name; what goes wrong is what was found.

    Raises:
        InterruptedByError: asked to stop.
    """
    try:
        return look(*given)._replace(name=name)
    except OutreachSyncError as error:
        return _failed(name, error)


def _failed(name: str, error: OutreachSyncError) -> Check:
    """Report what an error says; that another run holds the lock is not a failure."""
    if isinstance(error, InterruptedByError):
        raise error
    if isinstance(error, LockHeldError):
        return Check("warn", f"not tried: {error.message}", "Try again when that run has ended.", name)
    problems = error.problems if isinstance(error, ConfigError) else ()
    no_hint = isinstance(error, ServiceError) and (not error.advice or _OF_RUNS in error.advice)
    hint = _LATER if no_hint else error.advice
    return Check("fail", "\n".join((error.message, *problems)), hint, name, error.exit_status)


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
        config = load_config(path, require_secrets=False)
        exposed = exposed_secrets(path)
    except ConfigError as error:
        yield _failed("config", error)
        return
    yield tried("config", _complete, path)
    permissions = ("ok", "only its owner can read what is secret in it", "", "config permissions")
    yield Check(*permissions) if exposed is None else Check("warn", exposed, *permissions[2:])
    yield tried("state", _state, config.state.path)
    yield tried("requests a year", _cost, config)
    yield tried("refresh token age", _token, config.state.path)
    yield tried("skip rule", _skip_rule, config)
    patience = min(config.sync.patience_ms, _PATIENCE_MS)
    hurried = config.model_copy(update={"sync": config.sync.model_copy(update={"patience_ms": patience})})
    yield from _outreach(hurried, stop)
    yield from _workbooks(hurried, stop)
    yield tried("accounts", _accounts, hurried, stop)


# -- this machine


def _complete(path: Path) -> Check:
    """Load it with all its secrets; without some of them the rest can still be tried."""
    load_config(path)
    return Check("ok", str(path))


def _accounts(config: Config, stop: StopSignal) -> Check:
    """Check that the state belongs to both services; the next run remembers what is not known yet."""
    store = Store.open_to_read(config.state.path)
    if store is None:
        return Check("ok", "there is no state yet: it will belong to this Outreach and this Workbooks")
    with store:
        refuse(config, look_at(config, store, Outreach(config, stop), Workbooks(config, stop)))
    return Check("ok", "the state belongs to this Outreach and this Workbooks")


def _state(path: Path) -> Check:
    """Open the state for reading, and see whether it could be written, without making it."""
    state = Store.open_to_read(path)
    if state is not None:
        state.close()
    exists = is_there(path)
    place = path if exists else next(place for place in path.absolute().parents if place.exists())
    directory = path.absolute().parent if exists else place
    if os.access(place, os.W_OK) and os.access(directory, os.W_OK | os.X_OK):
        return Check("ok", f"{path}" if exists else f"{path}, which the first run makes")
    hint = "Give the user that runs this the right to write there, or set state.path."
    return Check("fail", f"{place} is not writable", hint, exit_status=2)


def _cost(config: Config) -> Check:
    with Store.open_to_read(config.state.path) or Store.open_scratch(config.state.path) as state:
        cost = yearly_cost(config, state)
    detail = f"about {cost.requests:,} Outreach requests a year, {'measured' if cost.measured else 'estimated'}"
    hint = "Lengthen schedule.every, or ask Outreach how many your plan allows (250,000 to 1,000,000)."
    if cost.requests > LARGE_PLAN:
        return Check("fail", f"{detail}: more than any plan allows", hint, exit_status=2)
    if cost.requests > SMALL_PLAN:
        return Check("warn", f"{detail}: more than the smallest plan allows", hint)
    return Check("ok", detail)


def _token(state_path: Path) -> Check:
    age = token_age(state_path, instants.now())
    if age is None:
        return Check("ok", "no token is stored yet")
    if age["warning"]:
        hint = "Let runs go on at least weekly; `outreach-sync auth login` gives a new one."
        return Check("warn", age["warning"], hint)
    return Check("ok", f"renewed {age['issued_at']}, {age['age_days']:g} days ago")


def _skip_rule(config: Config) -> Check:
    named = named_attributes(config.sync.tasks.skipped_when)
    unknown = {name: difflib.get_close_matches(name, TASK_FIELDS, 1) for name in sorted(named - TASK_FIELDS)}
    if not unknown:
        return Check("ok", f"looks at {', '.join(sorted(named)) or 'nothing'}")
    shown = ", ".join(f"{name} (did you mean {near[0]}?)" if near else name for name, near in unknown.items())
    hint = "An attribute that does not exist is always null, so a condition on null takes every task."
    return Check("warn", f"Outreach's published reference of tasks lacks {shown}", hint)


# -- Outreach


def _outreach(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check Outreach; where it does not let us in, its other checks say that they were not tried."""
    login = Check("ok", config.outreach.base_url, name="outreach login")
    try:
        client = Outreach(config, stop)
        client.get("/api/v2/prospects", _ONE_ROW)
    except NotAllowedError:
        pass  # who we are is accepted; the scopes say what is not
    except OutreachSyncError as error:
        login = _failed(login.name, error)
    yield login
    for scope in SCOPES:
        name = f"outreach scope {scope}"
        if scope != _EVENTS_SCOPE or Stream.EVENTS in config.sync.streams:
            yield tried(name, _scope, client, scope) if login.status == "ok" else _not_tried(name, login)
    if login.status == "ok":
        yield tried("outreach clock", _clock, client.transport.server_now())


def _not_tried(name: str, login: Check) -> Check:
    """Report a check that its login kept from being tried; of a warning there is no more than a warning."""
    why = "failed" if login.status == "fail" else "was not tried"
    return login._replace(name=name, detail=f"not tried, since {login.name} {why}", hint="")


def _scope(client: Outreach, scope: str) -> Check:
    try:
        rows = client.get(f"/api/v2/{scope.partition('.')[0]}", _ONE_ROW)["data"]
    except NotAllowedError as error:
        if scope != _EVENTS_SCOPE:
            raise
        missed = "Runs go on without events: skips, removals and opt-outs that only an event tells are missed."
        return Check("warn", f"{error.message} {missed}", error.advice)
    if rows:
        return Check("ok", "granted")
    hint = "If Outreach has any, the governance profile of the user hides them: use a user that may see all records."
    return Check("warn", "granted, but not one record can be seen", hint)


def _clock(server: Instant | None) -> Check:
    """Compare a service's clock with this machine's."""
    if server is None:
        return Check("warn", "its answers carry no Date", "Bounds come from the data alone.")
    off = instants.now() - server
    if abs(off) <= _CLOCK_TOLERANCE_MS:
        return Check("ok", f"{abs(off) / 1000:.0f} s from this machine's")
    direction = "ahead of" if off > 0 else "behind"
    hint = "Runs do not rely on this machine's clock, but logs and pauses do: set it, best by NTP."
    return Check("warn", f"this machine is {abs(off) / 1000:,.0f} s {direction} the service", hint)


# -- Workbooks


def _workbooks(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check Workbooks; where it does not let us in, its other checks say that they were not tried."""
    try:
        client = Workbooks(config, stop)
        types = client.metadata.read_types((PERSON_CLASS, TASK_CLASS))
    except OutreachSyncError as error:
        login = _failed("workbooks login", error)
        yield login
        rest = ("fields", "picklists", "permissions", "eq ignores case")
        yield from (_not_tried(f"workbooks {name}", login) for name in rest)
        return
    yield Check("ok", config.workbooks.base_url, name="workbooks login")
    for class_name, looks in ((PERSON_CLASS, _person), (TASK_CLASS, _task)):
        if class_name in types:
            yield from looks(config, types[class_name])
        else:
            hidden = metadata.hidden_type(class_name)
            yield Check("fail", f"{hidden.subject}: {hidden.problem}", hidden.hint, "workbooks fields")
    yield from _picklists(config, client, types)
    yield tried("workbooks eq ignores case", _case, client)
    yield tried("workbooks clock", _clock, client.transport.server_now())


def _person(config: Config, person: RecordType) -> Iterator[Check]:
    people, fields = config.sync.people, config.workbooks.fields.model_dump()
    proposed = titled_fields(person, fields)
    for role, name in fields.items():
        if name is not None:
            yield tried(f"workbooks field {role}", _field, person, role, name, proposed.get(role))
        elif role in proposed:
            column = proposed[role]
            yield Check(
                "warn",
                f"not configured, and Person has '{person.fields[column].title}' ({column}), as the vendor's own "
                "integration makes it",
                f"Set workbooks.fields.{role} to {column}, and people whom that one linked are found by it.",
                f"workbooks field {role}",
            )
    no_email = person.fields.get(config.workbooks.fields.no_email)
    yield tried("workbooks field no_email is No Email", _is_no_email, no_email)
    creates = people.when_missing == "create" and not people.only_where
    yield from _permissions(person, ("create", "update") if creates else ("update",))
    if creates:
        written = (*_NEW_PERSON, *people.create_fields)
        filled = {*written, *(name for name in fields.values() if name)}
        yield tried("workbooks new crm/people", _createable, person, written)
        yield tried("workbooks required crm/people", _required, person, filled, "sync.people.create_fields")


def _task(_config: Config, task: RecordType) -> Iterator[Check]:
    yield from _permissions(task, ("create",))
    yield tried("workbooks new activity/tasks", _createable, task, _NEW_TASK)
    yield tried("workbooks required activity/tasks", _required, task, set(_NEW_TASK), "")


def _field(person: RecordType, role: str, name: str, proposed: str | None) -> Check:
    problems = metadata.field_problems(person, {role: name})
    if not problems:
        return Check("ok", f"{name} ({person.fields[name].datatype})")
    finding, hint = problems[0], problems[0].hint
    if proposed is not None and name not in person.fields:
        title = person.fields[proposed].title
        hint = f"Person has '{title}' ({proposed}): set workbooks.fields.{role} to it, don't make another one."
    return Check("fail" if finding.fatal else "warn", f"{finding.subject}: {finding.problem}", hint)


def _is_no_email(field: FieldType | None) -> Check:
    if field is None:
        return Check("ok", "not tried, since the field is not there")
    if field.title.casefold() == "no email":
        return Check("ok", "its title is 'No Email'")
    hint = "Make sure that this is the field that keeps e-mail from being sent; else set workbooks.fields.no_email."
    return Check("warn", f"the title of {field.name} is '{field.title}', not 'No Email'", hint)


def _permissions(described: RecordType, actions: tuple[str, ...]) -> Iterator[Check]:
    for action in actions:
        name = f"workbooks permission {described.controller or described.class_name} {action}"
        found = metadata.permission_problems(described, (action,))
        yield Check("fail", found[0].problem, found[0].hint, name) if found else Check("ok", "permitted", "", name)


def _createable(described: RecordType, names: Iterable[str]) -> Check:
    """Look whether what is written to new records can be; nested names need not be in the metadata."""
    fields = described.fields
    missing = [one for one in names if "[" not in one and (one not in fields or not fields[one].createable)]
    if not missing:
        return Check("ok", "every field of a new record can be set")
    hint = "Give the API key's user access to them, or correct sync.people.create_fields."
    return Check("fail", f"fields that cannot be set on a new record: {', '.join(missing)}", hint)


def _required(described: RecordType, written: set[str], key: str) -> Check:
    """Look whether Workbooks wants a field filled on a new record that nobody fills."""
    missing = [one for one in described.fields.values() if one.required and one.createable and one.name not in written]
    if not missing:
        return Check("ok", "every field that a new record must have is written")
    shown = ", ".join(f"{one.name} ('{one.title}')" for one in missing)
    fill = f"Fill it from a prospect's attribute by {key}, or make" if key else "Make"
    return Check("fail", f"a new record must have {shown}, and nothing fills it", f"{fill} it optional in Workbooks.")


def _picklists(config: Config, client: Workbooks, types: Mapping[str, RecordType]) -> Iterator[Check]:
    """Compare the values that are written with the entries of the picklists behind their fields."""
    sync = config.sync
    wanted = (
        ("labels", PERSON_CLASS, config.workbooks.fields.sequence_state, "sync.labels", sync.labels.values()),
        ("task status", TASK_CLASS, "activity_status", "sync.tasks.status", [sync.tasks.status]),
        ("task types", TASK_CLASS, "activity_type", "sync.tasks.type", sync.tasks.type.values()),
    )
    links = [
        (f"workbooks {what}", types[class_name].fields[field].picklist, key, dict.fromkeys(values))
        for what, class_name, field, key, values in wanted
        if class_name in types and field in types[class_name].fields
    ]

    ids = {link.picklist_id for _, link, _, _ in links if link is not None and link.picklist_id is not None}
    try:
        entries = client.metadata.read_picklist_entries(ids)
    except NotAllowedError as error:
        hint = "The entries could not be compared with the labels."
        yield Check("warn", error.message, hint, "workbooks picklists")
        return
    except OutreachSyncError as error:
        yield _failed("workbooks picklists", error)
        return
    for name, link, key, labels in links:
        yield tried(name, _labels, link, key, labels, entries)


def _labels(
    link: PicklistLink | None, key: str, labels: Iterable[str], entries: Mapping[int, tuple[str, ...]]
) -> Check:
    if link is None:
        return Check("ok", "free text, no picklist")
    if link.picklist_id is None or not entries.get(link.picklist_id):
        return Check("warn", f"the entries of the picklist '{link.name}' cannot be read", "Compare them by hand.")
    missing = metadata.missing_labels(entries[link.picklist_id], labels)
    if not missing:
        return Check("ok", f"all in the picklist '{link.name}'")
    shown = ", ".join(f"'{one.label}'" + (f" (it has '{one.nearest}')" if one.nearest else "") for one in missing)
    detail = f"the picklist '{link.name}' lacks {shown}"
    hint = f"Spell {key} as the picklist does, or add the entries (`outreach-sync provision`)."
    if link.unrestricted or link.auto_create:
        how = "it takes any value" if link.unrestricted else "Workbooks would add them as new entries"
        return Check("warn", f"{detail}; {how}", hint)
    return Check("fail", detail, hint)


def _case(client: Workbooks) -> Check:
    """Find out whether `eq` ignores case, by somebody's address in the other case."""
    columns = ("id", wire.EMAIL)
    anyone = Reading((Filter(wire.EMAIL, "not_blank", ""),), columns)
    rows = client.read(wire.PEOPLE, anyone, asked_for=lambda row: bool(row.get(wire.EMAIL)), at_most=1)
    known = {read_text(row.get(wire.EMAIL)) or "": row.get("id") for row in rows}
    email = next((one for one in known if one.isascii() and one.swapcase() != one), None)
    if email is None:
        return Check("ok", "nobody has an address to try it with")
    cased = look_up(wire.EMAIL, [email.swapcase()], columns)
    found = client.read(
        wire.PEOPLE, cased, asked_for=lambda row: mailbox(read_text(row.get(wire.EMAIL)) or "") == mailbox(email)
    )
    if any(str(row.get("id")) == str(known[email]) for row in found):
        return Check("ok", "it does")
    hint = "Addresses are asked for as they are and in lower case; somebody stored in yet another spelling is missed."
    return Check("warn", "it does not: addresses in another case are not found by it", hint)
