from __future__ import annotations

import re

import pytest

from outreach_sync.report.charts import OUTCOMES, Column, Subject, columns, legend, line, patterns, share_bar

SUBJECT = Subject("slug", "Runs by day", "Two in all.")


def _bars(svg: str) -> list[tuple[str, float, float]]:
    """Return the look, the top and the height of each bar."""
    found = re.findall(r'<rect class="(\w+)" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg)
    return [(look, float(top), float(height)) for look, top, height in found]


def test_parts_of_a_column_stand_on_each_other_and_the_highest_fills_the_chart() -> None:
    (done, refused), (other,) = (
        _bars(columns(SUBJECT, [Column("1 Sep", "", (3, 1, 0))])),
        _bars(columns(SUBJECT, [Column("1 Sep", "", (4,))])),
    )
    assert (done[0], refused[0]) == OUTCOMES[:2]
    assert refused[1] + refused[2] == pytest.approx(done[1])
    assert done[2] == pytest.approx(3 * refused[2])
    assert done[2] + refused[2] == pytest.approx(other[2])


def test_one_of_a_million_can_still_be_seen_and_nothing_is_drawn_for_none() -> None:
    bars = _bars(columns(SUBJECT, [Column("a", "", (1_000_000,)), Column("b", "", (1,)), Column("c", "", (0,))]))
    assert len(bars) == 2
    assert bars[1][2] >= 1


def test_a_chart_of_nothing_says_so_instead_of_dividing_by_it() -> None:
    svg = columns(SUBJECT, [Column("1 Sep", "", (0,)), Column("2 Sep", "", (0,))])
    assert _bars(svg) == []
    assert ">none</text>" in svg


def test_a_pointer_over_a_column_shows_its_numbers_escaped() -> None:
    assert "<title>1 Sep: &lt;4</title>" in columns(SUBJECT, [Column("1 Sep", "1 Sep: <4", (4,))])


def test_the_parts_are_told_apart_by_pattern_and_the_legend_names_each() -> None:
    drawn = legend(dict(zip(OUTCOMES, ("done", "some refused", "failed"), strict=True)))
    assert re.findall(r'class="(\w+)" width="12"', drawn) == list(OUTCOMES)
    assert re.findall(r'<pattern id="(\w+)"', patterns()) == ["hatch", "cross"]


@pytest.mark.parametrize("values", [[5], [0, 0], [0, 10, 5], list(range(400))])
def test_a_line_stays_inside_its_picture(values: list[int]) -> None:
    points = re.search(r'<polyline class="line" points="([^"]+)"', line(SUBJECT, values))
    assert points is not None
    at = [tuple(map(float, point.split(","))) for point in points[1].split()]
    assert len(at) == max(len(values), 2)
    assert all(0 <= x <= 120 and 0 <= y <= 32 for x, y in at)


def test_a_line_starts_at_zero_so_that_a_small_change_does_not_look_large() -> None:
    drawn = re.search(r'points="([^"]+)"', line(SUBJECT, [1000, 1001]))
    assert drawn is not None
    first, second = (float(point.split(",")[1]) for point in drawn[1].split())
    assert abs(first - second) < 0.2


def test_a_bar_of_nothing_is_empty() -> None:
    assert '<rect class="fill" width="0.00"' in share_bar(0, 0)
    assert '<rect class="fill" width="25.00"' in share_bar(1, 4)
