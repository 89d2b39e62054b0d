from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.sandbox.workbooks.conditions import MalformedError
from outreach_sync.sandbox.workbooks.filters import RawFilter, Setting, list_of, read_filter
from outreach_sync.sandbox.workbooks.schema import PERSON, TASK

if TYPE_CHECKING:
    from outreach_sync.sandbox.workbooks import WorkbooksStore

SETTING = Setting("Europe/London", parse_iso("2026-09-01T12:00:00Z"))


@pytest.fixture
def people(store: WorkbooksStore) -> WorkbooksStore:
    moment = parse_iso("2026-09-01T10:00:04Z")
    fields = {"no_email_soliciting": True, "cf_person_state_updated_at": moment, "employer_link": 7}
    store.add_person(name="Ada Example", email="Ada@Example.com", **fields)
    store.add_person(name="Bo, Example", email="bo@example.com", cf_person_outreach_id="18")
    store.add_person(name="Cy Other")
    return store


def found(store: WorkbooksStore, field: str, operator: str, value: str = "", record_class: str = PERSON) -> list[int]:
    table = store.table(record_class)
    condition = read_filter(RawFilter(field, operator, value), table, SETTING)
    candidates = condition.candidates()
    ids = table.ids() if candidates is None else sorted(candidates)
    return [id_ for id_ in ids if condition.holds(table.records[id_])]


@pytest.mark.parametrize(
    ("field", "operator", "value", "ids"),
    [
        ("id", "eq", "1003,1001,9", [1001, 1003]),
        ("id", "eq", "x", []),
        ("id", "gt", "1001", [1002, 1003]),
        ("id", "ge", "1003", [1003]),
        ("id", "lt", "1002", [1001]),
        ("id", "le", "1002", [1001, 1002]),
        ("id", "ne", "1002", [1001, 1003]),
        ("name", "eq", r"Bo\, Example", [1002]),
        ("name", "eq", "Bo, Example", []),
        ("name", "ct", "example", [1001, 1002]),
        ("name", "nct", "EXAMPLE", [1003]),
        ("name", "bg", "ad", [1001]),
        ("name", "nbg", "ad", [1002, 1003]),
        ("name", "ne", "ada example", [1002, 1003]),
        ("main_location[email]", "eq", "ADA@example.com,bo@example.com", [1001, 1002]),
        ("main_location[email]", "blank", "", [1003]),
        ("main_location[email]", "not_blank", "", [1001, 1002]),
        ("cf_person_outreach_id", "eq", "18,19", [1002]),
        ("no_email_soliciting", "eq", "1", [1001]),
        ("no_email_soliciting", "eq", "0", [1002, 1003]),
        ("no_email_soliciting", "true", "", [1001]),
        ("no_email_soliciting", "false", "", [1002, 1003]),
        ("employer_link", "eq", "7", [1001]),
        ("employer_link", "between", "JSON([5,8])", [1001]),
        ("lock_version", "eq", "0", [1001, 1002, 1003]),
        ("object_ref", "eq", "PERS-1002", [1002]),
        ("type", "eq", PERSON, [1001, 1002, 1003]),
        ("cf_person_state_updated_at", "eq", "2026-09-01", [1001]),
        ("cf_person_state_updated_at", "eq", "Tue Sep 01 10:00:04 UTC 2026", [1001]),
        ("cf_person_state_updated_at", "eq", "2026-09-01T10:00:05Z", []),
        ("cf_person_state_updated_at", "gt", "2026-09-01", []),
        ("cf_person_state_updated_at", "ge", "2026-09-01T10:00:04Z", [1001]),
        ("cf_person_state_updated_at", "le", "2026-09-01", [1001]),
        ("cf_person_state_updated_at", "between", "JSON([2026-08-01,2026-09-30])", [1001]),
        ("cf_person_state_updated_at", "not_between", 'JSON(["2026-08-01","2026-08-30"])', [1001, 1002, 1003]),
        ("cf_person_state_updated_at", "today", "", [1001]),
        ("cf_person_state_updated_at", "lt_today", "", []),
        ("cf_person_state_updated_at", "ge_today", "", [1001]),
    ],
)
def test_each_operator_selects_what_the_guide_says(
    people: WorkbooksStore, field: str, operator: str, value: str, ids: list[int]
) -> None:
    assert found(people, field, operator, value) == ids


def test_a_day_without_time_is_found_by_its_day_and_by_its_twin(store: WorkbooksStore) -> None:
    id_ = store.add_task(name="Call", due_date="2026-09-01")
    assert found(store, "due", "eq", "2026-09-01", TASK) == [id_]
    assert found(store, "due_date", "lt", "2026-09-02", TASK) == [id_]
    assert found(store, "due_datetime", "blank", "", TASK) == [id_]


def test_a_moment_in_full_is_one_value_of_eq_although_it_has_commas(store: WorkbooksStore) -> None:
    call = store.add_task(name="Call", due="2026-09-01T09:00:00.000Z,1,Europe/London")
    mail = store.add_task(name="Mail", due="2026-09-02,0,Asia/Tokyo")
    assert found(store, "due", "eq", "2026-09-01T09:00:00.000Z,1,Europe/London", TASK) == [call]
    assert found(store, "due", "eq", "2026-09-02,0,Asia/Tokyo", TASK) == [mail]
    both = "2026-09-01T09:00:00.000Z,1,Europe/London,2026-09-02,0,Asia/Tokyo"
    assert found(store, "due", "eq", both, TASK) == [call, mail]


def test_eq_can_heed_case(people: WorkbooksStore) -> None:
    strict = SETTING._replace(case_sensitive=True)
    table = people.table(PERSON)
    lower = read_filter(RawFilter("main_location[email]", "eq", "ada@example.com"), table, strict)
    exact = read_filter(RawFilter("main_location[email]", "eq", "Ada@Example.com"), table, strict)
    assert not lower.holds(table.records[1001])
    assert exact.holds(table.records[1001])


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("nonsense", "eq", "1"),
        ("name", "like", "x"),
        ("name", "gt", "x"),
        ("id", "gt", "x"),
        ("id", "ct", "1"),
        ("created_at", "eq", "soon"),
        ("id", "between", "JSON([1])"),
        ("id", "gt", "1_0"),
        ("name", "true", ""),
        ("employer_link", "false", ""),
        ("created_at", "eq", "2026-09-01,0,Nowhere/Land"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(people: WorkbooksStore, field: str, operator: str, value: str) -> None:
    with pytest.raises(MalformedError):
        found(people, field, operator, value)


def test_a_list_is_split_at_commas_without_a_backslash() -> None:
    assert list_of(r"a,b\,c,d") == ["a", "b,c", "d"]


def test_an_index_follows_what_users_change(people: WorkbooksStore) -> None:
    assert found(people, "main_location[email]", "eq", "bo@example.com") == [1002]
    people.update(PERSON, 1003, **{"main_location[email]": "bo@example.com"})
    people.update(PERSON, 1002, **{"main_location[email]": "new@example.com"})
    assert found(people, "main_location[email]", "eq", "bo@example.com") == [1003]
    people.purge(PERSON, 1003)
    assert found(people, "main_location[email]", "eq", "bo@example.com") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "1001,1002"),
        ("object_ref", "PERS-1001,PERS-1002"),
        ("main_location[email]", "ada@example.com,bo@example.com"),
        ("name", r"ada example,bo\, example"),
    ],
)
def test_look_ups_by_lists_do_not_go_through_everybody(people: WorkbooksStore, field: str, value: str) -> None:
    condition = read_filter(RawFilter(field, "eq", value), people.table(PERSON), SETTING)
    assert set(condition.candidates() or ()) == {1001, 1002}
