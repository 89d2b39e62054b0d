from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config.forms import Choice, Duration, Flag, Form, Maybe, Share, Text, Whole


@given(st.integers(-200, 200))
def test_a_whole_number_is_taken_within_its_bounds_only(number: int) -> None:
    form = Whole(1, 100)
    if 1 <= number <= 100:
        assert form.parse(str(number)) == form.parse(number) == number
    else:
        with pytest.raises(ValueError, match="too"):
            form.parse(str(number))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_share_is_never_outside_0_and_1(number: float) -> None:
    try:
        share = Share().parse(str(number))
    except ValueError:
        assert not 0 <= number <= 1
    else:
        assert 0 <= share <= 1


@given(st.integers(1, 36_525), st.sampled_from([("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]))
def test_a_duration_is_milliseconds(amount: int, unit: tuple[str, int]) -> None:
    assert Duration().parse(f"{amount}{unit[0]}") == amount * unit[1]


@pytest.mark.parametrize(("word", "flag"), [("true", True), ("Yes", True), ("off", False), (False, False)])
def test_truth_comes_in_yamls_words(word: object, *, flag: bool) -> None:
    assert Flag().parse(word) is flag


@pytest.mark.parametrize("form", [Whole(0), Share(), Flag(), Duration(), Choice(("a",)), Text()])
@pytest.mark.parametrize("raw", [None, "", "  ", [], {}, ["a"], {"a": "b"}])
def test_nothing_and_collections_are_no_value(form: Form, raw: object) -> None:
    with pytest.raises(ValueError, match=r"is (empty|a list|a mapping)"):
        form.parse(raw)


@pytest.mark.parametrize("raw", ["1.5", "1e3", "0x10", "1_000", "\u0661", "9" * 30, "ten"])
def test_only_digits_are_a_whole_number(raw: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        Whole(0).parse(raw)


def test_what_is_allowed_is_said_with_every_form() -> None:
    assert Maybe(Whole(1, 5)).allowed == "a whole number from 1 to 5, or null"
    assert Whole(0).allowed == "a whole number, 0 or more"
    assert Duration(1000, "1s or more").allowed.endswith(", 1s or more")


@pytest.mark.parametrize("text", ["36526d", "99999999999d", "9" * 400 + "d"])
def test_a_duration_that_would_leave_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than a hundred years"):
        Duration().parse(text)
    assert Duration().parse("36525d") == 36525 * 86_400_000


def test_a_duration_may_have_a_bound_of_its_own() -> None:
    with pytest.raises(ValueError, match="is too long"):
        Duration(0, "at most 24h", 86_400_000).parse("25h")
