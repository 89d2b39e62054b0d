from __future__ import annotations

from typing import Any

from outreach_sync.instants import parse_iso

NOW = parse_iso("2026-09-30T12:00:00Z")


def test_a_label_shows_its_number_its_share_its_change_and_its_line_in_words(filled: Any, page_of: Any) -> None:
    filled.label_counts(2)
    filled.person(77, "Finished")
    page = page_of(filled.state)
    cells = [text for text in page.said("td") if text.strip()]
    assert {"+2"} <= set(cells)
    assert "67%" in page.said("span")
    assert "0 on 2026-09-28, 2 now" in page.said("desc")


def test_days_without_an_opt_out_are_left_out_of_the_table_only(filled: Any, page_of: Any) -> None:
    filled.opt_out(1, NOW)
    page = page_of(filled.state)
    rows = [tag for tag in page.named("tr") if tag.section == "opt-outs" and "tbody" in tag.within]
    assert len(rows) == 1
    assert "2026-09-30: 1 opt-out" in page.said("title")


def test_more_sequences_than_anybody_reads_are_counted_instead(filled: Any, page_of: Any) -> None:
    for sequence_id in range(1, 36):
        filled.sequence(sequence_id, f"Sequence {sequence_id}", skipped=1)
    page = page_of(filled.state)
    rows = [tag for tag in page.named("tr") if tag.section == "skipped" and "tbody" in tag.within]
    assert len(rows) == 30
    assert "And 5 more sequences with fewer." in page.said("p")
