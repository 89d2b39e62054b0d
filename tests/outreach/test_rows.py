import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as some

from outreach_sync.connections import Answer
from outreach_sync.instants import parse_iso
from outreach_sync.outreach import rows
from outreach_sync.outreach.rows import LARGEST_ID, Wanted, parsed_object, read_page
from outreach_sync.records import Event, Page, Prospect, Sequence, SequenceState, SourceTask, Stream

STAMP = "2026-09-01T10:12:31.000Z"
AT = parse_iso(STAMP)
EVERY = list(Stream)
NOTHING = Wanted()
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


def page(stream: Stream, *data: Any, wanted: Wanted = NOTHING, **more: Any) -> Page:
    return read(json.dumps({"data": data, **more}).encode(), stream, wanted)


def read(body: bytes, stream: Stream, wanted: Wanted = NOTHING) -> Page:
    parsed = read_page(Answer(200, {}, body, AT), stream, wanted)
    assert parsed is not None
    return parsed


def to_one(kind: str, number: Any) -> dict[str, Any]:
    return {"data": {"type": kind, "id": number}}


def state(**changes: Any) -> dict[str, Any]:
    attributes = {"state": "paused", "stateChangedAt": STAMP, "updatedAt": STAMP}
    related = {"prospect": to_one("prospect", 18), "sequence": to_one("sequence", 42)}
    return {"type": "sequenceState", "id": 501, "attributes": attributes, "relationships": related, **changes}


def task(attributes: Any = None, relationships: Any = None) -> dict[str, Any]:
    usual = {"action": "email", "taskType": "sequence_step_email", "updatedAt": STAMP}
    told = {"attributes": {**usual, **(attributes or {})}, "relationships": relationships or {}}
    return {"type": "task", "id": 9001, **told}


def prospect(**attributes: Any) -> dict[str, Any]:
    return {"type": "prospect", "id": 18, "attributes": {"updatedAt": STAMP, **attributes}}


def event(**attributes: Any) -> dict[str, Any]:
    usual = {"name": "skip_task", "createdAt": STAMP, "eventAt": STAMP}
    related = {"task": to_one("task", 9001), "prospect": {"data": None}, "sequence": {}}
    return {"type": "event", "id": 77, "attributes": {**usual, **attributes}, "relationships": related}


def one_prospect(**attributes: Any) -> Prospect:
    found = page(Stream.PROSPECTS, prospect(**attributes))
    assert found.refused == ()
    return found.prospects[0]


OF_EACH = {Stream.SEQUENCE_STATES: state(), Stream.TASKS: task(), Stream.PROSPECTS: prospect(), Stream.EVENTS: event()}


def test_a_state_and_an_event_are_read_as_they_stand_and_an_event_without_a_name_is_refused() -> None:
    found = page(Stream.SEQUENCE_STATES, state())
    assert found.states == (SequenceState(501, 18, 42, "paused", AT, AT),)
    assert (found.received, found.without_stamp, found.next_url, found.server_time) == (1, 0, "", AT)
    found = page(Stream.EVENTS, event())
    assert found.events == (Event(77, "skip_task", AT, AT, 9001, None, None, None),)
    assert found.rows[0].updated_at == AT
    found = page(Stream.EVENTS, *(event(name=name) for name in (None, "", {}, [])), event(name=5))
    assert ([one.name for one in found.events], len(found.refused)) == (["5"], 4)


API = "https://x/api/v2"


def test_a_relationship_of_which_nothing_is_said_is_untold() -> None:
    links = ("https://x", "https://[", f"{API}/prospects?filter%5Bsequence%5D=7", f"{API}/sequenceStates/501/prospect")
    shapes = [{}, {"links": {}}, {"data": []}, *({"links": {"related": link}} for link in links)]
    for relationships in (None, {}, *({"prospect": shape} for shape in shapes)):
        found = page(Stream.SEQUENCE_STATES, state(relationships=relationships))
        assert (found.states[0].prospect_id, found.states[0].untold) == (None, {"prospect", "sequence"}), relationships
        assert found.refused == ()


@pytest.mark.parametrize(
    ("relationship", "whose"),
    [
        (None, None), ({"data": None}, None), ({"data": None, "links": {"related": "/prospects/18"}}, None),
        ({"links": {"related": f"{API}/prospects/18?fields%5Bprospect%5D=id#top"}}, 18),
        ({"links": {"related": "/api/v2/prospects/18"}}, 18), ({"links": {"related": "/prospects/18/"}}, 18),
        ({"links": {"related": {"href": "/api/v2/prospects/18", "meta": {}}}}, 18),
    ],
)  # fmt: skip
def test_a_relationship_that_is_null_points_nowhere_and_one_that_has_only_links_is_followed(
    relationship: Any, whose: int | None
) -> None:
    (found,) = page(Stream.SEQUENCE_STATES, state(relationships={"prospect": relationship})).states
    assert (found.prospect_id, found.untold) == (whose, {"sequence"})


def test_an_unknown_state_is_neither_dropped_nor_guessed_and_a_missing_stamp_is_counted() -> None:
    data = [state(attributes={"state": word, "updatedAt": STAMP}) for word in ("hibernating", "", None, "ACTIVE", 5)]
    found = page(Stream.SEQUENCE_STATES, *data, state(attributes={"state": "active", "updatedAt": None}))
    assert [row.state for row in found.states] == ["hibernating", "", "", "ACTIVE", "5", "active"]
    assert found.without_stamp == 1


def test_a_time_that_is_none_refuses_the_row_and_no_other() -> None:
    for stamp in ("soon", "2026-13-01T00:00:00Z", 1788256800, True, [], {}, "0000-01-01", "99999-01-01"):
        found = page(Stream.SEQUENCE_STATES, state(attributes={"state": "active", "updatedAt": stamp}), state(id=502))
        assert ([row.id for row in found.states], found.received) == ([502], 2)
        assert found.refused[0][:3] == (Stream.SEQUENCE_STATES, 501, 18)
        assert found.refused[0].reason.startswith("sequence state 501: updatedAt")


@pytest.mark.parametrize("stream", EVERY[:3])
def test_a_time_or_none_comes_in_several_forms(stream: Stream) -> None:
    times = {"2026-09-01T10:12:31Z": AT, "2026-09-01T12:12:31+02:00": AT, "2026-09-01T10:12:31": AT, "": None}
    for stamp, at in {**times, "null": None, None: None}.items():
        found = page(stream, {**OF_EACH[stream], "attributes": {"state": "x", "updatedAt": stamp}})
        assert (found.rows[0].updated_at, found.refused) == (at, ()), stamp


@pytest.mark.parametrize("stream", EVERY)
def test_a_row_without_a_usable_id_is_refused(stream: Stream) -> None:
    for broken in (None, "", "x", 0, -5, 1.5, 5.0, True, [], {}, LARGEST_ID + 1, "²", "-7", "9" * 5000, 1e300):
        found = page(stream, {**OF_EACH[stream], "id": broken}, {**OF_EACH[stream], "id": LARGEST_ID})
        assert [one.id for one in found.rows] == [LARGEST_ID], broken
        assert [(one.stream, one.id) for one in found.refused] == [(stream, None)]
        assert "without an id" in found.refused[0].reason


def test_a_number_of_thousands_of_digits_or_a_pointer_to_no_possible_record_refuses_its_row_alone() -> None:
    body = json.dumps({"data": [state(id=0), state(id=502)]}).replace('"id": 0', f'"id": {"9" * 6000}').encode()
    found = read(body, Stream.SEQUENCE_STATES)
    assert ([one.id for one in found.states], len(found.refused)) == ([502], 1)
    data = [state(relationships={"prospect": to_one("prospect", broken)}) for broken in (0, -1, 2**63, "x", 1.5)]
    found = page(Stream.SEQUENCE_STATES, *data)
    assert (found.states, ["prospect" in one.reason for one in found.refused]) == ((), [True] * 5)


@pytest.mark.parametrize("stream", EVERY)
def test_a_row_that_is_none_is_refused_for_a_reason_that_stays_short(stream: Stream) -> None:
    data = [None, 7, "x", [], {"attributes": []}, {"id": 5, "attributes": "x"}, {"id": 5}]
    found = page(stream, *data, {"id": 5, "attributes": {rows.KINDS[stream].stamp: "x" * 5000}})
    assert (found.rows, len(found.refused), found.received) == ((), 8, 8)
    assert all(len(one.reason) < 100 for one in found.refused)


def test_a_prospect_is_read_as_it_stands() -> None:
    emails = ("ada@example.com", "Ada.E@example.org")
    times = dict.fromkeys(("optedOutAt", "emailsOptedAt", "trashedAt"), STAMP)
    names = {"firstName": "Ada", "lastName": "Example", "externalId": "PERS-1234"}
    found = one_prospect(**names, **times, emails=list(emails), optedOut=True, emailOptedOut=True, invented=1)
    assert found == Prospect(18, "Ada", "Example", emails, "PERS-1234", True, AT, True, AT, AT, AT, {})


def test_addresses_and_references_come_in_several_forms() -> None:
    for emails in (None, [], [None, "", " "], 7):
        assert one_prospect(emails=emails).emails == ()
    for emails in ("a@example.com", [None, " a@example.com ", {"email": "x"}], ["broken\naddress", "a@example.com\n"]):
        assert one_prospect(emails=emails).emails == ("a@example.com",)
    for given_, expected in {123: "123", "  ": None, " PERS-1 ": "PERS-1", None: None, "null": None}.items():
        found = one_prospect(externalId=given_, lastName="Null")
        assert (found.external_id, found.last_name) == (expected, "Null")


@pytest.mark.parametrize("name", ["optedOut", "emailOptedOut"])
def test_an_opt_out_counts_in_every_form_what_says_no_is_none_and_an_unknown_form_refuses_the_row(name: str) -> None:
    for value in (True, 1, 1.0, "1", "true", "TRUE", " True ", "t", "yes", "Y"):
        found = one_prospect(**{name: value})
        assert (found.opted_out, found.email_opted_out) == (name == "optedOut", name == "emailOptedOut"), value
    for value in (False, None, 0, 0.0, "0", "false", "no", "f", "", "null"):
        assert one_prospect(**{name: value})[5:8:2] == (False, False), value
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


KINDS_OF = {"prospect": 18, "sequence": 42, "sequenceState": 501, "sequenceStep": 210}
TARGETS = {**{kind: to_one(kind, number) for kind, number in KINDS_OF.items()}, "completer": to_one("user", 1)}


def test_a_task_is_read_as_it_stands() -> None:
    row = task({"state": "complete", "completed": False, "completedAt": None, "dueAt": STAMP, "note": "Hi"}, TARGETS)
    found = page(Stream.TASKS, row).tasks[0]
    assert found[:-2] == (9001, 18, 42, 501, 210, "sequence_step_email", "email", AT, "Hi", AT)
    assert found.untold == set()
    assert found.attributes == {
        "action": "email", "taskType": "sequence_step_email", "state": "complete", "stateChangedAt": None,
        "completed": False, "completedAt": None, "autoskipAt": None, "dueAt": STAMP, "createdAt": None,
        "updatedAt": STAMP, **KINDS_OF, "completer": 1,
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


NEXT = "https://x/2"


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (None, None), ({}, None), ({"next": None}, None), ([], None), ({"next": ""}, ""), ({"next": 17}, ""),
        ({"next": {}}, ""), ({"next": {"href": 5}}, ""), ({"next": []}, ""), ({"next": NEXT}, NEXT),
        ({"next": {"href": NEXT}}, NEXT),
    ],
)  # fmt: skip
def test_a_page_says_what_follows_that_nothing_does_or_neither(links: Any, expected: str | None) -> None:
    assert page(Stream.TASKS, links=links).next_url == expected
    assert page(Stream.TASKS).next_url == ""


def test_what_is_no_json_or_has_no_list_is_no_page() -> None:
    deep = [b"[" * 100_000, b'{"data":' * 100_000]
    for body in (b'{"data": null}', b'{"data": {}}', b'{"data": "x"}', b"", b"<html>", b"\xff\xfe", b"7", *deep):
        assert read_page(Answer(200, {}, body, AT), Stream.TASKS, NOTHING) is None, body[:20]


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
LINKS = some.sampled_from((None, {}, {"next": None}, {"next": ""}, {"next": NEXT}, {"next": {"href": "y"}}, []))


def drawn(kind: str, attributes: Mapping[str, Any], relationships: tuple[str, ...] = ()) -> Any:
    by_type = ((rows.Time, TIMES), (rows.Flag, FLAGS), (rows.Texts, EMAILS))
    named = {name: next((made for one, made in by_type if one is type_), TEXTS) for name, type_ in attributes.items()}
    related = dict.fromkeys((*relationships, "owner", "invented"), TO_ONE)
    attributes_of = some.fixed_dictionaries({}, optional={**named, "invented": IDS, "title": TEXTS})
    relationships_of = some.fixed_dictionaries({}, optional=related)
    row = {"type": some.just(kind), "id": IDS, "attributes": attributes_of, "relationships": relationships_of}
    return some.fixed_dictionaries(row)


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
    usual = {Stream.TASKS: task({}, TARGETS), Stream.PROSPECTS: prospect(emails=["a@b.example"], optedOut=True)}
    sequence = {"type": "sequence", "id": 42, "attributes": {"name": "Trial follow-up"}}
    included = [prospect(firstName="Zo\u00eb"), sequence]
    found = page(stream, {**OF_EACH, **usual}[stream], included=included, links={"next": NEXT})
    assert (len(found.rows), len(found.included), found.next_url) == (1, 1, NEXT)
