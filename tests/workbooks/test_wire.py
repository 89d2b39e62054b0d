"""Requests as form bodies, and values in the forms in which Workbooks takes and gives them."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Date, DateTime, Write, WriteValue
from outreach_sync.workbooks import wire
from outreach_sync.workbooks.wire import Filter, Pair, Reading, encode, read_datetime, read_pairs, to_wire, write_pairs

TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not text.startswith(":"))
VALUES = st.one_of(TEXT, st.booleans(), st.none(), st.integers(0, 9999))
FIELDS = st.dictionaries(st.sampled_from(["name", "main_location[email]", "cf_x", "no_email_soliciting"]), VALUES)


def decoded(pairs: list[Pair]) -> list[Pair]:
    return parse_qsl(encode(pairs).decode("ascii"), keep_blank_values=True, strict_parsing=bool(pairs))


def column(pairs: list[Pair], name: str) -> list[str]:
    return [value for key, value in pairs if key == name]


def test_the_documented_example_is_encoded_to_the_letter() -> None:
    reading = wire.look_up("id", ["1001", "1002", "1003"], ("id", "lock_version"), include_deleted=True)
    pairs = read_pairs(reading, skip_totals=("__skip_total_rows",))
    assert encode(pairs) == (
        b"_method=GET&_start=0&_limit=100&_sort=id&_dir=ASC&__skip_total_rows=true&_fm=1%20AND%20%282%20OR%203%29"
        b"&_ff[]=id&_ft[]=eq&_fc[]=1001%2C1002%2C1003&_ff[]=is_deleted&_ft[]=true&_fc[]="
        b"&_ff[]=is_deleted&_ft[]=false&_fc[]=&_select_columns[]=id&_select_columns[]=lock_version"
    )


def test_half_a_surrogate_pair_breaks_neither_a_request_nor_a_database() -> None:
    assert encode([("name[]", "a\ud83d")]) == b"name[]=a%3F"
    assert (wire.read_text("a\ud83d"), wire.read_text("Zoë 😀")) == ("a?", "Zoë 😀")


def test_the_next_page_starts_after_the_last_id() -> None:
    plain = Reading((Filter("x", "eq", "1"),), ())
    pairs = read_pairs(plain, after=7)
    assert [column(pairs, name) for name in ("_ff[]", "_ft[]", "_fc[]")] == [["x", "id"], ["eq", "gt"], ["1", "7"]]
    assert column(pairs, "_fm") == []
    joined = read_pairs(plain._replace(logic="1 AND (2 OR 3)"), after=7)
    assert column(joined, "_fm") == ["(1 AND (2 OR 3)) AND 2"]


@given(st.lists(FIELDS, min_size=1, max_size=6))
def test_each_object_has_the_same_names_in_one_order_and_is_told_its_own_values_alone(
    objects: list[dict[str, WriteValue]],
) -> None:
    writes = [Write(number if number % 2 else 0, 3, fields) for number, fields in enumerate(objects, 1)]
    pairs = decoded(write_pairs(writes))
    assert pairs == write_pairs(writes)
    body = pairs[[key for key, _ in pairs].index("__method[]") :]
    names = [key for key, _ in body]
    assert names == names[: len(names) // len(writes)] * len(writes)
    assert column(body, "__method[]") == ["PUT" if write.id else "POST" for write in writes]
    assert column(body, "id[]") == [str(write.id) for write in writes]
    for name in {name for fields in objects for name in fields}:
        for fields, text in zip(objects, column(body, f"{name}[]"), strict=True):
            assert (text == ":no_value:") == (name not in fields)
            assert (text == ":null_value:") == (name in fields and fields[name] is None)


def test_a_write_is_strict_and_selects_exactly_its_objects_each_once_and_saved_by_itself() -> None:
    pairs = write_pairs([Write(5, 1, {}), Write(0, 0, {"a[b[c]]": "x"}), Write(9, 1, {}), Write(0, 0, {})])
    assert column(pairs, "_fm") == ["or"]
    assert column(pairs, "_ff[]") == ["id"] * 3
    assert column(pairs, "_fc[]") == ["5", "0", "9"]
    assert {("_strict_attribute_checking", "1"), ("_per_object_transactions", "1"), ("_method", "PUT")} <= set(pairs)
    assert column(pairs, "a[b][c][]") == [":no_value:", "x", ":no_value:", ":no_value:"]
    with pytest.raises(ValueError, match="twice"):
        write_pairs([Write(1, 0, {}), Write(1, 0, {})])


TEN = parse_iso("2026-09-01T10:00:04Z")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(True, "1"), (False, "0"), (7, "7")],
        ("Active \u2013 Running", "Active \u2013 Running"),
        (DateTime(Instant(TEN + 999)), "Tue Sep 01 10:00:04 UTC 2026"),
        (Date(TEN), " 1 Sep 2026"),
        (Date(parse_iso("2026-12-24T23:59:59Z")), "24 Dec 2026"),
    ],
)
def test_values_are_sent_in_the_documented_forms(value: WriteValue, text: str) -> None:
    assert to_wire(value) == text


TIMES = (
    "Tue Sep 01 10:00:04 UTC 2026", "Tue Sep  1 10:00:04 UTC 2026", "2026-09-01T10:00:04Z", "2026-09-01 10:00:04",
    "2026-09-01T10:00:04.000Z,1,Europe/London", "2026-09-01T12:00:04+02:00", " 2026-09-01T10:00:04Z ",
    "1788256804", 1788256804, 1788256804.0,
)  # fmt: skip
DAYS = (" 1 Sep 2026", "2026-09-01", "2026-09-01,0,Europe/London", "2026-09-01T09:00:00Z,0,UTC")
NONSENSE = (
    None, "", "soon", "Tue Foo 01 10:00:04 UTC 2026", "31 Feb 2026", "2026-13-01", "9" * 40, "1,2,3", "0001-01-01",
    "-99999999999", "9999-12-31",
)  # fmt: skip


def test_a_time_is_read_in_every_form_a_day_as_its_midnight_and_nonsense_as_none() -> None:
    for forms, expected in ((TIMES, TEN), (DAYS, parse_iso("2026-09-01T00:00:00Z")), (NONSENSE, None)):
        assert [read_datetime(raw) for raw in forms] == [expected] * len(forms)


def test_booleans_are_read_in_every_spelling() -> None:
    assert all(wire.read_boolean(raw) for raw in (True, "true", "t", "1", 1, "yes", "y", "on", "True"))
    assert {wire.read_boolean(raw) for raw in (False, "false", 0, "0", "", "maybe")} == {False}
    assert wire.read_boolean(None) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        *[(5, 5), ("5", 5), (5.0, 5), (2**62, 2**62)],
        *[(True, None), ("5a", None), ("\u0665", None), (None, None), (5.5, None), (float("inf"), None)],
        *[(2**62 + 1, None), (-(2**63), None), (10**400, None), (1e300, None), ("9" * 19, None), ("9" * 5000, None)],
    ],
)
def test_ids_are_whole_numbers_or_nothing(raw: object, expected: int | None) -> None:
    assert wire.read_integer(raw) == expected


@given(st.integers(min_value=0, max_value=4_102_444_800), st.text())
def test_times_and_days_survive_the_round_trip_and_no_text_breaks_the_reading(second: int, text: str) -> None:
    instant = Instant(second * 1000)
    assert read_datetime(to_wire(DateTime(instant))) == instant
    assert read_datetime(to_wire(Date(instant))) == instant - instant % 86_400_000
    assert isinstance(read_datetime(text), int | None)


@pytest.mark.parametrize(
    ("sent", "raw", "kept"),
    [
        (DateTime(Instant(TEN + 900)), "Tue Sep 01 10:00:04 UTC 2026", True),
        (DateTime(TEN), "Tue Sep 01 10:00:05 UTC 2026", False),
        (DateTime(TEN), None, False),
        (Date(TEN), "2026-09-01,0,Europe/London", True),
        *[(True, "t", True), (False, None, True), (True, False, False), (None, None, True), (None, "x", False)],
        *[("a\nb", "a\r\nb", True), ("a & b", "a &amp; b", False), ("18", 18, True)],
    ],
)
def test_what_is_kept_is_compared_after_parsing(sent: WriteValue, raw: object, *, kept: bool) -> None:
    assert wire.is_kept(sent, raw) is kept
