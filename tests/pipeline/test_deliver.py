from __future__ import annotations

import threading
from typing import Any

import pytest

from outreach_sync.deliver import FIRST_LOAD_DONE
from outreach_sync.errors import UnavailableError
from outreach_sync.instants import Instant
from outreach_sync.records import Date, Rejected, Stale, TaskRow, Unknown
from outreach_sync.rules.person import Held
from outreach_sync.store import Store


def load(bench: Any, count: int, *, first_load_done: bool = True) -> None:
    for one in range(1, count + 1):
        bench.linked(one, 1000 + one, "active")
    if first_load_done:
        with bench.state.transaction():
            bench.state.facts.put(FIRST_LOAD_DONE, "run0")


def fail_at(bench: Any, *person_ids: int) -> None:
    """Let Workbooks answer neither yes nor no whenever one of these is among what is written."""
    obey = bench.target.obey

    def fail_or_obey(writes: Any) -> Any:
        if any(write.id in person_ids for write in writes):
            return [Unknown("the service answered 500")] * len(writes)
        return obey(writes)

    bench.target.obey = fail_or_obey


def test_what_was_lost_once_makes_only_its_own_next_batches_small(bench: Any) -> None:
    load(bench, 60, first_load_done=False)
    bench.target.answers = [lambda writes: [Unknown("the answer was lost")] * len(writes)]
    assert bench.decide(config={"workbooks.batch_size": 20}).people.updated == 60
    assert sorted(len(batch) for batch in bench.target.person_batches) == [5, 5, 5, 5, 20, 20, 20]


def test_a_record_that_workbooks_fails_at_is_parked_in_the_end(bench: Any) -> None:
    """Alone it looks like a service that is down, so the cycle ends with 4. It counts an attempt all the same."""
    load(bench, 1, first_load_done=False)
    fail_at(bench, 1001)
    for attempts in (1, 2, 3):
        with pytest.raises(UnavailableError, match="keep being lost"):
            bench.decide()
        assert [entry.attempts for entry in bench.state.outbox.failures()] == [attempts]
        bench.now += 86_400_000
    assert [entry.state for entry in bench.state.outbox.failures()] == ["parked"]
    bench.decide()


def test_a_service_that_takes_nothing_is_not_asked_for_every_record(bench: Any) -> None:
    load(bench, 60, first_load_done=False)
    fail_at(bench, *range(1001, 1061))
    with pytest.raises(UnavailableError):
        bench.decide(config={"workbooks.batch_size": 20})
    assert len(bench.target.person_batches) < 30
    assert len(bench.state.outbox.failures()) <= 6


def link(bench: Any, count: int) -> None:
    for one in range(1, count + 1):
        bench.linked(one, 1000 + one, "active")


def test_an_entry_is_durably_marked_as_being_sent_before_its_request_leaves(bench: Any) -> None:
    link(bench, 1)
    seen: list[str] = []

    def look(writes: Any) -> Any:
        other = Store.open_to_read(bench.path)  # what another process would find after a power cut
        seen.append(other.outbox.of_person([1])[0].state)
        other.connection.close()
        return bench.target.obey(writes)

    bench.target.answers = [look]
    bench.decide()
    assert seen == ["sending"]


def test_no_more_requests_are_in_flight_than_configured(bench: Any) -> None:
    link(bench, 12)
    at_once, most, lock = 0, 0, threading.Lock()

    def watch(writes: Any) -> Any:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        verdicts = bench.target.obey(writes)
        with lock:
            at_once -= 1
        return verdicts

    bench.target.answers = [watch] * 4
    bench.decide(config={"workbooks.concurrency": 2})
    assert 1 <= most <= 2


def refuse_all(writes: Any) -> Any:
    return [Rejected(("f_state: is not in the list",)) for _ in writes]


def test_a_record_that_is_always_stale_is_left_for_later_and_holds_up_nobody(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.linked(2, 1002, "active")

    def stale(writes: Any) -> Any:
        return [Stale() if write.id == 1001 else bench.target.obey([write])[0] for write in writes]

    bench.target.answers = [stale] * 10
    assert bench.decide().people.rejected == 1
    assert bench.field(1002, "f_state") == "Running"
    assert "keeps changing" in bench.state.outbox.failures()[0].reason


def test_a_refused_record_stands_with_its_reason_and_is_tried_again_after_a_pause(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.answers = [refuse_all]
    assert bench.decide().people.rejected == 1
    (entry,) = bench.state.outbox.failures()
    assert entry.reason == "f_state: is not in the list"
    bench.decide()
    assert len(bench.target.person_batches) == 1, "not before its pause is over"
    bench.now = Instant(entry.next_attempt_at)
    bench.decide()
    assert bench.field(1001, "f_state") == "Running"
    assert bench.state.outbox.failures() == []


def test_a_refused_record_that_turns_out_to_be_gone_is_created_again(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.change(1001, deleted=True)
    bench.target.answers = [refuse_all]
    tally = bench.decide()
    assert (tally.people.recreated, tally.people.rejected) == (1, 0)


def queued(bench: Any, **values: Any) -> None:
    bench.linked(1, 1001, "active")
    task = bench.skipped(7, 1, **values)
    bench.keep(tasks=[task])
    with bench.state.transaction():
        bench.state.outbox.queue_task(7, 1, held=False, run_id="run0")


def test_a_skipped_task_becomes_one_cancelled_task_of_the_person(bench: Any) -> None:
    queued(bench, note="Ring <b>first</b>\r\nagain", due_at=bench.now)
    assert bench.decide(config={"sync.tasks.name": "n" * 300}).tasks.created == 1
    (write,) = bench.target.task_batches[0]
    assert write.fields == {
        "name": "n" * 255,
        "activity_type": "Email",
        "activity_status": "Cancelled",
        "description": "Ring &lt;b&gt;first&lt;/b&gt;<br>again",
        "primary_contact_id": 1001,
        "primary_contact_type": "Private::Crm::Person",
        "created_through_reference": "outreach-task-7",
        "due_date": Date(bench.now),
    }


@pytest.mark.parametrize(("recreates", "created"), [(True, 1), (False, 0)])
def test_one_that_was_deleted_follows_when_deleted(bench: Any, recreates: bool, created: int) -> None:
    queued(bench)
    bench.target.tasks[1] = TaskRow(1, 0, True, "outreach-task-7")
    assert bench.decide(config={"sync.when_deleted": "recreate" if recreates else "leave"}).tasks.created == created
    assert bench.count("outbox") == 0


def gone(bench: Any) -> None:
    """Have a skipped task wait for a Person that was in step and has been deleted in Workbooks since."""
    queued(bench)
    with bench.state.transaction():
        bench.state.undecided.decided([1])
        bench.state.people.read(1001, 1, Held("Running", None, False, "1"), rule="email", now=bench.now - 1)
    bench.target.change(1001, deleted=True)


def test_a_task_is_never_tied_to_a_person_that_was_deleted_but_to_the_one_created_again(bench: Any) -> None:
    gone(bench)
    tally = bench.decide()
    assert (tally.people.recreated, tally.tasks.created) == (1, 1)
    (write,) = bench.target.task_batches[0]
    assert write.fields["primary_contact_id"] not in (1001, None)


def test_a_task_whose_deleted_person_is_left_deleted_waits_and_is_no_failure(bench: Any) -> None:
    gone(bench)
    bench.decide(config={"sync.when_deleted": "leave"})
    assert bench.target.task_batches == []
    assert bench.state.outbox.of_task(7).state == "waiting"
    assert bench.state.outbox.failures() == []


def test_people_of_many_tasks_are_read_in_one_request(bench: Any) -> None:
    for one in range(1, 9):
        bench.linked(one, 1000 + one, "active")
        bench.keep(tasks=[bench.skipped(100 + one, one)])
        with bench.state.transaction():
            bench.state.outbox.queue_task(100 + one, one, held=False, run_id="run0")
    bench.decide()
    assert [sorted(ids) for what, ids in bench.target.looked_up if what == "id"][:1] == [list(range(1001, 1009))]
    assert len(bench.target.tasks) == 8
