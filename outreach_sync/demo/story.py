"""What happens in the demo: five acts, each a change in the world, a cycle, and a look whether all is as it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from outreach_sync.conduct import Options, conduct
from outreach_sync.config.load import load_config
from outreach_sync.demo.expectation import Memory, people, tasks_by_reference
from outreach_sync.demo.reasons import Reasons
from outreach_sync.demo.showing import Screen
from outreach_sync.insight import failures
from outreach_sync.sandbox import Sandbox
from outreach_sync.state import State
from outreach_sync.state.lock import run_lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal

_REQUESTS_OF_A_QUIET_CYCLE = 3
_REFUSED_TWICE = 16  # the prospect whose address two People have


def tell(console: Console, directory: Path, stop: StopSignal) -> bool:
    """Tell the whole story; say whether everything came as it must.

    Args:
        console: where it is shown.
        directory: an empty one, for the config and the state.
        stop: the request to stop.

    Raises:
        OutreachSyncError: a cycle failed, or somebody asked to stop.
    """
    with Sandbox() as sandbox:
        sandbox.load_example()
        stage = Stage(Screen(console), sandbox, _config(sandbox, directory), stop)
        first_load(stage)
        nothing_new(stage)
        a_working_day(stage)
        hands_in_workbooks(stage)
        somebody_mends_what_was_refused(stage)
    stage.screen.ending(stage.problems)
    return not stage.problems


def first_load(stage: Stage) -> None:
    """Read everything for the first time."""
    stage.screen.act(
        "The first cycle",
        "60 prospects in 8 sequences in Outreach; most of them are People in Workbooks, which knows nothing of it yet.",
    )
    stage.cycle()
    stage.show_refusals()


def nothing_new(stage: Stage) -> None:
    """Run a cycle with nothing to do."""
    stage.screen.act("Another cycle at once", "Nothing changed, so nothing may be written.")
    stage.quiet_cycle()


def a_working_day(stage: Stage) -> None:
    """Let prospects and tasks change in Outreach."""
    stage.screen.act("A working day in Outreach", *stage.sandbox.evolve(1))
    stage.cycle()


def hands_in_workbooks(stage: Stage) -> None:
    """Let people change and delete records in Workbooks, one of them in the moment between our look and our write."""
    faults = stage.sandbox.workbooks.faults
    faults.on("stale_some", times=1)
    stage.screen.act(
        "Hands in Workbooks",
        *stage.sandbox.evolve(2),
        "And somebody saves a Person in the moment before it is written: its lock version is stale.",
    )
    stage.cycle()
    stage.expect("the write with a stale lock version happened", happened=not faults.state()["stale_some"]["active"])


def somebody_mends_what_was_refused(stage: Stage) -> None:
    """Merge the two People with one address, and try again what was refused for it."""
    twins = [
        one["id"]
        for one in people(stage.sandbox).values()
        if one["main_location[email]"] in stage.sandbox.outreach.store.get("prospect", _REFUSED_TWICE).values["emails"]
    ]
    stage.sandbox.workbooks.store.merge_people(*twins)
    stage.screen.act(
        "Somebody mends what was refused",
        f"People {twins[0]} and {twins[1]}, with one address, are merged; then `failures retry`.",
    )
    stage.retry_refusals()
    stage.cycle()
    stage.show_refusals()
    stage.screen.act("A last cycle", "Nothing changed, so nothing may be written.")
    stage.quiet_cycle()


class Stage:
    """Where it happens: both services, the config, what must come of it, and the screen.

    Attributes:
        problems: what did not come as it must, a sentence each.
    """

    def __init__(self, screen: Screen, sandbox: Sandbox, config: Config, stop: StopSignal) -> None:
        """Look at the world before anything happens."""
        self.screen = screen
        self.sandbox = sandbox
        self.problems: list[str] = []
        self._config = config
        self._stop = stop
        self._memory = Memory(sandbox)

    def cycle(self) -> Mapping[str, Any]:
        """Run a cycle, show what it changed and why, and compare all of Workbooks with what it must say."""
        self._memory.look()
        people_before, tasks_before = people(self.sandbox), tasks_by_reference(self.sandbox)
        ended = conduct(self._config, Options(), self._stop, _Silence())
        if ended.error is not None:
            raise ended.error
        self.screen.document(ended.document)
        with Reasons(self._config) as reasons:
            self.screen.people(people_before, people(self.sandbox), reasons)
            self.screen.tasks(tasks_before, tasks_by_reference(self.sandbox), reasons)
        wrong = self._memory.mismatches()
        self.problems += wrong
        self.screen.verdict(wrong, len(people(self.sandbox)), len(tasks_by_reference(self.sandbox)))
        return ended.document

    def quiet_cycle(self) -> None:
        """Run a cycle in which nothing may be written."""
        writes = len(self.sandbox.workbooks.store.writes)
        requests = self.cycle()["requests"]
        self.expect("nothing was written", happened=len(self.sandbox.workbooks.store.writes) == writes)
        self.expect("Workbooks was not asked", happened=requests["workbooks"] == 0)
        few = requests["outreach"] <= _REQUESTS_OF_A_QUIET_CYCLE
        self.expect("Outreach was asked three times at most", happened=few)

    def expect(self, what: str, *, happened: bool) -> None:
        """Note whether something came as it must."""
        self.screen.expectation(what, happened=happened)
        if not happened:
            self.problems.append(f"it is not so that {what}")

    def show_refusals(self) -> None:
        """Show what `failures list` would."""
        state = State.open_to_read(self._config.state.path)
        if state is not None:
            with state:
                self.screen.refusals(failures.by_kind(state.outbox.failures()))

    def retry_refusals(self) -> None:
        """Do what `failures retry` does."""
        path = self._config.state.path
        with run_lock(path, "failures retry"), State.open(path) as state:
            failures.retry(state, state.outbox.failures())


def _config(sandbox: Sandbox, directory: Path) -> Config:
    path = directory / "demo.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(sandbox.config(directory / "state.db"), allow_unicode=True), encoding="utf-8")
    return load_config(path)


class _Silence:
    """A log that says nothing: the screen does."""

    def debug(self, event: str, **values: Any) -> None:
        """Say nothing."""

    def info(self, event: str, **values: Any) -> None:
        """Say nothing."""

    def warning(self, event: str, **values: Any) -> None:
        """Say nothing."""
