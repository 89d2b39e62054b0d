"""What is looked up early is old when its turn comes: it must never hide what was written meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync import match
from outreach_sync.deliver import Pusher, deliver
from outreach_sync.http import ahead

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


def forget_that_all_states_were_read(bench: Any) -> None:
    with bench.state.transaction():
        bench.state.connection.execute("DELETE FROM fact")


def test_old_states_are_read_before_the_first_decision_unless_everything_was_read(bench: Any) -> None:
    forget_that_all_states_were_read(bench)
    bench.source.states = bench.states(1, "opted_out")
    bench.target.add(1001, email="ada@example.com")
    bench.keep(bench.prospect(1, email="ada@example.com"))
    bench.decide()
    assert bench.source.history_asked == [1]
    assert (bench.field(1001, "f_state"), bench.field(1001, "f_no_email")) == ("Opted Out", True)
    bench.keep(bench.prospect(1, email="ada@example.com", opted_out=True, updated_at=bench.now))
    bench.decide()
    assert bench.source.history_asked == [1], "once is enough"


def test_a_prospect_that_only_a_state_named_is_read_before_it_is_created(bench: Any) -> None:
    bench.source.prospects = [bench.prospect(1, email="ada@example.com")]
    bench.keep(states=bench.states(1, "active"))
    bench.decide()
    assert bench.source.prospects_asked == [1]
    assert bench.target.people[5000].email == "ada@example.com"


@pytest.mark.parametrize(
    ("rule", "prospect", "person"),
    [
        ("reference", {}, {"reference": "outreach-prospect-1"}),
        ("external_id", {"external_id": " pers-1001 "}, {}),
        ("email", {"email": "Ada@Example.com"}, {"email": "ada@example.COM"}),
    ],
)
def test_each_rule_finds_the_person(bench: Any, rule: str, prospect: dict[str, Any], person: dict[str, Any]) -> None:
    bench.target.add(1001, **person)
    bench.keep(bench.prospect(1, **prospect), states=bench.states(1, "active"))
    bench.decide()
    assert bench.field(1001, "f_state") == "Running"
    assert bench.state.people.by_id([1001])[1001].rule == rule


def test_the_reference_is_looked_for_whatever_the_config_says_since_the_state_may_have_been_lost(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1")
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    assert bench.decide(config={"sync.people.match": ("link", "email")}).people.created == 0
    assert bench.field(1001, "f_state") == "Running"


def test_a_deleted_person_is_no_match(bench: Any) -> None:
    bench.target.add(1001, email="ada@example.com")
    bench.target.change(1001, deleted=True)
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    assert bench.decide().people.created == 1


def test_no_more_is_asked_for_those_a_rule_has_found(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1")
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    bench.decide()
    assert "email" not in {what for what, _ in bench.target.looked_up}


def test_a_person_in_doubt_is_read_before_it_is_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.change(1001, f_state="Running")
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    bench.decide()
    (batch,) = bench.target.person_batches
    assert set(batch[0].fields) == {"f_at"}, "what is there already is not written again"


DAY, NOON = 86_400_000, 1_790_000_000_000


def _at_once(call: Callable[[], Any], *, name: str) -> Future[Any]:
    """Have a call that is begun early be over before anything else happens."""
    future = ahead(call, name=name)
    future.result()
    return future


_pump = Pusher.pump


def _settled_at_once(pusher: Pusher) -> None:
    _pump(pusher)
    while pusher._in_flight:
        pusher._collect(block=True)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "CHUNK", 1)
    monkeypatch.setattr(match, "ahead", _at_once)
    monkeypatch.setattr(Pusher, "pump", _settled_at_once)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("lock_version", [1, None])
def test_a_row_that_is_older_than_our_own_write_hides_that_write(bench: Any, lock_version: int | None) -> None:
    """Two prospects are one Person, and the second was looked up before the first was written."""
    bench.target.add(1001, email="ada@example.com", f_state="Paused", f_at=NOON - DAY)
    bench.keep(
        bench.prospect(1, email="ada@example.com"),
        bench.prospect(2, email="ada@example.com"),
        states=[*bench.states(1, "active"), *bench.states(2, "paused")],
    )
    if lock_version is None:  # its first answer does not say which version it has now
        bench.target.answers.append(
            lambda writes: [one._replace(lock_version=-1) for one in bench.target.obey(writes)],
        )
    deliver(bench.run(), complete=True, allow_bulk=False)
    assert bench.field(1001, "f_state") == "Paused", "of two states at the same time the higher id is shown"


@pytest.mark.usefixtures("one_by_one")
def test_everybody_is_decided_once_however_few_at_a_time(bench: Any) -> None:
    for number in range(1, 8):
        bench.target.add(1000 + number, email=f"{number}@example.com")
    bench.keep(
        *(bench.prospect(number, email=f"{number}@example.com") for number in range(1, 8)),
        states=[one for number in range(1, 8) for one in bench.states(number, "active")],
    )
    run = bench.run()
    deliver(run, complete=True, allow_bulk=False)
    assert run.summary.people.updated == 7
    assert all(bench.field(1000 + number, "f_state") == "Running" for number in range(1, 8))
