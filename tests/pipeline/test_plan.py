from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import deliver
from outreach_sync.errors import InterruptedByError
from outreach_sync.instants import Instant
from outreach_sync.pull import keep_page


def decide(bench: Any, *, complete: bool = True, source_is_down: bool = False, **options: Any) -> Any:
    run = bench.run(**options)
    run.source_is_down = source_is_down
    deliver(run, complete=complete, allow_bulk=False)
    return run.summary


def hold(bench: Any, **rows: Any) -> None:
    """Keep a page as a walk that is not complete does."""
    with bench.state.transaction():
        concerned, _ = keep_page(bench.run(), bench.source.page(**rows))
        bench.state.undecided.mark_changed(concerned, held=True)


def test_only_what_differs_is_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    decide(bench)
    bench.keep(states=[one._replace(state="paused", updated_at=bench.now) for one in bench.states(1, "active")])
    decide(bench)
    assert [set(write.fields) for batch in bench.target.person_batches for write in batch] == [
        {"f_state", "f_at"},
        {"f_state"},
    ]


def test_what_says_the_same_already_is_counted_as_unchanged_and_not_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    decide(bench)
    with bench.state.transaction():
        bench.state.undecided.mark_changed([1], held=False)
    assert decide(bench).people.unchanged == 1
    assert len(bench.target.person_batches) == 1


def test_of_an_incomplete_walk_nothing_but_opt_outs_is_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.linked(2, 1002, "active")
    decide(bench)
    later = Instant(bench.now + 1)
    hold(bench, states=[one._replace(state="finished", updated_at=later) for one in bench.states(1, "active")])
    hold(bench, prospects=[bench.prospect(2, opted_out=True, opted_out_at=later, updated_at=later)])
    decide(bench, complete=False)
    assert bench.field(1001, "f_state") == "Running"
    assert (bench.field(1002, "f_state"), bench.field(1002, "f_no_email")) == ("Opted Out", True)
    with bench.state.transaction():
        bench.state.undecided.release()
    decide(bench)
    assert bench.field(1001, "f_state") == "Finished"


def test_two_prospects_of_one_person_are_one_person(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.linked(2, 1001, "finished", opted_out=True)
    decide(bench)
    assert [len(batch) for batch in bench.target.person_batches] == [1]
    assert bench.field(1001, "f_state") == "Opted Out"


def test_no_email_is_never_cleared(bench: Any) -> None:
    bench.linked(1, 1001, "active", opted_out=True)
    decide(bench)
    bench.keep(bench.prospect(1, opted_out=False, updated_at=bench.now))
    decide(bench)
    assert (bench.field(1001, "f_state"), bench.field(1001, "f_no_email")) == ("Running", True)


def test_an_unknown_state_is_refused_by_name_and_everything_else_goes_on(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating")
    bench.linked(2, 1002, "active")
    assert decide(bench).people.rejected == 1
    assert bench.field(1002, "f_state") == "Running"
    assert "hibernating" in bench.state.outbox.failures()[0].reason


def test_an_opt_out_is_written_whatever_unknown_state_is_beside_it(bench: Any) -> None:
    bench.linked(1, 1001, "hibernating", opted_out=True)
    decide(bench)
    assert bench.field(1001, "f_no_email") is True


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


@pytest.mark.parametrize(("recreates", "created"), [(True, 1), (False, 0)])
def test_a_person_that_is_gone_follows_when_deleted(bench: Any, recreates: bool, created: int) -> None:
    bench.linked(1, 1001, "active")
    bench.target.change(1001, deleted=True)
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    assert decide(bench, config={"sync.when_deleted": "recreate" if recreates else "leave"}).people.recreated == created
    assert len([row for row in bench.target.people.values() if not row.is_deleted]) == created


def test_a_person_that_was_merged_is_followed_by_the_other_rules(bench: Any) -> None:
    bench.linked(1, 1001, "active", email="ada@example.com")
    bench.target.change(1001, deleted=True)
    bench.target.add(1002, email="ada@example.com")
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    assert decide(bench).people.recreated == 0
    assert bench.field(1002, "f_state") == "Running"


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
