"""What is read quickly must be read as it is with doubt, or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as some

from outreach_sync.outreach import documents, usual
from outreach_sync.outreach.documents import parse_document
from outreach_sync.outreach.parse import Wanted
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from outreach_sync.records import Page

STAMP = "2026-09-01T10:00:00.000Z"


def mostly(usual_ones: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
    """Draw a usual value three times out of four, so that whole pages of them occur."""
    return some.one_of(*([some.sampled_from(usual_ones)] * 3), some.sampled_from(others))


TEXTS = mostly(
    (None, "", "null", " ", "Ada", "Zo\u00eb", "a b", "x\n", "PERS-12"),
    ("\ud800", 0, 1, 1.5, True, False, [], ["a@b.example"], {}),
)
TIMES = mostly((None, STAMP, "2026-09-01"), ("", "null", "soon", 5, True, "0001-01-01T00:00:00+14:00"))
IDS = mostly((1, 18, 2**63 - 1), (0, -1, "18", "x", None, True, 2**63, 1.0, [], {}))
FLAGS = mostly((None, True, False), ("true", "false", 1, 0, []))
EMAILS = some.lists(
    mostly(("a@b.example", " a@b.example", "", "A@b.example", "\u00fc@b.example", "a\nb"), (None, 5)), max_size=2
) | some.sampled_from((None, "a@b.example", {"a": 1}, 5))
TO_ONE = IDS.map(lambda one: {"data": {"type": "any", "id": one}}) | some.sampled_from(
    ({"data": None}, {}, None, [], {"links": {"related": "https://x/api/v2/prospects/18"}}, {"data": None, "links": {}})
)


def attributes(**named: Any) -> Any:
    return some.fixed_dictionaries({}, optional=named)


STATES = some.fixed_dictionaries(
    {
        "type": some.just("sequenceState"),
        "id": IDS,
        "attributes": attributes(state=TEXTS, stateChangedAt=TIMES, updatedAt=TIMES, openCount=IDS),
        "relationships": attributes(prospect=TO_ONE, sequence=TO_ONE, mailbox=TO_ONE),
    }
)
PROSPECTS = some.fixed_dictionaries(
    {
        "type": some.just("prospect"),
        "id": IDS,
        "attributes": attributes(
            **dict.fromkeys(("firstName", "lastName", "externalId"), TEXTS),
            **dict.fromkeys(("optedOut", "emailOptedOut"), FLAGS),
            **dict.fromkeys(("optedOutAt", "emailsOptedAt", "trashedAt", "updatedAt"), TIMES),
            emails=EMAILS,
        ),
    }
)
TASKS = some.fixed_dictionaries(
    {
        "type": some.just("task"),
        "id": IDS,
        "attributes": attributes(
            **dict.fromkeys(("action", "taskType", "state", "note"), TEXTS),
            **dict.fromkeys(("stateChangedAt", "completedAt", "autoskipAt", "dueAt", "createdAt", "updatedAt"), TIMES),
            completed=FLAGS,
        ),
        "relationships": attributes(
            **dict.fromkeys(("prospect", "sequence", "sequenceState", "sequenceStep", "completer", "owner"), TO_ONE)
        ),
    }
)
SEQUENCES = some.fixed_dictionaries(
    {"type": some.just("sequence"), "id": IDS, "attributes": attributes(name=TEXTS, enabled=FLAGS)}
)
LINKS = some.sampled_from(
    (None, {}, {"next": None}, {"next": ""}, {"next": "https://x/2"}, {"next": {"href": "y"}}, [])
)
ROWS = {Stream.SEQUENCE_STATES: STATES, Stream.TASKS: TASKS, Stream.PROSPECTS: PROSPECTS}


def answers(stream: Stream) -> Any:
    return some.fixed_dictionaries(
        {"data": some.lists(ROWS[stream], max_size=2)},
        optional={
            "included": some.lists(PROSPECTS | SEQUENCES, max_size=2) | some.sampled_from((None, [{"type": "user"}])),
            "links": LINKS,
        },
    )


def page(body: bytes, stream: Stream, *, quick: bool) -> tuple[Page, bool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_LARGE", 0 if quick else 2**40)
        parsed = parse_document(body, stream, Wanted())
    assert parsed is not None
    made = parsed.page(None)
    assert (made.received, made.next_url) == (parsed.received, parsed.next_url)
    return made, parsed.says_what_follows


@pytest.mark.parametrize("stream", list(Stream))
@settings(max_examples=300)
@given(data=some.data())
def test_what_is_read_quickly_differs_from_what_is_read_with_doubt(stream: Stream, data: some.DataObject) -> None:
    body = json.dumps(data.draw(answers(stream))).encode()
    assert page(body, stream, quick=True) == page(body, stream, quick=False)


RELATIONSHIPS = {"prospect": {"data": {"type": "prospect", "id": 18}}, "sequence": {"data": None}, "completer": {}}
USUAL = {
    Stream.SEQUENCE_STATES: {
        "attributes": {"state": "active", "stateChangedAt": None, "updatedAt": STAMP},
        "relationships": RELATIONSHIPS,
    },
    Stream.TASKS: {"attributes": {"state": "incomplete", "updatedAt": STAMP}, "relationships": RELATIONSHIPS},
    Stream.PROSPECTS: {"attributes": {"firstName": "Zo\u00eb", "emails": ["a@b.example"], "optedOut": True}},
}


@pytest.mark.parametrize("stream", list(Stream))
def test_a_usual_page_is_doubted(stream: Stream) -> None:
    """Else all of this would be for nothing."""
    row = {"type": stream.value[:-1], "id": 1, **USUAL[stream]}
    body = json.dumps({"data": [row], "links": {"next": "https://x/2"}}).encode()
    made = usual.page(usual.decode(body, stream), stream, None)
    assert made == page(body, stream, quick=False)[0]
    assert made.next_url == "https://x/2"
