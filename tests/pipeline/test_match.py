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


def test_no_more_is_asked_for_those_a_rule_has_found(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1")
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    bench.decide()
    assert "email" not in {what for what, _ in bench.target.looked_up}


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
