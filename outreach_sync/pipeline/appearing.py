"""Records that were created a moment ago: Workbooks may not show them yet, and then they are not gone.

How late a created record appears in look-ups is not documented. One that is absent although it was created within the
last half minute is asked for again until that is over; created again, it would be there twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from outreach_sync.http import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from outreach_sync.instants import Instant
    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import PersonRow
    from outreach_sync.state.people import LinkedPerson

Row = TypeVar("Row")

_CREATED = "created"
_LOOKS = 15
"""How often to look again, each time after `look_again_ms`: for half a minute."""


def until_shown(
    run: Run,
    rows: Mapping[int, Row],
    made_at: Mapping[int, Instant | None],
    read: Callable[[list[int]], Mapping[int, Row]],
) -> dict[int, Row]:
    """Return what a look-up found, and what appeared since of that which was made a moment ago.

    Args:
        run: the run.
        rows: what the look-up found, by id.
        made_at: when each record that was asked for was made, by this machine's clock; None: long ago.
        read: looks records up by id.

    Raises:
        ServiceError: Workbooks could not be asked. InterruptedByError: asked to stop.
    """
    found = dict(rows)
    for _ in range(_LOOKS):
        late = [one for one, made in made_at.items() if one not in found and _is_new(run, made)]
        if not late:
            break
        pause(run.plan.look_again_ms / 1000, run.stop)
        found.update(read(late))
    return found


def read_people(run: Run, people: Iterable[LinkedPerson]) -> dict[int, PersonRow]:
    """Read linked Persons; whoever is absent is gone. Raises as `until_shown`."""
    listed = list(people)
    rows = run.target.people_by_ids([person.id for person in listed])
    return until_shown(run, rows, made_at(listed), run.target.people_by_ids)


def made_at(people: Iterable[LinkedPerson]) -> dict[int, Instant | None]:
    """Say when each Person was created, None for those that were found."""
    return {person.id: person.linked_at if person.rule == _CREATED else None for person in people}


def _is_new(run: Run, made: Instant | None) -> bool:
    return made is not None and abs(run.clock() - made) < _LOOKS * run.plan.look_again_ms
