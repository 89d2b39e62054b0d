from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import parse_iso
from outreach_sync.outreach import documents
from outreach_sync.outreach.documents import parse_document
from outreach_sync.outreach.parse import Wanted
from outreach_sync.records import Page, Prospect, Refused, Sequence, SequenceState, SourceTask, Stream

STAMP = "2026-09-01T10:12:31.000Z"
AT = parse_iso(STAMP)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def page(stream: Stream, *rows: Any, included: Any = None, links: Any = None, wanted: Wanted | None = None) -> Page:
    document: dict[str, Any] = {"data": list(rows)}
    if included is not None:
        document["included"] = included
    if links is not None:
        document["links"] = links
    return made(document, stream, wanted or Wanted())


def made(document: Any, stream: Stream, wanted: Wanted) -> Page:
    parsed = parse_document(json.dumps(document).encode(), stream, wanted)
    assert parsed is not None
    return parsed.page(AT)


@pytest.fixture(params=["small", "large"], autouse=True)
def _of_either_size(request: pytest.FixtureRequest) -> Any:
    """Read each answer with doubt alone, as a small one, and as a large one, which is first read quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_LARGE", 0 if request.param == "large" else 2**40)
        yield


def state(**changes: Any) -> dict[str, Any]:
    return {
        "type": "sequenceState",
        "id": 501,
        "attributes": {"state": "paused", "stateChangedAt": STAMP, "updatedAt": STAMP},
        "relationships": {
            "prospect": {"data": {"type": "prospect", "id": 18}},
            "sequence": {"data": {"type": "sequence", "id": 42}},
        },
        **changes,
    }


def task(attributes: Any = None, relationships: Any = None) -> dict[str, Any]:
    return {
        "type": "task",
        "id": 9001,
        "attributes": {"action": "email", "taskType": "sequence_step_email", "updatedAt": STAMP, **(attributes or {})},
        "relationships": relationships or {},
    }


def prospect(**attributes: Any) -> dict[str, Any]:
    return {"type": "prospect", "id": 18, "attributes": {"updatedAt": STAMP, **attributes}}


def one_prospect(**attributes: Any) -> Prospect:
    found = page(Stream.PROSPECTS, prospect(**attributes))
    assert found.refused == ()
    return found.prospects[0]


def test_a_state_is_misread() -> None:
    found = page(Stream.SEQUENCE_STATES, state())
    assert found.states == (SequenceState(501, 18, 42, "paused", AT, AT),)
    assert (found.received, found.without_stamp, found.next_url, found.server_time) == (1, 0, None, AT)


def test_ids_as_text_are_refused() -> None:
    row = state(id="501", relationships={"prospect": {"data": {"type": "prospect", "id": "18"}}})
    assert page(Stream.SEQUENCE_STATES, row).states == (SequenceState(501, 18, None, "paused", AT, AT),)


@pytest.mark.parametrize(
    "relationships",
    [
        None,
        {},
        {"prospect": None},
        {"prospect": {}},
        {"prospect": {"data": None}},
        {"prospect": {"links": {"related": "https://x"}}},
        {"prospect": {"data": []}},
    ],
)
def test_a_relationship_to_nothing_crashes(relationships: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(relationships=relationships))
    assert found.states[0].prospect_id is None
    assert found.refused == ()


def test_an_unknown_state_is_dropped_or_guessed() -> None:
    rows = [state(attributes={"state": word, "updatedAt": STAMP}) for word in ("hibernating", "", None, "ACTIVE")]
    assert [row.state for row in page(Stream.SEQUENCE_STATES, *rows).states] == ["hibernating", "", "", "ACTIVE"]


def test_a_row_without_a_stamp_is_lost_or_uncounted() -> None:
    rows = [state(attributes={"state": "active", "updatedAt": None}), state(attributes=None), state()]
    found = page(Stream.SEQUENCE_STATES, *rows)
    assert len(found.states) == 3
    assert found.without_stamp == 2


@pytest.mark.parametrize(
    "stamp", ["soon", "2026-13-01T00:00:00Z", 1788256800, True, [], {}, "0000-01-01", "99999-01-01"]
)
def test_a_time_that_is_none_is_guessed(stamp: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(attributes={"state": "active", "updatedAt": stamp}), state(id=502))
    assert [row.id for row in found.states] == [502]
    assert found.refused[0][:3] == (Stream.SEQUENCE_STATES, 501, 18)
    assert found.refused[0].reason.startswith("sequence state 501: updatedAt")
    assert found.received == 2


@pytest.mark.parametrize("stamp", ["2026-09-01T10:12:31Z", "2026-09-01T12:12:31+02:00", "2026-09-01T10:12:31"])
def test_a_form_of_time_is_refused(stamp: str) -> None:
    assert page(Stream.SEQUENCE_STATES, state(attributes={"updatedAt": stamp})).states[0].updated_at == AT


@pytest.mark.parametrize("broken", [None, "", "x", 0, -5, 1.5, True, [], {}, 2**63, "²", "-7"])
def test_a_row_without_an_id_is_dropped_in_silence(broken: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(id=broken), state(id=502))
    assert [row.id for row in found.states] == [502]
    assert found.refused == (Refused(Stream.SEQUENCE_STATES, None, 18, found.refused[0].reason),)
    assert "without an id" in found.refused[0].reason


@pytest.mark.parametrize("row", [None, 7, "x", [], {"attributes": []}, {"id": 5, "attributes": "x"}])
def test_a_row_that_is_none_stops_the_page(row: Any) -> None:
    found = page(Stream.TASKS, row, task())
    assert len(found.tasks) == 1
    assert len(found.refused) == 1


def test_a_long_value_floods_a_reason() -> None:
    found = page(Stream.SEQUENCE_STATES, state(attributes={"updatedAt": "x" * 5000}))
    assert len(found.refused[0].reason) < 100


def test_a_prospect_is_misread() -> None:
    found = one_prospect(
        firstName="Ada",
        lastName="Example",
        emails=["ada@example.com", "Ada.E@example.org"],
        externalId="PERS-1234",
        optedOut=True,
        optedOutAt=STAMP,
        emailOptedOut=True,
        emailsOptedAt=STAMP,
        trashedAt=STAMP,
        invented=1,
    )
    emails = ("ada@example.com", "Ada.E@example.org")
    assert found == Prospect(18, "Ada", "Example", emails, "PERS-1234", True, AT, True, AT, AT, AT, {})


@pytest.mark.parametrize(
    ("emails", "expected"),
    [
        (None, ()),
        ([], ()),
        ([None, "", " "], ()),
        ([None, " a@example.com ", {"email": "x"}], ("a@example.com",)),
        ("a@example.com", ("a@example.com",)),
        (7, ()),
    ],
)
def test_a_form_of_addresses_is_misread(emails: Any, expected: tuple[str, ...]) -> None:
    assert one_prospect(emails=emails).emails == expected


@pytest.mark.parametrize(
    ("value", "flag"), [(True, True), (False, False), (None, False), ("true", True), ("false", False), ("null", False)]
)
def test_null_or_text_makes_an_opt_out(value: Any, *, flag: bool) -> None:
    assert one_prospect(optedOut=value, emailOptedOut=value)[5] is flag
    assert one_prospect(emailOptedOut=value).email_opted_out is flag


def test_the_text_null_is_taken_for_a_time_or_a_reference() -> None:
    found = one_prospect(optedOutAt="null", emailsOptedAt="", externalId="null", lastName="Null")
    assert (found.opted_out_at, found.emails_opted_at, found.external_id) == (None, None, None)
    assert found.last_name == "Null"


@pytest.mark.parametrize(("given_", "expected"), [(123, "123"), ("  ", None), (" PERS-1 ", "PERS-1"), (None, None)])
def test_a_reference_is_misread(given_: Any, expected: str | None) -> None:
    assert one_prospect(externalId=given_).external_id == expected


def test_attributes_for_new_people_are_lost() -> None:
    wanted = Wanted(prospect=("title", "workPhones", "custom1", "odd", "missing"))
    row = prospect(title="Engineer", workPhones=["1", None, "2"], custom1=None, odd={"a": 1})
    found = page(Stream.PROSPECTS, row, wanted=wanted).prospects[0]
    assert found.extra == {"title": "Engineer", "workPhones": "1, 2", "custom1": None, "odd": None}


def test_a_lone_surrogate_reaches_the_database() -> None:
    text = json.loads('"\\ud800x"')
    wanted = Wanted(prospect=("title", "tags"))
    row = prospect(firstName=text, emails=[text], title=text, tags=[text], externalId=text)
    for value in (found := page(Stream.PROSPECTS, row, wanted=wanted).prospects[0])[1:5]:
        str(value).encode()
    str(found.extra).encode()
    assert one_prospect(firstName="Zoë 🎉").first_name == "Zoë 🎉"


def test_a_task_is_misread() -> None:
    relationships = {
        "prospect": {"data": {"type": "prospect", "id": 18}},
        "sequence": {"data": {"type": "sequence", "id": 42}},
        "sequenceState": {"data": {"type": "sequenceState", "id": 501}},
        "sequenceStep": {"data": {"type": "sequenceStep", "id": 210}},
        "completer": {"data": {"type": "user", "id": 1}},
    }
    row = task(
        {"state": "complete", "completed": False, "completedAt": None, "dueAt": STAMP, "note": "Hi"}, relationships
    )
    found = page(Stream.TASKS, row).tasks[0]
    assert found[:-1] == (9001, 18, 42, 501, 210, "sequence_step_email", "email", AT, "Hi", AT)
    assert found.attributes == {
        "action": "email",
        "taskType": "sequence_step_email",
        "state": "complete",
        "stateChangedAt": None,
        "completed": False,
        "completedAt": None,
        "autoskipAt": None,
        "dueAt": STAMP,
        "createdAt": None,
        "updatedAt": STAMP,
        "prospect": 18,
        "sequence": 42,
        "sequenceState": 501,
        "sequenceStep": 210,
        "completer": 1,
    }


def test_a_task_of_nobody_and_no_sequence_crashes() -> None:
    shapes = {"prospect": {"data": None}, "sequence": {"links": {}}, "sequenceState": {}, "completer": None}
    found = page(Stream.TASKS, task({"action": None, "taskType": None}, shapes)).tasks[0]
    assert found[:-1] == (9001, None, None, None, None, "", "", None, None, AT)
    assert isinstance(found, SourceTask)
    assert {found.attributes[name] for name in ("prospect", "sequence", "sequenceState", "completer")} == {None}


def test_what_the_skip_rule_names_does_not_reach_it() -> None:
    row = task({"scheduledAt": STAMP, "note": "n"}, {"owner": {"data": {"id": "7"}}, "taskPurpose": {"data": None}})
    wanted = Wanted(task=("scheduledAt", "owner", "taskPurpose", "note", "invented"))
    attributes = page(Stream.TASKS, row, wanted=wanted).tasks[0].attributes
    assert (attributes["scheduledAt"], attributes["owner"], attributes["taskPurpose"]) == (STAMP, 7, None)
    assert (attributes["note"], attributes["invented"]) == ("n", None)


def test_included_resources_are_lost_or_confused() -> None:
    included = [
        prospect(firstName="Ada"),
        {"type": "sequence", "id": 42, "attributes": {"name": "Trial follow-up"}},
        {"type": "sequence", "id": 43, "attributes": {"name": None}},
        {"type": "sequence", "id": None, "attributes": {"name": "x"}},
        {"type": "user", "id": 1, "attributes": {"name": "x"}},
        None,
        {"type": "prospect", "id": 19, "attributes": {"optedOutAt": "garbage"}},
    ]
    found = page(Stream.SEQUENCE_STATES, state(), included=included)
    assert [row.first_name for row in found.included] == ["Ada"]
    assert found.sequences == (Sequence(42, "Trial follow-up"),)
    assert [row[:3] for row in found.refused] == [(Stream.PROSPECTS, 19, 19)]
    assert found.received == 1


def test_a_missing_included_resource_loses_the_row() -> None:
    found = page(Stream.SEQUENCE_STATES, state())
    assert (found.included, len(found.states)) == ((), 1)


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (None, None),
        ({}, None),
        ({"next": None}, None),
        ({"next": ""}, None),
        ({"next": "https://x/2"}, "https://x/2"),
        ({"next": {"href": "https://x/2"}}, "https://x/2"),
        ([], None),
    ],
)
def test_the_end_of_a_walk_is_misread(links: Any, expected: str | None) -> None:
    assert page(Stream.TASKS, links=links).next_url == expected


@pytest.mark.parametrize("data", [None, {}, "x", 7])
def test_a_document_without_a_list_passes_for_an_empty_page(data: Any) -> None:
    assert parse_document(json.dumps({"data": data}).encode(), Stream.TASKS, Wanted()) is None


@given(
    st.sampled_from(list(Stream)),
    st.lists(JSON | st.fixed_dictionaries({"id": JSON, "attributes": JSON, "relationships": JSON})),
)
def test_some_row_crashes_or_vanishes(stream: Stream, rows: list[Any]) -> None:
    found = made({"data": rows}, stream, Wanted())
    kept = len(found.states) + len(found.tasks) + len(found.prospects)
    assert found.received == len(rows) == kept + len(found.refused)


def test_a_full_page_takes_longer_than_it_may() -> None:
    rows = [
        state(
            id=i,
            attributes={
                "state": "active",
                "stateChangedAt": f"2026-09-01T10:{i // 60:02}:{i % 60:02}.000Z",
                "updatedAt": STAMP,
            },
        )
        for i in range(1, 1001)
    ]
    included = [
        {**prospect(firstName="Ada", lastName="Example", emails=["a@example.com"]), "id": i} for i in range(1, 1001)
    ]
    body = json.dumps({"data": rows, "included": included}).encode()
    best = min(_seconds(body) for _ in range(5))
    assert best < 0.1  # about 10 ms where nothing else runs; the rest is for busy machines


def _seconds(body: bytes) -> float:
    started = time.perf_counter()
    parsed = parse_document(body, Stream.SEQUENCE_STATES, Wanted())
    assert parsed is not None
    assert len(parsed.page(None).states) == 1000
    return time.perf_counter() - started
