"""A process that dies at any instant loses nothing and doubles nothing: the next one carries on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.cycle import run_cycle
from outreach_sync.instants import Instant
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Stream
from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STATES, TASKS, PROSPECTS = Stream.SEQUENCE_STATES, Stream.TASKS, Stream.PROSPECTS


class PowerCutError(BaseException):
    """The process is gone."""


class Power:
    """Lets some transactions through, then cuts: before or after the commit of the next; nothing works afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.after_commit, self.gone = -1, False, False
        whole = Store.transaction

        @contextmanager
        def transaction(state: Store) -> Iterator[Any]:
            if self.gone:
                raise PowerCutError
            cut = self.left == 0
            self.left -= 1
            with whole(state) as connection:
                yield connection
                if cut and not self.after_commit:
                    self.gone = True
                    raise PowerCutError
            if cut:
                self.gone = True
                raise PowerCutError

        monkeypatch.setattr(Store, "transaction", transaction)

    def lasts_for(self, transactions: int, *, after_commit: bool) -> None:
        self.left, self.after_commit, self.gone = transactions, after_commit, False

    def is_back(self) -> None:
        self.left, self.gone = -1, False


def fill(bench: Any) -> None:
    """One who is linked and changed, one to be created with a task, one with an opt-out, on two pages."""
    bench.linked(1, 1001, "active")
    bench.target.add(1003, email="cy@example.com")
    everyone = [bench.prospect(one, email=f"{name}@example.com") for one, name in ((2, "bo"), (3, "cy"))]
    states = [*bench.states(1, "finished", at=bench.now), *bench.states(2, "active"), *bench.states(3, "opted_out")]
    bench.source.states = states
    bench.source.prospects = [*everyone, bench.prospect(1)]
    pages = [bench.source.page(states=[one], included=everyone) for one in states]
    bench.source.script = {
        STATES: pages,
        TASKS: [bench.source.page(tasks=[bench.skipped(7, 2)]), bench.source.page(tasks=[bench.skipped(8, 1)])],
        PROSPECTS: [bench.source.page(prospects=everyone)],
    }


def what_workbooks_says(bench: Any) -> Any:
    people = sorted(
        (row.reference or "", row.email or "", row.fields.get("f_state"), row.fields.get("f_no_email"))
        for row in bench.target.people.values()
        if not row.is_deleted
    )
    return people, sorted(row.reference for row in bench.target.tasks.values() if not row.is_deleted)


def live_on(bench: Any) -> None:
    """Begin as a new process does."""
    bench.state.connection.close()
    bench.state = Store.open(bench.path)


EXPECTED = (
    [
        ("", "cy@example.com", "Opted Out", True),
        ("outreach-prospect-1", "", "Finished", None),
        ("outreach-prospect-2", "bo@example.com", "Running", None),
    ],
    ["outreach-task-7", "outreach-task-8"],
)


@pytest.mark.parametrize("after_commit", [False, pytest.param(True, marks=pytest.mark.torture)])
@pytest.mark.parametrize("work", [run_cycle, pytest.param(reconcile, marks=pytest.mark.torture)])
def test_a_power_cut_at_any_commit_loses_nothing_and_doubles_nothing(
    make_bench: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, work: Callable[..., None], after_commit: bool
) -> None:
    power = Power(monkeypatch)
    cuts = 0
    while True:
        power.is_back()
        bench = make_bench()
        fill(bench)
        power.lasts_for(cuts, after_commit=after_commit)
        try:
            work(bench.run())
        except PowerCutError:
            pass
        else:
            break
        power.is_back()
        live_on(bench)
        for _ in range(2):
            bench.now = bench.source.clock = Instant(bench.now + 3_600_000)
            work(bench.run())
        assert what_workbooks_says(bench) == EXPECTED, f"after a cut at commit {cuts}"
        assert (bench.count("outbox"), bench.count("changed")) == (0, 0)
        bench.state.connection.close()
        cuts += 1
    assert cuts > 10
    assert what_workbooks_says(bench) == EXPECTED


@pytest.mark.torture
@pytest.mark.parametrize("after_commit", [False, True])
def test_a_power_cut_while_deletions_are_repaired_leaves_them_to_the_next_reconcile(
    make_bench: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, after_commit: bool
) -> None:
    power = Power(monkeypatch)
    cuts = 0
    while True:
        power.is_back()
        bench = make_bench()
        fill(bench)
        run_cycle(bench.run())
        bench.source.states = [one for one in bench.source.states if one.prospect_id != 1]
        bench.source.script = {}
        script = [bench.source.page(states=bench.source.states)]
        monkeypatch.setattr(bench.source, "all_states_url", lambda: f"{STATES}?0")
        bench.source.script[STATES] = script
        new_task = next(iter(bench.target.tasks))
        bench.target.tasks[new_task] = bench.target.tasks[new_task]._replace(is_deleted=True)
        power.lasts_for(cuts, after_commit=after_commit)
        try:
            reconcile(bench.run())
        except PowerCutError:
            pass
        else:
            break
        power.is_back()
        live_on(bench)
        bench.now = bench.source.clock = Instant(bench.now + 3_600_000)
        reconcile(bench.run())
        people, tasks = what_workbooks_says(bench)
        assert people == [(*one[:2], "Not Active", one[3]) if one[2] == "Finished" else one for one in EXPECTED[0]]
        assert tasks == EXPECTED[1]
        bench.state.connection.close()
        cuts += 1
    assert cuts > 5
