from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.records import Prospect
from outreach_sync.store.people import Candidates

if TYPE_CHECKING:
    from outreach_sync.store import Store


def know(state: Store, **addresses: tuple[str, ...]) -> None:
    empty: dict[str, Any] = dict.fromkeys(Prospect._fields[:-1])
    empty |= {"opted_out": False, "email_opted_out": False}
    with state.transaction():
        state.cache.keep_prospects(
            Prospect(**{**empty, "id": int(one[1:]), "emails": some}) for one, some in addresses.items()
        )


def pools(state: Store, *wanted: tuple[int, bool]) -> list[tuple[list[int], bool]]:
    candidates = Candidates(state.connection)
    candidates.add((one for one, _ in wanted), buried=(one for one, was_sent in wanted if was_sent))
    with state.transaction():
        candidates.list_addresses()
    return list(candidates.pools())


def test_those_who_share_an_address_whatever_its_case_are_one_person(state: Store) -> None:
    know(state, p1=("ada@example.com",), p2=("x@example.com", "ADA@example.com"), p3=("bo@example.com",))
    assert pools(state, (1, False), (2, False), (3, False)) == [([1, 2], False), ([3], False)]


def test_two_who_share_an_address_only_through_a_third_belong_together(state: Store) -> None:
    know(state, p1=("a@example.com",), p2=("a@example.com", "b@example.com"), p3=("b@example.com",))
    assert pools(state, (3, False), (1, False)) == [([1, 2, 3], False)]


def test_a_pool_was_sent_if_any_of_it_was(state: Store) -> None:
    know(state, p1=("a@example.com",), p2=("a@example.com",))
    assert pools(state, (1, False), (2, True)) == [([1, 2], True)]


def test_one_who_got_a_person_since_nobody_was_found_still_belongs_to_the_others(state: Store) -> None:
    know(state, p1=("ada@example.com",), p2=("ada@example.com",))
    candidates = Candidates(state.connection)
    candidates.add([1, 2], buried=[])
    with state.transaction():
        state.people.link([1], 1001)
        candidates.list_addresses()
    assert list(candidates.pools()) == [([1, 2], False)]
