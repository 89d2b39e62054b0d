import math
from typing import Any

import pytest

from outreach_sync.instants import Instant
from outreach_sync.records import Event, Sequence
from outreach_sync.store import Store
from outreach_sync.store.cache import Trust
from tests.store.conftest import prospect_of, state_of, task_of


def words(state: Store) -> list[str]:
    return [row[0] for row in state.connection.execute("SELECT state FROM sequence_state ORDER BY id")]


@pytest.mark.parametrize(
    ("first", "second", "replaced"),
    [
        ((2, None), (1, None), False),
        ((1, None), (2, None), True),
        ((1, None), (1, None), True),
        ((5, None), (None, None), True),
        ((None, None), (1, None), True),
        ((10, 10), (9, 10), False),
        ((11, 10), (9, 10), True),  # ahead of the `Date` with which it was stored
        ((11, 10), (10, 99), True),  # which proves nothing later either
    ],
)  # a stamp, and the answer's `Date`
def test_an_older_version_is_passed_over_only_where_both_stamps_are_proven(
    state: Store, first: Any, second: Any, *, replaced: bool
) -> None:
    with state.transaction():
        for later, (at, now) in enumerate((first, second)):
            trust = Trust(math.inf if now is None else now)
            state.cache.keep_states(
                [state_of(1, ("active", "paused")[later], at)], Trust(math.inf if now is None else now)
            )
            state.cache.keep_prospects(
                [prospect_of(at, opted_out=bool(later))], Trust(math.inf if now is None else now)
            )
            state.cache.keep_tasks([task_of(at, skipped=bool(later))], trust)
        (skipped,) = state.connection.execute("SELECT skipped FROM task").fetchone()
        opted_out = state.cache.prospects([1])[1].prospect.opted_out
        assert (words(state) == ["paused"], opted_out, bool(skipped)) == (replaced,) * 3
        state.cache.keep_states([state_of(1, "finished", 0)], Trust(99, as_is=True))
    assert words(state) == ["finished"], "what was asked for by id is taken as it is"


def test_of_one_page_the_newest_version_counts_unless_its_stamp_lies_ahead(state: Store) -> None:
    for ahead, kept in ((99, "paused"), (9, "active"), (5, "paused")):
        with state.transaction():
            versions = [state_of(1, "active", ahead), state_of(1, "paused", 5)]
            state.cache.keep_states(versions, Trust(10, as_is=True))
        assert words(state) == [kept]


def test_a_state_concerns_the_prospects_that_it_shows_on_now_and_did_before(state: Store) -> None:
    with state.transaction():
        assert state.cache.keep_states([state_of(None)]) == (set(), 0)
        assert words(state) == []
        assert state.cache.keep_states([state_of(1)]) == ({1}, 1)
        assert state.cache.keep_states([state_of(1)]) == (set(), 0)
        assert state.cache.keep_states([state_of(2, at=2)]) == ({1, 2}, 1)
        for at in (3, 4):  # where it does not say since when it is so, its stamp is shown
            assert state.cache.keep_states([state_of(2, at=at, state_changed_at=None)]) == ({2}, 1)


def test_what_an_answer_does_not_tell_is_as_before_and_what_is_null_is_gone(state: Store) -> None:
    nothing = {"prospect_id": None, "sequence_id": None, "untold": frozenset({"prospect", "sequence", "sequenceStep"})}
    with state.transaction():
        state.cache.keep_states([state_of(1)])
        untold = state_of(None, "paused", 2)._replace(**nothing)
        assert state.cache.keep_states([untold]) == ({1}, 1)
        assert [(one.state, one.sequence_id) for one in state.cache.pooled([1])[1][1]] == [("paused", 1)]
        state.cache.keep_tasks([task_of(sequence_id=4)])
        (changed,) = state.cache.keep_tasks([task_of(2, **nothing)])
        assert (changed.task.prospect_id, changed.task.sequence_id) == (1, 4)
        assert state.cache.keep_states([untold._replace(untold=frozenset())]) == ({1}, 1)
    assert state.cache.pooled([1])[1] == {}


def test_a_name_concerns_nobody_whose_person_is_linked_but_an_opt_out_does_and_one_who_is_there_again(
    state: Store,
) -> None:
    with state.transaction():
        assert state.cache.keep_prospects([prospect_of()]) == ({1}, 1)
        assert state.cache.keep_prospects([prospect_of(2, first_name="Ada")]) == ({1}, 1)
        state.people.link([1], 1001)
        assert state.cache.keep_prospects([prospect_of(3, first_name="Eve")]) == (set(), 1)
        assert state.cache.keep_prospects([prospect_of(4, email_opted_out=True)]) == ({1}, 1)
        assert state.cache.keep_prospects([prospect_of(4, email_opted_out=True)]) == (set(), 0)
        out = [Event(9, "opt_out", None, Instant(4), None, 1, None, None)]
        for read_at, told in ((5, set()), (4, {1}), (9, {1})):  # what was read since stands, unless its stamp lay ahead
            state.cache.keep_prospects([prospect_of(read_at, email_opted_out=True)], Trust(8))
            assert [state.cache.prospects_are_gone([1], some) for some in ([], [], out)] == [{1}, set(), told]
        assert state.cache.keep_prospects([prospect_of(3, email_opted_out=True)]) == ({1}, 1), "whatever its stamp"
    assert not state.cache.prospects([1])[1].gone


def test_the_time_with_which_an_opt_out_was_first_seen_is_kept_as_long_as_it_holds(state: Store) -> None:
    versions = (
        ({"at": 5, "opted_out": True}, 5),
        ({"at": 9, "opted_out": True, "first_name": "Ada"}, 5),
        ({"at": 10}, None),
        ({"at": 11, "opted_out": True}, 11),
    )
    with state.transaction():
        for values, seen in versions:
            state.cache.keep_prospects([prospect_of(**values)])
            assert state.cache.pooled([1])[0][1].opt_out_seen_at == seen
        state.people.link([1], 1001)
        state.cache.keep_prospects([prospect_of(99, opted_out=True)], Trust(12))
        assert state.cache.keep_prospects([prospect_of(13, opted_out=True)], Trust(14)) == ({1}, 1)
    assert state.cache.pooled([1])[0][1].opt_out_seen_at == 13, "and not from a stamp that was ahead"


def test_a_prospect_is_known_by_its_id_alone_until_everything_of_it_comes_and_stays_as_it_was(state: Store) -> None:
    emails, told = ("a@example.com", "B@example.com"), {"opted_out": True, "opted_out_at": 3, "extra": {"title": "Dr"}}
    whole = prospect_of(None, first_name="Ada", emails=emails, external_id="PERS-1", **told)
    with state.transaction():
        state.cache.keep_states([state_of(1)])
        assert not state.cache.prospects([1])[1].known
        state.cache.keep_prospects([whole])
    assert (state.cache.prospects([1])[1].known, state.cache.prospects([1])[1].prospect) == (True, whole)


def test_a_task_is_reported_when_it_changed_and_judged_as_it_is_now(state: Store) -> None:
    with state.transaction():
        for at, skipped, reported in ((1, True, 1), (1, True, 0), (1, False, 1), (2, True, 1), (1, True, 0)):
            assert state.cache.keep_tasks([task_of(at, skipped=skipped)]) == [task_of(at, skipped=skipped)] * reported
        state.cache.keep_tasks([task_of(3, skipped=False, note="private"), task_of(id=6, note="kept")])
    cached = [state.cache.task(5), state.cache.task(6)]
    assert [one.task.note for one in cached if one] == [None, "kept"], "a note is kept where it is needed"


def test_a_sequence_that_was_renamed_or_named_late_concerns_those_in_it_where_it_is_shown(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1)])
        for named, concerned in (([], set()), ([Sequence(1, "Older"), Sequence(1, "Old")], {1}), ([], set())):
            assert state.cache.keep_sequences(named, [state_of(1)], shown=True) == concerned
        assert state.cache.sequence_name(1) == "Old"
        assert state.cache.keep_sequences([Sequence(1, "New")], [], shown=False) == set()
        assert state.cache.keep_sequences([Sequence(1, "Newer")], [], shown=True) == {1}
    assert (state.cache.sequence_name(1), state.cache.sequence_name(2)) == ("Newer", None)
