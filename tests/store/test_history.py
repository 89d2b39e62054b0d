from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Prospect, Sequence, SequenceState, SourceTask
from outreach_sync.rules.person import Held
from outreach_sync.store import Store
from outreach_sync.store.cache import CachedTask
from outreach_sync.store.progress import DAY_MS, SkippedBySequence, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = parse_iso("2026-09-02T12:00:00Z")
TODAY = parse_iso("2026-09-02T00:00:00Z")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state.db") as opened:
        yield opened


def _person(state: Store, person_id: int, label: str | None) -> None:
    with state.transaction():
        state.people.read(person_id, 1, Held(label, None, None, None, None), rule="email", now=NOON)


def _prospect(prospect_id: int, **opted: Instant | bool | None) -> Prospect:
    plain = Prospect(prospect_id, "Ada", "Example", (), None, False, None, False, None, None, NOON)
    return plain._replace(**opted)  # type: ignore[arg-type]


def _task(task_id: int, sequence_id: int | None, updated_at: Instant) -> CachedTask:
    task = SourceTask(task_id, 1, sequence_id, None, None, "sequence_step_email", "email", None, None, updated_at, {})
    return CachedTask(task, skipped=True)


def test_a_day_is_noted_once_however_often_a_run_ends(state: Store) -> None:
    history = state.history
    _person(state, 1, "Finished")
    for at in (NOON, Instant(NOON + 1), Instant(NOON + DAY_MS)):
        with state.transaction():
            history.turn_day(Instant(0), at)
        _person(state, at % 1000 + 2, "Finished")
    assert history.labels_since(TODAY) == [(TODAY, "Finished", 1), (TODAY + DAY_MS, "Finished", 3)]


def test_an_empty_field_counts_as_an_empty_label_and_a_person_left_deleted_does_not_count(state: Store) -> None:
    for person_id, label in ((1, None), (2, "Opted Out"), (3, "Opted Out"), (4, "Finished")):
        _person(state, person_id, label)
    with state.transaction():
        state.people.doubt([4], deleted=True, hidden=False)
    assert state.history.labels_now() == [("Opted Out", 2), ("", 1)]


def test_days_that_are_no_longer_kept_are_dropped(state: Store) -> None:
    history = state.history
    _person(state, 1, "Finished")
    with state.transaction():
        history.turn_day(Instant(0), NOON)
        history.turn_day(Instant(TODAY + 1), Instant(NOON + DAY_MS))
    assert [day for day, _, _ in history.labels_since(Instant(0))] == [TODAY + DAY_MS]


def test_an_opt_out_counts_once_on_the_day_of_its_first_sign(state: Store) -> None:
    later = Instant(NOON + 3 * DAY_MS)
    with state.transaction():
        state.cache.keep_prospects(
            [
                _prospect(1, opted_out=True, opted_out_at=later, email_opted_out=True, emails_opted_at=NOON),
                _prospect(2, email_opted_out=True),
                _prospect(3),
                _prospect(4),
            ]
        )
        state.cache.keep_states(
            [
                SequenceState(1, 1, 1, "opted_out", later, later),
                SequenceState(2, 3, 1, "opted_out", None, later),
                SequenceState(3, 4, 1, "active", later, later),
            ]
        )
    history = state.history
    assert history.opt_outs_since(TODAY) == {TODAY: 2, day_of(later): 1}
    assert history.opt_outs_since(Instant(TODAY + DAY_MS)) == {day_of(later): 1}


def test_skipped_tasks_are_counted_by_sequence_also_without_a_name_or_a_sequence(state: Store) -> None:
    old = Instant(NOON - 9 * DAY_MS)
    with state.transaction():
        state.cache.keep_sequences([Sequence(7, "Trial follow-up")], shown=False)
        state.cache.keep_tasks([_task(1, 7, NOON), _task(2, 7, old), _task(3, 8, old), _task(4, None, NOON)])
        state.cache.task_was_sent(2, 900, NOON)
    assert state.history.skipped_by_sequence(TODAY) == [
        SkippedBySequence(7, "Trial follow-up", recent=1, kept=2, sent=1),
        SkippedBySequence(None, None, recent=1, kept=1, sent=0),
        SkippedBySequence(8, None, recent=0, kept=1, sent=0),
    ]
