from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as some

from outreach_sync.connections import Answer
from outreach_sync.instants import parse_iso
from outreach_sync.outreach import rows
from outreach_sync.outreach.rows import LARGEST_ID, Wanted, parsed_object, read_page
from outreach_sync.records import Event, Page, Prospect, Sequence, SequenceState, SourceTask, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

STAMP = "2026-09-01T10:12:31.000Z"
AT = parse_iso(STAMP)
EVERY = list(Stream)
NOTHING = Wanted()
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


def page(stream: Stream, *data: Any, included: Any = None, links: Any = None, wanted: Wanted = NOTHING) -> Page:
    document: dict[str, Any] = {"data": list(data)}
    if included is not None:
        document["included"] = included
    if links is not None:
        document["links"] = links
    return read(json.dumps(document).encode(), stream, wanted)


def read(body: bytes, stream: Stream, wanted: Wanted = NOTHING) -> Page:
    parsed = read_page(Answer(200, {}, body, AT), stream, wanted)
    assert parsed is not None
    return parsed


def to_one(kind: str, number: Any) -> dict[str, Any]:
    return {"data": {"type": kind, "id": number}}


def state(**changes: Any) -> dict[str, Any]:
    return {
        "type": "sequenceState",
        "id": 501,
        "attributes": {"state": "paused", "stateChangedAt": STAMP, "updatedAt": STAMP},
        "relationships": {"prospect": to_one("prospect", 18), "sequence": to_one("sequence", 42)},
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


def event(**attributes: Any) -> dict[str, Any]:
    return {
        "type": "event",
        "id": 77,
        "attributes": {"name": "skip_task", "createdAt": STAMP, "eventAt": STAMP, **attributes},
        "relationships": {"task": to_one("task", 9001), "prospect": {"data": None}, "sequence": {}},
    }


def one_prospect(**attributes: Any) -> Prospect:
    found = page(Stream.PROSPECTS, prospect(**attributes))
    assert found.refused == ()
    return found.prospects[0]


def test_a_state_is_read_as_it_stands() -> None:
    found = page(Stream.SEQUENCE_STATES, state())
    assert found.states == (SequenceState(501, 18, 42, "paused", AT, AT),)
    assert (found.received, found.without_stamp, found.next_url, found.server_time) == (1, 0, "", AT)


def test_an_event_is_read_as_it_stands() -> None:
    found = page(Stream.EVENTS, event())
    assert found.events == (Event(77, "skip_task", AT, AT, 9001, None, None, None),)
    assert found.rows[0].updated_at == AT


@pytest.mark.parametrize("name", [None, "", 5, {}, []])
def test_an_event_without_a_name_is_refused(name: Any) -> None:
    found = page(Stream.EVENTS, event(name=name), {**event(), "id": 78})
    assert [one.id for one in found.events] == ([77, 78] if name == 5 else [78])
    assert len(found.refused) == (name != 5)


@pytest.mark.parametrize("relationship", [None, {"data": None}, {"data": None, "links": {"related": "/prospects/18"}}])
def test_a_relationship_that_is_null_points_nowhere(relationship: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(relationships={"prospect": relationship})).states[0]
    assert (found.prospect_id, found.untold) == (None, {"sequence"})


@pytest.mark.parametrize(
    "relationships",
    [
        None, {}, {"prospect": {}}, {"prospect": {"links": {}}}, {"prospect": {"data": []}},
        {"prospect": {"links": {"related": "https://x"}}}, {"prospect": {"links": {"related": "https://["}}},
        {"prospect": {"links": {"related": "https://x/api/v2/prospects?filter%5Bsequence%5D=7"}}},
        {"prospect": {"links": {"related": "https://x/api/v2/sequenceStates/501/prospect"}}},
    ],
)  # fmt: skip
def test_a_relationship_of_which_nothing_is_said_is_untold(relationships: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(relationships=relationships))
    assert (found.states[0].prospect_id, found.states[0].untold) == (None, {"prospect", "sequence"})
    assert found.refused == ()


@pytest.mark.parametrize(
    "link",
    [
        "https://api.outreach.io/api/v2/prospects/18", "/api/v2/prospects/18", "/prospects/18/",
        "https://x/api/v2/prospects/18?fields%5Bprospect%5D=id#top", {"href": "/api/v2/prospects/18", "meta": {}},
    ],
)  # fmt: skip
def test_a_relationship_that_has_only_links_is_followed_by_its_link(link: Any) -> None:
    relationships = {"prospect": {"links": {"related": link}}, "sequence": to_one("sequence", 42)}
    assert page(Stream.SEQUENCE_STATES, state(relationships=relationships)).states == (
        SequenceState(501, 18, 42, "paused", AT, AT),
    )


def test_an_unknown_state_is_neither_dropped_nor_guessed() -> None:
    data = [state(attributes={"state": word, "updatedAt": STAMP}) for word in ("hibernating", "", None, "ACTIVE", 5)]
    assert [row.state for row in page(Stream.SEQUENCE_STATES, *data).states] == ["hibernating", "", "", "ACTIVE", "5"]


def test_rows_without_a_stamp_are_kept_and_counted() -> None:
    found = page(Stream.SEQUENCE_STATES, state(attributes={"state": "active", "updatedAt": None}), state())
    assert (len(found.states), found.without_stamp) == (2, 1)


@pytest.mark.parametrize(
    "stamp", ["soon", "2026-13-01T00:00:00Z", 1788256800, True, [], {}, "0000-01-01", "99999-01-01"]
)
def test_a_time_that_is_none_refuses_the_row_and_no_other(stamp: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(attributes={"state": "active", "updatedAt": stamp}), state(id=502))
    assert [row.id for row in found.states] == [502]
    assert found.refused[0][:3] == (Stream.SEQUENCE_STATES, 501, 18)
    assert found.refused[0].reason.startswith("sequence state 501: updatedAt")
    assert found.received == 2


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("2026-09-01T10:12:31Z", AT), ("2026-09-01T12:12:31+02:00", AT), ("2026-09-01T10:12:31", AT), ("", None),
        ("null", None), (None, None),
    ],
)  # fmt: skip
def test_a_time_or_none_comes_in_several_forms(stamp: Any, at: Any) -> None:
    for stream, row in ((Stream.SEQUENCE_STATES, state()), (Stream.TASKS, task()), (Stream.PROSPECTS, prospect())):
        found = page(stream, {**row, "attributes": {"state": "x", "updatedAt": stamp}})
        assert (found.rows[0].updated_at, found.refused) == (at, ())


@pytest.mark.parametrize(
    "broken", [None, "", "x", 0, -5, 1.5, 5.0, True, [], {}, LARGEST_ID + 1, 2**63, "²", "-7", "9" * 5000, 1e300]
)
@pytest.mark.parametrize("stream", EVERY)
def test_a_row_without_a_usable_id_is_refused(broken: Any, stream: Stream) -> None:
    row = {Stream.SEQUENCE_STATES: state(), Stream.TASKS: task(), Stream.PROSPECTS: prospect()}.get(stream, event())
    found = page(stream, {**row, "id": broken}, {**row, "id": LARGEST_ID})
    assert [one.id for one in found.rows] == [LARGEST_ID]
    assert [(one.stream, one.id) for one in found.refused] == [(stream, None)]
    assert "without an id" in found.refused[0].reason


def test_a_number_of_thousands_of_digits_is_refused_with_its_row_alone() -> None:
    body = json.dumps({"data": [state(id=0), state(id=502)]}).replace('"id": 0', f'"id": {"9" * 6000}').encode()
    found = read(body, Stream.SEQUENCE_STATES)
    assert ([one.id for one in found.states], len(found.refused)) == ([502], 1)


@pytest.mark.parametrize("broken", [0, -1, 2**63, "x", 1.5])
def test_a_pointer_to_no_possible_record_refuses_the_row(broken: Any) -> None:
    found = page(Stream.SEQUENCE_STATES, state(relationships={"prospect": to_one("prospect", broken)}))
    assert found.states == ()
    assert "prospect" in found.refused[0].reason


@pytest.mark.parametrize("row", [None, 7, "x", [], {"attributes": []}, {"id": 5, "attributes": "x"}, {"id": 5}])
@pytest.mark.parametrize("stream", EVERY)
def test_a_row_that_is_none_is_refused(row: Any, stream: Stream) -> None:
    found = page(stream, row)
    assert (found.rows, len(found.refused), found.received) == ((), 1, 1)


def test_a_reason_stays_short() -> None:
    found = page(Stream.SEQUENCE_STATES, state(attributes={"updatedAt": "x" * 5000}))
    assert len(found.refused[0].reason) < 100


def test_a_prospect_is_read_as_it_stands() -> None:
    emails = ("ada@example.com", "Ada.E@example.org")
    times = dict.fromkeys(("optedOutAt", "emailsOptedAt", "trashedAt"), STAMP)
    names = {"firstName": "Ada", "lastName": "Example", "externalId": "PERS-1234"}
    found = one_prospect(**names, **times, emails=list(emails), optedOut=True, emailOptedOut=True, invented=1)
    assert found == Prospect(18, "Ada", "Example", emails, "PERS-1234", True, AT, True, AT, AT, AT, {})


@pytest.mark.parametrize(
    ("emails", "expected"),
    [
        (None, ()), ([], ()), ([None, "", " "], ()), ("a@example.com", ("a@example.com",)), (7, ()),
        ([None, " a@example.com ", {"email": "x"}], ("a@example.com",)),
    ],
)  # fmt: skip
def test_addresses_come_in_several_forms(emails: Any, expected: tuple[str, ...]) -> None:
    assert one_prospect(emails=emails).emails == expected


@pytest.mark.parametrize("name", ["optedOut", "emailOptedOut"])
def test_an_opt_out_counts_in_every_form_and_what_says_no_is_none(name: str) -> None:
    for value in (True, 1, 1.0, "1", "true", "TRUE", " True ", "t", "yes", "Y"):
        found = one_prospect(**{name: value})
        assert (found.opted_out, found.email_opted_out) == (name == "optedOut", name == "emailOptedOut"), value
    for value in (False, None, 0, 0.0, "0", "false", "no", "f", "", "null"):
        assert one_prospect(**{name: value})[5:8:2] == (False, False), value


@pytest.mark.parametrize("name", ["optedOut", "emailOptedOut"])
def test_an_opt_out_in_an_unknown_form_refuses_the_row(name: str) -> None:
    for value in ({}, {"value": True}, [], [True], 2, "perhaps", "opted_out"):
        found = page(Stream.PROSPECTS, prospect(**{name: value}))
        assert (found.prospects, found.refused[0][:3]) == ((), (Stream.PROSPECTS, 18, 18)), value
        assert name in found.refused[0].reason


BROKEN_PARTS = [{"optedOutAt": "soon"}, {"updatedAt": 5}, {"trashedAt": []}, {"firstName": {}}, {"emailOptedOut": {}}]


@pytest.mark.parametrize("broken", BROKEN_PARTS)
@pytest.mark.parametrize("included", [False, True])
def test_an_opt_out_beside_a_broken_part_is_kept_and_the_row_refused(broken: Any, included: bool) -> None:
    row = prospect(**{"optedOut": 1, "lastName": "Example", **broken})
    found = page(Stream.SEQUENCE_STATES, included=[row]) if included else page(Stream.PROSPECTS, row)
    (kept,) = found.included if included else found.prospects
    assert (kept.id, kept.opted_out, kept.last_name) == (18, True, "Example")
    assert [one[:3] for one in found.refused] == [(Stream.PROSPECTS, 18, 18)]
    assert next(iter(broken)) in found.refused[0].reason


def test_an_opted_out_state_or_event_beside_a_broken_part_is_kept_and_refused() -> None:
    row = state(attributes={"state": "opted_out", "stateChangedAt": "soon", "updatedAt": STAMP})
    found = page(Stream.SEQUENCE_STATES, row)
    assert found.states == (SequenceState(501, 18, 42, "opted_out", None, AT),)
    assert [one[:3] for one in found.refused] == [(Stream.SEQUENCE_STATES, 501, 18)]
    found = page(Stream.EVENTS, event(name="emails_opt_out", createdAt="soon"), event(createdAt="soon"))
    assert [(one.name, one.at) for one in found.events] == [("emails_opt_out", None)]
    assert len(found.refused) == 2


@pytest.mark.parametrize(
    ("given_", "expected"), [(123, "123"), ("  ", None), (" PERS-1 ", "PERS-1"), (None, None), ("null", None)]
)
def test_a_reference_may_be_a_number_or_nothing(given_: Any, expected: str | None) -> None:
    found = one_prospect(externalId=given_, lastName="Null")
    assert (found.external_id, found.last_name) == (expected, "Null")


@pytest.mark.parametrize("first_name", ["Ada", 5], ids=["usual", "unusual"])
def test_attributes_for_new_people_are_read(first_name: Any) -> None:
    wanted = Wanted(prospect=("title", "workPhones", "custom1", "odd", "missing", "lastName"))
    more = {"title": "Engineer", "workPhones": ["1", None, "2"], "custom1": None, "odd": {"a": 1}, "lastName": "Ex"}
    extra = {**more, "workPhones": "1, 2", "odd": None}
    row = prospect(firstName=first_name, **more)
    assert page(Stream.PROSPECTS, row, wanted=wanted).prospects[0].extra == extra
    assert page(Stream.TASKS, included=[row], wanted=wanted).included[0].extra == extra


def test_no_lone_surrogate_reaches_the_database() -> None:
    text = json.loads('"\\ud800x"')
    wanted = Wanted(prospect=("title", "tags"))
    row = prospect(firstName=text, emails=[text], title=text, tags=[text], externalId=text)
    found = page(Stream.PROSPECTS, row, wanted=wanted).prospects[0]
    for value in (*found[1:5], found.extra):
        str(value).encode()
    assert one_prospect(firstName="Zoë 🎉").first_name == "Zoë 🎉"


TARGETS = {
    "prospect": to_one("prospect", 18),
    "sequence": to_one("sequence", 42),
    "sequenceState": to_one("sequenceState", 501),
    "sequenceStep": to_one("sequenceStep", 210),
    "completer": to_one("user", 1),
}


def test_a_task_is_read_as_it_stands() -> None:
    row = task({"state": "complete", "completed": False, "completedAt": None, "dueAt": STAMP, "note": "Hi"}, TARGETS)
    found = page(Stream.TASKS, row).tasks[0]
    assert found[:-2] == (9001, 18, 42, 501, 210, "sequence_step_email", "email", AT, "Hi", AT)
    assert found.untold == set()
    assert found.attributes == {
        "action": "email", "taskType": "sequence_step_email", "state": "complete", "stateChangedAt": None,
        "completed": False, "completedAt": None, "autoskipAt": None, "dueAt": STAMP, "createdAt": None,
        "updatedAt": STAMP, "prospect": 18, "sequence": 42, "sequenceState": 501, "sequenceStep": 210,
        "completer": 1,
    }  # fmt: skip


def test_a_task_may_be_of_nobody_and_of_no_sequence() -> None:
    shapes = {"prospect": {"data": None}, "sequence": {"links": {}}, "sequenceState": {}, "completer": None}
    found = page(Stream.TASKS, task({"action": None, "taskType": None}, shapes)).tasks[0]
    assert found[:-2] == (9001, None, None, None, None, "", "", None, None, AT)
    assert isinstance(found, SourceTask)
    assert {found.attributes[name] for name in ("prospect", "sequence", "sequenceState", "completer")} == {None}
    assert found.untold == {"sequence", "sequenceState", "sequenceStep"}


@pytest.mark.parametrize("action", ["email", ["email"]], ids=["usual", "unusual"])
def test_what_the_skip_rule_names_reaches_it(action: Any) -> None:
    more = {"owner": to_one("user", "7"), "taskPurpose": {"data": None}, "stage": {"links": {"related": "/stages/3"}}}
    row = task({"action": action, "scheduledAt": STAMP, "note": "n"}, more)
    wanted = Wanted(task=("scheduledAt", "owner", "taskPurpose", "stage", "note", "invented"))
    attributes = page(Stream.TASKS, row, wanted=wanted).tasks[0].attributes
    assert [attributes[name] for name in wanted.task] == [STAMP, 7, None, 3, "n", None]


def test_included_resources_are_told_apart() -> None:
    included = [
        prospect(firstName="Ada"),
        {"type": "sequence", "id": 42, "attributes": {"name": "Trial follow-up"}},
        {"type": "sequence", "id": 43, "attributes": {"name": None}},
        {"type": "sequence", "id": None, "attributes": {"name": "x"}},
        {"type": "user", "id": 1, "attributes": {"name": "x"}},
        None,
        {"type": "prospect", "id": 19, "attributes": {"optedOutAt": "garbage"}},
        {"type": "prospect", "id": 20},
    ]
    found = page(Stream.SEQUENCE_STATES, state(), included=included)
    assert [row.first_name for row in found.included] == ["Ada"]
    assert found.sequences == (Sequence(42, "Trial follow-up"),)
    assert [row[:3] for row in found.refused] == [(Stream.PROSPECTS, one, one) for one in (None, 19, 20)]
    assert found.received == 1


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (None, ""), ({}, None), ({"next": None}, None), ({"next": ""}, ""), ({"next": 17}, ""), ({"next": {}}, ""),
        ({"next": "https://x/2"}, "https://x/2"), ({"next": {"href": "https://x/2"}}, "https://x/2"),
        ([], None),
    ],
)  # fmt: skip
def test_a_page_says_what_follows_that_nothing_does_or_neither(links: Any, expected: str | None) -> None:
    assert page(Stream.TASKS, links=links).next_url == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": null}', b'{"data": {}}', b'{"data": "x"}', b"", b"<html>", b"[" * 100_000, b'{"data":' * 100_000,
        b"\xff\xfe", b"7",
    ],
)  # fmt: skip
def test_what_is_no_json_or_has_no_list_is_no_page(body: bytes) -> None:
    assert read_page(Answer(200, {}, body, AT), Stream.TASKS, NOTHING) is None


@given(
    some.sampled_from(EVERY),
    some.lists(JSON | some.fixed_dictionaries({"id": JSON, "attributes": JSON, "relationships": JSON})),
)
def test_no_row_crashes_or_vanishes(stream: Stream, data: list[Any]) -> None:
    found = read(json.dumps({"data": data}).encode(), stream)
    assert found.received == len(data) <= len(found.rows) + len(found.refused)


def mostly(usual_ones: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
    """Draw a usual value three times out of four, so that whole pages of them occur."""
    return some.one_of(*([some.sampled_from(usual_ones)] * 3), some.sampled_from(others))


TEXTS = mostly(
    (None, "", "null", " ", "Ada", "Zo\u00eb", "a b", "x\n", "PERS-12"),
    ("\ud800", 0, 1.5, True, [], ["a@b.example"], {}),
)
TIMES = mostly((None, STAMP, "2026-09-01"), ("", "null", "soon", 5, True, "0001-01-01T00:00:00+14:00"))
IDS = mostly((1, 18, LARGEST_ID), (0, -1, "18", "x", None, True, 2**63, 1.0, [], {}))
FLAGS = mostly((None, True, False), ("true", "false", 1, 0, []))
EMAILS = some.lists(mostly(("a@b.example", " a@b.example", "", "\u00fc@b.example"), (None, 5)), max_size=2)
TO_ONE = IDS.map(lambda one: {"data": {"type": "any", "id": one}}) | some.sampled_from(
    ({"data": None}, {}, None, [], {"links": {"related": "https://x/api/v2/prospects/18"}}, {"data": None, "links": {}})
)
LINKS = some.sampled_from(
    (None, {}, {"next": None}, {"next": ""}, {"next": "https://x/2"}, {"next": {"href": "y"}}, [])
)


def drawn(kind: str, attributes: Mapping[str, Any], relationships: tuple[str, ...] = ()) -> Any:
    by_type = ((rows.Time, TIMES), (rows.Flag, FLAGS), (rows.Texts, EMAILS))
    named = {name: next((made for one, made in by_type if one is type_), TEXTS) for name, type_ in attributes.items()}
    related = dict.fromkeys((*relationships, "owner", "invented"), TO_ONE)
    return some.fixed_dictionaries(
        {
            "type": some.just(kind),
            "id": IDS,
            "attributes": some.fixed_dictionaries({}, optional={**named, "invented": IDS, "title": TEXTS}),
            "relationships": some.fixed_dictionaries({}, optional=related),
        }
    )


DRAWN = {stream: drawn(kind.type, kind.attributes, kind.relationships) for stream, kind in rows.KINDS.items()}


def answers(stream: Stream) -> Any:
    included = some.lists(DRAWN[Stream.PROSPECTS] | drawn("sequence", {"name": str}), max_size=2)
    return some.fixed_dictionaries(
        {"data": some.lists(DRAWN[stream], max_size=2)},
        optional={"included": included | some.sampled_from((None, [{"type": "user"}])), "links": LINKS},
    )


@pytest.mark.parametrize("wanted", [NOTHING, Wanted(("title", "lastName"), ("owner", "note"))], ids=["usual", "more"])
@pytest.mark.parametrize("stream", EVERY)
@given(data=some.data())
def test_a_page_read_at_once_is_the_page_read_row_by_row(stream: Stream, wanted: Wanted, data: some.DataObject) -> None:
    body = json.dumps(data.draw(answers(stream))).encode()
    row_by_row = rows._row_by_row(parsed_object(body) or {}, Answer(200, {}, body, AT), stream, wanted)
    assert read(body, stream, wanted) == row_by_row


@pytest.mark.parametrize("stream", EVERY)
def test_a_usual_page_is_not_read_row_by_row(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take many times as long."""
    monkeypatch.setattr(rows, "_row_by_row", None)
    row = {Stream.SEQUENCE_STATES: state(), Stream.TASKS: task({}, TARGETS), Stream.EVENTS: event()}.get(
        stream, prospect(firstName="Zo\u00eb", emails=["a@b.example"], optedOut=True)
    )
    sequence = {"type": "sequence", "id": 42, "attributes": {"name": "Trial follow-up"}}
    found = page(stream, row, included=[prospect(), sequence], links={"next": "https://x/2"})
    assert (len(found.rows), len(found.included), found.next_url) == (1, 1, "https://x/2")
