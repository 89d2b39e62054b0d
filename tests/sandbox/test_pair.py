from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
import yaml

from outreach_sync.config import load_config
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.clock import SandboxClock

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


def test_the_config_lets_a_client_in(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        config = sandbox.config(tmp_path / "state.db")
        assert config["state"] == {"path": str(tmp_path / "state.db")}
        outreach, workbooks = config["outreach"], config["workbooks"]
        form = {name: outreach[name] for name in ("client_id", "client_secret", "refresh_token", "redirect_uri")}
        url = f"{outreach['base_url']}/oauth/token"
        assert requests.post(url, data={**form, "grant_type": "refresh_token"}, timeout=5).status_code == 200
        people = requests.post(
            f"{workbooks['base_url']}/crm/people.api",
            data={"_method": "GET", "client": "api", "api_version": "1", "api_key": workbooks["api_key"]},
            headers={"User-Agent": "outreach_sync/1.0"},
            timeout=5,
        )
        assert people.json()["success"] is True


def test_the_config_is_one_the_program_accepts(tmp_path: Path) -> None:
    sandbox = Sandbox()
    path = tmp_path / "outreach-sync.yaml"
    path.write_text(yaml.safe_dump(sandbox.config(tmp_path / "state.db")), encoding="utf-8")
    config = load_config(path)
    sandbox.stop()
    assert str(config.outreach.base_url).rstrip("/") == sandbox.outreach.url
    assert str(config.workbooks.base_url).rstrip("/") == sandbox.workbooks.url


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
