from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, strategies as st

from outreach_sync.records import Write, WriteValue
from outreach_sync.workbooks.wire import (
    Filter,
    Pair,
    Reading,
    beyond,
    credentials,
    encode,
    including_deleted,
    list_value,
    nested_name,
    read_pairs,
    unsendable,
    write_pairs,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(TEXT, st.booleans(), st.none(), st.integers(0, 9999))
FIELDS = st.dictionaries(st.sampled_from(["name", "main_location[email]", "cf_x", "no_email_soliciting"]), VALUES)


def decoded(pairs: list[Pair]) -> list[Pair]:
    return parse_qsl(encode(pairs).decode("ascii"), keep_blank_values=True, strict_parsing=bool(pairs))


def column(pairs: list[Pair], name: str) -> list[str]:
    return [value for key, value in pairs if key == name]


@given(st.lists(st.tuples(st.sampled_from(["_ff[]", "a[b]", "a[b][]", "naïve"]), TEXT), min_size=1))
def test_what_was_encoded_decodes_to_the_same(pairs: list[Pair]) -> None:
    assert decoded(pairs) == pairs


def test_the_documented_example_is_encoded_to_the_letter() -> None:
    filters, logic = including_deleted((Filter("id", "eq", list_value(["1001", "1002", "1003"])),))
    reading = Reading(filters, ("id", "lock_version"), logic)
    pairs = read_pairs(reading, skip_totals=("__skip_total_rows",))
    assert encode(pairs) == (
        b"_method=GET&_start=0&_limit=100&_sort=id&_dir=ASC&__skip_total_rows=true&_fm=1%20AND%20%282%20OR%203%29"
        b"&_ff[]=id&_ft[]=eq&_fc[]=1001%2C1002%2C1003&_ff[]=is_deleted&_ft[]=true&_fc[]="
        b"&_ff[]=is_deleted&_ft[]=false&_fc[]=&_select_columns[]=id&_select_columns[]=lock_version"
    )


def test_inner_brackets_are_encoded_and_the_trailing_pair_is_not() -> None:
    assert encode([("main_location[email][]", "a@b")]) == b"main_location%5Bemail%5D[]=a%40b"


def test_half_a_surrogate_pair_does_not_break_the_request() -> None:
    assert encode([("name[]", "a\ud83d")]) == b"name[]=a%3F"


def test_every_request_names_key_and_version() -> None:
    assert credentials("KEY") == [("client", "api"), ("api_version", "1"), ("api_key", "KEY")]


def test_a_comma_in_a_value_is_not_taken_for_a_separator() -> None:
    assert list_value(["a,b", "c"]) == r"a\,b,c"


def test_the_next_page_starts_after_the_last_id() -> None:
    plain = Reading((Filter("x", "eq", "1"),), ())
    assert beyond(plain, 7) == Reading((Filter("x", "eq", "1"), Filter("id", "gt", "7")), ())
    assert beyond(Reading(plain.filters, (), "1 AND (2 OR 3)"), 7).logic == "(1 AND (2 OR 3)) AND 2"


def test_a_page_is_limited_only_together_with_a_start() -> None:
    assert ("_start", "0") in read_pairs(Reading((), ()))
    assert read_pairs(Reading((), (), extra=(("class_names[]", "X"),)), paged=False) == [
        ("_method", "GET"),
        ("class_names[]", "X"),
    ]


@given(st.lists(FIELDS, min_size=1, max_size=6))
def test_each_object_has_the_same_names_in_the_same_order(objects: list[dict[str, WriteValue]]) -> None:
    writes = [Write(number if number % 2 else 0, 3, fields) for number, fields in enumerate(objects, 1)]
    if any(unsendable(write) for write in writes):
        return
    pairs = decoded(write_pairs(writes))
    body = pairs[[key for key, _ in pairs].index("__method[]") :]
    names = [key for key, _ in body]
    width = len(names) // len(writes)
    assert names == names[:width] * len(writes)
    assert column(body, "__method[]") == ["PUT" if write.id else "POST" for write in writes]
    assert column(body, "id[]") == [str(write.id) for write in writes]


@given(st.lists(FIELDS, min_size=1, max_size=4))
def test_an_object_is_told_its_own_values_and_nothing_else(objects: list[dict[str, WriteValue]]) -> None:
    writes = [Write(number, 0, fields) for number, fields in enumerate(objects, 1)]
    if any(unsendable(write) for write in writes):
        return
    pairs = decoded(write_pairs(writes))
    for name in {name for fields in objects for name in fields}:
        sent = column(pairs, f"{name}[]")
        for fields, text in zip(objects, sent, strict=True):
            assert (text == ":no_value:") == (name not in fields)
            assert (text == ":null_value:") == (name in fields and fields[name] is None)


def test_the_filter_selects_exactly_the_objects() -> None:
    pairs = write_pairs([Write(5, 1, {}), Write(0, 0, {}), Write(9, 1, {}), Write(0, 0, {})])
    assert column(pairs, "_fm") == ["or"]
    assert column(pairs, "_ff[]") == ["id"] * 3
    assert column(pairs, "_fc[]") == ["5", "0", "9"]


def test_creates_alone_are_filtered_by_id_zero() -> None:
    pairs = write_pairs([Write(0, 0, {"name": "x"})])
    assert column(pairs, "_fc[]") == ["0"]
    assert not column(pairs, "_fm")


def test_every_write_is_strict_and_saves_each_object_by_itself() -> None:
    pairs = write_pairs([Write(1, 0, {})])
    assert {("_strict_attribute_checking", "1"), ("_per_object_transactions", "1"), ("_method", "PUT")} <= set(pairs)


def test_a_record_twice_in_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        write_pairs([Write(1, 0, {}), Write(1, 0, {})])


@pytest.mark.parametrize("text", [":no_value:", ":null_value:"])
def test_a_text_that_is_a_command_is_never_sent(text: str) -> None:
    write = Write(1, 0, {"cf_x": text})
    assert "cf_x" in (unsendable(write) or "")
    with pytest.raises(ValueError, match="special meaning"):
        write_pairs([write])


def test_ordinary_values_can_be_sent() -> None:
    assert unsendable(Write(1, 0, {"a": "x", "b": None, "c": True})) is None


@pytest.mark.parametrize(("name", "spelled"), [("a", "a"), ("a[b]", "a[b]"), ("a[b[c]]", "a[b][c]")])
def test_doubly_nested_names_are_flattened(name: str, spelled: str) -> None:
    assert nested_name(name) == spelled
