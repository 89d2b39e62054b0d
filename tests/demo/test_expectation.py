from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from outreach_sync.cli import run_command
from outreach_sync.demo.expectation import NO_EMAIL, PERSON, SINCE, STATE, TASK, Memory
from outreach_sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def synced(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        sandbox.load_example()
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(sandbox.config(tmp_path / "state.db")))
        config.chmod(0o600)
        assert run_command(["-c", str(config), "--log-level", "error", "run"]) == 1
        yield sandbox


def _wrong(sandbox: Sandbox) -> list[str]:
    return Memory(sandbox).mismatches()


def test_what_the_program_makes_of_the_example_is_as_expected(synced: Sandbox) -> None:
    assert _wrong(synced) == []


@pytest.mark.parametrize(
    ("field", "value"), [(STATE, "Pending"), (SINCE, 1_000_000_000_000), (NO_EMAIL, False), (STATE, None)]
)
def test_a_person_that_says_something_else_is_noticed(synced: Sandbox, field: str, value: object) -> None:
    memory = Memory(synced)
    synced.workbooks.store.update(PERSON, 1002, **{field: value})  # who has opted out
    assert [one for one in memory.mismatches() if "Person 1002" in one]


def test_a_person_that_is_missing_or_there_twice_is_noticed(synced: Sandbox) -> None:
    store = synced.workbooks.store
    created = next(one["id"] for one in store.all(PERSON) if one["created_through_reference"] == "outreach-prospect-17")
    store.delete(PERSON, created)
    assert "prospect 17 has no Person" in _wrong(synced)
    store.restore(PERSON, created)
    one_too_many = store.add_person(name="Ada", created_through_reference="outreach-prospect-777")
    assert _wrong(synced) == [f"Person {one_too_many} was created and stands for nobody"]


def test_a_task_that_is_missing_there_twice_or_another_persons_is_noticed(synced: Sandbox) -> None:
    store = synced.workbooks.store
    task = next(one for one in store.all(TASK) if one["created_through_reference"])
    store.update(TASK, task["id"], primary_contact_id=1001)
    assert len(_wrong(synced)) == 1
    store.update(TASK, task["id"], primary_contact_id=task["primary_contact_id"])
    twin = store.add_task(name="twin", created_through_reference=task["created_through_reference"])
    assert any("there are 2 Workbooks Tasks" in one for one in _wrong(synced))
    store.delete(TASK, twin)
    store.delete(TASK, task["id"])
    assert len(_wrong(synced)) == 1


def test_no_email_that_was_set_once_must_stay(synced: Sandbox) -> None:
    memory = Memory(synced)
    synced.outreach.store.update("prospect", 2, optedOut=False, optedOutAt=None, emailOptedOut=False)
    memory.look()
    assert [one for one in memory.mismatches() if "Person 1002" in one]  # it still says Opted Out
    newest = next(one for one in synced.workbooks.store.all(PERSON) if one["id"] == 1002)
    assert newest[NO_EMAIL] is True
