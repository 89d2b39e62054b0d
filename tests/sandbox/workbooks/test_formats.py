from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.sandbox.workbooks.formats import (
    OutputForms,
    local_day,
    read_value,
    show_datetime,
    show_value,
    twin_value,
    var_moment,
)

LONDON = "Europe/London"
TEN = parse_iso("2026-09-01T10:00:04Z")


@pytest.mark.parametrize(
    "sent",
    [
        "Tue Sep 01 10:00:04 UTC 2026",
        "Tue Sept 1 10:00:04 UTC 2026",
        "2026-09-01T10:00:04Z",
        "2026-09-01T12:00:04+02:00",
        "2026-09-01T11:00:04",
        "Tue Sep 01 11:00:04 2026",
        "1788256804",
        "2026-09-01T10:00:04.999Z",
    ],
)
def test_every_documented_form_of_a_time_means_the_same_and_one_without_zone_is_the_users(sent: str) -> None:
    assert read_value("datetime", sent, LONDON) == TEN


@pytest.mark.parametrize("sent", ["1 Sep 2026", " 1 Sep 2026", "2026-09-01", "2026-08-31T23:30:00Z"])
def test_every_form_of_a_day_means_the_same_and_a_time_falls_on_the_users_day(sent: str) -> None:
    assert read_value("date", sent, LONDON) == "2026-09-01"


@pytest.mark.parametrize("sent", ["soon", "2026-13-01", "32 Sep 2026", "1 Foo 2026"])
def test_nonsense_is_no_date(sent: str) -> None:
    with pytest.raises(ValueError, match="not a valid date"):
        read_value("datetime", sent, LONDON)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(word, True) for word in ("true", "t", "on", "1", "yes", "y")]
    + [(word, False) for word in ("True", "TRUE", "0", "", "no", "2")],
)
def test_a_boolean_is_true_for_exactly_six_words(sent: str, kept: object) -> None:
    assert read_value("boolean", sent, LONDON) is kept


def test_a_string_longer_than_255_is_refused_and_a_text_is_not() -> None:
    with pytest.raises(ValueError, match="too long"):
        read_value("string", "x" * 256, LONDON)
    assert read_value("string", "x" * 255, LONDON) == read_value("text", "x" * 255, LONDON)


@pytest.mark.parametrize(("sent", "kept"), [("-2147483648", -(2**31)), (" 2147483647 ", 2**31 - 1), ("+7", 7)])
def test_an_integer_of_32_bits_goes_from_end_to_end(sent: str, kept: int) -> None:
    assert read_value("integer", sent, LONDON) == kept


@pytest.mark.parametrize("sent", ["1_0", "nan", "inf", "1.5.2", "\u0661"])
def test_what_only_a_programming_language_reads_as_a_number_is_no_decimal(sent: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        read_value("decimal", sent, LONDON)
    assert read_value("decimal", " -1.50 ", LONDON) == "-1.50"


@pytest.mark.parametrize("sent", ["2147483648", "-2147483649", "9" * 5000, "x", "1.5", "1_0", "\u0661"])
def test_an_integer_has_32_bits_and_no_other_characters(sent: str) -> None:
    with pytest.raises(ValueError, match="is "):
        read_value("integer", sent, LONDON)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-09-01T09:00:00.000Z,1,Europe/Paris", "2026-09-01T09:00:00.000Z,1,Europe/Paris"),
        ("2026-09-01,0,Europe/Paris", "2026-09-01,0,Europe/Paris"),
        ("2026-09-01,0,London", "2026-09-01,0,Europe/London"),
        ("2026-09-01", "2026-09-01,0,Europe/London"),
        ("2026-09-01T10:00:00", "2026-09-01T09:00:00.000Z,1,Europe/London"),
    ],
)
def test_a_var_date_time_keeps_its_flag_and_zone(sent: str, kept: str) -> None:
    assert read_value("var_date_time", sent, LONDON) == kept


@pytest.mark.parametrize("sent", ["2026-09-01T09:00:00.000Z,1,Nowhere/Land", "2026-09-01,0,Europe"])
def test_a_var_date_time_in_a_zone_that_does_not_exist_is_refused(sent: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        read_value("var_date_time", sent, LONDON)


def test_twins_show_the_day_always_and_the_time_only_where_there_is_one() -> None:
    assert twin_value("date", "2026-09-01,0,Europe/London") == "2026-09-01"
    assert twin_value("datetime", "2026-09-01,0,Europe/London") is None
    assert twin_value("datetime", "2026-09-01T10:00:04.000Z,1,Europe/London") == TEN
    assert var_moment("2026-09-01T10:00:04.000Z,1,Europe/London").at == TEN


@pytest.mark.parametrize(
    ("datatype", "kept", "shown"),
    [
        ("datetime", TEN, "Tue Sep 01 10:00:04 UTC 2026"),
        ("date", "2026-05-02", " 2 May 2026"),
        ("date", None, None),
        ("boolean", True, True),
    ],
)
def test_values_are_shown_in_the_documented_forms(datatype: str, kept: Any, shown: Any) -> None:
    assert show_value(datatype, kept, OutputForms()) == shown


def test_another_output_form_is_followed_without_asking_the_locale() -> None:
    assert show_datetime(TEN, "%s") == "1788256804"
    assert show_datetime(TEN, "%e %b %y %H:%M %Z") == " 1 Sep 26 10:00 UTC"


def test_midnight_in_london_is_the_day_before_in_utc() -> None:
    assert local_day(parse_iso("2026-08-31T23:30:00Z"), LONDON) == "2026-09-01"


@pytest.mark.parametrize(("datatype", "kept"), [("string", ""), ("datetime", None), ("integer", None)])
def test_empty_text_stays_text_and_is_null_elsewhere(datatype: str, kept: object) -> None:
    assert read_value(datatype, "", LONDON) == kept
