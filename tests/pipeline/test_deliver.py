from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import FIRST_LOAD_DONE, deliver
from outreach_sync.errors import UnavailableError
from outreach_sync.records import Unknown


def decide(bench: Any, *, allow_bulk: bool = False, dry_run: bool = False, **options: Any) -> Any:
    run = bench.run(dry_run=dry_run, **options)
    deliver(run, complete=True, allow_bulk=allow_bulk)
    return run.summary


def load(bench: Any, count: int, *, first_load_done: bool = True) -> None:
    for one in range(1, count + 1):
        bench.linked(one, 1000 + one, "active")
    if first_load_done:
        with bench.state.transaction():
            bench.state.facts.put(FIRST_LOAD_DONE, "run0")


def test_the_guard_is_not_there_before_the_first_load_is_done(bench: Any) -> None:
    load(bench, 4, first_load_done=False)
    assert decide(bench).people.updated == 4


def test_what_a_guard_has_let_pass_once_is_not_counted_again(bench: Any) -> None:
    load(bench, 4)
    decide_all = bench.run()
    deliver(decide_all, complete=True, allow_bulk=True)
    for one in range(1, 5):
        bench.target.change(1000 + one, f_state="Finished")
    with bench.state.transaction():
        bench.state.people.doubt_all()
        for one in range(1, 5):
            bench.state.outbox.queue_person(one, 1000 + one, "update", {"sequence_state": "Running"}, run_id="run0")
        for entry in bench.state.outbox.of_person(range(1, 5)):
            bench.run().refuse(entry, "refused before")
        bench.state.outbox.admit_all()
        bench.state.undecided.mark_all_changed()
    bench.now += 86_400_000
    assert decide(bench).people.updated == 4


def fail_at(bench: Any, *person_ids: int) -> None:
    """Let Workbooks answer neither yes nor no whenever one of these is among what is written."""
    obey = bench.target.write_people

    def write_people(writes: Any) -> Any:
        if any(write.id in person_ids for write in writes):
            bench.target.person_batches.append(list(writes))
            return [Unknown("the service answered 500")] * len(writes)
        return obey(writes)

    bench.target.write_people = write_people


def test_what_was_lost_once_makes_only_its_own_next_batches_small(bench: Any) -> None:
    load(bench, 60, first_load_done=False)
    bench.target.answers = [lambda writes: [Unknown("the answer was lost")] * len(writes)]
    assert decide(bench, config={"workbooks.batch_size": 20}).people.updated == 60
    assert sorted(len(batch) for batch in bench.target.person_batches) == [5, 5, 5, 5, 20, 20, 20]


def test_a_record_that_workbooks_fails_at_is_parked_in_the_end(bench: Any) -> None:
    """Alone it looks like a service that is down, so the cycle ends with 4. It counts an attempt all the same."""
    load(bench, 1, first_load_done=False)
    fail_at(bench, 1001)
    for attempts in (1, 2, 3):
        with pytest.raises(UnavailableError, match="keep being lost"):
            decide(bench)
        assert [entry.attempts for entry in bench.state.outbox.failures()] == [attempts]
        bench.now += 86_400_000
    assert [entry.state for entry in bench.state.outbox.failures()] == ["parked"]
    decide(bench)


def test_a_service_that_takes_nothing_is_not_asked_for_every_record(bench: Any) -> None:
    load(bench, 60, first_load_done=False)
    fail_at(bench, *range(1001, 1061))
    with pytest.raises(UnavailableError):
        decide(bench, config={"workbooks.batch_size": 20})
    assert len(bench.target.person_batches) < 30
    assert len(bench.state.outbox.failures()) <= 6
