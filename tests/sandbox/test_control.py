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


def test_the_journal_is_read_and_forgotten_from_outside(service: OutreachSandbox) -> None:
    requests.get(f"{service.url}/api/v2/tasks", params={"page[size]": "5"}, timeout=5)
    (entry,) = ask(service, "GET", "/requests").json()
    assert (entry["kind"], entry["query"], entry["status"]) == ("list tasks", [["page[size]", "5"]], 401)
    ask(service, "DELETE", "/requests")
    assert ask(service, "GET", "/requests").json() == []


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("GET", "/nonsense", None, 404),
        ("POST", "/faults", {}, 400),
        ("POST", "/faults", {"name": "slow", "time": 1}, 400),
        ("POST", "/faults", {"name": "slow", "options": {"times": 1}}, 400),
        ("POST", "/faults", {"name": "slow", "times": "twice"}, 400),
        ("POST", "/faults", {"name": "rate_limited", "options": {"form": "bogus"}}, 400),
        ("POST", "/records", {"changes": [{"delete": "task", "id": 1}]}, 400),
        ("POST", "/records", {}, 400),
    ],
)
def test_what_makes_no_sense_is_answered_not_crashed_on(
    service: OutreachSandbox, method: str, path: str, document: Any, status: int
) -> None:
    answer = ask(service, method, path, document)
    assert answer.status_code == status
    assert answer.json()["error"]
