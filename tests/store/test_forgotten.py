from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outreach_sync.store import Store


def test_prospects_and_people_are_remembered_apart_and_once(state: Store) -> None:
    with state.transaction():
        state.forgotten.add("prospect", 1)
        state.forgotten.add("prospect", 1)
        state.forgotten.add("person", 2)
    assert (state.forgotten.prospects(), state.forgotten.people()) == ({1}, {2})
