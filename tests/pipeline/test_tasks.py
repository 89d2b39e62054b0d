from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import deliver
from outreach_sync.records import Rejected, TaskRow, Unknown
from outreach_sync.rules.person import Held


def decide(bench: Any, **options: Any) -> Any:
    run = bench.run(**options)
    deliver(run, complete=True, allow_bulk=False)
    return run.summary


def queued(bench: Any, **values: Any) -> None:
    bench.linked(1, 1001, "active")
    task = bench.skipped(7, 1, **values)
    bench.keep(tasks=[task])
    with bench.state.transaction():
        bench.state.outbox.queue_task(7, 1, held=False, run_id="run0")


def test_a_skipped_task_becomes_one_cancelled_task_of_the_person(bench: Any) -> None:
    queued(bench, note="Ring <b>first</b>")
    assert decide(bench).tasks.created == 1
    (write,) = bench.target.task_batches[0]
    fields = write.fields
    assert (fields["activity_status"], fields["activity_type"]) == ("Cancelled", "Email")
    assert (fields["primary_contact_id"], fields["created_through_reference"]) == (1001, "outreach-task-7")
    assert fields["description"] == "Ring &lt;b&gt;first&lt;/b&gt;"
    assert bench.state.cache.task(7).workbooks_id == 9000


def test_one_that_exists_is_adopted_instead_of_created(bench: Any) -> None:
    queued(bench)
    bench.target.tasks[1] = TaskRow(1, 0, False, "outreach-task-7")
    assert decide(bench).tasks.created == 0
    assert bench.target.task_batches == []
    assert bench.state.cache.task(7).workbooks_id == 1


@pytest.mark.parametrize(("recreates", "created"), [(True, 1), (False, 0)])
def test_one_that_was_deleted_follows_when_deleted(bench: Any, recreates: bool, created: int) -> None:
    queued(bench)
    bench.target.tasks[1] = TaskRow(1, 0, True, "outreach-task-7")
    assert decide(bench, config={"sync.when_deleted": "recreate" if recreates else "leave"}).tasks.created == created
    assert bench.count("outbox") == 0


def test_a_creation_without_an_answer_is_looked_for_twice_and_never_doubled(bench: Any) -> None:
    queued(bench)

    def lost(writes: Any) -> Any:
        bench.target.obey_tasks(writes)
        return [Unknown("time-out") for _ in writes]

    bench.target.answers = [bench.target.obey, lost]
    assert decide(bench).tasks.created == 1
    assert len(bench.target.tasks) == 1
    assert bench.count("outbox") == 0


def test_a_refused_task_is_kept_with_its_reason(bench: Any) -> None:
    queued(bench)
    bench.target.answers = [bench.target.obey, lambda _: [Rejected(("name: is required",))]]
    assert decide(bench).tasks.rejected == 1
    (entry,) = bench.state.outbox.failures()
    assert (entry.task_id, entry.reason) == (7, "name: is required")


def gone(bench: Any) -> None:
    """Have a skipped task wait for a Person that was in step and has been deleted in Workbooks since."""
    queued(bench)
    with bench.state.transaction():
        bench.state.undecided.decided([1])
        bench.state.people.read(1001, 1, Held("Running", None, False, "1"), rule="email", now=bench.now - 1)
    bench.target.change(1001, deleted=True)


def test_a_task_is_never_tied_to_a_person_that_was_deleted_but_to_the_one_created_again(bench: Any) -> None:
    gone(bench)
    tally = decide(bench)
    assert (tally.people.recreated, tally.tasks.created) == (1, 1)
    (write,) = bench.target.task_batches[0]
    assert write.fields["primary_contact_id"] not in (1001, None)


def test_a_task_whose_deleted_person_is_left_deleted_waits_and_is_no_failure(bench: Any) -> None:
    gone(bench)
    decide(bench, config={"sync.when_deleted": "leave"})
    assert bench.target.task_batches == []
    assert bench.state.outbox.of_task(7).state == "waiting"
    assert bench.state.outbox.failures() == []


def test_people_of_many_tasks_are_read_in_one_request(bench: Any) -> None:
    for one in range(1, 9):
        bench.linked(one, 1000 + one, "active")
        bench.keep(tasks=[bench.skipped(100 + one, one)])
        with bench.state.transaction():
            bench.state.outbox.queue_task(100 + one, one, held=False, run_id="run0")
    decide(bench)
    assert [sorted(ids) for what, ids in bench.target.looked_up if what == "id"][:1] == [list(range(1001, 1009))]
    assert len(bench.target.tasks) == 8
