from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import deliver
from outreach_sync.errors import InterruptedByError
from outreach_sync.instants import Instant


def decide(bench: Any, *, complete: bool = True, source_is_down: bool = False, **options: Any) -> Any:
    run = bench.run(**options)
    run.source_is_down = source_is_down
    deliver(run, complete=complete, allow_bulk=False)
    return run.summary


def test_only_what_differs_is_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    decide(bench)
    bench.keep(states=[one._replace(state="paused", updated_at=bench.now) for one in bench.states(1, "active")])
    decide(bench)
    assert [set(write.fields) for batch in bench.target.person_batches for write in batch] == [
        {"f_state", "f_at"},
        {"f_state"},
    ]


def test_a_refusal_goes_when_its_cause_does(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    decide(bench)
    bench.keep(states=[one._replace(state="active", updated_at=bench.now) for one in bench.states(1, "active")])
    decide(bench)
    assert bench.state.outbox.failures() == []


def test_the_same_refusal_again_keeps_its_attempts_and_its_pause(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    decide(bench)
    first = bench.state.outbox.failures()[0]
    with bench.state.transaction():
        bench.state.undecided.mark_changed([1], held=False)
    decide(bench)
    again = bench.state.outbox.failures()[0]
    assert (again.attempts, again.next_attempt_at) == (first.attempts, first.next_attempt_at)


def test_a_refusal_is_parked_after_max_attempts(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    for _ in range(3):
        decide(bench)
        bench.now = Instant(bench.now + 2 * 86_400_000)
    assert bench.state.outbox.failures()[0].state == "parked"


def test_while_outreach_is_down_whom_it_must_be_asked_about_waits_and_the_others_go_on(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.keep(states=bench.states(2, "active"))
    decide(bench, source_is_down=True)
    assert bench.field(1001, "f_state") == "Running"
    assert bench.source.prospects_asked == []
    assert bench.state.undecided.count() == 1


def test_a_request_to_stop_ends_the_planning_and_loses_nobody(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.stop.set(15)
    with pytest.raises(InterruptedByError):
        decide(bench)
    assert bench.state.undecided.count() == 1
    assert bench.target.person_batches == []


def test_a_pause_that_a_wrong_clock_began_keeps_a_refusal_waiting_for_years(bench: Any) -> None:
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    for one in (1001, 1002):
        bench.target.add(one, email="ada@example.com")
    bench.now += 3650 * 86_400_000
    decide(bench)
    bench.now -= 3650 * 86_400_000
    bench.target.change(1002, deleted=True)
    decide(bench)
    assert bench.field(1001, "f_state") == "Running"
