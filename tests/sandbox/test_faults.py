from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.sandbox.faults import FaultBoard, table
from outreach_sync.sandbox.outreach import trouble as outreach_faults
from outreach_sync.sandbox.workbooks import trouble as workbooks_faults


@pytest.fixture
def board() -> FaultBoard:
    return FaultBoard(table("slow(seconds=seconds): answers late\nbroken: answers rubbish"))


def fired(board: FaultBoard, name: str, occasions: int, kind: str = "") -> list[bool]:
    return [board.fires(name, kind) for _ in range(occasions)]


def test_after_is_used_up_before_times(board: FaultBoard) -> None:
    board.on("slow", times=2, after=1)
    assert fired(board, "slow", 5) == [False, True, True, False, False]


def test_other_kinds_use_nothing_up(board: FaultBoard) -> None:
    board.on("slow", times=1, kind="tasks")
    assert fired(board, "slow", 2, "list prospects") == [False, False]
    assert fired(board, "slow", 2, "list tasks") == [True, False]


def test_an_unknown_name_is_told_the_nearest(board: FaultBoard) -> None:
    for action in (board.on, board.off, board.take, board.peek):
        with pytest.raises(ValueError, match="'slow'"):
            action("slwo")


@pytest.mark.parametrize("times", [0, -1, "2", 1.5, True])
def test_times_below_one_make_no_sense(board: FaultBoard, times: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        board.on("slow", times=times)


def test_throughout_a_request_it_fires_once_and_stays(board: FaultBoard) -> None:
    board.on("slow", times=1, after=1)
    seen = []
    for _ in range(3):
        board.begin()
        seen.append([board.fires("slow") for _ in range(3)])
        seen[-1].append(board.collect_fired() == ("slow",))
    assert seen == [[False] * 4, [True] * 4, [False] * 4]


@pytest.fixture
def strict() -> FaultBoard:
    text = "slow(seconds=seconds, form=a/b/4, rows=1.., ids=numbers): x\nbroken: x\npicky(field=text!, all=flag): x"
    return FaultBoard(table(text))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("slow", {"second": 3}, "did you mean 'seconds'"),
        ("broken", {"zzz": 3}, "it takes kind"),
        ("slow", {"seconds": "abc"}, "takes a number from 0, not 'abc'"),
        *(("slow", {"seconds": value}, "a number from 0") for value in (-1, True, None, float("nan"), float("inf"))),
        *(("slow", {"form": value}, "takes a, b, 4, not") for value in ("bogus", None, 5, ["a"])),
        *(("slow", {"rows": value}, "a whole number from 1") for value in (0, "1", 1.0, True)),
        *(("slow", {"ids": value}, "a list of whole numbers") for value in (1, "1", ["1"])),
        ("slow", {"kind": 5}, "takes a text"),
        ("picky", {}, "needs the option 'field'"),
        ("picky", {"field": "x", "all": "yes"}, "true or false"),
    ],
)
def test_a_wrong_option_is_refused_when_the_fault_is_switched_on(
    strict: FaultBoard, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        strict.on(name, **options)
    assert "\n" not in str(caught.value)
    assert not strict.state()[name]["active"]


@pytest.mark.parametrize("board", [FaultBoard(outreach_faults.FAULTS), FaultBoard(workbooks_faults.FAULTS)])
def test_the_line_that_documents_a_fault_names_every_option(board: FaultBoard) -> None:
    said = ("form", "wait")  # "as in rate_limited"
    undocumented = [
        (name, option)
        for name, switch in board.state().items()
        for option in switch["takes"]  # type: ignore[attr-defined]
        if option not in switch["doc"] and option not in said and "as above" not in switch["doc"]  # type: ignore[operator]
    ]
    assert undocumented == []
