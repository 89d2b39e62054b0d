from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
ALL = ("id", "gt", "0")


@pytest.fixture
def many(client: Client) -> Client:
    for number in range(250):
        client.service.store.add_person(name=f"Person {number % 7}", email="same@example.com")
    return client


def test_columns_are_those_selected_and_an_unknown_one_is_left_out(client: Client) -> None:
    client.service.store.add_person(name="Ada Example", email="ada@example.com")
    answer = client.get(PEOPLE, ALL, columns="id lock_version main_location[email] nonsense")
    assert answer == {
        "success": True,
        "data": [{"id": 1001, "lock_version": 0, "main_location[email]": "ada@example.com"}],
        "total": 1,
    }


def test_without_columns_everything_comes(client: Client) -> None:
    client.service.store.add_person(name="Ada Example")
    row = client.post(PEOPLE, [("_method", "GET")]).json()["data"][0]
    assert row["object_ref"] == "PERS-1001"
    assert row["updated_by_user[person_name]"] == "Integration User"
    assert len(row) > 40


def test_a_page_has_at_most_100_rows_and_pages_join_up(many: Client) -> None:
    pages = [many.ids(PEOPLE, ALL, _start=str(start), _limit="500") for start in (0, 100, 200)]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [id_ for page in pages for id_ in page] == list(range(1001, 1251))


def test_a_limit_without_a_start_is_ignored(many: Client) -> None:
    assert len(many.ids(PEOPLE, ALL, _limit="5")) == 100
    assert len(many.ids(PEOPLE, ALL, _start="0", _limit="5")) == 5


@pytest.mark.parametrize("name", ["__skip_total_rows", "_skip_total_rows"])
def test_either_spelling_stops_the_counting_of_rows(many: Client, name: str) -> None:
    page = {"_start": "0", "_limit": "10"}
    assert many.get(PEOPLE, ALL, **page)["total"] == 250
    assert many.get(PEOPLE, ALL, **page, **{name: "true"})["total"] == 10
    many.service.faults.on("skip_total_unknown")
    assert many.get(PEOPLE, ALL, **page, **{name: "true"})["total"] == 250


def test_rows_come_in_the_order_asked_for(many: Client) -> None:
    assert many.ids(PEOPLE, ALL, _start="0", _limit="2", _sort="id", _dir="DESC") == [1250, 1249]
    by_name = many.post(
        PEOPLE,
        [("_method", "GET"), ("_sort[]", "name"), ("_sort[]", "id"), ("_dir[]", "DESC"), ("_dir[]", "DESC")],
    ).json()["data"]
    assert (by_name[0]["name"], by_name[0]["id"], by_name[1]["id"]) == ("Person 6", 1245, 1238)


def test_an_unknown_sort_column_is_refused_with_200(client: Client) -> None:
    answer = client.get(PEOPLE, ALL, _sort="nonsense")
    assert answer == {"success": False, "failures": ["'nonsense' is not a valid sort column"]}


def test_deleted_rows_are_hidden_unless_is_deleted_is_in_the_filter(client: Client) -> None:
    store = client.service.store
    store.add_person(name="Ada Example")
    store.delete(PERSON, store.add_person(name="Bo Example"))
    both = (("is_deleted", "true", ""), ("is_deleted", "false", ""))
    assert client.ids(PEOPLE, ("id", "eq", "1001,1002")) == [1001]
    assert client.ids(PEOPLE, ("id", "eq", "1001,1002"), *both, _fm="1 AND (2 OR 3)") == [1001, 1002]


def test_rows_nobody_may_see_are_not_there(client: Client) -> None:
    client.service.store.hide(client.service.store.add_person(name="Ada Example"))
    assert client.ids(PEOPLE, ALL) == []


def test_a_malformed_filter_is_answered_with_200_and_no_rows(client: Client) -> None:
    answer = client.get(PEOPLE, ("nonsense", "eq", "1"))
    assert answer == {"success": False, "failures": ["'nonsense' is not a valid filter field"]}


def test_a_misspelt_filter_parameter_lets_everything_through(many: Client) -> None:
    pairs = [("_method", "GET"), ("_field[]", "id"), ("_ftype[]", "eq"), ("_fcrit[]", "1001")]
    assert len(many.post(PEOPLE, pairs).json()["data"]) == 100


def test_a_number_in_a_text_field_comes_back_as_text(client: Client) -> None:
    client.service.store.add_person(name="Ada Example", cf_person_outreach_id="18")
    row = client.get(PEOPLE, ("cf_person_outreach_id", "eq", "18,19"), columns="cf_person_outreach_id")["data"]
    assert row == [{"cf_person_outreach_id": "18"}]


def test_output_forms_can_be_chosen(client: Client) -> None:
    client.service.store.add_person(name="Ada Example", cf_person_state_updated_at="2026-09-01T10:00:04Z")
    column = "cf_person_state_updated_at"
    assert client.get(PEOPLE, ALL, columns=column)["data"][0][column] == "Tue Sep 01 10:00:04 UTC 2026"
    epoch = client.get(PEOPLE, ALL, columns=column, _json_output_datetime_format="%s")
    assert epoch["data"][0][column] == "1788256804"


def test_filter_ignored_returns_other_peoples_rows(many: Client) -> None:
    many.service.faults.on("filter_ignored", times=1)
    assert len(many.ids(PEOPLE, ("id", "eq", "1001"))) == 100
    assert many.ids(PEOPLE, ("id", "eq", "1001")) == [1001]


def test_eq_case_sensitive_misses_another_spelling(client: Client) -> None:
    client.service.store.add_person(name="Ada Example", email="Ada@Example.com")
    wanted = ("main_location[email]", "eq", "ada@example.com")
    assert client.ids(PEOPLE, wanted) == [1001]
    client.service.faults.on("eq_case_sensitive")
    assert client.ids(PEOPLE, wanted) == []


def test_page_shift_loses_a_row_between_two_pages(many: Client) -> None:
    many.service.faults.on("page_shift", times=1, shift=2)
    assert many.ids(PEOPLE, ALL, _start="0", _limit="3") == [1001, 1002, 1003]
    assert many.ids(PEOPLE, ALL, _start="3", _limit="3") == [1006, 1007, 1008]


def test_datetime_reads_back_as_date_for_the_field_it_names(client: Client) -> None:
    client.service.store.add_person(name="Ada Example", cf_person_state_updated_at="2026-09-01T10:00:04Z")
    client.service.faults.on("datetime_reads_back_as_date", field="cf_person_state_updated_at")
    row = client.get(PEOPLE, ALL, columns="cf_person_state_updated_at created_at")["data"][0]
    assert row["cf_person_state_updated_at"] == " 1 Sep 2026"
    assert "UTC" in row["created_at"]


def test_text_line_ends_crlf_changes_only_line_ends(client: Client) -> None:
    client.service.store.add_person(name="Ada Example", cf_person_sequences="a\nb")
    client.service.faults.on("text_line_ends_crlf")
    assert client.get(PEOPLE, ALL, columns="cf_person_sequences")["data"] == [{"cf_person_sequences": "a\r\nb"}]


def test_strict_objects_to_control_parameters_the_guide_does_not_name(client: Client) -> None:
    client.service.faults.on("strict_objects_to_control_parameters")
    strict = {"_strict_attribute_checking": "1"}
    assert not client.get(PEOPLE, ALL, **strict, _skip_total_rows="true")["success"]
    assert client.get(PEOPLE, ALL, **strict, __skip_total_rows="true")["success"]
    assert client.get(PEOPLE, ALL, _skip_total_rows="true")["success"]


def test_a_list_may_be_asked_for_with_a_plain_get(client: Client) -> None:
    client.service.store.add_person(name="Ada Example")
    query = {**client.key, "_ff[]": "id", "_ft[]": "eq", "_fc[]": "1001"}
    answer = client.session.get(f"{client.service.url}/{PEOPLE}.api", params=query, timeout=5).json()
    assert answer["data"][0]["id"] == 1001


def test_one_record_by_its_address_is_an_object_and_a_missing_one_404(client: Client) -> None:
    store = client.service.store
    store.add_person(name="Ada Example")
    store.delete(PERSON, store.add_person(name="Bo Example"))
    assert client.post(f"{PEOPLE}/1001", [("_method", "GET")]).json()["data"]["name"] == "Ada Example"
    statuses = [client.post(f"{PEOPLE}/{id_}", [("_method", "GET")]).status_code for id_ in (1002, 9)]
    assert statuses == [404, 404]
