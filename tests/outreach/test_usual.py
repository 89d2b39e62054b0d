"""The quick readers must read as the doubting ones do, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as some

from outreach_sync.outreach import parse
from outreach_sync.outreach.parse import Wanted, parse_page
from outreach_sync.outreach.usual import UNUSUAL, prospect_reader, usual_state
from outreach_sync.records import Stream

TEXTS = some.sampled_from(
    (None, "", "null", " ", "Ada", "Zoë", "a b", "x\n", "\ud800", 0, 1, 1.5, True, False, [], ["a@b.example"], {})
)
TIMES = some.sampled_from(
    (None, "", "null", "2026-09-01T10:00:00.000Z", "2026-09-01", "soon", 5, True, "0001-01-01T00:00:00+14:00")
)
IDS = some.sampled_from((1, 18, 0, -1, "18", "x", None, True, 2**63, 2**63 - 1, 1.0, [], {}))
FLAGS = some.sampled_from((None, True, False, "true", "false", 1, 0, []))
EMAILS = some.lists(
    some.sampled_from(("a@b.example", " a@b.example", "", None, "A@b.example", "ü@b.example", "a\nb", 5)), max_size=2
) | some.sampled_from((None, "a@b.example", {"a": 1}, 5))


def to_one(ids: Any) -> Any:
    return ids.map(lambda one: {"data": {"type": "any", "id": one}}) | some.sampled_from(({"data": None}, {}, None, []))


def _incomplete(row: dict[str, Any], dropped: str | None) -> dict[str, Any]:
    row["attributes"].pop(dropped, None)
    return row


STATES = some.builds(
    lambda number, state, changed, updated, prospect, sequence: {
        "type": "sequenceState",
        "id": number,
        "attributes": {"state": state, "stateChangedAt": changed, "updatedAt": updated},
        "relationships": {"prospect": prospect, "sequence": sequence},
    },
    *(IDS, TEXTS, TIMES, TIMES, to_one(IDS), to_one(IDS)),
)
PROSPECTS = some.builds(
    _incomplete,
    some.fixed_dictionaries(
        {
            "id": IDS,
            "attributes": some.fixed_dictionaries(
                {
                    **dict.fromkeys(("firstName", "lastName", "externalId"), TEXTS),
                    **dict.fromkeys(("optedOut", "emailOptedOut"), FLAGS),
                    **dict.fromkeys(("optedOutAt", "emailsOptedAt", "trashedAt", "updatedAt"), TIMES),
                    "emails": EMAILS,
                }
            ),
        }
    ),
    some.none() | some.sampled_from(("firstName", "emails", "optedOut", "updatedAt")),
)


def doubting(monkeypatch: pytest.MonkeyPatch, row: Any, stream: Stream) -> Any:
    """Read a row without the quick readers."""
    with monkeypatch.context() as without:
        without.setattr(parse, "usual_state", _refuse)
        without.setattr(parse, "prospect_reader", lambda _extra: None)
        return parse_page({"data": [row]}, stream, Wanted(), None)


def _refuse(_row: Any) -> Any:
    raise ValueError("unusual")


@given(row=STATES)
def test_a_quick_sequence_state_differs_from_a_doubted_one(row: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        page = doubting(patch, row, Stream.SEQUENCE_STATES)
    try:
        assert page.states == (usual_state(row),)
    except UNUSUAL:
        assert parse_page({"data": [row]}, Stream.SEQUENCE_STATES, Wanted(), None) == page


@given(row=PROSPECTS)
def test_a_quick_prospect_differs_from_a_doubted_one(row: Any) -> None:
    quick = prospect_reader(())
    assert quick is not None
    with pytest.MonkeyPatch.context() as patch:
        page = doubting(patch, row, Stream.PROSPECTS)
    try:
        assert page.prospects == (quick(row),)
    except UNUSUAL:
        assert parse_page({"data": [row]}, Stream.PROSPECTS, Wanted(), None) == page


def test_the_usual_row_is_doubted() -> None:
    """Else all of this would be for nothing."""
    state = {
        "id": 1,
        "attributes": {"state": "active", "stateChangedAt": None, "updatedAt": "2026-09-01T10:00:00.000Z"},
        "relationships": {"prospect": {"data": {"id": 18}}, "sequence": {"data": {"id": 3}}},
    }
    assert usual_state(state).prospect_id == 18
    names = ("externalId", "optedOutAt", "emailOptedOut", "emailsOptedAt", "trashedAt", "updatedAt")
    prospect = {
        "id": 18,
        "attributes": {**dict.fromkeys(names), "firstName": "Ada", "lastName": "E", "emails": [], "optedOut": True},
    }
    quick = prospect_reader(())
    assert quick is not None
    assert quick(prospect).opted_out
