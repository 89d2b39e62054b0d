"""A small world to break: both simulated services, a state on disk, and runs through the real command's code path.

`World.note` must follow every change that a test makes: it remembers what the stores forget (who ever matched whom,
which tasks were ever skipped), so that the oracle can judge the end by what happened on the way.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outreach_sync import run
from outreach_sync.reconcile import reconcile
from outreach_sync.sandbox import Sandbox
from tests.harness import PERSON, Installation, NoWaiting, Recorder, Time
from tests.torture import oracle

if TYPE_CHECKING:
    from outreach_sync.http import StopSignal
    from outreach_sync.run import RunSummary

ALL_FIELDS = {
    "sequence_state": "cf_person_sequence_state",
    "state_updated_at": "cf_person_state_updated_at",
    "no_email": "no_email_soliciting",
    "outreach_id": "cf_person_outreach_id",
    "sequences": "cf_person_sequences",
}
HOUR, DAY = 3_600_000, 86_400_000
USUAL = (100, 2)
CROWDED = (3, 5)
"""Objects in a batch and requests at once: of a small world, only small batches are ever under way together."""


class World(Installation):
    """Both services, the config, the state, and what happened so far."""

    def __init__(self, **sync: Any) -> None:
        directory = Path(tempfile.mkdtemp(prefix="torture-"))
        super().__init__(directory, Sandbox(), **{"start": "all", "patience": "20s", **sync})
        self.sandbox.start()
        self.settings["workbooks"]["fields"] = dict(ALL_FIELDS)
        self.settings["outreach"]["reserve"] = 0
        self.history = oracle.History()
        self.time = Time()
        self.pass_time = self.time.pass_time
        self._life = ExitStack()
        self._life.enter_context(self.time.running())

    # -- running

    def send_in(self, lanes: tuple[int, int]) -> None:
        """Set how many objects a batch holds and how many requests go at once."""
        self.change("workbooks", batch_size=lanes[0], concurrency=lanes[1])

    def run(self, command: str = "run", *, stop: StopSignal | None = None, **options: Any) -> RunSummary:
        """Do one `run`, or `reconcile`, as the command does it."""
        self.note()
        bulk = bool(options.get("allow_bulk"))
        work = (lambda run: reconcile(run, allow_bulk=bulk)) if command == "reconcile" else None
        asked = run.Options(command, **options)
        try:
            ended = run.perform(self.config(), asked, stop or NoWaiting(self.time), Recorder(), work=work)
            if ended.exit_status in {0, 1} and not (asked.dry_run or asked.streams):
                self.history.read_everything(self)
            return ended
        finally:
            self.note()

    def load(self) -> None:
        """Do the first load."""
        assert self.run().exit_status in {0, 1}

    def retry_failures(self) -> None:
        """Do what `failures retry` does."""
        if not self.state_path.exists() or not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'outbox'"):
            return
        with closing(sqlite3.connect(self.state_path)) as connection, connection:
            connection.execute(
                "UPDATE outbox SET state = 'queued', attempts = 0, next_attempt_at = NULL"
                " WHERE state IN ('queued', 'parked') AND reason IS NOT NULL"
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the state file."""
        with closing(sqlite3.connect(f"file:{self.state_path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def lose_the_state(self) -> None:
        """Delete the database as a clumsy administrator does."""
        for suffix in ("", "-wal", "-shm"):
            self.state_path.with_name(self.state_path.name + suffix).unlink(missing_ok=True)

    def heal(self) -> None:
        """Switch every fault off."""
        self.sandbox.outreach.faults.clear()
        self.sandbox.workbooks.faults.clear()
        self.sandbox.clock.header_skew = 0

    def converge(self, *, cycles: int = 3, reconcile_first: bool = False) -> list[int]:
        """Heal, then do at most so many clean cycles; return their exit statuses.

        Two at least: the first may do no more than go on with a walk that was interrupted a day ago.
        `reconcile_first`: something vanished without a trace, or was edited in Workbooks, which polling cannot see.
        """
        self.heal()
        self.retry_failures()
        statuses = []
        if reconcile_first:
            statuses.append(self.run("reconcile", allow_bulk=True).exit_status)
            self.history.reconciled()
        for number in range(cycles):
            writes = len(self.workbooks.writes)
            ended = self.run(allow_bulk=True)
            statuses.append(ended.exit_status)
            changed = any(stream.get("changed") or stream.get("skips") for stream in ended.document["streams"].values())
            if number and ended.exit_status in {0, 1} and not changed and len(self.workbooks.writes) == writes:
                break
        return statuses

    def left_wrong(self, *, reconcile_first: bool = False) -> list[str]:
        """Heal and converge; return everything that is not as it must be, in sentences."""
        after = self.converge(reconcile_first=reconcile_first)
        settled = after[-1] == (1 if oracle.failures(self) else 0) and not self.unfinished()
        found = [] if settled else [f"not converged after {after}"]
        return [*found, *oracle.violations(self), *oracle.not_idle(self)]

    def unfinished(self) -> int:
        """Count what would still be done without anybody's doing."""
        return int(
            self.rows(
                "SELECT (SELECT count(*) FROM changed)"
                " + (SELECT count(*) FROM outbox one WHERE state = 'sending' OR state = 'queued' AND reason IS NULL"
                " AND NOT EXISTS (SELECT 1 FROM outbox other WHERE other.record = 'person' AND other.reason IS NOT NULL"
                " AND other.prospect_id = one.prospect_id))"
            )[0][0]
        )

    # -- the services

    def now(self) -> int:
        """Say what time it is for the services, to the second."""
        return self.sandbox.now() // 1000 * 1000

    def note(self) -> None:
        """Remember what the stores will not say later."""
        self.history.note(self)

    def edit_person(self, person_id: int, **fields: Any) -> None:
        """Let a user edit a Person in Workbooks."""
        self.workbooks.update(PERSON, person_id, **fields)
        self.history.edit(self, person_id, fields)
        self.note()

    def close(self) -> None:
        self._life.close()
        self.sandbox.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def populate(world: World) -> None:
    """Add a dozen people who between them cover what makes a sync hard."""
    out, crm = world.outreach, world.workbooks
    long_ago = world.now() - 200 * DAY
    ids: dict[str, int] = {}
    for name in ("Trial follow-up", "New leads", "Renewal, Q3"):
        out.add_sequence(name)
    for order in (1, 2):
        out.add_step(1, order=order)
    for number, first in enumerate(("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ivy", "Jo", "Kit", "Lu"), 1):
        emails = [f"{first.lower()}@example.com", f"{first.lower()}.{number}@example.org"]
        ids[first] = out.add_prospect(firstName=first, lastName="Example", emails=emails, updatedAt=world.now() - HOUR)
    for first, state in (
        *(("Ada", "active"), ("Ada", "finished"), ("Bo", "paused"), ("Cy", "finished"), ("Di", "opted_out")),
        *(("Ed", "pending"), ("Flo", "bounced"), ("Gus", "failed"), ("Hal", "disabled"), ("Kit", "active")),
    ):
        at = world.now() - HOUR - 1000 * len(out.all("sequenceState"))
        sequence = len(out.all("sequenceState")) % 3 + 1
        out.add_state(ids[first], sequence, state, stateChangedAt=at, updatedAt=at, sequenceStep=1)
    out.add_state(ids["Bo"], 2, "finished", stateChangedAt=long_ago, updatedAt=long_ago)
    out.add_state(ids["Hal"], 1, "opted_out", stateChangedAt=long_ago, updatedAt=long_ago)
    out.update("prospect", ids["Flo"], optedOut=True, optedOutAt=world.now() - 2 * HOUR)
    out.update("prospect", ids["Ivy"], emailOptedOut=True)
    out.update("prospect", ids["Kit"], emails=["LU@example.com"])  # Kit and Lu, without a Person, are one person
    out.add_state(ids["Lu"], 3, "paused", updatedAt=world.now() - 3 * HOUR)
    for first, attributes in (
        ("Ada", {"state": "skipped"}),
        ("Bo", {"state": "complete"}),
        ("Cy", {"state": "complete", "completed": True, "completedAt": world.now()}),
        ("Gus", {"state": "skipped", "taskType": "sequence_step_call", "action": "call"}),
        ("Kit", {"state": "incomplete", "sequenceState": 10, "sequenceStep": 1}),
    ):
        kind = {"taskType": "sequence_step_email", "sequence": 1, "updatedAt": world.now() - HOUR}
        out.add_task(ids[first], **{**kind, **attributes})
    out.add_task(None, taskType="sequence_step_email", sequence=1, state="skipped")
    for first in ("Ada", "Bo", "Cy", "Di", "Ed", "Jo"):
        crm.add_person(name=f"{first} Example", email=f"{first.lower()}@example.com")
    crm.add_person(name="Gus Example", email="gus.7@example.org")
    hal = crm.add_person(name="Hal Example")
    out.update("prospect", ids["Hal"], externalId=f"PERS-{hal}")
    for _ in range(2):
        crm.add_person(name="Twice Example", email="flo@example.com")
    crm.add_person(name="Only Workbooks", email="nobody@example.net")
    world.note()
