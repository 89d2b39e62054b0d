"""What a read answers: filters, pages, columns, the forms of values, metadata, and whom the key's user may see."""

from typing import Any

import pytest

from outreach_sync.sandbox.workbooks.schema import PERSON, SEQUENCE_STATES, TASK
from tests.sandbox.workbooks.conftest import EMAIL, PEOPLE, STAMP, STATE, TASKS, Client

ALL = ("id", "gt", "0")


@pytest.fixture
def people(client: Client) -> Client:
    times = {STAMP: "2026-09-01T10:00:04Z", "no_email_soliciting": True, "employer_link": 7}
    client.store.add_person(name="Ada Example", email="Ada@Example.com", cf_person_sequences="a\nb", **times)
    client.store.add_person(name="Bo, Example", email="bo@example.com", cf_person_outreach_id="18")
    client.store.add_person(name="Cy Other")
    return client


@pytest.fixture
def many(client: Client) -> Client:
    for number in range(250):
        client.store.add_person(name=f"Person {number % 7}", email="same@example.com")
    return client


def test_each_operator_selects_what_the_guide_says(people: Client) -> None:
    cases: tuple[tuple[str, str, str, list[int]], ...] = (
        ("id", "eq", "1003,1001,9", [1001, 1003]), ("id", "eq", "x", []), ("id", "gt", "1001", [1002, 1003]),
        ("id", "le", "1002", [1001, 1002]), ("id", "ne", "1002", [1001, 1003]),
        ("name", "eq", r"Bo\, Example", [1002]), ("name", "eq", "Bo, Example", []),
        ("name", "ct", "example", [1001, 1002]), ("name", "nct", "EXAMPLE", [1003]), ("name", "bg", "ad", [1001]),
        ("name", "nbg", "ad", [1002, 1003]), (EMAIL, "eq", "ADA@example.com,bo@example.com", [1001, 1002]),
        (EMAIL, "blank", "", [1003]), (EMAIL, "not_blank", "", [1001, 1002]),
        ("cf_person_outreach_id", "eq", "18,19", [1002]), ("no_email_soliciting", "eq", "1", [1001]),
        ("no_email_soliciting", "false", "", [1002, 1003]), ("employer_link", "eq", "7", [1001]),
        ("lock_version", "eq", "0", [1001, 1002, 1003]), ("object_ref", "eq", "PERS-1002", [1002]),
        ("object_ref", "eq", "PERS-x", []), (STAMP, "eq", "2026-09-01", [1001]),
        (STAMP, "eq", "Tue Sep 01 10:00:04 UTC 2026", [1001]), (STAMP, "eq", "2026-09-01T10:00:05Z", []),
        (STAMP, "gt", "2026-09-01", []), (STAMP, "ge", "2026-09-01T10:00:04Z", [1001]),
    )  # fmt: skip
    for field, operator, value, ids in cases:
        assert people.ids(PEOPLE, (field, operator, value)) == ids, (field, operator, value)


def test_filters_are_joined_as_the_expression_says(people: Client) -> None:
    filters = (("id", "eq", "1001"), ("id", "eq", "1002"), ("id", "ge", "1002"))
    plain = {"": [], "or": [1001, 1002, 1003], "3": [1002, 1003]}
    joined = {"1 AND (2 OR NOT 3)": [1001], "NOT 1 and not 2 AND 3": [1003], "3 or 1 AND 2": [1002, 1003]}
    for logic, ids in (plain | joined).items():
        assert people.ids(PEOPLE, *filters, _fm=logic) == ids, logic


def test_a_read_that_makes_no_sense_is_answered_with_200_and_no_rows(people: Client) -> None:
    plain = {"_ff[]": "id", "_ft[]": "gt", "_fc[]": "0"}
    wrong = [{"_fm": logic} for logic in ("1 AND", "(1", "2", "1 NEAR 1", "1 + 1")]
    wrong += [{"_sort": "nonsense"}, {"_ff[]": "nonsense"}, {"_ft[]": "like"}, {"_ff[]": STAMP, "_fc[]": "soon"}]
    for odd in (*({**plain, **one} for one in wrong), {"_filter_json": "[1]"}, {"_ff[]": "id"}):
        response = people.post(PEOPLE, [("_method", "GET"), *odd.items()])
        assert (response.status_code, list(response.json())) == (200, ["success", "failures"]), odd


def test_eq_takes_more_or_less_for_the_same(client: Client) -> None:
    for fault, asked, kept, found in (
        ("eq_without_accents", "info@strasse.example", "info@stra\u00dfe.example", True),
        ("eq_without_accents", "rene@example.com", "Ren\u00e9@example.com", True),
        ("eq_without_blanks", "ada@example.com", " Ada@example.com ", True),
        ("eq_case_sensitive", "bo@example.com", "Bo@example.com", False),
        ("backslash_escapes", r"a\\b@example.com", r"a\b@example.com", True),
    ):
        client.faults.clear()
        client.store.add_person(name="X", email=kept)
        assert bool(client.ids(PEOPLE, (EMAIL, "eq", asked))) is not found
        client.faults.on(fault)
        assert bool(client.ids(PEOPLE, (EMAIL, "eq", asked))) is found


def test_a_page_has_at_most_100_rows_pages_join_up_and_a_limit_needs_a_start(many: Client) -> None:
    pages = [many.ids(PEOPLE, ALL, _start=str(start), _limit="500") for start in (0, 100, 200)]
    assert [id_ for page in pages for id_ in page] == list(range(1001, 1251))
    assert len(many.ids(PEOPLE, ALL, _limit="5")) == 100
    assert many.ids(PEOPLE, ALL, _start="0", _limit="2", _sort="id", _dir="DESC") == [1250, 1249]
    many.faults.on("sort_ignored")
    assert many.ids(PEOPLE, ALL, _start="0", _limit="2", _sort="id") == [1250, 1249]


def test_either_spelling_stops_the_counting_of_rows_and_a_misspelt_filter_lets_everything_through(many: Client) -> None:
    page = {"_start": "0", "_limit": "10"}
    assert many.get(PEOPLE, ALL, **page)["total"] == 250
    for name in ("__skip_total_rows", "_skip_total_rows"):
        assert many.get(PEOPLE, ALL, **page, **{name: "true"})["total"] == 10
        many.faults.on("skip_total_unknown", spelling=name)
        assert many.get(PEOPLE, ALL, **page, **{name: "true"})["total"] == 250
        many.faults.on("skip_total_unknown", spelling=name, refused=True)
        assert name in many.get(PEOPLE, ALL, **page, **{name: "true"})["failures"][0]
    pairs = [("_method", "GET"), ("_field[]", "id"), ("_ftype[]", "eq"), ("_fcrit[]", "1001")]
    assert len(many.post(PEOPLE, pairs).json()["data"]) == 100
    many.faults.on("filter_ignored", times=1)
    assert len(many.ids(PEOPLE, ("id", "eq", "1001"))) == 100


def test_a_deleted_person_is_left_out_unless_asked_for_and_a_hidden_one_is_in_no_answer(people: Client) -> None:
    people.store.delete(PERSON, 1002)
    people.store.hide(1003)
    asked = (("id", "eq", "1001,1002,1003"), ("is_deleted", "true", ""), ("is_deleted", "false", ""))
    assert people.ids(PEOPLE, asked[0]) == [1001]
    assert people.ids(PEOPLE, *asked, _fm="1 AND (2 OR 3)") == [1001, 1002]
    people.faults.on("deleted_listed", times=1)
    assert people.ids(PEOPLE, asked[0]) == [1001, 1002]
    people.faults.on("records_hidden", ids=[1001])
    assert people.ids(PEOPLE, *asked, _fm="1 AND (2 OR 3)") == [1002]
    assert people.ids(PEOPLE, (EMAIL, "eq", "ada@example.com")) == []
    refused = people.write(PEOPLE, {"id": 1001, "name": "A"}, {"id": 1003, "name": "C"})
    assert [one["errors"] for one in refused["affected_object_information"]] == [{"base": ["could not be found"]}] * 2
    people.faults.clear()
    people.store.reveal(1003)
    assert people.ids(PEOPLE) == [1001, 1003]
    people.store.add_task(name="Call")
    people.faults.on("records_hidden")
    assert (people.ids(PEOPLE), people.ids(TASKS)) == ([], [4001])


def test_values_are_shown_in_the_documented_forms_or_others(people: Client) -> None:
    people.store.add_task(name="Call", due_date="2026-09-01")
    row = people.get(TASKS, ("due_date", "lt", "2026-09-02"), columns="due due_date due_datetime")["data"]
    assert row == [{"due": "2026-09-01,0,Europe/London", "due_date": " 1 Sep 2026", "due_datetime": None}]
    cases: list[tuple[str | None, str, Any]] = [
        (None, STAMP, "Tue Sep 01 10:00:04 UTC 2026"),
        ("datetime_reads_back_as_date", STAMP, " 1 Sep 2026"),
        ("custom_datetime_is_var", STAMP, "2026-09-01T10:00:04.000Z,1,Europe/London"),
        (None, "cf_person_sequences", "a\nb"),
        ("text_line_ends_crlf", "cf_person_sequences", "a\r\nb"),
    ]
    people.faults.on("column_missing", field=STAMP)
    assert people.get(PEOPLE, ("id", "eq", "1001"), columns=f"id {STAMP}")["data"] == [{"id": 1001}]
    for fault, column, shown in cases:
        people.faults.clear()
        if fault:
            people.faults.on(fault)
        assert people.get(PEOPLE, ("id", "eq", "1001"), columns=column)["data"] == [{column: shown}]


def test_metadata_describe_classes_fields_and_picklists(client: Client) -> None:
    pairs = [("_method", "GET"), ("class_names[]", TASK), ("class_names[]", "Private::Nonsense")]
    columns = [("_select_columns[]", "class_name"), ("_select_columns[]", "controller_path")]
    found = client.post("metadata/types", pairs + columns).json()["data"]
    assert found == [{"class_name": TASK, "controller_path": TASKS}]
    state = client.field(STATE)
    assert (state["title"], state["datatype"]) == ("Sequence State", "picklist_data")
    assert (state["picklist"]["picklist_id"], state["picklist"]["unrestricted"]) == (SEQUENCE_STATES, False)
    assert (client.field("name")["required"], client.field("object_ref")["is_updateable"]) == (True, False)
    client.faults.on("custom_datetime_is_var")
    assert client.field(STAMP)["datatype"] == "var_date_time"
