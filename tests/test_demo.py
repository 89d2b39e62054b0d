"""The demo: what it shows, and that it notices whatever is not as it must be."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from outreach_sync import demo
from outreach_sync.cli import run_command
from outreach_sync.config.model import Config
from outreach_sync.demo import NO_EMAIL, PERSON, SINCE, STATE, TASK, Expectation, config_of
from outreach_sync.errors import InterruptedByError
from outreach_sync.http import StopSignal
from outreach_sync.sandbox import Sandbox
from tests.harness import Recorder


def told(directory: Path, *, width: int = 80, stop: StopSignal | None = None) -> tuple[bool, str]:
    out = io.StringIO()
    well = demo.tell(Console(file=out, highlight=False, width=width), directory, stop or StopSignal())
    return well, out.getvalue()


@pytest.mark.parametrize("width", [80, pytest.param(140, marks=pytest.mark.torture)])
def test_everything_comes_as_it_must_and_fits_the_terminal(tmp_path: Path, width: int) -> None:
    well, said = told(tmp_path, width=width)
    assert (well, "NOT SO" in said, "\x1b" in said) == (True, False, False)
    assert max(map(len, said.splitlines())) <= width
    for word in ("skip_task", "sequence_state_destroyed", "opt_out", "lock_version", "recreated", "Ambiguous"):
        assert word in said
    assert "more (`demo --all` shows them)" in said


def test_the_command_needs_no_config_and_leaves_no_file(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_command(["demo", "--all"]) == 0
    said = capsys.readouterr()
    assert "Everything is as it must be." in said.out
    assert (said.err, "--all" in said.out, list(tmp_path.iterdir())) == ("", False, [])
    assert said.out.count("\nPerson 1") > 50


def test_a_program_that_writes_something_else_is_not_called_well(tmp_path: Path, monkeypatch: Any) -> None:
    def relabelled(sandbox: Sandbox, directory: Path) -> Config:
        config = config_of(sandbox, directory)
        labels = {**config.sync.labels, "finished": "Bounced"}
        return config.model_copy(update={"sync": config.sync.model_copy(update={"labels": labels})})

    monkeypatch.setattr(demo, "config_of", relabelled)
    well, said = told(tmp_path)
    assert (well, "NOT SO" in said) == (False, True)
    assert "says ('Bounced', False), not ('Finished', False)" in " ".join(said.split())


def test_it_ends_when_asked_to(tmp_path: Path) -> None:
    stop = StopSignal()
    stop.set(15)
    with pytest.raises(InterruptedByError):
        told(tmp_path, stop=stop)


@pytest.fixture
def synced(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        sandbox.load_example()
        demo.perform(config_of(sandbox, tmp_path), demo.Options(), StopSignal(), Recorder())
        yield sandbox


def wrong(sandbox: Sandbox) -> list[str]:
    return Expectation(sandbox).mismatches()


def test_a_person_that_says_something_else_is_noticed(synced: Sandbox) -> None:
    assert wrong(synced) == []
    person = dict(synced.workbooks.store.get(PERSON, 1002))  # who has opted out
    for field, value in ((STATE, "Pending"), (SINCE, 1_000_000_000_000), (NO_EMAIL, False), (STATE, None)):
        expectation = Expectation(synced)
        synced.workbooks.store.update(PERSON, 1002, **{field: value})
        assert [one for one in expectation.mismatches() if "Person 1002" in one]
        synced.workbooks.store.update(PERSON, 1002, **{field: person[field]})
    assert wrong(synced) == []


def test_a_person_that_is_missing_or_there_twice_is_noticed(synced: Sandbox) -> None:
    store = synced.workbooks.store
    created = next(one["id"] for one in store.all(PERSON) if one["created_through_reference"] == "outreach-prospect-17")
    store.delete(PERSON, created)
    assert "prospect 17 has no Person" in wrong(synced)
    store.restore(PERSON, created)
    one_too_many = store.add_person(name="Ada", created_through_reference="outreach-prospect-777")
    assert wrong(synced) == [f"Person {one_too_many} was created and stands for nobody"]


def test_a_task_that_is_missing_there_twice_or_anothers_is_noticed(synced: Sandbox) -> None:
    store = synced.workbooks.store
    task = next(one for one in store.all(TASK) if one["created_through_reference"])
    store.update(TASK, task["id"], primary_contact_id=1001)
    assert len(wrong(synced)) == 1
    store.update(TASK, task["id"], primary_contact_id=task["primary_contact_id"])
    twin = store.add_task(name="twin", created_through_reference=task["created_through_reference"])
    assert any("there are 2 Workbooks Tasks" in one for one in wrong(synced))
    store.delete(TASK, twin)
    store.delete(TASK, task["id"])
    assert len(wrong(synced)) == 1


def test_a_skip_that_only_an_event_tells_is_expected(synced: Sandbox) -> None:
    tasks = (one for one in synced.outreach.store.all("task") if one.values.get("completer") and one.values["sequence"])
    task = next(tasks).id
    synced.outreach.store.add("event", {"name": "skip_task", "task": task})
    assert wrong(synced) == [f"there are 0 Workbooks Tasks for task {task}, not 1"]


def test_no_email_that_was_set_once_must_stay(synced: Sandbox) -> None:
    expectation = Expectation(synced)
    synced.outreach.store.update("prospect", 2, optedOut=False, optedOutAt=None, emailOptedOut=False)
    expectation.look()
    assert [one for one in expectation.mismatches() if "Person 1002" in one]  # it still says Opted Out
    synced.workbooks.store.update(PERSON, 1002, no_email_soliciting=False)
    assert [one for one in expectation.mismatches() if "True" in one]
