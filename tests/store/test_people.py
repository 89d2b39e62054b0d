from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.instants import Instant
from outreach_sync.records import SequenceState
from outreach_sync.rules.person import Held
from outreach_sync.store.progress import LINKED_PEOPLE, Survey

if TYPE_CHECKING:
    from outreach_sync.store import Store

NOW = Instant(1000)


def know(state: Store, *prospects: int) -> None:
    state.cache.keep_states(SequenceState(one, one, 1, "active", NOW, NOW) for one in prospects)


def test_reading_a_person_again_keeps_how_and_when_it_was_found(state: Store) -> None:
    with state.transaction():
        state.people.read(1001, 3, Held(), rule="email", now=NOW)
        state.people.doubt([1001], deleted=True, hidden=False)
        state.people.read(1001, 4, Held("Running"), rule="reference", now=Instant(2000))
    person = state.people.by_id([1001])[1001]
    assert (person.rule, person.linked_at, person.deleted, person.lock_version) == ("email", NOW, False, 4)


def test_an_accepted_write_changes_only_what_was_sent(state: Store) -> None:
    with state.transaction():
        state.people.read(1001, 3, Held("Running", NOW), rule="email", now=NOW)
        state.people.accepted(1001, 4, {"sequence_state": "Paused"}, Instant(2000))
    person = state.people.by_id([1001])[1001]
    assert (person.held, person.lock_version, person.written_at) == (Held("Paused", NOW), 4, 2000)


def test_a_person_that_is_gone_frees_all_its_prospects(state: Store) -> None:
    with state.transaction():
        know(state, 1, 2, 3)
        state.people.read(1001, 3, Held(), rule="email", now=NOW)
        state.people.link([2, 1], 1001)
        assert state.people.prospects_of([1001]) == {1001: [1, 2]}
        state.people.unlink(1001, [1, 2])
    assert (state.people.prospects_of([1001]), state.people.of_prospects([1, 2, 3])) == ({}, {})
    assert state.people.known() == 0


def test_those_left_deleted_are_not_known_people(state: Store) -> None:
    with state.transaction():
        state.people.read(1001, 3, Held(), rule="email", now=NOW)
        state.people.read(1002, 3, Held(), rule="email", now=NOW)
        state.people.doubt([1001], deleted=True, hidden=False)
    assert state.people.known() == 1


def test_all_linked_people_are_gone_through_once_in_order(state: Store) -> None:
    with state.transaction():
        for person in (1003, 1001, 1002):
            state.people.read(person, 1, Held(), rule="email", now=NOW)
    assert Survey(state.connection).following(LINKED_PEOPLE, 0, 2) == [1001, 1002]
    assert Survey(state.connection).following(LINKED_PEOPLE, 1002, 2) == [1003]
