from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from outreach_sync.monitoring import pings as module
from outreach_sync.monitoring.pings import FAIL, START, SUCCESS, Pings, address

if TYPE_CHECKING:
    from conftest import Receiver, Recorder


def test_a_start_arrives_before_its_end_and_both_name_the_same_run(receiver: Receiver, log: Recorder) -> None:
    receiver.seconds = 0.1
    pings = Pings(receiver.url, log)
    pings.send(START, "abc")
    pings.send(SUCCESS, "abc", "all is well")
    pings.settle()
    assert receiver.paths == ["/start", ""]
    first, second = receiver.pings
    assert first.query["rid"] == second.query["rid"]
    assert str(uuid.UUID(first.query["rid"][0])) == first.query["rid"][0]
    assert second.body == "all is well"
    assert log.events == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hc.example/u", "https://hc.example/u/fail?rid="),
        ("https://hc.example/u/", "https://hc.example/u/fail?rid="),
        ("https://hc.example/u?create=1", "https://hc.example/u/fail?create=1&rid="),
    ],
)
def test_the_signal_goes_behind_the_path_and_the_query_stays(url: str, expected: str) -> None:
    assert address(url, FAIL, "abc").startswith(expected)


def test_a_receiver_that_is_gone_is_logged_without_its_address(log: Recorder) -> None:
    pings = Pings("http://127.0.0.1:9/ping/top-secret", log)
    pings.send(FAIL, "abc")
    pings.settle()
    ((event, told),) = log.events
    assert (event, told["what"]) == ("ping_failed", "fail")
    assert told["why"].startswith("the address cannot be reached: it refuses the connection")


def test_a_refusal_is_logged_too(receiver: Receiver, log: Recorder) -> None:
    receiver.status = 404
    pings = Pings(receiver.url, log)
    pings.send(SUCCESS, "abc")
    pings.settle()
    assert log.events == [("ping_failed", {"what": "success", "why": "answered 404"})]


def test_a_receiver_that_never_answers_holds_nobody_up(
    receiver: Receiver, log: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.2)
    receiver.seconds = 3
    pings = Pings(receiver.url, log)
    began = time.monotonic()
    pings.send(START, "abc")
    pings.settle()
    assert time.monotonic() - began < 1
    assert log.events == [("ping_failed", {"what": "start", "why": "no answer in time"})]
