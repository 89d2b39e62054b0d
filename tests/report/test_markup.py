from __future__ import annotations

import pytest

from outreach_sync.report.markup import Markup, element, foreign, joined, text, with_code


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("\"'&", "&quot;&#x27;&amp;"),
        ("a\u202eb", "a\\x202eb"),
        ("a\x00\x1b[31mb", "a\\x00\\x1b[31mb"),
        ("عروض", "عروض"),
    ],
)
def test_text_never_becomes_markup_and_what_cannot_be_seen_is_made_visible(raw: str, shown: str) -> None:
    assert text(raw) == shown
    assert element("p", raw, title=raw) == f'<p title="{shown}">{shown}</p>'


def test_markup_is_not_escaped_twice() -> None:
    assert text(text("a & b")) == "a &amp; b"
    assert element("p", element("b", "<")) == "<p><b>&lt;</b></p>"
    assert joined("<", Markup("<br/>")) == "&lt;<br/>"


def test_attributes_are_spelled_as_html_spells_them_and_left_out_where_there_are_none() -> None:
    made = element("p", class_="a", aria_label="b", id=None, tabindex=0)
    assert made == '<p class="a" aria-label="b" tabindex="0"></p>'


def test_a_void_element_closes_itself_but_not_one_that_has_children() -> None:
    assert element("rect", width=1) == '<rect width="1"/>'
    assert element("rect", "x") == "<rect>x</rect>"


def test_what_stands_between_backticks_is_code_and_still_escaped() -> None:
    assert with_code("run `a<b` now") == "run <code>a&lt;b</code> now"


def test_foreign_text_is_isolated_in_direction() -> None:
    assert foreign("<") == "<bdi>&lt;</bdi>"
