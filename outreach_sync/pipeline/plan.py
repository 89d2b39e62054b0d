"""Plan: decide what each changed Person should say, and queue what differs from what Workbooks last accepted.

Prospects are taken a few hundred at a time, in order, each few in one transaction. Those without a Person are set aside
and planned together at the end (`create`), since two of them may be one person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.ahead import early
from outreach_sync.errors import InterruptedByError, NotAllowedError, NotAuthenticatedError, ServiceError
from outreach_sync.pipeline import resolve
from outreach_sync.pipeline.pull import ALL_STATES_READ
from outreach_sync.pipeline.refuse import refuse_decision
from outreach_sync.rules.differences import differences
from outreach_sync.rules.matching import Ambiguous, Found
from outreach_sync.rules.person import wanted_person

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from outreach_sync.ahead import Ahead
    from outreach_sync.pipeline.resolve import History
    from outreach_sync.pipeline.run import Run
    from outreach_sync.pipeline.tally import PeopleTally
    from outreach_sync.records import Prospect
    from outreach_sync.rules.differences import RoleValue
    from outreach_sync.rules.person import Wanted
    from outreach_sync.state.cache import CachedProspect
    from outreach_sync.state.people import LinkedPerson

CHUNK = 380
"""Prospects decided together: four full look-ups by e-mail (`workbooks.people` asks for 95 addresses at a time)."""

_OPT_OUT_ROLES = ("sequence_state", "state_updated_at", "no_email")


class Unmatched(NamedTuple):
    """A prospect that no rule found a Person for. `was_sent`: it had one, which is gone from Workbooks."""

    prospect_id: int
    was_sent: bool


class Asked(NamedTuple):
    """A few prospects of whom Outreach is asked what it does not tell by itself."""

    prospects: Mapping[int, CachedProspect]
    gone: Mapping[int, Sequence[int]]
    history: History | None


class LookedUp(NamedTuple):
    """A few prospects, those without a Person on their way through the look-ups."""

    prospects: Mapping[int, CachedProspect]
    gone: Mapping[int, Sequence[int]]
    unlinked: Mapping[int, CachedProspect]
    matches: Ahead[resolve.Matches]


class Planned(NamedTuple):
    """How many prospects were decided, and which of them have no Person."""

    decided: int
    unmatched: Sequence[Unmatched]


def plan_all(run: Run, *, only_opt_outs: bool = False) -> Iterator[Planned]:
    """Plan all prospects that are ready, a few hundred at a time.

    While some are decided (and the caller sends what was planned), the next are being looked for in Workbooks and the
    ones after those asked about in Outreach.

    Args:
        run: the run.
        only_opt_outs: plan nothing but the opt-outs among those that an incomplete walk holds back.
    """
    chunks = _chunks(run, only_opt_outs=only_opt_outs)
    asked = early((_ask_outreach(run, ids, only_opt_outs=only_opt_outs) for ids in chunks), 1)
    looked_up = early((_ask_workbooks(run, one, only_opt_outs=only_opt_outs) for one in asked), 2)
    for one in looked_up:
        yield Planned(len(one.prospects), _decide(run, one, only_opt_outs=only_opt_outs))


def _chunks(run: Run, *, only_opt_outs: bool) -> Iterator[list[int]]:
    """Yield a few hundred at a time; whoever was queued to be created together is decided together."""
    following = run.state.cache.opted_out_among_held if only_opt_outs else run.state.undecided.ready
    after = 0
    while ids := following(after, CHUNK):
        yield [*ids, *run.state.outbox.pooled_with(ids)]
        after = ids[-1]


def _ask_outreach(run: Run, ids: Collection[int], *, only_opt_outs: bool) -> Asked:
    if run.stop.is_set():
        raise InterruptedByError(run.stop.signal_number)
    prospects = _decidable(run, run.state.cache.prospects(ids), only_opt_outs=only_opt_outs)
    gone = _gone(run, prospects)
    unlinked = {prospect_id: one for prospect_id, one in prospects.items() if one.person_id is None}
    return Asked(prospects, gone, resolve.ask_history(run, unlinked))


def _ask_workbooks(run: Run, asked: Asked, *, only_opt_outs: bool) -> LookedUp:
    prospects = _told(run, asked, only_opt_outs=only_opt_outs)
    unlinked = [prospect_id for prospect_id, one in prospects.items() if one.person_id is None]
    unlinked += [one for pool in asked.gone.values() for one in pool]
    wanted = run.state.cache.prospects(unlinked)
    return LookedUp(prospects, asked.gone, wanted, resolve.ask_matches(run, [one.prospect for one in wanted.values()]))


def _told(run: Run, asked: Asked, *, only_opt_outs: bool) -> Mapping[int, CachedProspect]:
    """Store what Outreach was asked for; where it does not answer, leave out whom it was asked about.

    Whoever needs no asking must not wait for it: an opt-out may be among them.
    """
    unlinked = [prospect_id for prospect_id, one in asked.prospects.items() if one.person_id is None]
    try:
        if asked.history is not None:
            resolve.keep_history(run, asked.history)
        resolve.read_unseen(run, run.state.cache.prospects(unlinked))
    except (ServiceError, NotAllowedError, NotAuthenticatedError) as failure:
        run.log.warning("history_unread", prospects=len(unlinked), why=str(failure))
        run.source_is_down = True
        run.source_failure = run.source_failure or failure
        return _decidable(run, run.state.cache.prospects(asked.prospects), only_opt_outs=only_opt_outs)
    return asked.prospects


def _decide(run: Run, looked_up: LookedUp, *, only_opt_outs: bool) -> list[Unmatched]:
    """Decide prospects and queue what differs; return those that have no Person."""
    ids, gone, unlinked = list(looked_up.prospects), looked_up.gone, looked_up.unlinked
    verdicts = resolve.link(run, looked_up.matches.result())
    unmatched = [prospect_id for prospect_id in unlinked if prospect_id not in verdicts]
    verdicts.update(_look_for_doubtful(run, unlinked, unmatched))
    with run.state.transaction():
        verdicts.update(_join_pools(run, verdicts, unmatched))
        left = _settle_gone(run, gone, verdicts)
        busy = _decide_linked(run, {*ids, *unlinked}, only_opt_outs=only_opt_outs)
        for prospect_id, judged in verdicts.items():
            if isinstance(judged, Ambiguous):
                refuse_decision(run, prospect_id, None, judged.reason)
        waiting = {one for one in unmatched if one not in verdicts and one not in left}
        if not only_opt_outs:
            run.state.undecided.decided({*ids, *unlinked} - waiting - busy)
    sent_before = {prospect_id for pool in gone.values() for prospect_id in pool}
    return [Unmatched(prospect_id, prospect_id in sent_before) for prospect_id in sorted(waiting)]


def _decidable(
    run: Run, prospects: Mapping[int, CachedProspect], *, only_opt_outs: bool
) -> Mapping[int, CachedProspect]:
    """Leave out, while Outreach is down, whom it would have to be asked about first.

    An opt-out needs no asking: it holds whatever else there is.
    """
    if not run.source_is_down:
        return prospects
    read = only_opt_outs or run.state.facts.get(ALL_STATES_READ) is not None
    return {
        prospect_id: one
        for prospect_id, one in prospects.items()
        if one.person_id is not None or (one.known and (one.history_read or read))
    }


def _gone(run: Run, prospects: Mapping[int, CachedProspect]) -> dict[int, list[int]]:
    """Return the linked Persons that are gone from Workbooks, each with all its prospects."""
    linked = {one.person_id for one in prospects.values() if one.person_id is not None}
    people = run.state.people.by_id(linked)
    gone = resolve.refresh_doubtful(run, {one: person for one, person in people.items() if not person.deleted})
    return run.state.people.prospects_of(gone)


def _look_for_doubtful(
    run: Run, unlinked: Mapping[int, CachedProspect], unmatched: Sequence[int]
) -> Mapping[int, Found | Ambiguous]:
    """Look a second time for Persons whose creation was sent and not answered, before they are created again."""
    in_doubt = [entry for entry in run.state.outbox.of_person(unmatched) if entry.in_doubt]
    if not in_doubt:
        return {}
    wanted: list[Prospect] = [unlinked[entry.prospect_id].prospect for entry in in_doubt if entry.prospect_id]
    found = resolve.look_twice(run, wanted)
    with run.state.transaction():
        run.state.outbox.certain(entry.id for entry in in_doubt if entry.prospect_id not in found)
    return found


def _join_pools(
    run: Run, verdicts: Mapping[int, Found | Ambiguous], unmatched: Sequence[int]
) -> dict[int, Found | Ambiguous]:
    """Link everybody whom a Person was created for that one of them finds: the answer to its creation was lost."""
    joined: dict[int, Found | Ambiguous] = {}
    for entry in run.state.outbox.of_person(list(verdicts)):
        judged = verdicts[entry.prospect_id or 0]
        if isinstance(judged, Found):
            joined.update(dict.fromkeys(set(entry.pool) & set(unmatched) - set(verdicts), judged))
            run.state.people.link(set(entry.pool) & set(joined), judged.person_id)
    return joined


def _settle_gone(run: Run, gone: Mapping[int, Sequence[int]], verdicts: Mapping[int, object]) -> set[int]:
    """Forget Persons that are gone, or leave them deleted; return the prospects that are left as they are."""
    left = set[int]()
    for person_id, pool in gone.items():
        moved = any(prospect_id in verdicts for prospect_id in pool)
        run.log.info("person_gone", person=person_id, prospects=list(pool), found_elsewhere=moved)
        if run.plan.recreates or moved:
            run.state.people.unlink(person_id)  # links that were made anew meanwhile stay
        else:
            run.state.people.left_deleted(person_id)
            run.state.outbox.drop_person(pool)
            left.update(pool)
    return left


def _decide_linked(run: Run, prospect_ids: Collection[int], *, only_opt_outs: bool) -> set[int]:
    """Queue what linked people should say; return prospects whose Person is being written: they come next round."""
    links = run.state.people.of_prospects(prospect_ids)
    pools = run.state.people.prospects_of(set(links.values()))
    everyone = [prospect_id for pool in pools.values() for prospect_id in pool]
    prospects = run.state.cache.pooled_prospects(everyone)
    states = run.state.cache.pooled_states(everyone)
    people = run.state.people.by_id(pools)
    writing = run.state.outbox.being_written(everyone)
    lost = run.state.outbox.lost_answers(everyone)
    for person_id, pool in pools.items():
        if person_id in writing:
            continue
        if people[person_id].deleted:
            run.tally.people.skipped += 1
            continue
        wanted = wanted_person(
            [prospects[one] for one in pool], [state for one in pool for state in states.get(one, ())], run.plan.policy
        )
        changed = _queue_update(run, people[person_id], pool, wanted, only_opt_outs=only_opt_outs)
        if not only_opt_outs:
            _count(run.tally.people, next((lost[one] for one in pool if one in lost), None), changed=changed)
    return {one for person_id in writing for one in pools.get(person_id, ())}


def _count(people: PeopleTally, lost: str | None, *, changed: bool) -> None:
    """Count somebody who says what they should, by the write that made it so where its answer was lost."""
    if lost in ("create", "recreate"):
        people.created += lost == "create"
        people.recreated += lost == "recreate"
    elif not changed:
        people.updated += lost == "update"
        people.unchanged += lost != "update"


def _queue_update(run: Run, person: LinkedPerson, pool: Sequence[int], wanted: Wanted, *, only_opt_outs: bool) -> bool:
    """Queue what differs; refuse what could not be decided, but not before an opt-out is written.

    Returns whether there was anything to queue or to refuse.
    """
    changes = allowed(differences(wanted, person.held), wanted, only_opt_outs=only_opt_outs)
    outbox = run.state.outbox
    if len(pool) > 1:
        outbox.drop_person(pool[1:])
    if changes:
        outbox.queue_person(pool[0], person.id, "update", changes, run_id=run.id, reason=wanted.problem)
        run.log.debug("person_planned", person=person.id, prospects=list(pool), because=wanted.because)
    elif wanted.problem and not only_opt_outs:
        refuse_decision(run, pool[0], person.id, wanted.problem)
    elif not only_opt_outs:
        outbox.drop_person(pool[:1])
    return bool(changes or wanted.problem)


def allowed(changes: dict[str, RoleValue], wanted: Wanted, *, only_opt_outs: bool) -> dict[str, RoleValue]:
    """Leave of the changes what may be acted on: of an incomplete walk, only an opt-out."""
    if not only_opt_outs:
        return changes
    return {role: value for role, value in changes.items() if wanted.no_email and role in _OPT_OUT_ROLES}
