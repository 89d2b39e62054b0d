"""The choke point of everything that is logged or printed."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from outreach_sync.scrubbing import Scrubber

SECRET = "planted-secret-4711"


@pytest.mark.parametrize(
    "value",
    [f"x{SECRET}y", {"deep": [{SECRET: (SECRET,)}]}, ValueError(f"about {SECRET}"), [SECRET]],
    ids=["text", "nested", "an exception", "a list"],
)
def test_a_secret_is_taken_out_wherever_it_stands(value: object) -> None:
    assert SECRET not in str(Scrubber([SECRET])(None, "info", {"event": "x", "value": value}))


def test_what_is_no_secret_stays_as_it_is() -> None:
    event = {"event": "stream_read", "read": 3, "share": 0.5, "ok": True, "none": None, "name": "Łucja Müller"}
    assert Scrubber([SECRET])(None, "info", dict(event)) == event


def test_a_text_too_short_to_be_a_secret_is_not_masked() -> None:
    assert Scrubber(["abc"]).text("abcdef") == "abcdef"


@pytest.mark.parametrize("hostile", ["\x1b[2Jgone", "a\rb", "bell\x07", "right\u202eleft", "nul\x00"])
def test_control_characters_cannot_reach_a_terminal(hostile: str) -> None:
    shown = Scrubber().text(hostile)
    assert shown.isprintable()
    assert shown != hostile


@given(st.text())
def test_whatever_comes_only_printable_text_and_line_ends_leave(text: str) -> None:
    assert all(one.isprintable() or one == "\n" for one in Scrubber().text(text))


@given(st.text(), st.text(min_size=6))
def test_no_secret_survives_in_any_text(text: str, secret: str) -> None:
    if secret in "***" * 10:
        return
    assert secret not in Scrubber([secret]).text(text + secret + text)
