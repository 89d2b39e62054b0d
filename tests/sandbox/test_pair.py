from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.server import SandboxClock

if TYPE_CHECKING:
    from pathlib import Path


def test_both_services_answer_and_share_one_clock(tmp_path: Path) -> None:
    clock = SandboxClock()
    with Sandbox(clock=clock) as sandbox:
        sandbox.load_example()
        clock.advance(86_400_000)
        times = [
            requests.get(f"{service.url}/_sandbox/", timeout=5).json()["now"][:16]
            for service in (sandbox.outreach, sandbox.workbooks)
        ]
        assert times[0] == times[1]


def test_the_example_goes_on_in_two_steps_each_told_by_its_events() -> None:
    sandbox = Sandbox()
    sandbox.load_example()
    store = sandbox.outreach.store
    for step, told in ((1, {"skip_task", "opt_out"}), (2, {"sequence_state_destroyed", "opt_out_revert"})):
        known = {one.id for one in store.all("event")}
        happenings = sandbox.evolve(step)
        names = {one.values["name"] for one in store.all("event") if one.id not in known}
        assert told <= {one.event for one in happenings} - {""} <= names
    with pytest.raises(KeyError):
        sandbox.evolve(3)
    sandbox.stop()
