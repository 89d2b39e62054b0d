"""What was created a moment ago and is not shown yet is not gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.deliver import deliver
from outreach_sync.reconcile import compare_people, find_deleted_tasks
from outreach_sync.store.progress import Survey

if TYPE_CHECKING:
    from collections.abc import Collection


def decide(bench: Any) -> None:
    deliver(bench.run(), complete=True, allow_bulk=True)


def hide(bench: Any, look_ups: int) -> None:
    """Show nothing in the next look-ups by id, people and tasks alike."""
    left = {"people": look_ups, "tasks": look_ups}
    for kind in ("people", "tasks"):
        real = getattr(bench.target, f"{kind}_by_ids")

        def by_ids(ids: Collection[int], kind: str = kind, real: Any = real) -> Any:
            left[kind] -= 1
            return {} if left[kind] >= 0 else real(ids)

        setattr(bench.target, f"{kind}_by_ids", by_ids)


@pytest.fixture
def created(bench: Any) -> Any:
    """A Person and a Task that were created just now."""
    bench.keep(bench.prospect(1), states=bench.states(1, "active"), tasks=[bench.skipped(9001, 1)])
    decide(bench)
    assert (len(bench.target.people), len(bench.target.tasks)) == (1, 1)
    return bench


def test_a_reconcile_does_not_take_what_was_just_created_for_deleted(created: Any) -> None:
    hide(created, 3)
    run = created.run()
    survey = Survey(created.state.connection)
    compare_people(run, survey)
    find_deleted_tasks(run, survey)
    assert not any(survey.counts().values())


def test_a_person_that_was_just_created_is_not_created_again_for_a_new_task(created: Any) -> None:
    created.keep(tasks=[created.skipped(9002, 1)])
    created.now += 1  # the Person was written before this run began
    hide(created, 3)
    decide(created)
    assert (len(created.target.people), len(created.target.tasks)) == (1, 2)


def test_a_person_just_created_of_whom_nothing_is_certain_is_not_created_again(created: Any) -> None:
    with created.state.transaction():
        created.state.people.doubt_all()
        created.state.undecided.mark_all_changed()
    hide(created, 3)
    decide(created)
    assert len(created.target.people) == 1


def test_what_never_appears_is_not_waited_for_without_end(created: Any) -> None:
    hide(created, 10_000)
    run = created.run()
    survey = Survey(created.state.connection)
    compare_people(run, survey)
    assert survey.counts()["people_gone"] == 1


def test_what_was_created_long_ago_is_not_waited_for(created: Any) -> None:
    created.now += 86_400_000
    hide(created, 1)
    survey = Survey(created.state.connection)
    compare_people(created.run(), survey)
    assert survey.counts()["people_gone"] == 1
