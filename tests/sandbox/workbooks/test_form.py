from __future__ import annotations

import pytest

from outreach_sync.sandbox.workbooks.conditions import MalformedError
from outreach_sync.sandbox.workbooks.filters import RawFilter
from outreach_sync.sandbox.workbooks.form import filters_of, rows_of, sort_out

OBJECT = [("__method[]", "PUT"), ("id[]", "5"), ("lock_version[]", "2")]


def test_no_value_is_left_out_null_value_is_null_and_empty_stays_empty() -> None:
    sent = [*OBJECT, ("a[]", ":no_value:"), ("b[]", ":null_value:"), ("main_location[email][]", "")]
    assert rows_of(sort_out(sent))[0].fields == {"b": None, "main_location[email]": ""}


def test_names_nested_twice_come_in_another_spelling() -> None:
    row = rows_of(sort_out([*OBJECT, ("org_lead_party[main_location][email][]", "x")]))[0]
    assert row.fields == {"org_lead_party[main_location[email]]": "x"}


def test_an_array_that_is_not_square_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"name\[\]"):
        rows_of(sort_out([*OBJECT, *OBJECT, ("name[]", "x")]))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_method_id_and_lock_version_are_needed(missing: int) -> None:
    with pytest.raises(MalformedError, match="must be given"):
        rows_of(sort_out([pair for place, pair in enumerate(OBJECT) if place != missing]))


@pytest.mark.parametrize(
    "pairs",
    [
        [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", "1")],
        [("_ff", "id"), ("_ft", "eq"), ("_fc", "1")],
        [("_filter_json", '[["id","eq","1"]]')],
    ],
)
def test_all_three_spellings_of_a_filter_are_read(pairs: list[tuple[str, str]]) -> None:
    assert filters_of(sort_out(pairs)) == [RawFilter("id", "eq", "1")]


@pytest.mark.parametrize(
    "pairs",
    [
        [("_ff[]", "id"), ("_ft[]", "eq")],
        [("_filter_json", "[")],
        [("_filter_json", '[["id","eq"]]')],
        [("_filter_json", '{"id":1}')],
    ],
)
def test_filters_with_a_part_missing_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedError):
        filters_of(sort_out(pairs))


def test_a_misspelt_filter_parameter_is_ignored() -> None:
    assert filters_of(sort_out([("_fields[]", "id"), ("_fz[]", "eq")])) == []


@pytest.mark.parametrize(("sent", "set_"), [("1", True), ("True", True), ("0", False), ("false", False), ("", False)])
def test_control_parameters_are_on_for_anything_but_a_no(sent: str, set_: object) -> None:
    assert sort_out([("_strict_attribute_checking", sent)]).flag("_strict_attribute_checking") is set_
