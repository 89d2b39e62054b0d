from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import Instant
from outreach_sync.records import Prospect, Sequence, SequenceState, SourceTask
from outreach_sync.store.cache import CachedTask, Trust

if TYPE_CHECKING:
    from outreach_sync.store import Store


def state_of(prospect: int | None, word: str = "active", at: int | None = 1, id_: int = 7) -> SequenceState:
    return SequenceState(
        id_, prospect, 1, word, None if at is None else Instant(at), None if at is None else Instant(at)
    )


def prospect(at: int | None = 1, **values: Any) -> Prospect:
    whole: dict[str, Any] = dict.fromkeys(Prospect._fields[:-1])
    whole |= {"id": 1, "emails": ("ada@example.com",), "opted_out": False, "email_opted_out": False, "updated_at": at}
    return Prospect(**{**whole, **values})


def task(at: int = 1, *, skipped: bool = True, **values: Any) -> CachedTask:
    whole: dict[str, Any] = dict.fromkeys(SourceTask._fields) | {"untold": frozenset()}
    whole |= {
        "id": 5,
        "prospect_id": 1,
        "task_type": "t",
        "action": "a",
        "updated_at": at,
        "attributes": {"state": "x"},
    }
    return CachedTask(SourceTask(**{**whole, **values}), skipped)


def words(state: Store) -> list[str]:
    return [row[0] for row in state.connection.execute("SELECT state FROM sequence_state ORDER BY id")]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [(2, 1, "active"), (1, 2, "paused"), (1, 1, "paused"), (5, None, "paused"), (None, 1, "paused")],
)
def test_the_newer_version_wins_and_of_equal_ones_or_without_a_stamp_the_later(
    state: Store, first: int | None, second: int | None, kept: str
) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1, "active", first)])
        state.cache.keep_states([state_of(1, "paused", second)])
    assert words(state) == [kept]


@pytest.mark.parametrize(("ahead", "kept"), [(99, "paused"), (9, "active")])
def test_of_one_page_the_newest_version_counts_unless_its_stamp_lies_ahead(state: Store, ahead: int, kept: str) -> None:
    with state.transaction():
        trust = Trust(Instant(10), as_is=True)
        state.cache.keep_states([state_of(1, "active", ahead), state_of(1, "paused", 5)], trust)
    assert words(state) == [kept]


def test_a_state_concerns_the_prospects_that_it_shows_on_now_and_did_before(state: Store) -> None:
    with state.transaction():
        assert state.cache.keep_states([state_of(None)]) == (set(), 0)
        assert words(state) == []
        assert state.cache.keep_states([state_of(1)]) == ({1}, 1)
        assert state.cache.keep_states([state_of(1)]) == (set(), 0)
        assert state.cache.keep_states([state_of(2, at=2)]) == ({1, 2}, 1)
        for at in (3, 4):  # where it does not say since when it is so, its stamp is shown
            assert state.cache.keep_states([state_of(2, at=at)._replace(state_changed_at=None)]) == ({2}, 1)


def test_what_an_answer_does_not_tell_is_as_before(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1)])
        untold = state_of(None, "paused", 2)._replace(sequence_id=None, untold=frozenset({"prospect", "sequence"}))
        assert state.cache.keep_states([untold]) == ({1}, 1)
        assert [(one.state, one.sequence_id) for one in state.cache.pooled([1])[1][1]] == [("paused", 1)]
        state.cache.keep_tasks([task(sequence_id=4)])
        (changed,) = state.cache.keep_tasks(
            [task(2, prospect_id=None, sequence_id=None, untold=frozenset({"prospect", "sequence", "sequenceStep"}))]
        )
    assert (changed.task.prospect_id, changed.task.sequence_id) == (1, 4)


def test_a_prospect_that_only_a_state_named_is_known_by_its_id_alone(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1)])
        assert not state.cache.prospects([1])[1].known
        state.cache.keep_prospects([prospect(None)])
    assert state.cache.prospects([1])[1].known


def test_a_name_concerns_nobody_whose_person_is_linked_but_an_opt_out_does(state: Store) -> None:
    with state.transaction():
        assert state.cache.keep_prospects([prospect()]) == ({1}, 1)
        assert state.cache.keep_prospects([prospect(2, first_name="Ada")]) == ({1}, 1)
        state.people.link([1], 1001)
        assert state.cache.keep_prospects([prospect(3, first_name="Eve")]) == (set(), 1)
        assert state.cache.keep_prospects([prospect(4, email_opted_out=True)]) == ({1}, 1)
        assert state.cache.keep_prospects([prospect(4, email_opted_out=True)]) == (set(), 0)


def test_a_prospect_that_was_gone_and_is_there_again_is_believed_whatever_its_stamp(state: Store) -> None:
    with state.transaction():
        state.cache.keep_prospects([prospect(5)])
        state.people.link([1], 1001)
        assert state.cache.prospects_are_gone([1], []) == {1}
        assert state.cache.prospects_are_gone([1], []) == set()
        assert state.cache.keep_prospects([prospect(3)]) == ({1}, 1)
    assert not state.cache.prospects([1])[1].gone


def test_the_time_with_which_an_opt_out_was_first_seen_is_kept_as_long_as_it_holds(state: Store) -> None:
    def seen() -> Instant | None:
        return state.cache.pooled([1])[0][1].opt_out_seen_at

    with state.transaction():
        state.cache.keep_prospects([prospect(5, opted_out=True)])
        state.cache.keep_prospects([prospect(9, opted_out=True, first_name="Ada")])
        assert seen() == 5
        state.cache.keep_prospects([prospect(10)])
        assert seen() is None
        state.cache.keep_prospects([prospect(11, opted_out=True)])
        assert seen() == 11
        state.people.link([1], 1001)
        state.cache.keep_prospects([prospect(99, opted_out=True)], Trust(Instant(12)))
        assert state.cache.keep_prospects([prospect(13, opted_out=True)], Trust(Instant(14))) == ({1}, 1)
        assert seen() == 13


def test_everything_of_a_prospect_comes_back_as_it_was(state: Store) -> None:
    whole = prospect(
        first_name="Ada", emails=("a@example.com", "B@example.com"), external_id="PERS-1", extra={"title": "Dr"},
        opted_out=True, opted_out_at=3,
    )  # fmt: skip
    with state.transaction():
        state.cache.keep_prospects([whole._replace(emails=(*whole.emails, "broken\naddress"))])
    assert state.cache.prospects([1])[1].prospect == whole


def test_a_task_is_reported_when_it_changed_and_judged_as_it_is_now(state: Store) -> None:
    with state.transaction():
        assert state.cache.keep_tasks([task()]) == [task()]
        assert state.cache.keep_tasks([task()]) == []
        assert state.cache.keep_tasks([task(skipped=False)]) == [task(skipped=False)]
        assert state.cache.keep_tasks([task(2)]) == [task(2)]
        assert state.cache.keep_tasks([task(1)]) == []


def test_the_note_of_a_task_that_was_not_skipped_is_not_kept(state: Store) -> None:
    with state.transaction():
        state.cache.keep_tasks([task(skipped=False, note="private"), task(id=6, note="kept")])
    cached = [state.cache.task(5), state.cache.task(6)]
    assert [one.task.note for one in cached if one] == [None, "kept"]


def test_a_sequence_that_was_renamed_has_its_new_name_and_concerns_those_in_it_where_it_is_shown(state: Store) -> None:
    with state.transaction():
        state.cache.keep_states([state_of(1)])
        assert state.cache.keep_sequences([Sequence(1, "Older"), Sequence(1, "Old")], shown=True) == set()
        assert state.cache.sequence_name(1) == "Old"
        assert state.cache.keep_sequences([Sequence(1, "New")], shown=False) == set()
        assert state.cache.keep_sequences([Sequence(1, "Newer")], shown=True) == {1}
    assert (state.cache.sequence_name(1), state.cache.sequence_name(2)) == ("Newer", None)


@given(
    versions=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["active", "paused", "finished"])), min_size=1),
    cut=st.integers(0, 6),
)
def test_pages_in_any_order_and_cut_anywhere_leave_a_newest_version(
    state: Store, versions: list[tuple[int, str]], cut: int
) -> None:
    with state.transaction():
        state.connection.execute("DELETE FROM sequence_state")
        for part in (versions[:cut], versions[cut:]):
            state.cache.keep_states([state_of(1, word, at) for at, word in part])
    newest = max(at for at, _ in versions)
    (row,) = state.connection.execute("SELECT updated_at, state FROM sequence_state")
    assert row == next((at, word) for at, word in reversed(versions) if at == newest)
