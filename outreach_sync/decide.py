"""Decide: what each Person should say, and what of it has to be written.

`decisions` is the one way from the store to what a Person should say. What differs from what Workbooks last accepted is
queued, a few hundred prospects in one transaction; those without a Person last, one for all that share an address.

A known opt-out never waits: where anything keeps the rest from being decided (a history that was not read, a sequence
state that makes no sense, a walk that is not complete), the opt-out is queued alone.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.http import pause
from outreach_sync.match import REFERENCE, LookedUp, find, link, look_up_all
from outreach_sync.pull import ALL_STATES_READ
from outreach_sync.rules.person import Ambiguous, Found, Held, differences, prospect_reference, wanted_person
from outreach_sync.store.erasure import forget_namesakes
from outreach_sync.store.outbox import HIDDEN, PERSON, SENDING
from outreach_sync.store.people import Candidates, LinkedPerson

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.records import PersonRow
    from outreach_sync.rules.person import PooledProspect, PooledState, RoleValue, Wanted
    from outreach_sync.run import Run
    from outreach_sync.store import Store

_TOGETHER = 500
_OPT_OUT_ROLES = ("sequence_state", "state_updated_at", "no_email")


class Decision(NamedTuple):
    """What a Person should say (`wanted`), and says now (`held`)."""

    pool: tuple[int, ...]  # all prospects that are this Person, the lowest id first
    prospects: tuple[PooledProspect, ...]
    states: tuple[PooledState, ...]
    held: Held
    wanted: Wanted
    obstacle: str | None  # why nothing but an opt-out may be written now
    unread: bool  # that is only because sequence states are still to be read
    problem: str | None  # why part of it could not be decided: the obstacle, or what the rules say

    def changes(self, *, only_opt_outs: bool = False) -> dict[str, RoleValue]:
        """Return role -> value for what differs and may be written; `only_opt_outs`: of an incomplete walk."""
        changes = differences(self.wanted, self.held)
        if not only_opt_outs and self.obstacle is None:
            return changes
        return {role: value for role, value in changes.items() if self.wanted.opted_out and role in _OPT_OUT_ROLES}


def decisions(
    store: Store,
    config: Config,
    pools: Mapping[int, Sequence[int]],
    people: Mapping[int, LinkedPerson] | None = None,
    *,
    without: Callable[[Collection[int]], Collection[int]] = lambda _: (),
) -> dict[int, Decision]:
    """Decide what the People behind these prospects should say; nothing in the store is changed.

    `pools` are all the prospects of each Person, by its id (of one to be created: any key), `people` what is known of
    them; who is absent holds nothing. `without` is told ids of sequence states, and returns those to leave out.
    """
    everyone = [prospect_id for pool in pools.values() for prospect_id in pool]
    prospects, states, senseless = store.cache.pooled(everyone)
    left_out = set(without([one.id for some in states.values() for one in some]))
    all_read = store.facts.get(ALL_STATES_READ) is not None
    known = people or {}
    decided = {}
    for key, pool in pools.items():
        pooled = tuple(prospects[one] for one in pool if one in prospects)
        theirs = tuple(one for member in pool for one in states.get(member, ()) if one.id not in left_out)
        obstacle = next((senseless[one] for one in pool if one in senseless), None)
        unread = obstacle is None and not all_read and not all(one.history_read for one in pooled)
        if unread:
            obstacle = "not all its sequence states were read yet"
        wanted, held = wanted_person(pooled, theirs, config), known[key].held if key in known else Held()
        problem = obstacle or wanted.problem
        decided[key] = Decision(tuple(pool), pooled, theirs, held, wanted, obstacle, unread, problem)
    return decided


def decide_all(run: Run, *, only_opt_outs: bool = False) -> Iterator[None]:
    """Decide all who are ready and queue what differs, in rounds; yields often, so that what is queued can leave."""
    found_more = True
    while found_more:  # somebody to be created turned out to share an address with a Person
        candidates = None
        for one in look_up_all(run, only_opt_outs=only_opt_outs):
            missing, buried = _decide(run, one, only_opt_outs=only_opt_outs)
            if missing:
                candidates = candidates or Candidates(run.store.connection)
                candidates.add(missing, buried=buried)
            run.on_progress("planned", len(one.prospects))
            yield
        if candidates is None:
            return
        with run.store.transaction():
            candidates.list_addresses()
        found_more, pools = False, candidates.pools()
        while some := list(islice(pools, _TOGETHER)):
            if _somebody_else_is_found(run, candidates.not_among(one for pool, _ in some for one in pool)):
                found_more = True
                continue
            with run.store.transaction():
                found_more |= _decide_creations(run, some, only_opt_outs=only_opt_outs)


def _decide(run: Run, looked_up: LookedUp, *, only_opt_outs: bool) -> tuple[set[int], Collection[int]]:
    """Decide a few prospects; return those without a Person, and those who had one that the state knows nothing of."""
    ids, matches = {*looked_up.prospects, *looked_up.unlinked}, looked_up.matches()
    verdicts = link(run, matches)
    unmatched = [prospect_id for prospect_id in looked_up.unlinked if prospect_id not in verdicts]
    in_doubt = [entry for entry in run.store.outbox.of_person(unmatched) if entry.in_doubt]
    if in_doubt:  # a creation was sent and not answered: look a second time before they are created again
        pause(run.look_again_seconds, run.stop)
        cached = run.store.cache.prospects([entry.key for entry in in_doubt])
        again = find(run, [one.prospect for one in cached.values()], rules=[REFERENCE])
        found = link(run, again)
        matches.rows.update(again.rows)
        with run.store.transaction():
            run.store.outbox.mark((entry.id for entry in in_doubt if entry.key not in found), in_doubt=False)
        verdicts.update(found)
    with run.store.transaction():
        for entry in run.store.outbox.of_person(list(verdicts)):
            judged, reference = verdicts[entry.key], prospect_reference(entry.key)
            others = set(entry.pool) & set(unmatched) - set(verdicts)
            # where the answer to its creation was lost, it is of all of the pool; one that was found otherwise is not
            if isinstance(judged, Found) and matches.rows[judged.person_id].reference == reference:
                verdicts.update(dict.fromkeys(others, judged))
                run.store.people.link(others, judged.person_id)
            else:
                run.store.undecided.mark_again(others)
        gone = looked_up.pools or matches.buried
        left = _settle_absent(run, looked_up, matches.buried, verdicts) if gone else set[int]()
        later = _decide_linked(run, ids, only_opt_outs=only_opt_outs)
        _refuse_ambiguous(run, verdicts)
        missing = {one for one in unmatched if one not in verdicts and one not in left}
        if not only_opt_outs:
            run.store.undecided.decided(ids - missing - later)
    if run.pilot.limit:
        run.pilot.expected += len(run.store.cache.with_reason(missing))
    return missing, matches.buried


def _refuse_ambiguous(run: Run, verdicts: Mapping[int, Found | Ambiguous]) -> None:
    for prospect_id, judged in verdicts.items():
        if isinstance(judged, Ambiguous):
            run.refuse_decision(prospect_id, None, judged.reason)


def _settle_absent(
    run: Run, looked_up: LookedUp, buried: Mapping[int, PersonRow], verdicts: Mapping[int, object]
) -> set[int]:
    """Forget People that are deleted, or leave them so; refuse those not to be seen. Return who is left as they are.

    Somebody whom another rule finds now, after a merge, follows there and takes No Email along. `buried` are deleted
    People of which the store does not know, by the prospect for which they were created, as their reference says: the
    one that is created again gets the No Email that the last one had.
    """
    people, recreates = run.store.people, run.config.sync.when_deleted == "recreate"
    left, unqueued = set[int](), set[int]()
    for person_id, pool in looked_up.pools.items():
        is_hidden = looked_up.absent[person_id]
        moved = any(prospect_id in verdicts for prospect_id in pool)
        run.log.info("person_gone", person=person_id, prospects=list(pool), hidden=is_hidden, found_elsewhere=moved)
        if moved or (recreates and not is_hidden):
            people.unlink(person_id, pool)
            continue
        left.update(pool)
        if is_hidden:
            people.doubt([person_id], hidden=True)
            reason = (
                f"Person {person_id} does not come back from Workbooks, neither alive nor deleted: the API key's user "
                f"may not see it, or it was removed for good. It is not created again by itself"
            )
            run.refuse_decision(min(pool), person_id, reason, action=HIDDEN)
        else:
            people.doubt([person_id], deleted=True, hidden=False)
            unqueued.update(pool)
    for prospect_id, row in buried.items():
        if prospect_id in verdicts:
            continue
        if recreates:
            if row.fields.get(run.config.workbooks.fields.no_email) is True:
                people.keep_no_email([prospect_id], kept=True)
            continue
        if row.id not in people.by_id([row.id]):
            people.read(row.id, row.lock_version, Held(), rule=REFERENCE, now=run.clock())
        people.doubt([row.id], deleted=True, hidden=False)
        people.link([prospect_id], row.id)
        unqueued.add(prospect_id)
    run.store.outbox.drop(unqueued, PERSON)
    return left | unqueued


def _decide_linked(run: Run, prospect_ids: Collection[int], *, only_opt_outs: bool) -> set[int]:
    """Queue what linked people should say; return the prospects that stay to be decided.

    Those are of a Person that is being written, or whose history is not read yet. Who says what they should is counted
    by the write that made it so where its answer was lost.
    """
    pools = run.store.people.prospects_of(set(run.store.people.of_prospects(prospect_ids).values()))
    people, count = run.store.people.by_id(pools), run.summary.people
    queued = run.store.outbox.of_person([prospect_id for pool in pools.values() for prospect_id in pool])
    writing = {entry.person_id for entry in queued if entry.state == SENDING}
    lost = {entry.key: entry for entry in queued if entry.in_doubt}
    later = {one for person_id in writing if person_id is not None for one in pools.get(person_id, ())}
    waiting = {one: pool for one, pool in pools.items() if one not in writing and not people[one].hidden}
    for person_id, one in decisions(run.store, run.config, waiting, people).items():
        if people[person_id].deleted or people[person_id].untouched:
            run.store.outbox.drop(one.pool, PERSON)
            count.skipped += not only_opt_outs
            continue
        changed = _queue(run, one, person_id, "update", only_opt_outs=only_opt_outs)
        if one.held.no_email and (kept := [p.id for p in one.prospects if p.no_email_kept]):
            run.store.people.keep_no_email(kept, kept=False)
        sent = next((lost[p] for p in one.pool if p in lost), None)
        if one.unread:
            later.update(one.pool)
            if run.source_is_down:
                run.store.undecided.hold(one.pool)
        if one.unread or only_opt_outs:  # the opt-out alone was decided
            if sent is None or changed or not one.wanted.opted_out or not sent.fields.keys() <= set(_OPT_OUT_ROLES):
                continue
            run.store.outbox.drop([sent.id])  # it has arrived
        if sent is None:
            count.unchanged += not changed
        else:
            arrived = {role: value for role, value in sent.fields.items() if getattr(one.held, role) == value}
            run.wrote(sent, person_id, run.named(arrived))
            if sent.action in ("create", "recreate"):
                run.summary.count(sent)
            else:
                count.updated += not changed
    return later


def _queue(run: Run, decision: Decision, person_id: int | None, action: str, *, only_opt_outs: bool) -> bool:
    """Queue what differs, else refuse what could not be decided (an opt-out goes first); say if there was either."""
    outbox, lead, wanted = run.store.outbox, decision.pool[0], decision.wanted
    changes = decision.changes(only_opt_outs=only_opt_outs)
    if person_id is None and decision.problem and not wanted.opted_out:
        changes = {}  # nobody is created for a No Email alone
    if len(decision.pool) > 1:
        outbox.drop(decision.pool[1:], PERSON)
    if changes:
        outbox.queue_person(
            lead, person_id, action, changes, run_id=run.id, pool=() if person_id is not None else decision.pool,
            before={role: getattr(decision.held, role) for role in changes}, because=wanted.because,
            reason=None if decision.unread else decision.problem,
        )  # fmt: skip
        run.pilot.expected += person_id is not None  # one to be created was counted when it was looked for
        run.log.debug("person_planned", person=person_id, prospects=decision.pool, because=wanted.because)
    elif decision.unread or only_opt_outs:
        return False
    elif decision.problem:
        run.refuse_decision(lead, person_id, decision.problem)
    else:
        outbox.drop([lead], PERSON)
    return bool(changes or decision.problem)


def _somebody_else_is_found(run: Run, prospect_ids: Sequence[int]) -> bool:
    """Say whether somebody who shares an address with one to be created is, or may be, a Person: then pools differ."""
    cached = run.store.cache.prospects(prospect_ids) if prospect_ids else {}
    reason = run.store.cache.with_reason(prospect_ids)
    verdicts = link(run, find(run, [one.prospect for one in cached.values() if one.person_id is None], reason))
    with run.store.transaction():
        _refuse_ambiguous(run, verdicts)
    return bool(verdicts)


def _decide_creations(run: Run, some: Sequence[tuple[Sequence[int], bool]], *, only_opt_outs: bool) -> bool:
    """Queue a few People to be created, leaving out whom there is no reason to create (merely Not Active is none).

    `some`: the pools, and whether each was sent before. Returns whether Outreach has to be asked about some of them
    first, so that there is more to decide.
    """
    ask_first, policy = False, run.config.sync.people
    creates = policy.when_missing == "create" and not policy.only_where  # a new Person has no values to be chosen by
    everyone = [one for pool, _ in some for one in pool]
    reason = run.store.cache.with_reason(everyone)
    taken = set(run.store.people.of_prospects(everyone))
    taken |= {entry.key for entry in run.store.outbox.of_person(everyone) if entry.state == SENDING}
    forget_namesakes(run.store.connection, [one.prospect for one in run.store.cache.prospects(everyone).values()])
    cached = run.store.cache.prospects(everyone)
    free = {pool[0]: pool for pool, _ in some if taken.isdisjoint(pool) and all(one in cached for one in pool)}
    was_sent = {pool[0] for pool, sent in some if sent}
    for lead, one in decisions(run.store, run.config, free).items():
        known = [p for p in one.pool if cached[p].known]
        alive = {p for p in known if not cached[p].gone and cached[p].prospect.trashed_at is None}
        if not known and run.source_is_down:
            continue  # it was not read: it stays to be decided
        if one.unread and run.source_is_down:
            run.store.undecided.hold(one.pool)
        elif one.unread and not only_opt_outs:
            run.store.undecided.mark_again(one.pool)
            if run.pilot.prospects is not None:
                run.pilot.prospects |= set(one.pool)
            ask_first = True
            continue
        if not only_opt_outs and not one.unread:
            run.store.undecided.decided(one.pool)
        if not known and not only_opt_outs and one.states:
            why = (
                f"prospect {lead} cannot be read, and no Person is linked to it: it was deleted in Outreach, or the "
                f"user the integration runs as may not see it"
            )
            run.refuse_decision(lead, None, why)  # a skipped task alone waits, and is no failure
        elif not creates or alive.isdisjoint(reason):
            run.store.outbox.drop(one.pool, PERSON)
            run.summary.people.skipped += 1
        else:
            _queue(run, one, None, "recreate" if lead in was_sent else "create", only_opt_outs=only_opt_outs)
    return ask_first
