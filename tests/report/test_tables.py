from __future__ import annotations

import pytest

from outreach_sync.report.tables import Head, folded, table

HEADS = (Head("Day", numeric=False), Head("Runs"))


def test_the_first_cell_of_a_row_is_its_head_and_cells_are_escaped() -> None:
    made = table("Runs", HEADS, [["1 Sep", "<4"]])
    assert '<th scope="row">1 Sep</th><td class="number">&lt;4</td>' in made
    assert "tabindex" not in made


def test_a_wide_table_scrolls_by_itself_and_can_be_reached_by_keyboard() -> None:
    made = table("Runs", [*HEADS, *HEADS, *HEADS], [])
    assert made.startswith('<div class="scroll" role="region" tabindex="0" aria-label="Runs (scrolls)">')


def test_a_row_with_a_cell_too_few_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("Runs", HEADS, [["1 Sep"]])


def test_folded_content_has_a_summary() -> None:
    assert folded("More", "<") == "<details><summary>More</summary>&lt;</details>"
