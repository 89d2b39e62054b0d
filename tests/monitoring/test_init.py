from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from outreach_sync.conduct import Options, conduct
from outreach_sync.config.loading import load_config
from outreach_sync.errors import InterruptedByError, NotAllowedError
from outreach_sync.http import StopSignal
from outreach_sync.ledger import refuse_decision
from outreach_sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Receiver, Recorder

    from outreach_sync.config.models import Config
    from outreach_sync.pipeline.run import Run


@pytest.fixture
def config(receiver: Receiver, tmp_path: Path) -> Iterator[Config]:
    with Sandbox() as sandbox:
        sandbox.load_example()
        document = sandbox.config(tmp_path / "state.db")
        document["monitoring"] = {"ping_url": receiver.url, "metrics_file": str(tmp_path / "sync.prom")}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        yield load_config(path)


def nothing(_run: Run) -> None:
    pass


def failing(error: Exception) -> Callable[[Run], None]:
    def work(run: Run) -> None:
        run.log.warning("about_to_fail", secret=run.id)
        raise error

    return work


def run(config: Config, log: Recorder, work: Callable[[Run], None], **options: Any) -> int:
    return conduct(config, Options(**options), StopSignal(), log, work=work).exit_status


def test_a_good_run_pings_its_start_and_its_success_and_writes_metrics(
    config: Config, receiver: Receiver, log: Recorder
) -> None:
    assert run(config, log, nothing) == 0
    assert receiver.paths == ["/start", ""]
    assert config.monitoring.metrics_file is not None
    assert "outreach_sync_last_run_exit_status" in config.monitoring.metrics_file.read_text()
    assert receiver.url not in json.dumps(log.events)


def test_a_failed_run_sends_the_end_of_its_log(config: Config, receiver: Receiver, log: Recorder) -> None:
    assert run(config, log, failing(NotAllowedError("the scope tasks.read is missing."))) == 3
    assert receiver.paths == ["/start", "/fail"]
    body = receiver.pings[-1].body
    assert body.startswith("run ")
    assert "about_to_fail" in body
    assert "the scope tasks.read is missing." in body


def test_a_run_with_refusals_pings_its_exit_status(config: Config, receiver: Receiver, log: Recorder) -> None:
    def refuse(run: Run) -> None:
        with run.state.transaction():
            refuse_decision(run, 18, None, "two Persons match")

    assert (run(config, log, refuse), receiver.paths[-1]) == (1, "/1")


def test_a_run_that_was_stopped_has_not_failed(config: Config, receiver: Receiver, log: Recorder) -> None:
    assert run(config, log, failing(InterruptedByError(15))) == 143
    assert receiver.paths == ["/start", "/log"]


def test_a_bug_is_told_as_a_failure(config: Config, receiver: Receiver, log: Recorder) -> None:
    with pytest.raises(ZeroDivisionError):
        run(config, log, failing(ZeroDivisionError()))
    assert receiver.paths == ["/start", "/fail"]
    assert "broke down" in receiver.pings[-1].body


def test_a_dry_run_is_nobodys_business(config: Config, receiver: Receiver, log: Recorder) -> None:
    run(config, log, nothing, dry_run=True)
    assert receiver.pings == []
    assert config.monitoring.metrics_file is not None
    assert not config.monitoring.metrics_file.exists()


def test_monitoring_that_does_not_work_does_not_fail_a_run(config: Config, receiver: Receiver, log: Recorder) -> None:
    receiver.status = 500
    broken = config.monitoring.model_copy(update={"metrics_file": Path("/nowhere/at/all.prom")})
    assert run(config.model_copy(update={"monitoring": broken}), log, nothing) == 0
    assert {"ping_failed", "metrics_not_written"} <= {event for event, _ in log.events}
