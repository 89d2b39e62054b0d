"""What is looked up early is old when its turn comes: it must never hide what was written meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync import match
from outreach_sync.deliver import Pusher, deliver

if TYPE_CHECKING:
    from collections.abc import Callable

DAY, NOON = 86_400_000, 1_790_000_000_000


class AtOnce:
    """A call ahead that is over before anything else happens."""

    def __init__(self, call: Callable[[], Any], *, name: str) -> None:
        self.name = name
        self._result = call()

    def result(self) -> Any:
        return self._result


_pump = Pusher.pump


def _settled_at_once(pusher: Pusher) -> None:
    _pump(pusher)
    while pusher._in_flight:
        pusher._collect(block=True)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "CHUNK", 1)
    monkeypatch.setattr(match, "Ahead", AtOnce)
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
