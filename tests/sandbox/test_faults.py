from __future__ import annotations

import threading

import pytest

from outreach_sync.sandbox.faults import FaultBoard


@pytest.fixture
def board() -> FaultBoard:
    return FaultBoard({"slow": "answers late", "broken": "answers rubbish"})


def fired(board: FaultBoard, name: str, occasions: int, kind: str = "") -> list[bool]:
    return [board.take(name, kind) is not None for _ in range(occasions)]


def test_after_is_used_up_before_times(board: FaultBoard) -> None:
    board.on("slow", times=2, after=1)
    assert fired(board, "slow", 5) == [False, True, True, False, False]


def test_without_times_it_fires_until_it_is_off(board: FaultBoard) -> None:
    board.on("slow")
    assert fired(board, "slow", 3) == [True, True, True]
    board.off("slow")
    assert fired(board, "slow", 1) == [False]


def test_other_kinds_use_nothing_up(board: FaultBoard) -> None:
    board.on("slow", times=1, kind="tasks")
    assert fired(board, "slow", 2, "list prospects") == [False, False]
    assert fired(board, "slow", 2, "list tasks") == [True, False]


def test_take_and_peek_give_the_options(board: FaultBoard) -> None:
    board.on("slow", times=1, seconds=3)
    assert board.peek("slow") == {"seconds": 3}
    assert board.option("slow", "seconds") == 3
    assert board.take("slow") == {"seconds": 3}
    assert board.peek("slow") is None
    assert board.option("slow", "seconds") is None


def test_peek_is_silent_while_after_counts_down(board: FaultBoard) -> None:
    board.on("slow", after=1)
    assert board.peek("slow") is None
    board.take("slow")
    assert board.peek("slow") == {}


def test_an_unknown_name_is_told_the_nearest(board: FaultBoard) -> None:
    for action in (board.on, board.off, board.take, board.peek):
        with pytest.raises(ValueError, match="'slow'"):
            action("slwo")


def test_times_below_one_make_no_sense(board: FaultBoard) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        board.on("slow", times=0)


def test_clear_switches_all_off_and_keeps_the_docs(board: FaultBoard) -> None:
    board.on("slow")
    board.on("broken")
    board.clear()
    assert board.names() == {"slow": "answers late", "broken": "answers rubbish"}
    assert not any(switch["active"] for switch in board.state().values())


def test_state_tells_what_is_left(board: FaultBoard) -> None:
    board.on("slow", times=3, after=1, seconds=2)
    fired(board, "slow", 2)
    expected = {"doc": "answers late", "active": True, "after": 0, "times": 2, "options": {"seconds": 2}}
    assert board.state()["slow"] == expected


def test_what_fired_is_collected_for_each_thread_apart(board: FaultBoard) -> None:
    board.on("slow")
    board.take("slow")
    elsewhere: list[tuple[str, ...]] = []
    thread = threading.Thread(target=lambda: elsewhere.append(board.collect_fired()))
    thread.start()
    thread.join()
    assert elsewhere == [()]
    assert [board.collect_fired(), board.collect_fired()] == [("slow",), ()]


def test_a_fault_for_ten_occasions_fires_ten_times_in_a_crowd(board: FaultBoard) -> None:
    board.on("slow", times=10)
    hits: list[bool] = []
    threads = [threading.Thread(target=lambda: hits.extend(fired(board, "slow", 50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hits.count(True) == 10
