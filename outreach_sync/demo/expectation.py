"""What Workbooks must say after a cycle, worked out from the simulated services alone.

Written a second time on purpose, straight from what the program promises, and without any of its rules: a mistake there
must not be repeated here. It looks at the records themselves, never at the program's state.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outreach_sync.sandbox import Sandbox

PERSON, TASK = "Private::Crm::Person", "Private::Activity::Task"
STATE, SINCE, NO_EMAIL = "cf_person_sequence_state", "cf_person_state_updated_at", "no_email_soliciting"
_LABELS = {
    "active": "Active – Running",  # noqa: RUF001 - the en dash is Workbooks' own
    "paused": "Active – Paused",  # noqa: RUF001
    "opted_out": "Opted Out",
    "finished": "Finished",
    "pending": "Pending",
    "disabled": "Disabled",
    "failed": "Failed",
    "bounced": "Bounced",
}

Row = dict[str, Any]


class Expected(NamedTuple):
    """What one Person must say. `since` None: it is not looked at."""

    label: str
    since: int | None
    no_email: bool


class Memory:
    """What was ever there to be read: what is deleted in Outreach is noticed by `reconcile` only, and No Email stays.

    An opt-out without a date counts from the stamp with which it was first seen.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        """Look at both services as they are now."""
        self._sandbox = sandbox
        self._states: dict[int, Row] = {}
        self._first_seen: dict[int, int] = {}
        self._no_email: set[int] = set()
        self.look()

    def look(self) -> None:
        """Take in what the next cycle can read, and whom Workbooks says to send no e-mail."""
        self._states.update(_rows(self._sandbox, "sequenceState"))
        for id_, prospect in _rows(self._sandbox, "prospect").items():
            if prospect.get("optedOut") or prospect.get("emailOptedOut"):
                self._first_seen.setdefault(id_, _ms(prospect["updatedAt"]) or 0)
            else:
                self._first_seen.pop(id_, None)
        self._no_email |= {one["id"] for one in people(self._sandbox).values() if one[NO_EMAIL]}

    def mismatches(self) -> list[str]:
        """Say in a sentence each what is not as it must be."""
        return [*self._wrong_people(), *self._wrong_tasks()]

    def _wrong_people(self) -> Iterator[str]:
        found = people(self._sandbox)
        pools = pools_of(self._sandbox)
        for person_id, pool in pools.items():
            said, expected = found[person_id], self._expected(person_id, pool)
            actual = (said[STATE], said[NO_EMAIL])
            if actual != (expected.label, expected.no_email):
                yield f"Person {person_id} says {actual}, not {(expected.label, expected.no_email)}"
            elif expected.since is not None and said[SINCE] != expected.since:
                yield f"Person {person_id} says {said[SINCE]}, not {expected.since}, as State Updated at"
        yield from self._missing({one for pool in pools.values() for one in pool})
        for person_id in found.keys() - pools.keys():
            if (found[person_id]["created_through_reference"] or "").startswith("outreach-prospect-"):
                yield f"Person {person_id} was created and stands for nobody"

    def _missing(self, placed: set[int]) -> Iterator[str]:
        """Name who should have a Person and has none; somebody who may be one of two must not get a third."""
        for id_, prospect in _rows(self._sandbox, "prospect").items():
            has_reason = self._states_of({id_}) or _opted_out(prospect)
            if id_ not in placed and has_reason and not prospect.get("trashedAt") and not _matches(self._sandbox, id_):
                yield f"prospect {id_} has no Person"

    def _expected(self, person_id: int, pool: set[int]) -> Expected:
        prospects = {id_: one for id_, one in _rows(self._sandbox, "prospect").items() if id_ in pool}
        states = self._states_of(pool)
        keeps = person_id in self._no_email
        opted = [one for one in states if one["state"] == "opted_out"]
        if opted:
            return Expected(_LABELS["opted_out"], max(map(_since, opted)), no_email=True)
        dates = [self._opted_out_at(id_, one) for id_, one in prospects.items() if _opted_out(one)]
        if dates:
            return Expected(_LABELS["opted_out"], max(dates), no_email=True)
        if not states:
            return Expected("Not Active", None, no_email=keeps)
        newest = max(states, key=lambda one: (_since(one), one["id"]))
        return Expected(_LABELS[newest["state"]], _since(newest), no_email=keeps)

    def _states_of(self, pool: set[int]) -> list[Row]:
        prospects = _rows(self._sandbox, "prospect")
        gone = {id_ for id_ in pool if prospects.get(id_, {}).get("trashedAt")}
        return [
            {"id": id_, **one}
            for id_, one in self._states.items()
            if one.get("prospect") in pool and (one.get("prospect") not in gone or one["state"] == "opted_out")
        ]

    def _opted_out_at(self, id_: int, prospect: Row) -> int:
        by_mail = prospect.get("emailsOptedAt") if prospect.get("emailOptedOut") else None
        return _ms(prospect.get("optedOutAt") or by_mail) or self._first_seen[id_]

    def _wrong_tasks(self) -> Iterator[str]:
        made = tasks_by_reference(self._sandbox)
        homes = {one: person_id for person_id, pool in pools_of(self._sandbox).items() for one in pool}
        for id_, task in _rows(self._sandbox, "task").items():
            reference = f"outreach-task-{id_}"
            person_id = homes.get(task.get("prospect") or 0)
            expected = int(_was_skipped(task) and person_id is not None)
            rows = made.pop(reference, [])
            if len(rows) != expected:
                yield f"there are {len(rows)} Workbooks Tasks for task {id_}, not {expected}"
            for row in rows:
                if (row["activity_status"], row["primary_contact_id"]) != ("Cancelled", person_id):
                    yield f"the Workbooks Task of task {id_} is not Cancelled, or not that of Person {person_id}"
        yield from (f"nobody knows the Workbooks Task {reference}" for reference in made)


def people(sandbox: Sandbox) -> dict[int, Row]:
    """Return the live People by id."""
    return {one["id"]: one for one in sandbox.workbooks.store.all(PERSON)}


def tasks_by_reference(sandbox: Sandbox) -> dict[str, list[Row]]:
    """Return the live Tasks that the program made, by what they stand for."""
    found: dict[str, list[Row]] = {}
    for one in sandbox.workbooks.store.all(TASK):
        if (one["created_through_reference"] or "").startswith("outreach-task-"):
            found.setdefault(one["created_through_reference"], []).append(one)
    return found


def pools_of(sandbox: Sandbox) -> dict[int, set[int]]:
    """Return each live Person that stands for prospects, and which."""
    pools: dict[int, set[int]] = {}
    for id_ in _rows(sandbox, "prospect"):
        matches = _matches(sandbox, id_)
        if len(matches) == 1:
            pools.setdefault(matches.pop(), set()).add(id_)
    return pools


def _matches(sandbox: Sandbox, prospect_id: int) -> set[int]:
    """Return who the first rule that finds anybody finds: by reference, object reference, e-mail."""
    prospect = _rows(sandbox, "prospect")[prospect_id]
    addresses = {address.strip().lower() for address in prospect.get("emails") or ()}
    known = people(sandbox).values()
    rules = (
        {one["id"] for one in known if one["created_through_reference"] == f"outreach-prospect-{prospect_id}"},
        {one["id"] for one in known if one["object_ref"] == prospect.get("externalId")},
        {one["id"] for one in known if (one["main_location[email]"] or "").strip().lower() in addresses},
    )
    return next((found for found in rules if found), set())


def _was_skipped(task: Row) -> bool:
    in_sequence = any(task.get(name) for name in ("sequence", "sequenceState", "sequenceStep"))
    if not in_sequence and not str(task.get("taskType")).startswith("sequence_"):
        return False
    never_done = task.get("completed") is False or task.get("completedAt") is None
    return task.get("state") == "skipped" or (task.get("state") == "complete" and never_done)


def _opted_out(prospect: Row) -> bool:
    return bool(prospect.get("optedOut") or prospect.get("emailOptedOut"))


def _since(state: Row) -> int:
    return _ms(state.get("stateChangedAt") or state.get("updatedAt")) or 0


def _ms(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def _rows(sandbox: Sandbox, kind: str) -> Mapping[int, Row]:
    return {record.id: dict(record.values) for record in sandbox.outreach.store.all(kind)}
