"""Why a Person or Task says what it says, as the rules decide now by the state alone; what to do about refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from outreach_sync.decide import decisions
from outreach_sync.errors import UsageError
from outreach_sync.insight.status import iso
from outreach_sync.instants import Instant, to_iso
from outreach_sync.pull import witness
from outreach_sync.rules.person import Held, prospect_reference, task_reference
from outreach_sync.store.cache import SKIPPED_OF
from outreach_sync.store.erasure import forgotten_ids
from outreach_sync.store.outbox import HIDDEN, PERSON, SOURCE, TASK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.rules.person import RoleValue
    from outreach_sync.store import Store
    from outreach_sync.store.cache import CachedTask
    from outreach_sync.store.outbox import Entry
    from outreach_sync.store.people import LinkedPerson
    from outreach_sync.store.progress import Written

_REFERENCE = "PERS-"


class Links(NamedTuple):
    """Where people look at records: the site of either service; what is not known (a service on loopback) is empty."""

    outreach: str
    workbooks: str

    @classmethod
    def of(cls, config: Config) -> Links:
        """Say where the records of a config's services are shown."""
        host = urlsplit(config.outreach.base_url).hostname or ""
        workbooks = urlsplit(config.workbooks.base_url)
        outreach = "https://web.outreach.io" if host.endswith(".outreach.io") else ""
        return cls(outreach, f"https://{workbooks.netloc}" if workbooks.scheme == "https" else "")

    def prospect(self, prospect_id: int | None) -> str:
        """Return where a prospect is shown."""
        return f"{self.outreach}/prospects/{prospect_id}/overview" if self.outreach and prospect_id else ""

    def person(self, person_id: int | None) -> str:
        """Return where a Person is shown."""
        return f"{self.workbooks}/crm/people/{person_id}" if self.workbooks and person_id else ""

    def task(self, task_id: int | None) -> str:
        """Return where a Task of Workbooks is shown."""
        return f"{self.workbooks}/activity/tasks/{task_id}" if self.workbooks and task_id else ""


def explain_prospect(store: Store, config: Config, prospect_id: int) -> dict[str, Any]:
    """Explain the Person that a prospect is, or would be; UsageError: it was never read, or was forgotten."""
    cached = store.cache.prospects([prospect_id]).get(prospect_id)
    if cached is None:
        raise _unknown(f"prospect {prospect_id}", forgotten=prospect_id in forgotten_ids(store.connection, "prospect"))
    if cached.person_id is not None:
        return explain_person(store, config, cached.person_id)
    creating = store.outbox.creating(prospect_id)
    return _explanation(store, config, creating[0].pool if creating else (prospect_id,), None)


def explain_person(store: Store, config: Config, person_id: int) -> dict[str, Any]:
    """Explain a Person; UsageError: no prospect is linked to it, or it was forgotten."""
    person = store.people.by_id([person_id]).get(person_id)
    pool = store.people.prospects_of([person_id]).get(person_id)
    if person is None or not pool:
        raise _unknown(f"Person {person_id}", forgotten=person_id in forgotten_ids(store.connection, "person"))
    return _explanation(store, config, pool, person)


def explain_task(store: Store, config: Config, task_id: int) -> dict[str, Any]:
    """Explain what became of a task of Outreach; UsageError: it was never read, or belongs to no sequence."""
    cached = store.cache.task(task_id)
    if cached is None:
        said = f"task {task_id} is not in the state: it was never read, or belongs to no sequence."
        raise UsageError(said, advice="`outreach-sync probe-skips` reads tasks as they are now.")
    task, prospect_id = _task(store, config, cached), cached.task.prospect_id
    person_id = None if prospect_id is None else store.people.of_prospects([prospect_id]).get(prospect_id)
    return {
        "task": task,
        "attributes": dict(cached.task.attributes),
        "prospect_id": prospect_id,
        "person_id": person_id,
        "because": task["because"],
        "queued": [_queued(entry, person_id) for entry in store.outbox.find(record=TASK, key=task_id)],
        "history": [written_document(one) for one in store.history.writes(record="task", task_id=task_id)],
    }


def explain_text(store: Store, config: Config, text: str) -> dict[str, Any]:
    """Explain whom an e-mail address or `PERS-n` names: a prospect's external id, else the Person with that number."""
    if text.upper().startswith(_REFERENCE):
        found = store.cache.prospects_with(external_id=text.upper())
        number = text[len(_REFERENCE) :]
        if not found and number.isascii() and number.isdigit():
            return explain_person(store, config, int(number))
    elif "@" in text:
        found = store.cache.prospects_with(address=text)
    else:
        said = f"'{text}' is neither an e-mail address nor a reference such as PERS-123."
        raise UsageError(said, advice="Name an id with --person, --prospect or --task.")
    if not found:
        raise _unknown(f"a prospect with {text}", forgotten=False)
    people = set(store.people.of_prospects(found).values())
    if len(people) > 1:
        named = ", ".join(map(str, found))
        raise UsageError(f"several prospects have {text}: {named}.", advice="Name one of them by --prospect.")
    return explain_person(store, config, people.pop()) if people else explain_prospect(store, config, min(found))


def written_document(one: Written) -> dict[str, Any]:
    """Return an accepted field as `history --json` has it."""
    return {**one._asdict(), "at": to_iso(one.at)}


def readable(roles: Mapping[str, RoleValue]) -> Mapping[str, RoleValue]:
    """Return values by role with the time written out."""
    at = roles.get("state_updated_at")
    return {**roles, "state_updated_at": to_iso(Instant(at))} if isinstance(at, int) else roles


def _explanation(store: Store, config: Config, pool: Sequence[int], person: LinkedPerson | None) -> dict[str, Any]:
    def named(roles: Mapping[str, RoleValue]) -> dict[str, RoleValue]:
        fields = config.workbooks.fields.model_dump()
        return {fields[role]: value for role, value in readable(roles).items() if fields[role] is not None}

    decision = decisions(store, config, {0: pool}, None if person is None else {0: person})[0]
    cached = store.cache.prospects(pool)
    entries = {entry.id: entry for one in pool for entry in store.outbox.find(prospect_id=one)}
    wanted = {role: getattr(decision.wanted, role) for role in Held._fields}
    written = dict.fromkeys(one for prospect_id in pool for one in store.history.writes(prospect_id=prospect_id))
    if person is not None:
        written |= dict.fromkeys(store.history.writes(record="person", workbooks_id=person.id))
    people = config.sync.people
    creates = people.when_missing == "create" and not people.only_where and store.cache.with_reason(pool)
    is_written = not (person.deleted or person.hidden or person.untouched) if person is not None else creates
    known = person and {
        **_shown(person, "id", "linked_at", "deleted", "hidden", "untouched"),
        "linked_by": person.rule,
        "holds": named(person.held._asdict()),
        "certain": person.lock_version is not None,
        "last_written_at": iso(person.written_at),
    }
    prospects = [
        {
            **_shown(one.prospect, "id", "external_id", "opted_out", "opted_out_at", "email_opted_out"),
            **_shown(one.prospect, "emails_opted_at", "trashed_at", "updated_at"),
            **_shown(one, "known", "gone"),
            "name": " ".join(part for part in (one.prospect.first_name, one.prospect.last_name) if part),
            "emails": list(one.prospect.emails),
            "reference": prospect_reference(one.prospect.id),
        }
        for one in map(cached.__getitem__, pool)
    ]
    states = [
        {
            **_shown(one, "id", "prospect_id", "sequence_id", "state", "at"),
            "sequence": one.sequence_name,
            "label": config.sync.labels.get(one.state),
        }
        for one in sorted(decision.states, key=lambda one: -(one.at or 0))
    ]
    return {
        "person": known,
        "prospects": prospects,
        "sequence_states": states,
        "wanted": named({role: value for role, value in wanted.items() if value not in (None, False)}),
        "because": decision.wanted.because,
        "problem": decision.problem,
        "differs": named(decision.changes()) if is_written else {},
        "queued": [_queued(entry, person and person.id) for entry in entries.values()],
        "tasks": [_task(store, config, one) for one in store.cache.tasks(SKIPPED_OF, pool)],
        "history": [written_document(one) for one in sorted(written, key=lambda one: -one.at)],
    }


def _shown(record: NamedTuple, *names: str) -> dict[str, Any]:
    values = ((name, getattr(record, name)) for name in names)
    return {name: iso(value) if name.endswith("at") else value for name, value in values}


def _task(store: Store, config: Config, cached: CachedTask) -> dict[str, Any]:
    return {
        **_shown(cached.task, "id", "task_type", "updated_at"),
        "sequence": store.cache.sequence_name(cached.task.sequence_id),
        "because": witness(store, config, cached),
        "reference": task_reference(cached.task.id),
        **_shown(cached, "skipped", "workbooks_id", "sent_at"),
    }


def _queued(entry: Entry, person_id: int | None) -> dict[str, Any]:
    waits = {"waiting": "its Person does not exist", "sending": "it was being sent when a run ended"}
    later = "a walk is not complete" if entry.held else "the next run sends it"
    why = entry.reason or waits.get("waiting" if entry.record == TASK and person_id is None else entry.state) or later
    return {**failure_document(entry), "state": entry.state, "action": entry.action, "why": why}


def _unknown(what: str, *, forgotten: bool) -> UsageError:
    if forgotten:
        return UsageError(f"{what} was forgotten, as somebody asked: nothing is kept of them.")
    advice = "Look in the service whether it is there; `outreach-sync run --full` reads again from sync.start."
    return UsageError(f"{what} is not in the state: it was never read, or is linked to nothing.", advice=advice)


class Kind(NamedTuple):
    """One kind of refusal: how it is called, what to do about it, and words of its reasons by which it is known."""

    title: str
    advice: str
    words: str = ""


_OF_SOURCE = Kind(
    "Records of Outreach that make no sense",
    "Correct the record in Outreach; it goes from this list when it is read whole, at the next try or by "
    "`failures retry`.",
)
_BY_WORKBOOKS = Kind(
    "Refused by Workbooks",
    "Correct what the reason names, in Workbooks or in the config (`check` compares fields and picklists), then "
    "`failures retry`.",
)
_KINDS = (
    Kind(
        "Ambiguous: several People match",
        "Merge them in Workbooks, or set the Outreach id or another match field on the right one, then "
        "`failures retry`.",
        "ambiguous:",
    ),
    Kind(
        "Sequence states without a label",
        "Add the state to sync.labels (and to the picklist), or correct the record in Outreach; opt-outs were written.",
        "which has no label",
    ),
    Kind(
        "Prospects that cannot be read",
        "If they were deleted in Outreach, `failures discard` them; else let the integration run as a user that may "
        "see them.",
        "cannot be read, and no Person",
    ),
    Kind(
        "Records that Workbooks does not show",
        "If the API key's user may no longer see them, give it access in Workbooks, then `failures retry`. If they "
        "were removed for good, `failures retry ID --recreate` creates them again.",
        "does not come back from Workbooks",
    ),
    Kind(
        "People that somebody else keeps changing",
        "Nothing to do unless it lasts: each run tries again. Look which other integration writes these records.",
        "somebody else keeps changing",
    ),
    Kind(
        "Records that Workbooks fails at",
        "Open the record in Workbooks and save it there: a process of its own may fail. Each run tries again.",
        "Workbooks fails whenever",
    ),
)


def kind_of(entry: Entry) -> Kind:
    """Say of which kind a refusal is."""
    if entry.record == SOURCE:
        return _OF_SOURCE
    return next((kind for kind in _KINDS if kind.words in (entry.reason or "")), _BY_WORKBOOKS)


def by_kind(entries: Iterable[Entry]) -> dict[Kind, list[Entry]]:
    """Group refusals, each group in the order of its ids, the largest group first."""
    groups: dict[Kind, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(kind_of(entry), []).append(entry)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def failure_document(entry: Entry) -> dict[str, Any]:
    """Return a refusal as `failures list --json` has it."""
    return {
        "id": entry.id,
        "record": TASK if entry.task_id is not None else PERSON,
        **_shown(entry, "prospect_id", "task_id"),
        "workbooks_id": entry.person_id,
        **_shown(entry, "reason", "attempts"),
        "state": "parked" if entry.state == "parked" else "queued",
        "next_attempt_at": iso(entry.next_attempt_at),
    }


def failures_with_ids(store: Store, ids: Collection[int]) -> list[Entry]:
    """Return the refusals with these ids, all of them where none is given; UsageError: there is none with an id."""
    listed = store.outbox.failures()
    unknown = sorted(set(ids) - {entry.id for entry in listed})
    if unknown:
        named = ", ".join(map(str, unknown))
        raise UsageError(f"no failure has the id {named}.", advice="`outreach-sync failures list` shows the ids.")
    return [entry for entry in listed if not ids or entry.id in ids]


def recreate_hidden(store: Store, entries: Collection[Entry]) -> None:
    """Have hidden People (No Email holds) and Tasks created again unless they are found; needs a transaction."""
    others = sorted(entry.id for entry in entries if entry.action != HIDDEN)
    if others:
        said = f"--recreate is for records that Workbooks does not show, and failure {others[0]} is another kind."
        raise UsageError(said, advice="Retry it without --recreate.")
    for entry in entries:
        if entry.task_id is not None:
            store.cache.task_was_sent(entry.task_id, None)
            store.outbox.queue_task(entry.task_id, entry.prospect_id or 0, held=False, run_id="")
            continue
        pool = store.people.prospects_of([entry.person_id or 0]).get(entry.person_id or 0, [])
        store.people.unlink(entry.person_id or 0, pool)
        store.outbox.drop([entry.id])
        store.undecided.mark_again(pool)
