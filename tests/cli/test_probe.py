from __future__ import annotations

from typing import Any

import yaml

from outreach_sync.state.lock import run_lock


def test_every_task_is_counted_once_and_the_rule_takes_what_a_run_takes(setup: Any, command: Any) -> None:
    setup.change("outreach", page_size=7)
    document = command("probe-skips", "--days", "90", "--json").document
    assert document["read"] == 80
    assert sum(one["count"] for one in document["combinations"]) == 80
    assert document["taken"] == command("run", "--json").document["streams"]["tasks"]["skipped"]
    examples = [example for one in document["combinations"] for example in one["examples"]]
    assert len(set(examples)) == len(examples)


def test_only_the_last_days_are_read_by_the_services_clock(setup: Any, command: Any) -> None:
    whole = command("probe-skips", "--days", "90", "--json").document["read"]
    assert 0 < command("probe-skips", "--json").document["read"] < whole
    setup.sandbox.clock.advance(10 * 86_400_000)
    assert command("probe-skips", "--days", "10", "--json").document["read"] == 0


def test_the_text_ends_with_a_rule_that_the_config_takes(setup: Any, command: Any) -> None:
    out = command("probe-skips", "--days", "90").out
    rule = yaml.safe_load(out[out.index("\nsync:") : out.index("\nNone of this proves")])
    setup.change("sync", **rule["sync"])
    ran = command("probe-skips", "--days", "90")
    assert ran.status == 0
    assert "Keep the rule" in ran.out


def test_nothing_is_kept_or_written_but_a_token(setup: Any, command: Any) -> None:
    command("probe-skips")
    assert not setup.state_path.exists()
    assert setup.sandbox.workbooks.journal.total() == 0


def test_it_ends_as_a_run_does_where_outreach_refuses(setup: Any, command: Any) -> None:
    with run_lock(setup.state_path, "run"):
        assert command("probe-skips").status == 0
    setup.sandbox.outreach.faults.on("scope_missing", scope="tasks.read")
    assert command("probe-skips").status == 3
    setup.sandbox.outreach.stop()
    assert command("probe-skips").status == 4
