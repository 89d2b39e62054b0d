from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config.interpolation import MalformedError, UnsetVariableError, interpolate, mentions_variable

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(max_size=30)
DEFAULTS = TEXTS.filter(lambda text: "}" not in text)
HARMLESS = TEXTS.filter(lambda text: "${" not in text and not text.endswith("$"))


@given(HARMLESS)
def test_text_without_a_variable_stays_as_it_is(text: str) -> None:
    assert interpolate(text, {}) == text


@given(HARMLESS, NAMES, TEXTS, HARMLESS)
def test_a_value_is_put_in_place_and_never_looked_at_again(before: str, name: str, value: str, after: str) -> None:
    assert interpolate(f"{before}${{{name}}}{after}", {name: value}) == before + value + after


@given(NAMES, DEFAULTS)
def test_a_default_stands_in_for_a_variable_that_is_unset_or_empty(name: str, default: str) -> None:
    reference = f"${{{name}:-{default}}}"
    assert interpolate(reference, {}) == interpolate(reference, {name: ""}) == default


@given(NAMES, DEFAULTS, TEXTS.filter(bool))
def test_a_default_gives_way_to_a_variable_that_is_set(name: str, default: str, value: str) -> None:
    assert interpolate(f"${{{name}:-{default}}}", {name: value}) == value


@given(TEXTS)
def test_every_text_can_be_written_with_the_escape(text: str) -> None:
    bare = text.replace("$", "")
    assert interpolate(f"{bare}$${{{bare}}}", {}) == f"{bare}${{{bare}}}"


@given(NAMES)
def test_an_unset_variable_is_named(name: str) -> None:
    with pytest.raises(UnsetVariableError, match=name) as caught:
        interpolate(f"${{{name}}}", {})
    assert caught.value.name == name


def test_a_variable_set_to_nothing_is_nothing() -> None:
    assert interpolate("a${EMPTY}b", {"EMPTY": ""}) == "ab"


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A:default}", "${A-b}", "${A", "hush${hush"])
def test_what_is_no_variable_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        interpolate(text, {"A": "x"})
    assert "hush" not in str(caught.value)


def test_only_a_real_variable_counts_as_one() -> None:
    assert [mentions_variable(text) for text in ("x${A}", "${A:-b}")] == [True, True]
    assert [mentions_variable(text) for text in ("$${A}", "A$")] == [False, False]
