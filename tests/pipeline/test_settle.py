from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import deliver
from outreach_sync.errors import NotAllowedError, UnavailableError
from outreach_sync.instants import Instant
from outreach_sync.records import Accepted, Rejected, Stale, Unknown


def decide(bench: Any, **options: Any) -> Any:
    run = bench.run(**options)
    deliver(run, complete=True, allow_bulk=False)
    return run.summary


def refuse_all(writes: Any) -> Any:
    return [Rejected(("f_state: is not in the list",)) for _ in writes]


def test_what_was_accepted_leaves_the_queue_and_is_what_workbooks_holds(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    assert decide(bench).people.updated == 1
    person = bench.state.people.by_id([1001])[1001]
    assert (person.lock_version, person.held.sequence_state) == (2, "Running")
    assert bench.count("outbox") == 0


def test_an_answer_without_a_lock_version_has_the_record_read_before_the_next_write(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.answers = [lambda writes: bench.target.obey(writes) and [Accepted(1001, -1)]]
    decide(bench)
    assert bench.state.people.by_id([1001])[1001].lock_version is None


def test_a_record_that_is_always_stale_is_left_for_later_and_holds_up_nobody(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.linked(2, 1002, "active")

    def stale(writes: Any) -> Any:
        return [Stale() if write.id == 1001 else bench.target.obey([write])[0] for write in writes]

    bench.target.answers = [stale] * 10
    assert decide(bench).people.rejected == 1
    assert bench.field(1002, "f_state") == "Running"
    assert "keeps changing" in bench.state.outbox.failures()[0].reason


def test_a_refused_record_stands_with_its_reason_and_is_tried_again_after_a_pause(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.answers = [refuse_all]
    assert decide(bench).people.rejected == 1
    (entry,) = bench.state.outbox.failures()
    assert entry.reason == "f_state: is not in the list"
    decide(bench)
    assert len(bench.target.person_batches) == 1, "not before its pause is over"
    bench.now = Instant(entry.next_attempt_at)
    decide(bench)
    assert bench.field(1001, "f_state") == "Running"
    assert bench.state.outbox.failures() == []


def test_an_opt_out_that_is_refused_together_with_other_fields_is_sent_once_more_alone(bench: Any) -> None:
    bench.linked(1, 1001, "active", opted_out=True)
    bench.target.answers = [refuse_all]
    decide(bench)
    assert set(bench.target.person_batches[1][0].fields) == {"f_no_email"}
    assert (bench.field(1001, "f_no_email"), bench.field(1001, "f_state")) == (True, None)
    assert len(bench.state.outbox.failures()) == 1


def test_a_refused_record_that_turns_out_to_be_gone_is_created_again(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.change(1001, deleted=True)
    bench.target.answers = [refuse_all]
    tally = decide(bench)
    assert (tally.people.recreated, tally.people.rejected) == (1, 0)


def test_a_lost_answer_is_looked_up_and_not_sent_again_where_it_took_effect(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.answers = [lambda writes: bench.target.obey(writes) and [Unknown("time-out")]]
    tally = decide(bench)
    assert len(bench.target.person_batches) == 1
    assert bench.count("outbox") == 0
    assert (tally.people.updated, tally.people.unchanged) == (1, 0)


def test_a_request_that_failed_altogether_leaves_its_entries_queued_in_doubt(bench: Any) -> None:
    bench.linked(1, 1001, "active")

    def down(_writes: Any) -> Any:
        raise UnavailableError("Workbooks is down.")

    bench.target.answers = [down]
    with pytest.raises(UnavailableError):
        decide(bench)
    (entry,) = bench.state.outbox.of_person([1])
    assert (entry.state, entry.in_doubt) == ("queued", True)
    decide(bench)
    assert bench.field(1001, "f_state") == "Running"


def test_answers_that_keep_being_lost_end_the_run_with_a_service_error_and_lose_nothing(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.answers = [lambda writes: [Unknown("time-out") for _ in writes]] * 10
    with pytest.raises(UnavailableError, match="1 in doubt"):
        decide(bench)
    assert bench.state.outbox.of_person([1])[0].in_doubt
    assert len(bench.target.person_batches) == 3


def test_a_workbooks_that_refuses_everything_stops_the_run_before_every_record_is_marked(bench: Any) -> None:
    for one in range(1, 10):
        bench.linked(one, 1000 + one, "active")
    bench.target.problem = "f_state: Person has no such field"
    bench.target.answers = [refuse_all] * 10
    with pytest.raises(NotAllowedError, match="no such field"):
        decide(bench)
    assert len(bench.target.person_batches) < 3
