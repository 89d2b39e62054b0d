"""All linked people: read what each holds in Workbooks now, and find those that should say something else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.ahead import Ahead, early
from outreach_sync.http import check
from outreach_sync.pipeline.appearing import made_at, until_shown
from outreach_sync.pipeline.resolve import held_by
from outreach_sync.rules.differences import differences
from outreach_sync.rules.person import wanted_person

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import PersonRow
    from outreach_sync.rules.differences import RoleValue
    from outreach_sync.rules.person import PooledState, Wanted
    from outreach_sync.state.people import LinkedPerson
    from outreach_sync.state.survey import Survey

_TOGETHER = 400
"""People compared together: four requests."""


class Asked(NamedTuple):
    """A few linked people, on their way from Workbooks."""

    ids: Sequence[int]
    rows: Ahead[Mapping[int, PersonRow]]


def compare_people(run: Run, survey: Survey) -> None:
    """Compare every linked Person with what it should say, as if the missing sequence states were gone already.

    What a Person was read to hold is kept, whatever follows: it is what is there.

    Raises:
        ServiceError: Workbooks could not be read to the end.
        InterruptedByError: asked to stop.
    """
    for some in early(_asked(run), run.plan.concurrency):
        people = run.state.people.by_id(some.ids)
        rows = until_shown(run, some.rows.result(), made_at(people.values()), run.target.people_by_ids)
        wanted = _wanted(run, survey, some.ids)
        with run.state.transaction():
            for person_id, one in wanted.items():
                _compare(run, survey, people[person_id], rows.get(person_id), one)
        run.on_progress("compared", len(some.ids))


def _asked(run: Run) -> Iterator[Asked]:
    after = 0
    while ids := run.state.people.linked_ids(after, _TOGETHER):
        check(run.stop)
        after = ids[-1]
        yield Asked(ids, Ahead(partial(run.target.people_by_ids, ids), name="people-ahead"))


def _wanted(run: Run, survey: Survey, person_ids: Sequence[int]) -> dict[int, Wanted]:
    """Return what each Person should say once the missing states are removed."""
    pools = run.state.people.prospects_of(person_ids)
    everyone = [prospect_id for pool in pools.values() for prospect_id in pool]
    prospects = run.state.cache.pooled_prospects(everyone)
    states = _existing(survey, run.state.cache.pooled_states(everyone))
    return {
        person_id: wanted_person(
            [prospects[one] for one in pool], [state for one in pool for state in states.get(one, ())], run.plan.policy
        )
        for person_id, pool in pools.items()
    }


def _existing(survey: Survey, states: Mapping[int, list[PooledState]]) -> dict[int, list[PooledState]]:
    missing = survey.missing_among(state.id for some in states.values() for state in some)
    return {owner: [state for state in some if state.id not in missing] for owner, some in states.items()}


def _compare(run: Run, survey: Survey, person: LinkedPerson, row: PersonRow | None, wanted: Wanted) -> None:
    if row is None or row.is_deleted:
        if run.plan.recreates or not person.deleted:
            survey.note_disagreement(person.id, gone=True, counts=run.plan.recreates)
        return
    held = held_by(run, row, person)
    if person.deleted or (person.lock_version, person.held) != (row.lock_version, held):
        run.state.people.read(person.id, row.lock_version, held, rule=person.rule, now=run.clock())
    if person.deleted:
        run.state.outbox.person_exists(run.state.people.prospects_of([person.id])[person.id])
    changes = differences(wanted, held)
    if not changes:
        run.tally.people.unchanged += 1
    else:
        survey.note_disagreement(person.id, gone=False, counts=not _was_admitted(run, person.id, changes))


def _was_admitted(run: Run, person_id: int, changes: Mapping[str, RoleValue]) -> bool:
    """Say whether exactly this waits already and a guard has let it pass, such as what Workbooks keeps refusing."""
    pool = run.state.people.prospects_of([person_id])[person_id]
    return any(entry.admitted and entry.fields == changes for entry in run.state.outbox.of_person(pool))
