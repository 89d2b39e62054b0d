"""Both services together, the example in them, and the back door of each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests

from outreach_sync import instants
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.outreach import OutreachSandbox
from outreach_sync.sandbox.server import SandboxClock
from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = instants.parse_iso("2026-09-01T12:00:00Z")


def filled(seed: int = 1) -> Sandbox:
    sandbox = Sandbox(clock=SandboxClock(NOON))
    sandbox.load_example(seed)
    sandbox.stop()
    return sandbox


@pytest.fixture(scope="module")
def example() -> Sandbox:
    return filled()


@pytest.fixture
def service() -> Iterator[OutreachSandbox]:
    with OutreachSandbox() as running:
        yield running


def test_both_services_answer_and_share_one_clock() -> None:
    with Sandbox() as both:
        both.clock.advance(86_400_000)
        urls = [f"{service.url}/_sandbox/" for service in (both.outreach, both.workbooks)]
        first, second = (requests.get(url, timeout=5).json()["now"][:16] for url in urls)
    assert first == second


def test_the_example_is_the_same_every_time_and_another_with_another_seed() -> None:
    (one, same, other) = (filled(seed).outreach.store for seed in (1, 1, 2))
    assert one.dump() == same.dump() != other.dump()
    summary = one.summary()
    assert (summary["prospect"], summary["sequence"], summary["task"]) == (60, 8, 80)
    assert 120 <= summary["sequenceState"] <= 180


def test_the_example_shows_every_hypothesis_of_a_skip(example: Sandbox) -> None:
    tasks = [record.values for record in example.outreach.store.all("task")]
    shapes = {(task["state"], task["completed"], task.get("completedAt") is None) for task in tasks}
    assert {("complete", False, True), ("complete", True, True), ("complete", True, False)} <= shapes
    assert "skipped" in {task["state"] for task in tasks}
    by_itself = [task for task in tasks if task.get("completedAt") and not task.get("completer")]
    assert by_itself
    assert all(task["autoskipAt"] <= task["stateChangedAt"] for task in by_itself)


def test_the_people_of_the_example_fit_in_every_way_there_is(example: Sandbox) -> None:
    people = example.workbooks.store.all(PERSON, include_deleted=True)
    emails = Counter(person["main_location[email]"] for person in people if person["main_location[email]"])
    assert max(emails.values()) == 2
    assert emails["ines.mixed@example.com"] == 1
    assert any(person["is_deleted"] for person in people)
    assert any(person["created_through_reference"] == "outreach-prospect-23" for person in people)
    assert sum(1 for person in people if person["no_email_soliciting"]) == 2
    prospect = example.outreach.store.get("prospect", 15).values
    assert [person["id"] for person in people if person["object_ref"] == prospect["externalId"]]
    assert prospect["emails"][0] not in emails
    assert sum(1 for email in emails if email.startswith("only")) == 6


def test_the_example_goes_on_in_two_steps_each_told_by_its_events() -> None:
    sandbox = filled()
    store = sandbox.outreach.store
    for step, told in ((1, {"skip_task", "opt_out"}), (2, {"sequence_state_destroyed", "opt_out_revert"})):
        known = {one.id for one in store.all("event")}
        happenings = sandbox.evolve(step)
        names = {one.values["name"] for one in store.all("event") if one.id not in known}
        assert told <= {one.event for one in happenings} - {""} <= names


def ask(service: OutreachSandbox, method: str, path: str, document: Any = None) -> requests.Response:
    return requests.request(method, f"{service.url}/_sandbox{path}", json=document, timeout=5)


def test_the_summary_and_the_journal_are_read_and_forgotten_from_outside(service: OutreachSandbox) -> None:
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
