"""Both services together, the example in them, and the back door of each."""

from typing import Any

import requests

from outreach_sync import instants
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.outreach import OutreachSandbox
from outreach_sync.sandbox.server import SandboxClock
from outreach_sync.sandbox.workbooks.schema import PERSON


def filled(seed: int = 1) -> Sandbox:
    sandbox = Sandbox(clock=SandboxClock(instants.parse_iso("2026-09-01T12:00:00Z")))
    sandbox.load_example(seed)
    sandbox.stop()
    return sandbox


def test_the_example_is_the_same_every_time_and_shows_every_hypothesis_of_a_skip_and_every_way_to_fit() -> None:
    sandbox = filled()
    one, same, other = sandbox.outreach.store, *(filled(seed).outreach.store for seed in (1, 2))
    assert one.dump() == same.dump() != other.dump()
    summary = one.summary()
    assert (summary["prospect"], summary["sequence"], summary["task"]) == (60, 8, 80)
    assert 120 <= summary["sequenceState"] <= 180
    tasks = [record.values for record in one.all("task")]
    shapes = {(task["state"], task["completed"], task.get("completedAt") is None) for task in tasks}
    assert {("complete", False, True), ("complete", True, True), ("complete", True, False)} <= shapes
    assert "skipped" in {task["state"] for task in tasks}
    by_itself = [task for task in tasks if task.get("completedAt") and not task.get("completer")]
    assert by_itself
    assert all(task["autoskipAt"] <= task["stateChangedAt"] for task in by_itself)
    people = sandbox.workbooks.store.all(PERSON, include_deleted=True)
    emails = [person["main_location[email]"] for person in people]
    assert "ines.mixed@example.com" in emails
    assert one.get("prospect", 15).values["emails"][0] not in emails
    assert any(person["is_deleted"] for person in people)
    assert "outreach-prospect-23" in [person["created_through_reference"] for person in people]
    assert [person["no_email_soliciting"] for person in people].count(True) == 2


def ask(service: OutreachSandbox, method: str, path: str, document: Any = None) -> requests.Response:
    return requests.request(method, f"{service.url}/_sandbox{path}", json=document, timeout=5)


def test_what_is_asked_from_outside_is_answered_and_what_makes_no_sense_is_not_crashed_on() -> None:
    with OutreachSandbox() as service:
        service.store.add_task()
        service.faults.on("out_of_order")
        requests.get(f"{service.url}/api/v2/tasks", params={"page[size]": "5"}, timeout=5)
        summary = ask(service, "GET", "").json()
        assert (summary["service"], summary["records"]["task"], summary["faults"]) == ("outreach", 1, ["out_of_order"])
        assert summary["requests"] == ask(service, "GET", "/").json()["requests"] == {"list tasks": 1}
        (entry,) = ask(service, "GET", "/requests").json()
        assert (entry["kind"], entry["query"], entry["status"]) == ("list tasks", [["page[size]", "5"]], 401)
        ask(service, "DELETE", "/requests")
        assert ask(service, "GET", "/requests").json() == []
        wrong = ({"time": 1}, {"options": {"times": 1}}, {"times": "twice"}, {"options": {"seconds": "bogus"}})
        for path, document in (
            *(("/faults", {"name": "slow", **one}) for one in wrong),
            ("/records", {"changes": [{"delete": "task", "id": 9}]}),
            *(("/faults", {}), ("/records", {})),
        ):
            answer = ask(service, "POST", path, document)
            assert (answer.status_code, bool(answer.json()["error"])) == (400, True), document
        assert ask(service, "GET", "/nonsense").status_code == 404
