from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.monitoring.tail import Tail
from outreach_sync.scrubbing import Scrubber

if TYPE_CHECKING:
    from conftest import Recorder


def test_lines_above_debug_are_kept_without_secrets_and_all_are_handed_on(log: Recorder) -> None:
    tail = Tail(log, Scrubber(["hunter2hunter2"]))
    tail.debug("detail", value=1)
    tail.info("done", count=3, exc_info=True)
    tail.warning("look", at="hunter2hunter2\x1b[2J")
    assert list(tail.lines) == ["done count=3", "look at=***\\x1b[2J"]
    assert [event for event, _ in log.events] == ["detail", "done", "look"]


def test_only_the_last_lines_are_kept(log: Recorder) -> None:
    tail = Tail(log, Scrubber())
    for number in range(200):
        tail.info("line", number=number)
    assert len(tail.lines) == 50
    assert tail.lines[-1] == "line number=199"
