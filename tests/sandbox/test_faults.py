from pathlib import Path
from typing import Any

import pytest

from outreach_sync.sandbox.faults import FaultBoard, table
from outreach_sync.sandbox.outreach import trouble as outreach_faults
from outreach_sync.sandbox.workbooks import trouble as workbooks_faults


@pytest.fixture
def board() -> FaultBoard:
    text = "slow(seconds=seconds, form=a/b/4, rows=1.., ids=numbers): x\nbroken: x\npicky(field=text!, all=flag): x"
    return FaultBoard(table(text))


def test_after_is_used_up_before_times_and_other_kinds_use_nothing_up(board: FaultBoard) -> None:
    board.on("slow", times=2, after=1, kind="tasks")
    fired = [board.fires("slow", kind) for kind in ("list prospects", *("list tasks",) * 5)]
    assert fired == [False, False, True, True, False, False]


def test_throughout_a_request_it_fires_once_and_stays(board: FaultBoard) -> None:
    board.on("slow", times=1, after=1)
    seen = []
    for _ in range(3):
        board.begin()
        seen.append([board.fires("slow") for _ in range(3)])
        seen[-1].append(board.collect_fired() == ("slow",))
    assert seen == [[False] * 4, [True] * 4, [False] * 4]


def test_an_unknown_name_is_told_the_nearest(board: FaultBoard) -> None:
    for action in (board.on, board.off, board.take, board.peek):
        with pytest.raises(ValueError, match="'slow'"):
            action("slwo")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("slow", {"second": 3}, "did you mean 'seconds'"),
        ("broken", {"zzz": 3}, "it takes kind"),
        *(("slow", {"seconds": value}, "takes a number from 0, not") for value in ("abc", -1, True, float("inf"))),
        *(("slow", {"form": value}, "takes a, b, 4, not") for value in ("bogus", None, 5, ["a"])),
        *(("slow", {"rows": value}, "a whole number from 1") for value in (0, "1", 1.0, True)),
        *(("slow", {"ids": value}, "a list of whole numbers") for value in (1, "1", ["1"])),
        *(("slow", {"times": value}, "at least 1") for value in (0, -1, "2", 1.5, True)),
        ("slow", {"kind": 5}, "takes a text"),
        ("picky", {}, "needs the option 'field'"),
        ("picky", {"field": "x", "all": "yes"}, "true or false"),
    ],
)
def test_a_wrong_option_is_refused(board: FaultBoard, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        board.on(name, **options)
    assert "\n" not in str(caught.value)
    assert not board.state()[name]["active"]


@pytest.mark.parametrize("faults", [outreach_faults.FAULTS, workbooks_faults.FAULTS])
def test_every_fault_is_tested_in_the_sandbox_or_by_what_the_product_makes_of_it(faults: Any) -> None:
    files = [path for path in Path(__file__).parents[1].rglob("test_*.py") if "torture" not in path.parts]
    tests = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in faults if f'"{name}"' not in tests] == []
