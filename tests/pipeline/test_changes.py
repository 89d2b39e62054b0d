from __future__ import annotations

from typing import Any

from outreach_sync.deliver import deliver
from outreach_sync.store import Store


def changes(bench: Any, **options: Any) -> Any:
    run = bench.run(dry_run=True, **options)
    run.store = Store.open_scratch(bench.path)
    deliver(run, complete=True, allow_bulk=False)
    run.store.close()
    return run.summary


def test_an_update_is_shown_old_and_new(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    (change,) = changes(bench).changes
    assert change == {
        "record": "person",
        "action": "update",
        "prospect_id": 1,
        "task_id": None,
        "workbooks_id": 1001,
        "fields": {"f_state": [None, "Running"], "f_at": [None, "2026-09-20T14:13:20Z"]},
    }


def test_a_person_to_be_created_is_shown_whole_with_its_task(bench: Any) -> None:
    bench.keep(bench.prospect(1, email="ada@example.com"), tasks=[bench.skipped(7, 1, due_at=bench.now)])
    tally = changes(bench)
    person, task = tally.changes
    assert person["action"] == "create"
    assert person["fields"]["main_location[email]"] == [None, "ada@example.com"]
    assert (task["record"], task["task_id"]) == ("task", 7)
    assert task["fields"]["due_date"] == [None, "2026-09-21"]
    assert (tally.people.created, tally.tasks.created) == (1, 1)


def test_a_task_whose_person_would_not_exist_is_not_shown(bench: Any) -> None:
    bench.keep(bench.prospect(1), tasks=[bench.skipped(7, 1)])
    assert changes(bench, config={"sync.people.when_missing": "skip"}).changes == []


def test_nothing_of_it_is_kept(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    changes(bench)
    assert (bench.count("outbox"), bench.count("changed")) == (0, 1)
    assert bench.target.person_batches == []
