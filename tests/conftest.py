"""What tests of whole commands share: both simulated services, and the program run against them in this process."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from outreach_sync import log
from outreach_sync.config import load_config
from outreach_sync.config.model import Config
from outreach_sync.reconcile import reconcile
from outreach_sync.run import Options, Run, RunSummary, perform
from outreach_sync.sandbox import Sandbox
from outreach_sync.store import Store
from tests.harness import PERSON, TASK, Installation, NoWaiting, Recorder, Time

_MEMORY = Path("/dev/shm")  # noqa: S108
if _MEMORY.is_dir():
    _room = os.statvfs(_MEMORY)
    if not _room.f_flag & (os.ST_NOEXEC | os.ST_RDONLY) and _room.f_bavail * _room.f_frsize > 2**30:
        os.environ.setdefault("TMPDIR", str(_MEMORY))  # thousands of states would wait for the disk at each commit

kept = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("check", max_examples=50, derandomize=True, **kept)
settings.register_profile("torture", settings.get_profile("check"), max_examples=2000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "check"))


@pytest.fixture(autouse=True)
def _nothing_of_another_test_or_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_kept", set())
    for name in list(os.environ):
        ours = name.startswith(("OUTREACH", "WORKBOOKS", "XDG_"))
        if ours or name.upper().endswith(("_PROXY", "_BUNDLE", "CERT_FILE")):
            monkeypatch.delenv(name)


class World(Installation):
    """Both simulated services, empty, a config whose state is in a directory of its own, and time that can pass."""

    def __init__(self, directory: Path, sandbox: Sandbox, clock: Time) -> None:
        super().__init__(directory, sandbox, start="all", guard={"share": 0.5, "count": 3}, patience="20s")
        self.time = clock
        self.stop = NoWaiting(clock)

    def run(self, *, sync: dict[str, Any] | None = None, work: Any = None, **options: Any) -> RunSummary:
        return perform(self.config(**(sync or {})), Options(**options), self.stop, Recorder(), work=work)

    def do(self, work: Callable[[Run], None], **keywords: Any) -> RunSummary:
        return self.run(work=work, command="test", **keywords)

    def repair(self, *, allow_bulk: bool = False, **keywords: Any) -> RunSummary:
        return self.do(lambda run: reconcile(run, allow_bulk=allow_bulk), **keywords)

    def prospect(self, *, email: str | None = None, states: tuple[str, ...] = ("active",), **attributes: Any) -> int:
        """Add a prospect with a state for each word; return its id."""
        values = {"firstName": "Ada", "lastName": "Example", "emails": [email] if email else [], **attributes}
        prospect = self.outreach.add("prospect", values)
        if not self.outreach.all("sequence"):
            self.outreach.add_sequence("Trial follow-up")
        for word in states:
            self.outreach.add_state(prospect, 1, word)
        return prospect

    def skipped_task(self, prospect: int, **attributes: Any) -> int:
        given = {"taskType": "sequence_step_email", "action": "email", "state": "skipped", "sequence": 1, **attributes}
        return self.outreach.add_task(prospect, **given)

    def states_of(self, prospect: int) -> list[int]:
        return [one.id for one in self.outreach.all("sequenceState") if one.values["prospect"] == prospect]

    def people(self) -> list[dict[str, Any]]:
        return self.workbooks.all(PERSON)

    def person(self) -> dict[str, Any]:
        """Return the only Person there is."""
        (person,) = self.people()
        return person

    def edit_person(self, person_id: int, **fields: Any) -> None:
        self.workbooks.update(PERSON, person_id, **fields)

    def tasks(self) -> list[dict[str, Any]]:
        return self.workbooks.all(TASK)

    def writes(self) -> int:
        return len(self.workbooks.writes)

    def state(self) -> Store:
        return Store.open(self.state_path)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with self.state() as state, state.transaction():
            return state.connection.execute(statement).fetchall()

    def failures(self) -> list[Any]:
        with self.state() as state:
            return state.outbox.failures()

    def retry(self) -> None:
        with self.state() as state, state.transaction():
            state.outbox.retry([one.id for one in state.outbox.failures()])

    def pass_the_overlap(self) -> None:
        """Let the walks of the next runs begin after what was read, as they do minutes later."""
        self.sql("UPDATE progress SET watermark = watermark + 3600000")

    def known(self, count: int, *words: str, **keywords: Any) -> list[int]:
        """Add so many prospects with their People, and bring them into step; return the ids of the prospects."""
        for number in range(count):
            self.workbooks.add_person(name="P", email=f"p{number}@example.com")
        given = {"states": words or ("active",), **keywords}
        prospects = [self.prospect(email=f"p{number}@example.com", **given) for number in range(count)]
        self.run(allow_bulk=True)
        return prospects

    def move(self, prospect: int, word: str) -> None:
        """Let the first sequence state of a prospect become another."""
        self.outreach.update("sequenceState", self.states_of(prospect)[0], state=word)

    def lose_the_state(self) -> None:
        for file in self.state_path.parent.glob("state.db*"):
            if not file.name.endswith(".tokens"):
                file.unlink()


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., Config]:
    """Return a config of two services that nobody asks, with `section={key: value}` set; its state is in `tmp_path`."""

    def make(**sections: dict[str, Any]) -> Config:
        document: dict[str, Any] = {
            "outreach": {"client_id": "an-id", "client_secret": "a-secret"},
            "workbooks": {"api_key": "a-key-of-nobody", "base_url": "https://acme-live.workbooks.com"},
            "schedule": {"reconcile": None},
            "state": {"path": str(tmp_path / "state.db")},
        }
        for section, values in sections.items():
            document[section] = {**document.get(section, {}), **values}
        path = tmp_path / "made.yaml"
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
        path.chmod(0o600)
        return load_config(path, require_secrets=False)

    return make


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = Time()
    with Sandbox() as sandbox, clock.running():
        yield World(tmp_path, sandbox, clock)
