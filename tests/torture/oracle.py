"""The oracle: what every Person and Task must say, worked out from the source's final state by the contract alone.

Nothing of the program's rules is imported. It asks the state file two things only: which Person each prospect is linked
to (the link is a rule of the contract) and what `failures list` would show. It judges both by what really was the case.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.torture.world import World

PERSON, TASK = "Private::Crm::Person", "Private::Activity::Task"
LABELS = {
    "active": "Active \u2013 Running", "paused": "Active \u2013 Paused", "opted_out": "Opted Out",
    "finished": "Finished", "pending": "Pending", "disabled": "Disabled", "failed": "Failed",
    "bounced": "Bounced", "not_active": "Not Active",
}  # fmt: skip
PRECEDENCE = ("active", "paused", "pending", "bounced", "failed", "disabled", "finished")
CREATION = {"name", "person_first_name", "person_last_name", "main_location[email]", "created_through_reference"}
TASK_FIELDS = {
    *("name", "activity_type", "activity_status", "description", "due", "due_date"),
    *("primary_contact_id", "primary_contact_type", "created_through_reference"),
}
IDLE_OUTREACH_REQUESTS = 4


class History:
    """What was ever the case, as far as the end must be judged by it."""

    def __init__(self) -> None:
        self.matched: dict[int, set[int]] = defaultdict(set)
        self.contacts: dict[int, set[int]] = defaultdict(set)
        self.eligible: set[int] = set()
        self.skipped: set[int] = set()
        self.opted_out_stamps: dict[int, set[int]] = defaultdict(set)
        self.edits: dict[int, dict[str, int]] = defaultdict(dict)
        self.deleted: set[tuple[str, int]] = set()
        self.compared: set[tuple[str, int]] = set()
        self.keeps_minutes = False
        self.keeps_characters: int | None = None
        self.unwritable: set[int] = set()
        self.unwritable_tasks: set[int] = set()
        self.vanished_states: dict[int, dict[str, Any]] = {}

    def edit(self, world: World, person_id: int, fields: Iterable[str]) -> None:
        """Take note that somebody else changed a Person, which polling Outreach cannot show."""
        self.edits[person_id].update(dict.fromkeys(fields, len(world.workbooks.writes)))

    def merge(self, world: World, winner: int, loser: int) -> None:
        """Take note that a user merged two People: the winner has the tasks of both, and whatever the loser said."""
        self.edit(world, winner, world.settings["workbooks"]["fields"].values())
        for prospect, people in self.matched.items():
            if loser in people | self.contacts[prospect]:
                self.contacts[prospect].add(winner)

    def reconciled(self) -> None:
        """Take note that everything was compared: nothing excuses a difference any more."""
        self.edits.clear()
        self.vanished_states.clear()
        self.compared |= self.deleted

    def edited(self, world: World, person_id: int) -> set[str]:
        """Return the fields of a Person that were edited and that no later write of ours had reason to look at."""
        written = [place for place, write in enumerate(world.workbooks.writes) if write.id == person_id]
        last = max(written, default=-1)
        return {field for field, place in self.edits[person_id].items() if place > last}

    def note(self, world: World) -> None:
        """Take note of how things are now."""
        people = world.workbooks.all(PERSON)
        made_for = {person["created_through_reference"]: person["id"] for person in people}
        everyone = world.outreach.all("prospect")
        for prospect in everyone:
            self.matched[prospect.id] |= {person["id"] for person in people if _may_be(prospect, person)}
            pool = (f"outreach-prospect-{one}" for one in _one_person(everyone, prospect))
            self.matched[prospect.id] |= {made_for[one] for one in pool if one in made_for}
            if _opted_out(prospect):
                self.opted_out_stamps[prospect.id].add(instant(prospect.values.get("updatedAt")) or 0)
            if _is_eligible(world, prospect):
                self.eligible.add(prospect.id)
        self._spread(world)
        self.skipped |= {task.id for task in world.outreach.all("task") if is_skipped_sequence_task(task)}
        for kind in (PERSON, TASK):
            rows = world.workbooks.all(kind, include_deleted=True)
            self.deleted |= {(kind, row["id"]) for row in rows if row["is_deleted"]}

    def read_everything(self, world: World) -> None:
        """Forget since when those opted out who have opted in again, now that a run has seen it; before, it cannot."""
        for prospect in world.outreach.all("prospect"):
            if not _opted_out(prospect):
                self.opted_out_stamps[prospect.id].clear()

    def _spread(self, world: World) -> None:
        """Whoever shares an address with somebody who may be created is the same person, also through a third."""
        prospects, before = world.outreach.all("prospect"), -1
        while len(self.eligible) != before:
            before = len(self.eligible)
            addresses = {one for prospect in prospects if prospect.id in self.eligible for one in _addresses(prospect)}
            self.eligible |= {prospect.id for prospect in prospects if _addresses(prospect) & addresses}


class Expected(NamedTuple):
    """What a Person should say. `times`: any of these (empty: it is left alone); `problem`: the state without label."""

    label: str | None
    times: frozenset[int]
    no_email: bool
    sequences: str | None
    problem: str | None


def violations(world: World) -> list[str]:
    """Return everything that contradicts the contract, in sentences; a healed and converged world has none."""
    return [
        *_people(world), *_missing_people(world), *_tasks(world), *_references(world), *_writes(world),
        *_failures(world),
    ]  # fmt: skip


def not_idle(world: World) -> list[str]:
    """Do one more cycle, in which nothing may happen."""
    writes = len(world.workbooks.writes)
    outreach, workbooks = (service.journal.total() for service in (world.sandbox.outreach, world.sandbox.workbooks))
    ended = world.run()
    asked = world.sandbox.outreach.journal.total() - outreach
    told = world.sandbox.workbooks.journal.total() - workbooks
    found = []
    if ended.exit_status != (1 if failures(world) else 0):
        found.append(f"the idle cycle ended with {ended.exit_status}: {ended.error}")
    if len(world.workbooks.writes) > writes:
        found.append(f"the idle cycle wrote {world.workbooks.writes[writes:]}")
    if asked > IDLE_OUTREACH_REQUESTS or told:
        found.append(f"the idle cycle needed {asked} requests to Outreach and {told} to Workbooks")
    return found


# -- the contract, section by section


def expected_person(world: World, pool: Sequence[int]) -> Expected:
    """Work out what the Person behind these prospects should say (contract 1.1, 1.2)."""
    prospects = [record for record in world.outreach.all("prospect") if record.id in pool]
    trashed = {prospect.id for prospect in prospects if prospect.values.get("trashedAt")}
    values = {state.id: state.values for state in world.outreach.all("sequenceState")} | world.history.vanished_states
    states = [
        (_state_time(one) or 0, id_, one)
        for id_, one in values.items()
        if one.get("prospect") in pool and (one["prospect"] not in trashed or one["state"] == "opted_out")
    ]
    labels = LABELS | world.settings["sync"].get("labels", {})
    listed, problem = _sequence_list(world, states, labels)
    opted = [(at, id_) for at, id_, one in states if one["state"] == "opted_out"]
    carriers = [prospect for prospect in prospects if _opted_out(prospect)]
    if opted:
        return Expected(labels["opted_out"], frozenset({max(opted)[0]} - {0}), True, listed, problem)
    if carriers:
        times = frozenset(time for prospect in carriers for time in _opt_out_times(world, prospect))
        return Expected(labels["opted_out"], times, True, listed, problem)
    if not states:
        return Expected(labels["not_active"], frozenset(), False, listed, problem)
    at, _, shown = _shown(states, world.settings["sync"].get("multiple_sequences", "latest"))
    if problem is not None or shown["state"] not in labels:
        return Expected(None, frozenset(), False, None, problem or str(shown["state"]))
    return Expected(labels[shown["state"]], frozenset({at} - {0}), False, listed, None)


def _shown(states: list[tuple[int, int, Any]], mode: str) -> tuple[int, int, Any]:
    if mode == "latest":
        return max(states, key=lambda one: one[:2])
    rank = {state: place for place, state in enumerate(PRECEDENCE)}
    best = min(rank.get(one[2]["state"], len(rank)) for one in states)
    return max((one for one in states if rank.get(one[2]["state"], len(rank)) == best), key=lambda one: one[:2])


def _sequence_list(
    world: World, states: list[tuple[int, int, Any]], labels: dict[str, str]
) -> tuple[str | None, str | None]:
    newest: dict[int, tuple[int, int, Any]] = {}
    for one in sorted(states, key=lambda one: one[:2]):
        newest[one[2]["sequence"]] = one
    names = {sequence.id: sequence.values["name"] for sequence in world.outreach.all("sequence")}
    lines = []
    for at, _, values in sorted(newest.values(), key=lambda one: one[:2], reverse=True):
        if values["state"] not in labels:
            return None, str(values["state"])
        day = f" ({datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d})" if at else ""
        lines.append(f"{names[values['sequence']]}: {labels[values['state']]}{day}")
    return "\n".join(lines), None


def _opt_out_times(world: World, prospect: Any) -> set[int]:
    values = prospect.values
    if values.get("optedOutAt"):
        return {instant(values["optedOutAt"]) or 0}
    if values.get("emailOptedOut") and values.get("emailsOptedAt"):
        return {instant(values["emailsOptedAt"]) or 0}
    return world.history.opted_out_stamps[prospect.id]


def is_skipped_sequence_task(task: Any) -> bool:
    """Say whether a task is a skipped one of a sequence, by the default rule (contract 1.3)."""
    values = task.values
    of_sequence = any(values.get(name) for name in ("sequence", "sequenceState", "sequenceStep"))
    of_sequence = of_sequence or str(values.get("taskType")).startswith("sequence_")
    complete = values.get("state") == "complete"
    skipped = values.get("state") == "skipped" or (
        complete and (values.get("completed") is False or values.get("completedAt") is None)
    )
    return bool(of_sequence and skipped)


# -- checks


def links(world: World) -> dict[int, int]:
    """Return prospect -> Person, as the cache holds it."""
    return dict(world.rows("SELECT id, person_id FROM prospect WHERE person_id IS NOT NULL"))


def failures(world: World) -> list[tuple[str, int | None, int | None, int | None, str]]:
    """Return (record, prospect, task, Person, reason) of what `failures list` shows."""
    return world.rows(
        "SELECT record, prospect_id, task_id, person_id, reason FROM outbox"
        " WHERE reason IS NOT NULL AND state <> 'waiting'"
    )


def _pools(world: World) -> dict[int, list[int]]:
    pools: dict[int, list[int]] = defaultdict(list)
    for prospect, person in sorted(links(world).items()):
        pools[person].append(prospect)
    return pools


def _people(world: World) -> Iterable[str]:
    crm = {row["id"]: row for row in world.workbooks.all(PERSON, include_deleted=True)}
    for person_id, pool in _pools(world).items():
        for prospect in pool:
            if person_id not in world.history.matched[prospect]:
                yield f"prospect {prospect} is linked to Person {person_id}, which no rule ever found"
        row = crm.get(person_id)
        if person_id in world.workbooks.tables[PERSON].winners:
            continue  # it stands for another id and does not come back itself: refused, for people to settle
        if row is None or row["is_deleted"]:
            if (PERSON, person_id) not in world.history.deleted - world.history.compared and row is not None:
                yield f"prospects {pool} are linked to Person {person_id}, which is gone"
        elif person_id not in world.history.unwritable:
            yield from (f"Person {person_id} of prospects {pool}: {wrong}" for wrong in _wrong(world, row, pool))


def _wrong(world: World, row: dict[str, Any], pool: Sequence[int]) -> Iterable[str]:
    fields, edited = world.settings["workbooks"]["fields"], world.history.edited(world, row["id"])
    wanted = expected_person(world, pool)
    if wanted.no_email and row[fields["no_email"]] is not True and fields["no_email"] not in edited:
        yield "No Email is not set although the opt-out holds"
    if wanted.label is None:
        return
    if row[fields["sequence_state"]] != wanted.label and fields["sequence_state"] not in edited:
        yield f"says {row[fields['sequence_state']]!r} instead of {wanted.label!r}"
    held, allowed = row[fields["state_updated_at"]], _kept_times(world, wanted.times)
    if allowed and (held or 0) // 1000 not in allowed and fields["state_updated_at"] not in edited:
        yield f"State Updated at is {held}, not one of {sorted(wanted.times)}"
    if wanted.problem is not None:
        return
    lists, full = row[fields["sequences"]] or "", wanted.sequences or ""
    if lists not in {full, full[: world.history.keeps_characters]} and fields["sequences"] not in edited:
        yield f"lists {lists!r} instead of {wanted.sequences!r}"
    if not row[fields["outreach_id"]] and fields["outreach_id"] not in edited:
        yield "has no Outreach id"


def _kept_times(world: World, times: Iterable[int]) -> set[int]:
    """Say, in seconds, what may stand in the field: where it keeps whole minutes, also one cut or rounded to them."""
    minutes = {near // 60_000 * 60 for time in times for near in (time, time + 30_000)}
    return {time // 1000 for time in times} | (minutes if world.history.keeps_minutes and times else set())


def _missing_people(world: World) -> Iterable[str]:
    linked, refused = links(world), {prospect for _, prospect, _, _, _ in failures(world)}
    pooled = {int(one) for (pool,) in world.rows("SELECT pool FROM outbox") for one in re.findall(r"\d+", pool)}
    for prospect in world.outreach.all("prospect"):
        if prospect.hidden or prospect.values.get("trashedAt") or prospect.id in linked:
            continue
        if prospect.id in refused or prospect.id in pooled or _shares_an_address(world, prospect, refused):
            continue
        if _is_eligible(world, prospect):
            yield f"prospect {prospect.id} has no Person and no failure says why"


def _shares_an_address(world: World, prospect: Any, refused: set[int | None]) -> bool:
    """Say whether a prospect is one person with one that is refused: the failure of either stands for both."""
    others = [other for other in world.outreach.all("prospect") if other.id in refused]
    return any(_addresses(prospect) & _addresses(other) for other in others)


def _tasks(world: World) -> Iterable[str]:
    linked = links(world)
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in world.workbooks.all(TASK, include_deleted=True):
        if (row["created_through_reference"] or "").startswith("outreach-task-"):
            made[row["created_through_reference"]].append(row)
    for task in world.outreach.all("task"):
        prospect, rows = task.values.get("prospect"), made.pop(f"outreach-task-{task.id}", [])
        if rows and task.id not in world.history.skipped:
            yield f"task {task.id} was sent although it was never skipped"
        lacking = all((TASK, row["id"]) in world.history.compared for row in rows)
        excused = task.id in world.history.unwritable_tasks or linked.get(prospect) in world.history.unwritable
        if is_skipped_sequence_task(task) and prospect in linked and lacking and not excused:
            yield f"task {task.id} of prospect {prospect} was never sent, or never again after its deletion"
        for row in rows:
            yield from (f"Task {row['id']}: {wrong}" for wrong in _wrong_task(world, row, task))
    for reference in made:
        if int(reference.rpartition("-")[2]) not in world.history.skipped:
            yield f"{reference} stands for no task that was ever skipped"


def _wrong_task(world: World, row: dict[str, Any], task: Any) -> Iterable[str]:
    if row["activity_status"] != "Cancelled":
        yield f"its status is {row['activity_status']}"
    if row["primary_contact_type"] != PERSON or not row["name"] or not row["due"] or not row["activity_type"]:
        yield "it lacks its contact, name, type or due date"
    prospect, whose = task.values["prospect"], world.workbooks.table(PERSON).stands_for(row["primary_contact_id"] or 0)
    if not {row["primary_contact_id"], whose} & (world.history.matched[prospect] | world.history.contacts[prospect]):
        yield f"it is for Person {row['primary_contact_id']}, who never was prospect {prospect}"


def _references(world: World) -> Iterable[str]:
    for kind in (PERSON, TASK):
        alive: dict[str, list[int]] = defaultdict(list)
        for row in world.workbooks.all(kind):
            if re.match("outreach-", row["created_through_reference"] or ""):
                alive[row["created_through_reference"]].append(row["id"])
        yield from (f"{reference} exists {len(ids)} times: {ids}" for reference, ids in alive.items() if len(ids) > 1)
    ours: dict[str, list[int]] = defaultdict(list)
    for write in world.workbooks.writes:
        if (write.record_class, write.method) == (PERSON, "POST"):
            row = world.workbooks.get(PERSON, write.id)
            prospect = int((row["created_through_reference"] or "-0").rpartition("-")[2])
            if prospect not in world.history.eligible:
                yield f"prospect {prospect} was created although nothing called for it"
            if row["main_location[email]"] and not row["is_deleted"]:
                ours[row["main_location[email]"].casefold()].append(write.id)
    yield from (f"{email} was created as {ids}" for email, ids in ours.items() if len(ids) > 1)


def _writes(world: World) -> Iterable[str]:
    configured = set(filter(None, world.settings["workbooks"]["fields"].values()))
    no_email = world.settings["workbooks"]["fields"]["no_email"]
    configured_time = world.settings["workbooks"]["fields"]["state_updated_at"]
    for write in (one for one in world.workbooks.writes if one.record_class in {PERSON, TASK}):
        named = {*write.changed, *write.unchanged}
        allowed = TASK_FIELDS if write.record_class == TASK else configured
        if write.record_class == PERSON and write.method == "POST":
            allowed = configured | CREATION
        if named - allowed or write.method == "DELETE" or (write.record_class == TASK and write.method != "POST"):
            yield f"{write.method} of {write.record_class} {write.id} touches {sorted(named - allowed)}"
        unchanged = set(write.unchanged) - ({configured_time} if world.history.keeps_minutes else set())
        unchanged -= {world.settings["workbooks"]["fields"]["sequences"]} if world.history.keeps_characters else set()
        if unchanged:  # of a time that lost its seconds, or a text its end, nobody can tell that it is there already
            yield f"{write.record_class} {write.id} was sent what it held: {sorted(unchanged)}"
        if write.changed.get(no_email, (None, True))[1] is not True:
            yield f"No Email of Person {write.id} was cleared"


def _failures(world: World) -> Iterable[str]:
    linked = links(world)
    for record, prospect, task, person, reason in failures(world):
        problem = expected_person(world, _pool_of(world, prospect, linked)).problem
        ambiguous = _ambiguous(world, prospect)
        blamed = (
            (problem is not None and f"'{problem}'" in reason)
            or (ambiguous and "ambiguous" in reason and all(str(one) in reason for one in ambiguous))
            or (person in world.workbooks.tables[PERSON].winners and "does not come back" in reason)
            or person in world.history.unwritable
            or task in world.history.unwritable_tasks
        )
        if not blamed:
            yield f"a failure for no reason: {record} of prospect {prospect}, task {task}, Person {person}: {reason}"


def _pool_of(world: World, prospect_id: int | None, linked: Mapping[int, int]) -> list[int]:
    """Return everybody who is one person with a prospect: by their Person, or without one by a shared address."""
    if prospect_id in linked:
        return [one for one, person in linked.items() if person == linked[prospect_id]]
    open_ones = [one for one in world.outreach.all("prospect") if one.id not in linked]
    certain = [one for one in open_ones if one.id == prospect_id or not _ambiguous(world, one.id)]
    return [each for one in certain if one.id == prospect_id for each in sorted(_one_person(certain, one))]


def _ambiguous(world: World, prospect_id: int | None) -> set[int]:
    """Return the People between whom a rule cannot choose; none: there is no doubt."""
    people = world.workbooks.all(PERSON)
    for prospect in world.outreach.all("prospect"):
        if prospect.id == prospect_id:
            for rule in _RULES:
                found = {person["id"] for person in people if rule(prospect, person)}
                if found:
                    return found if len(found) > 1 else set()
    return set()


# -- small facts


def instant(text: str | None) -> int | None:
    """Parse a time of Outreach's."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def _state_time(values: Any) -> int | None:
    return instant(values.get("stateChangedAt") or values.get("updatedAt"))


def _opted_out(prospect: Any) -> bool:
    return bool(prospect.values.get("optedOut") or prospect.values.get("emailOptedOut"))


def _is_eligible(world: World, prospect: Any) -> bool:
    """Say whether a prospect may be created: a sequence state, an opt-out or a skipped task (contract 1.4)."""
    if prospect.values.get("trashedAt"):
        return False
    return (
        _opted_out(prospect)
        or any(state.values.get("prospect") == prospect.id for state in world.outreach.all("sequenceState"))
        or any(
            task.values.get("prospect") == prospect.id and is_skipped_sequence_task(task)
            for task in world.outreach.all("task")
        )
    )


def _addresses(prospect: Any) -> set[str]:
    return {email.casefold() for email in prospect.values.get("emails") or ()}


_RULES: tuple[Callable[[Any, dict[str, Any]], bool], ...] = (
    lambda prospect, person: person.get("cf_person_outreach_id") == str(prospect.id),
    lambda prospect, person: person["created_through_reference"] == f"outreach-prospect-{prospect.id}",
    lambda prospect, person: prospect.values.get("externalId") == person["object_ref"],
    lambda prospect, person: (person["main_location[email]"] or "").casefold() in _addresses(prospect),
)
"""When a Person is a prospect, in the order in which the program asks."""


def _may_be(prospect: Any, person: dict[str, Any]) -> bool:
    return any(rule(prospect, person) for rule in _RULES)


def _one_person(everyone: Sequence[Any], prospect: Any) -> set[int]:
    """Return who shares an address with a prospect, also through a third: they are created once."""
    pool, addresses, before = {prospect.id}, _addresses(prospect), 0
    while len(pool) != before:
        before = len(pool)
        pool |= {other.id for other in everyone if _addresses(other) & addresses}
        addresses = {one for other in everyone if other.id in pool for one in _addresses(other)}
    return pool
