"""All linked people: read what each holds in Workbooks now, and find those that should say something else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.ahead import Ahead, early
from outreach_sync.decide import decisions
from outreach_sync.http import check
from outreach_sync.match import has_values, keep_read, made_at, until_shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outreach_sync.decide import Decision
    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import PersonRow
    from outreach_sync.rules.person import RoleValue
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
    for some in early(_asked(run), run.config.workbooks.concurrency):
        people = run.state.people.by_id(some.ids)
        rows = until_shown(run, some.rows.result(), made_at(people.values()), run.target.people_by_ids)
        pools = run.state.people.prospects_of(some.ids)
        decided = decisions(run.state, run.config, pools, people, without=survey.missing_among)
        with run.state.transaction():
            for person_id, decision in decided.items():
                _compare(run, survey, decision, people[person_id], rows.get(person_id))
        run.on_progress("compared", len(some.ids))


def _asked(run: Run) -> Iterator[Asked]:
    after = 0
    while ids := run.state.people.linked_ids(after, _TOGETHER):
        check(run.stop)
        after = ids[-1]
        yield Asked(ids, Ahead(partial(run.target.people_by_ids, ids), name="people-ahead"))


def _compare(run: Run, survey: Survey, decision: Decision, person: LinkedPerson, row: PersonRow | None) -> None:
    if row is None or row.is_deleted:
        recreates = run.config.sync.when_deleted == "recreate"
        if recreates or not person.deleted:
            survey.note_disagreement(person.id, gone=True, counts=recreates or row is None)
        return
    held = keep_read(run, row, person, person.rule)
    changes = decision._replace(held=held).changes()
    if not changes:
        run.tally.people.unchanged += 1
    elif has_values(row.fields, run.config.sync.people.only_where):
        survey.note_disagreement(person.id, gone=False, counts=not _was_admitted(run, person.id, changes))


def _was_admitted(run: Run, person_id: int, changes: Mapping[str, RoleValue]) -> bool:
    """Say whether exactly this waits already and a guard has let it pass, such as what Workbooks keeps refusing."""
    pool = run.state.people.prospects_of([person_id])[person_id]
    return any(entry.admitted and entry.fields == changes for entry in run.state.outbox.of_person(pool))
