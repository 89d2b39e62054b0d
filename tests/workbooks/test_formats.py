from __future__ import annotations

import locale

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Date, DateTime
from outreach_sync.workbooks.formats import Datatype, read, read_boolean, read_datetime, read_integer, to_wire

TEN = parse_iso("2026-09-01T10:00:04Z")
SECONDS = st.integers(min_value=0, max_value=4_102_444_800).map(lambda second: Instant(second * 1000))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (7, "7"),
        ("", ""),
        ("Active \u2013 Running", "Active \u2013 Running"),
        (DateTime(TEN), "Tue Sep 01 10:00:04 UTC 2026"),
        (DateTime(Instant(TEN + 999)), "Tue Sep 01 10:00:04 UTC 2026"),
        (Date(TEN), " 1 Sep 2026"),
        (Date(parse_iso("2026-12-24T23:59:59Z")), "24 Dec 2026"),
    ],
)
def test_values_are_sent_in_the_documented_forms(value: str | int | DateTime | Date, text: str) -> None:
    assert to_wire(value) == text


@pytest.mark.parametrize(
    "raw",
    [
        "Tue Sep 01 10:00:04 UTC 2026",
        "Tue Sep  1 10:00:04 UTC 2026",
        "2026-09-01T10:00:04Z",
        "2026-09-01T10:00:04.000Z,1,Europe/London",
        "2026-09-01T12:00:04+02:00",
        "2026-09-01 10:00:04",
        "1788256804",
        1788256804,
        1788256804.0,
        " 2026-09-01T10:00:04Z ",
    ],
)
def test_a_time_is_read_in_every_form_it_may_come_in(raw: object) -> None:
    assert read_datetime(raw) == TEN


@pytest.mark.parametrize(
    "raw", [" 1 Sep 2026", "2026-09-01", "2026-09-01,0,Europe/London", "2026-09-01T09:00:00Z,0,UTC"]
)
def test_a_bare_day_is_its_midnight(raw: str) -> None:
    assert read_datetime(raw) == parse_iso("2026-09-01T00:00:00Z")


@pytest.mark.parametrize(
    "raw", ["soon", "Tue Foo 01 10:00:04 UTC 2026", "31 Feb 2026", "2026-13-01", "9" * 40, "1,2,3"]
)
def test_what_is_no_time_is_none(raw: str) -> None:
    assert read_datetime(raw) is None


@pytest.mark.parametrize("raw", [None, ""])
def test_emptiness_is_none_for_text_and_time(raw: object) -> None:
    assert read(raw, Datatype.TEXT) is None
    assert read(raw, Datatype.DATETIME) is None


@pytest.mark.parametrize(
    ("expected", "spellings"),
    [
        (True, (True, "true", "t", "1", 1, "yes", "y", "on", "True")),
        (False, (False, "false", 0, "0", "", "maybe")),
        (None, (None,)),
    ],
)
def test_booleans_are_read_in_every_spelling(expected: object, spellings: tuple[object, ...]) -> None:
    assert [read_boolean(raw) for raw in spellings] == [expected] * len(spellings)


@pytest.mark.parametrize(
    ("raw", "expected"), [(5, 5), ("5", 5), (True, None), ("5a", None), ("\u0665", None), (None, None)]
)
def test_ids_are_whole_numbers_or_nothing(raw: object, expected: int | None) -> None:
    assert read_integer(raw) == expected


@given(SECONDS)
def test_a_time_survives_the_round_trip(instant: Instant) -> None:
    assert read_datetime(to_wire(DateTime(instant))) == instant


@given(SECONDS)
def test_a_day_survives_the_round_trip(instant: Instant) -> None:
    assert read_datetime(to_wire(Date(instant))) == instant - instant % 86_400_000


@given(st.text())
def test_reading_a_time_never_fails(text: str) -> None:
    assert isinstance(read_datetime(text), int | None)


@given(st.booleans())
def test_a_boolean_survives_the_round_trip(value: bool) -> None:
    assert read_boolean(to_wire(value)) is value


def test_month_names_do_not_follow_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = locale.setlocale(locale.LC_TIME)
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_TIME, name)
        except locale.Error:
            continue
        assert to_wire(DateTime(TEN)) == "Tue Sep 01 10:00:04 UTC 2026"
    locale.setlocale(locale.LC_TIME, before)
