"""Checks: whether everything a run needs is in place: this machine, Outreach, Workbooks, each thing by itself."""

from __future__ import annotations

import difflib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync import errors, instants
from outreach_sync.config import exposed_secrets, load_config
from outreach_sync.identity import look_at
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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.workbooks.metadata import PicklistLink, RecordType

TASK_FIELDS = frozenset(  # The attributes and to-one relationships of a task in Outreach's published OpenAPI.
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
_EVENTS_SCOPE = "events.read"
_PATIENCE_MS = 20_000  # a person is waiting for the answer
_LATER = "Try again later; the status page of the service may say more."
_HIDDEN = "If Outreach has any, the governance profile of the user hides them: use a user that may see all records."
_CLOCK_TOLERANCE_MS = 5 * 60_000
_ONE_ROW = (("page[size]", "1"), ("count", "false"))
_NEW_PERSON = ("name", "person_first_name", "person_last_name", wire.EMAIL, REFERENCE)
_NEW_TASK = (
    *("name", "activity_type", "activity_status", "description", "due_date"),
    *("primary_contact_id", "primary_contact_type", REFERENCE),
)


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    status: str  # ok, warn (it works, perhaps not as meant) or fail (runs cannot work)
    detail: str
    hint: str = ""  # what to do
    exit_status: int = 3  # what a failure ends the command with


def exit_status(checks: Iterable[Check]) -> int:
    """Say what the command ends with: config (2) before what is refused (3) before what is down (4)."""
    return min((check.exit_status for check in checks if check.status == "fail"), default=0)


@contextmanager
def looking(name: str) -> Iterator[list[Check]]:
    """Look at something in the block, which lists what it finds; what goes wrong in it is what was found."""
    found: list[Check] = []
    try:
        yield found
    except errors.InterruptedByError:
        raise
    except errors.LockHeldError as error:
        found.append(Check(name, "warn", f"not tried: {error.message}", "Try again when that run has ended."))
    except errors.OutreachSyncError as error:
        problems = error.problems if isinstance(error, errors.ConfigError) else ()
        of_runs = isinstance(error, errors.ServiceError) and (not error.advice or "next run" in error.advice)
        hint = _LATER if of_runs else error.advice
        found.append(Check(name, "fail", "\n".join((error.message, *problems)), hint, error.exit_status))


def _judged(name: str, problem: str, hint: str, fine: str, status: str = "fail") -> Check:
    return Check(name, status, problem, hint) if problem else Check(name, "ok", fine)


def check_everything(find: Callable[[], Path], stop: StopSignal) -> Iterator[Check]:
    """Check everything, one thing at a time; only a config that is not found or read, or a request to stop, ends it."""
    with looking("config") as found:
        path = find()
        config = load_config(path, require_secrets=False)
        exposed = exposed_secrets(path)
    if found:
        yield from found
        return
    with looking("config") as found:  # without some of its secrets the rest can still be tried
        load_config(path)
        found.append(Check("config", "ok", str(path)))
    yield from found
    yield _judged("config permissions", exposed or "", "", "only its owner can read what is secret in it", "warn")
    yield from _local(config)
    patience = min(config.sync.patience_ms, _PATIENCE_MS)
    config = config.model_copy(update={"sync": config.sync.model_copy(update={"patience_ms": patience})})
    yield from _outreach(config, stop)
    yield from _workbooks(config, stop)
    with looking("accounts") as found:  # the next run remembers what is not known yet
        store = Store.open_to_read(config.state.path)
        detail = "there is no state yet: it will belong to this Outreach and this Workbooks"
        if store is not None:
            with store:
                look_at(config, store, Outreach(config, stop), Workbooks(config, stop))
            detail = "the state belongs to this Outreach and this Workbooks"
        found.append(Check("accounts", "ok", detail))
    yield from found


def _local(config: Config) -> Iterator[Check]:
    path = config.state.path
    with looking("state") as found:
        state = Store.open_to_read(path)
        if state is not None:
            state.close()
        exists = is_there(path)
        place = path if exists else next(place for place in path.absolute().parents if place.exists())
        directory = path.absolute().parent if exists else place
        if os.access(place, os.W_OK) and os.access(directory, os.W_OK | os.X_OK):
            found.append(Check("state", "ok", f"{path}" if exists else f"{path}, which the first run makes"))
        else:
            hint = "Give the user that runs this the right to write there, or set state.path."
            found.append(Check("state", "fail", f"{place} is not writable", hint, 2))
    yield from found
    with looking("requests a year") as found:
        with Store.open_to_read(path) or Store.open_scratch(path) as state:
            cost = yearly_cost(config, state)
        how = "measured" if cost["measured"] else "estimated"
        detail = f"about {cost['requests']:,} Outreach requests a year, {how}"
        hint = "Lengthen schedule.every, or ask Outreach how many your plan allows (250,000 to 1,000,000)."
        if cost["requests"] > LARGE_PLAN:
            found.append(Check("requests a year", "fail", f"{detail}: more than any plan allows", hint, 2))
        else:
            small = f"{detail}: more than the smallest plan allows" if cost["requests"] > SMALL_PLAN else ""
            found.append(_judged("requests a year", small, hint, detail, "warn"))
    yield from found
    age = token_age(path, instants.now())
    weekly = "Let runs go on at least weekly; `outreach-sync auth login` gives a new one."
    hint = weekly if age and age["issued_at"] else ""
    fine = f"renewed {age['issued_at']}, {age['age_days'] or 0:g} days ago" if age else "no token is stored yet"
    yield _judged("refresh token age", (age or {}).get("warning") or "", hint, fine, "warn")
    named = named_attributes(config.sync.tasks.skipped_when)
    unknown = {name: difflib.get_close_matches(name, TASK_FIELDS, 1) for name in sorted(named - TASK_FIELDS)}
    shown = ", ".join(f"{name} (did you mean {near[0]}?)" if near else name for name, near in unknown.items())
    problem = f"Outreach's published reference of tasks lacks {shown}" if unknown else ""
    hint = "An attribute that does not exist is always null, so a condition on null takes every task."
    yield _judged("skip rule", problem, hint, f"looks at {', '.join(sorted(named)) or 'nothing'}", "warn")


def _not_tried(name: str, login: Check) -> Check:
    why = "failed" if login.status == "fail" else "was not tried"
    return login._replace(name=name, detail=f"not tried, since {login.name} {why}", hint="")


def _clock(name: str, server: Instant | None) -> Check:
    if server is None:
        return Check(name, "warn", "its answers carry no Date", "Bounds come from the data alone.")
    off = instants.now() - server
    direction = "ahead of" if off > 0 else "behind"
    far = f"this machine is {abs(off) / 1000:,.0f} s {direction} the service" if abs(off) > _CLOCK_TOLERANCE_MS else ""
    hint = "Runs do not rely on this machine's clock, but logs and pauses do: set it, best by NTP."
    return _judged(name, far, hint, f"{abs(off) / 1000:.0f} s from this machine's", "warn")


def _outreach(config: Config, stop: StopSignal) -> Iterator[Check]:
    with looking("outreach login") as found:
        client = Outreach(config, stop)
        with suppress(errors.NotAllowedError):  # who we are is accepted; the scopes say what is not
            client.get("/api/v2/prospects", _ONE_ROW)
        found.append(Check("outreach login", "ok", config.outreach.base_url))
    (login,) = found
    yield login
    for scope in (one for one in SCOPES if one != _EVENTS_SCOPE or Stream.EVENTS in config.sync.streams):
        name = f"outreach scope {scope}"
        if login.status != "ok":
            yield _not_tried(name, login)
            continue
        with looking(name) as found:
            try:
                rows = client.get(f"/api/v2/{scope.partition('.')[0]}", _ONE_ROW)["data"]
            except errors.NotAllowedError as error:
                if scope != _EVENTS_SCOPE:
                    raise
                missed = "Runs go on without events: skips, removals and opt-outs that only an event tells are missed."
                found.append(Check(name, "warn", f"{error.message} {missed}", error.advice))
            else:
                hidden = "" if rows else "granted, but not one record can be seen"
                found.append(_judged(name, hidden, _HIDDEN, "granted", "warn"))
        yield from found
    if login.status == "ok":
        yield _clock("outreach clock", client.transport.server_now())


def _workbooks(config: Config, stop: StopSignal) -> Iterator[Check]:
    with looking("workbooks login") as found:
        client = Workbooks(config, stop)
        types = metadata.read_types(client, (PERSON_CLASS, TASK_CLASS))
        found.append(Check("workbooks login", "ok", config.workbooks.base_url))
    (login,) = found
    yield login
    if login.status != "ok":
        rest = ("fields", "picklists", "permissions", "eq ignores case")
        yield from (_not_tried(f"workbooks {name}", login) for name in rest)
        return
    for class_name in (PERSON_CLASS, TASK_CLASS):
        if class_name not in types:
            hidden = metadata.hidden_type(class_name)
            yield Check("workbooks fields", "fail", f"{hidden.subject}: {hidden.problem}", hidden.hint)
        elif class_name == TASK_CLASS:
            with looking("workbooks permission activity/tasks read") as found:  # of People it is tried below
                client.tasks_by_ids([1])
                found.append(Check("workbooks permission activity/tasks read", "ok", "permitted"))
            yield from (*found, *_writes("activity/tasks", types[TASK_CLASS], ("create",), _NEW_TASK))
        else:
            yield from _person(config, types[PERSON_CLASS])
    yield from _picklists(config, client, types)
    with looking("workbooks eq ignores case") as found:
        found.append(_case("workbooks eq ignores case", client))
    yield from found
    yield _clock("workbooks clock", client.transport.server_now())


def _person(config: Config, person: RecordType) -> Iterator[Check]:
    people, fields = config.sync.people, config.workbooks.fields.model_dump()
    proposed = titled_fields(person, fields)
    for role, field in fields.items():
        name, column = f"workbooks field {role}", proposed.get(role)
        title = person.fields[column].title if column is not None else ""
        if field is None:
            if column is not None:
                made = f"Person has '{title}' ({column}), as the vendor's own integration makes it"
                hint = f"Set workbooks.fields.{role} to {column}, and people whom that one linked are found by it."
                yield Check(name, "warn", f"not configured, and {made}", hint)
            continue
        problems = metadata.field_problems(person, {role: field})
        if not problems:
            yield Check(name, "ok", f"{field} ({person.fields[field].datatype})")
            continue
        finding, hint = problems[0], problems[0].hint
        if column is not None and field not in person.fields:
            hint = f"Person has '{title}' ({column}): set workbooks.fields.{role} to it, don't make another one."
        yield Check(name, "fail" if finding.fatal else "warn", f"{finding.subject}: {finding.problem}", hint)
    no_email = person.fields.get(config.workbooks.fields.no_email)
    strange = no_email is not None and no_email.title.casefold() != "no email"
    problem = f"the title of {no_email.name} is '{no_email.title}', not 'No Email'" if no_email and strange else ""
    hint = "Make sure that this is the field that keeps e-mail from being sent; else set workbooks.fields.no_email."
    fine = "its title is 'No Email'" if no_email else "not tried, since the field is not there"
    yield _judged("workbooks field no_email is No Email", problem, hint, fine, "warn")
    there = [one for one in fields.values() if one in person.fields]  # what is said of the others stands above
    actions = ("create", "update") if people.when_missing == "create" and not people.only_where else ("update",)
    yield from _writes("crm/people", person, actions, (*_NEW_PERSON, *people.create_fields, *there))


def _writes(what: str, described: RecordType, actions: Sequence[str], written: Sequence[str]) -> Iterator[Check]:
    for action in actions:
        name = f"workbooks permission {described.controller or described.class_name} {action}"
        found = metadata.permission_problems(described, (action,))
        yield Check(name, "fail", found[0].problem, found[0].hint) if found else Check(name, "ok", "permitted")
    if "create" not in actions:
        return
    fields = described.fields
    unset = [one for one in written if "[" not in one and (one not in fields or not fields[one].createable)]
    problem = f"fields that cannot be set on a new record: {', '.join(unset)}" if unset else ""
    hint = "Give the API key's user access to them, or correct workbooks.fields or sync.people.create_fields."
    yield _judged(f"workbooks new {what}", problem, hint, "every field of a new record can be set")
    needed = [one for one in fields.values() if one.required and one.createable]
    missing = [one for one in needed if one.name not in written]
    shown = ", ".join(f"{one.name} ('{one.title}')" for one in missing)
    by_us = described.class_name == PERSON_CLASS
    fill = "Fill it from a prospect's attribute by sync.people.create_fields, or make" if by_us else "Make"
    problem = f"a new record must have {shown}, and nothing fills it" if missing else ""
    fine = "every field that a new record must have is written"
    yield _judged(f"workbooks required {what}", problem, f"{fill} it optional in Workbooks.", fine)


def _picklists(config: Config, client: Workbooks, types: Mapping[str, RecordType]) -> Iterator[Check]:
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
    with looking("workbooks picklists") as found:
        try:
            entries = metadata.read_picklist_entries(client, ids)
        except errors.NotAllowedError as error:
            hint = "The entries could not be compared with the labels."
            found.append(Check("workbooks picklists", "warn", error.message, hint))
    yield from found
    for name, link, key, labels in links if not found else ():
        yield Check(name, *_labels(link, key, labels, entries))


def _labels(
    link: PicklistLink | None, key: str, labels: Iterable[str], entries: Mapping[int, tuple[str, ...]]
) -> tuple[str, str, str]:
    if link is None:
        return "ok", "free text, no picklist", ""
    if link.picklist_id is None or not entries.get(link.picklist_id):
        return "warn", f"the entries of the picklist '{link.name}' cannot be read", "Compare them by hand."
    missing = metadata.missing_labels(entries[link.picklist_id], labels)
    if not missing:
        return "ok", f"all in the picklist '{link.name}'", ""
    shown = ", ".join(f"'{label}'" + (f" (it has '{near}')" if near else "") for label, near in missing.items())
    detail = f"the picklist '{link.name}' lacks {shown}"
    hint = f"Spell {key} as the picklist does, or add the entries (`outreach-sync provision`)."
    if link.unrestricted or link.auto_create:
        how = "it takes any value" if link.unrestricted else "Workbooks would add them as new entries"
        return "warn", f"{detail}; {how}", hint
    return "fail", detail, hint


def _case(name: str, client: Workbooks) -> Check:
    columns = ("id", wire.EMAIL)
    anyone = Reading((Filter(wire.EMAIL, "not_blank", ""),), columns)
    rows = client.read(wire.PEOPLE, anyone, asked_for=lambda row: bool(row.get(wire.EMAIL)), at_most=1)
    known = {read_text(row.get(wire.EMAIL)) or "": row.get("id") for row in rows}
    email = next((one for one in known if one.isascii() and one.swapcase() != one), None)
    if email is None:
        return Check(name, "ok", "nobody has an address to try it with")
    cased = look_up(wire.EMAIL, [email.swapcase()], columns)
    found = client.read(
        wire.PEOPLE, cased, asked_for=lambda row: mailbox(read_text(row.get(wire.EMAIL)) or "") == mailbox(email)
    )
    if any(str(row.get("id")) == str(known[email]) for row in found):
        return Check(name, "ok", "it does")
    hint = "Addresses are asked for as they are and in lower case; somebody stored in yet another spelling is missed."
    return Check(name, "warn", "it does not: addresses in another case are not found by it", hint)
