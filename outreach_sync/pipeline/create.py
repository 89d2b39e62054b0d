"""Create: queue new Persons for prospects that have none, one for all that share an address."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from outreach_sync.pipeline.plan import allowed
from outreach_sync.pipeline.refuse import refuse_decision
from outreach_sync.pipeline.resolve import ask_matches, link
from outreach_sync.rules.creation import Eligibility
from outreach_sync.rules.differences import Held, differences
from outreach_sync.rules.matching import Ambiguous
from outreach_sync.rules.person import is_opted_out, wanted_person

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outreach_sync.pipeline.run import Run
    from outreach_sync.rules.person import PooledProspect, PooledState
    from outreach_sync.state.candidates import Candidates

_TOGETHER = 500


def plan_creations(run: Run, candidates: Candidates, *, only_opt_outs: bool = False) -> bool:
    """Queue what is to be created; leave out whom there is no reason to create.

    Returns whether somebody turned out to have a Person, so that there is more to plan.
    """
    found = False
    pools = candidates.pools()
    while some := list(islice(pools, _TOGETHER)):
        if _look_for(run, candidates.not_among(one for pool, _ in some for one in pool)):
            found = True
            continue
        with run.state.transaction():
            for pool, was_sent in some:
                _plan_pool(run, pool, was_sent=was_sent, only_opt_outs=only_opt_outs)
    return found


def _look_for(run: Run, prospect_ids: Sequence[int]) -> bool:
    """Look for those who share an address with somebody to be created: one of them may be a Person already.

    Returns whether any is, or may be one of several, so that the pools are others than was thought.
    """
    cached = run.state.cache.prospects(prospect_ids) if prospect_ids else {}
    prospects = [one.prospect for one in cached.values() if one.person_id is None]
    if not prospects:
        return False
    verdicts = link(run, ask_matches(run, prospects).result())
    with run.state.transaction():
        for prospect_id, judged in verdicts.items():
            if isinstance(judged, Ambiguous):
                refuse_decision(run, prospect_id, None, judged.reason)
    return bool(verdicts)


def _plan_pool(run: Run, pool: Sequence[int], *, was_sent: bool, only_opt_outs: bool) -> None:
    if run.state.people.of_prospects(pool) or run.state.outbox.being_written(pool):
        return  # what was queued before left since they were looked for: they are decided again in the next round
    prospects = run.state.cache.pooled_prospects(pool)
    states = [state for some in run.state.cache.pooled_states(pool).values() for state in some]
    everyone = [prospects[one] for one in pool]
    eligible = _eligibility(run, pool, everyone, states)
    if not only_opt_outs:
        run.state.undecided.decided(pool)
    if not eligible.readable and not eligible.deleted and not only_opt_outs:
        refuse_decision(run, pool[0], None, _unreadable(pool[0]))
    elif eligible.deleted or not eligible.has_reason or not run.plan.creates:
        run.state.outbox.drop_person(pool)
        run.tally.people.skipped += 1
    else:
        _queue_creation(run, pool, everyone, states, was_sent=was_sent, only_opt_outs=only_opt_outs)


def _queue_creation(
    run: Run,
    pool: Sequence[int],
    prospects: Sequence[PooledProspect],
    states: Sequence[PooledState],
    *,
    was_sent: bool,
    only_opt_outs: bool,
) -> None:
    wanted = wanted_person(prospects, states, run.plan.policy)
    fields = allowed(differences(wanted, Held()), wanted, only_opt_outs=only_opt_outs)
    run.state.outbox.drop_person(pool[1:])
    if wanted.problem and not wanted.no_email:
        refuse_decision(run, pool[0], None, wanted.problem)
    elif fields:
        if run.state.people.had_no_email(pool):
            fields["no_email"] = True  # never undone, not by a deletion either
        action = "recreate" if was_sent else "create"
        run.state.outbox.queue_person(pool[0], None, action, fields, run_id=run.id, pool=pool, reason=wanted.problem)


def _eligibility(
    run: Run, pool: Sequence[int], prospects: Sequence[PooledProspect], states: Sequence[PooledState]
) -> Eligibility:
    known = [one for one in run.state.cache.prospects(pool).values() if one.known]
    alive = {one.prospect.id for one in known if one.prospect.trashed_at is None}
    living_states = [state for state in states if state.prospect_id in alive]
    living = [prospect for prospect in prospects if prospect.id in alive]
    reason = bool(living_states) or is_opted_out(living, ()) or bool(run.state.cache.with_skipped_tasks(list(alive)))
    return Eligibility(readable=bool(known), deleted=bool(known) and not alive, has_reason=reason)


def _unreadable(prospect_id: int) -> str:
    return (
        f"prospect {prospect_id} cannot be read, and no Person is linked to it: it was deleted in Outreach, or the "
        f"user the integration runs as may not see it"
    )
