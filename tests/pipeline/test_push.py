from __future__ import annotations

import threading
from typing import Any

import pytest

from outreach_sync.deliver import deliver
from outreach_sync.errors import InterruptedByError
from outreach_sync.store import Store


def decide(bench: Any, **options: Any) -> Any:
    run = bench.run(**options)
    deliver(run, complete=True, allow_bulk=False)
    return run.summary


def link(bench: Any, count: int) -> None:
    for one in range(1, count + 1):
        bench.linked(one, 1000 + one, "active")


def test_no_batch_is_larger_than_configured_and_nobody_is_sent_twice(bench: Any) -> None:
    link(bench, 7)
    decide(bench)
    assert sorted(len(batch) for batch in bench.target.person_batches) == [1, 3, 3]
    ids = [write.id for batch in bench.target.person_batches for write in batch]
    assert len(ids) == len(set(ids)) == 7


def test_an_entry_is_durably_marked_as_being_sent_before_its_request_leaves(bench: Any) -> None:
    link(bench, 1)
    seen: list[str] = []

    def look(writes: Any) -> Any:
        other = Store.open_to_read(bench.path)  # what another process would find after a power cut
        seen.append(other.outbox.of_person([1])[0].state)
        other.connection.close()
        return bench.target.obey(writes)

    bench.target.answers = [look]
    decide(bench)
    assert seen == ["sending"]


def test_what_was_being_sent_when_a_process_died_is_read_before_it_is_sent_again(bench: Any) -> None:
    link(bench, 1)

    def die(writes: Any) -> Any:
        bench.target.obey(writes)
        raise KeyboardInterrupt

    bench.target.answers = [die]
    with pytest.raises(KeyboardInterrupt):
        decide(bench)
    with bench.state.transaction():
        bench.state.outbox.recover()
    decide(bench)
    assert len(bench.target.person_batches) == 1
    assert bench.count("outbox") == 0


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
    decide(bench, config={"workbooks.concurrency": 2})
    assert 1 <= most <= 2


def test_a_request_to_stop_settles_what_is_in_flight_and_keeps_the_rest_queued(bench: Any) -> None:
    link(bench, 9)

    def stop(writes: Any) -> Any:
        bench.stop.set(15)
        return bench.target.obey(writes)

    bench.target.answers = [stop]
    with pytest.raises(InterruptedByError):
        decide(bench)
    written = sum(len(batch) for batch in bench.target.person_batches)
    assert written < 9
    assert bench.count("outbox WHERE state = 'sending'") == 0
    assert bench.count("outbox") + bench.count("changed") >= 9 - written
