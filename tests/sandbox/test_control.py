from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from outreach_sync.sandbox.outreach import OutreachSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def service() -> Iterator[OutreachSandbox]:
    with OutreachSandbox() as running:
        yield running


def ask(service: OutreachSandbox, method: str, path: str, document: Any = None) -> requests.Response:
    return requests.request(method, f"{service.url}/_sandbox{path}", json=document, timeout=5)


def test_the_summary_counts_records_requests_and_faults(service: OutreachSandbox) -> None:
    service.store.add_task()
    service.faults.on("out_of_order")
    requests.get(f"{service.url}/api/v2/tasks", timeout=5)
    summary = ask(service, "GET", "").json()
    assert summary["service"] == "outreach"
    assert summary["records"]["task"] == 1
    assert summary["requests"] == {"list tasks": 1}
    assert summary["faults"] == ["out_of_order"]
    assert ask(service, "GET", "/").json()["requests"] == {"list tasks": 1}


def test_faults_are_switched_on_and_off_from_outside(service: OutreachSandbox) -> None:
    wanted = {"name": "rate_limited", "times": 2, "after": 1, "options": {"wait": 9}}
    assert ask(service, "POST", "/faults", wanted).json()["active"] is True
    shown = ask(service, "GET", "/faults").json()
    assert (shown["rate_limited"]["times"], shown["rate_limited"]["options"]) == (2, {"wait": 9})
    assert shown["slow"]["doc"]
    ask(service, "POST", "/faults", {"name": "slow"})
    ask(service, "DELETE", "/faults/rate_limited")
    assert [name for name, one in ask(service, "GET", "/faults").json().items() if one["active"]] == ["slow"]
    ask(service, "DELETE", "/faults")
    assert not any(one["active"] for one in ask(service, "GET", "/faults").json().values())


def test_a_wrong_fault_is_told_the_nearest_name(service: OutreachSandbox) -> None:
    answer = ask(service, "POST", "/faults", {"name": "rate_limit"})
    assert answer.status_code == 400
    assert "rate_limited" in answer.json()["error"]


def test_the_journal_is_read_and_forgotten_from_outside(service: OutreachSandbox) -> None:
    requests.get(f"{service.url}/api/v2/tasks", params={"page[size]": "5"}, timeout=5)
    (entry,) = ask(service, "GET", "/requests").json()
    assert (entry["kind"], entry["query"], entry["status"]) == ("list tasks", [["page[size]", "5"]], 401)
    ask(service, "DELETE", "/requests")
    assert ask(service, "GET", "/requests").json() == []


def test_the_clock_is_moved_from_outside(service: OutreachSandbox) -> None:
    before = service.clock.now()
    ask(service, "POST", "/clock", {"advance_ms": 3_600_000})
    ask(service, "POST", "/clock", {"header_skew_ms": -1000})
    assert 3_600_000 <= service.clock.now() - before < 3_605_000
    assert service.clock.header_skew == -1000


def test_records_are_changed_and_dumped_from_outside(service: OutreachSandbox) -> None:
    change = {"changes": [{"add": "prospect", "attributes": {"firstName": "Ada"}}]}
    assert ask(service, "POST", "/records", change).json() == {"ids": [1]}
    assert ask(service, "GET", "/records").json()["prospect"][0]["values"]["firstName"] == "Ada"


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("GET", "/nonsense", None, 404),
        ("PUT", "/faults", None, 404),
        ("POST", "/faults", {}, 400),
        ("POST", "/faults", {"name": "slow", "time": 1}, 400),
        ("POST", "/faults", {"name": "slow", "options": [5]}, 400),
        ("POST", "/faults", {"name": "slow", "options": {"times": 1}}, 400),
        ("POST", "/faults", {"name": "slow", "times": "twice"}, 400),
        ("POST", "/faults", {"name": "hang", "options": {"seconds": "abc"}}, 400),
        ("POST", "/faults", {"name": "rate_limited", "options": {"form": "bogus"}}, 400),
        ("POST", "/records", {"changes": [{"delete": "task", "id": 1}]}, 400),
        ("POST", "/records", {}, 400),
        ("POST", "/records", [], 400),
    ],
)
def test_what_makes_no_sense_is_answered_not_crashed_on(
    service: OutreachSandbox, method: str, path: str, document: Any, status: int
) -> None:
    answer = ask(service, method, path, document)
    assert answer.status_code == status
    assert answer.json()["error"]
