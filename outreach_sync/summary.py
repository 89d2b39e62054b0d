"""What a run did, counted: the numbers of `run --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant, to_iso
from outreach_sync.records import Stream, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.records import WriteValue
    from outreach_sync.store.outbox import Entry


@dataclass(slots=True)
class StreamSummary:
    """What was read of one stream. `without_stamp`: rows whose stamp is null; `skips`: events that tell of a skip."""

    read: int = 0
    changed: int = 0
    skipped: int = 0
    skips: int = 0
    requests: int = 0
    without_stamp: int = 0
    watermark: Instant | None = None

    def as_json(self, stream: Stream) -> dict[str, Any]:
        """Return the stream's part of the document."""
        of_its_own = {
            Stream.TASKS: {"changed": self.changed, "skipped": self.skipped},
            Stream.EVENTS: {"skips": self.skips},
        }.get(stream, {"changed": self.changed})
        watermark = None if self.watermark is None else to_iso(self.watermark)
        return {"read": self.read, **of_its_own, "requests": self.requests, "watermark": watermark}


@dataclass(slots=True)
class PeopleSummary:
    """What became of people. `queued` is what waits at the end of the run, the others are this run's."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    recreated: int = 0
    skipped: int = 0
    rejected: int = 0
    queued: int = 0


@dataclass(slots=True)
class TaskSummary:
    """What became of skipped tasks."""

    created: int = 0
    rejected: int = 0
    queued: int = 0


@dataclass(slots=True)
class RunSummary:
    """Everything a run did. `changes` is filled by a dry run only; `warnings` are sentences that do not end the run."""

    run_id: str
    started_at: Instant
    dry_run: bool
    streams: dict[Stream, StreamSummary] = field(default_factory=dict)
    people: PeopleSummary = field(default_factory=PeopleSummary)
    tasks: TaskSummary = field(default_factory=TaskSummary)
    outreach_requests: int = 0
    workbooks_requests: int = 0
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    guard_would_stop: bool = False
    warnings: list[str] = field(default_factory=list)

    def would_write(self, entry: Entry, before: Mapping[str, WriteValue], fields: Mapping[str, WriteValue]) -> None:
        """List and count what a dry run would write: `before` and `fields` by the names of the fields in Workbooks."""
        if entry.record == "task":
            self.tasks.created += 1
        else:
            counter = {"update": "updated", "create": "created", "recreate": "recreated"}[entry.action]
            setattr(self.people, counter, getattr(self.people, counter) + 1)
        self.changes.append(
            {
                "record": entry.record,
                "action": "update" if entry.action == "update" else "create",
                "prospect_id": entry.prospect_id,
                "task_id": entry.task_id,
                "workbooks_id": entry.person_id,
                "fields": {name: [plain(before.get(name)), plain(value)] for name, value in fields.items()},
            }
        )

    def as_json(self, outcome: str, finished_at: Instant) -> dict[str, Any]:
        """Return the document that `run --json` prints."""
        document: dict[str, Any] = {
            "run_id": self.run_id,
            "outcome": outcome,
            "dry_run": self.dry_run,
            "started_at": to_iso(self.started_at),
            "finished_at": to_iso(finished_at),
            "streams": {stream.value: one.as_json(stream) for stream, one in self.streams.items()},
            "people": asdict(self.people),
            "tasks": asdict(self.tasks),
            "requests": {"outreach": self.outreach_requests, "workbooks": self.workbooks_requests},
        }
        if self.warnings:
            document["warnings"] = list(self.warnings)
        if self.dry_run:
            document["changes"] = list(self.changes)
            document["guard_would_stop"] = self.guard_would_stop
        return document
