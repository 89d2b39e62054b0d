"""What every step of one run shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outreach_sync import instants
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from outreach_sync.config.model import Config
    from outreach_sync.errors import OutreachSyncError
    from outreach_sync.http import StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.log import Log
    from outreach_sync.outreach.walk import Outreach
    from outreach_sync.pipeline.tally import Tally
    from outreach_sync.rules.watermark import Reading
    from outreach_sync.state import State
    from outreach_sync.state.outbox import Entry
    from outreach_sync.workbooks.records import Workbooks


@dataclass(slots=True)
class Pilot:
    """Which people a run may write: all, those of some prospects, or the first so many. The rest stays to be done.

    Attributes:
        limit: write at most so many people; None: no limit.
        prospects: write only the people of these prospects; None: everybody's.
    """

    limit: int | None = None
    prospects: frozenset[int] | None = None
    _expected: int = 0
    _taken: set[int] = field(default_factory=set)
    _people: set[int] = field(default_factory=set)

    def begin(self, state: State) -> None:
        """Have the chosen prospects decided, with all that are the same Person (inside a transaction)."""
        if self.prospects is None:
            return
        state.cache.know(self.prospects)
        pools = state.people.prospects_of(set(state.people.of_prospects(self.prospects).values()))
        self.prospects |= {one for pool in pools.values() for one in pool}
        state.undecided.mark_again(self.prospects)

    def named(self, prospect_ids: list[int]) -> list[int]:
        """Return those of the prospects that may be decided."""
        return prospect_ids if self.prospects is None else [one for one in prospect_ids if one in self.prospects]

    def count_again(self) -> None:
        """Begin a round: nobody is expected to be written but who was."""
        self._expected = len(self._taken)

    def expect(self, people: int) -> None:
        """Take note of people that were decided and are to be written."""
        self._expected += people

    def is_full(self) -> bool:
        """Say whether nobody else has to be decided in this round."""
        return self.limit is not None and self._expected >= self.limit

    def is_over(self) -> bool:
        """Say whether as many were written as may be."""
        return self.limit is not None and len(self._taken) >= self.limit

    def take(self, entries: list[Entry]) -> list[Entry]:
        """Return which of the entries may be sent: not more than the limit, one that was sent before included."""
        if self.limit is None:
            return entries
        for entry in entries:
            if len(self._taken) < self.limit:
                self._taken.add(entry.id)
        return [entry for entry in entries if entry.id in self._taken]

    def wrote(self, person_id: int) -> None:
        """Take note of a Person that was written."""
        if self.limit is not None:
            self._people.add(person_id)

    def covers(self, prospect_id: int | None, person_id: int | None) -> bool:
        """Say whether the tasks of somebody may be sent: those of people that this run may write, or wrote."""
        if self.prospects is not None and prospect_id not in self.prospects:
            return False
        return self.limit is None or person_id in self._people


@dataclass(slots=True)
class Run:
    """One run: its state (a scratch copy for a dry run), both services, the config, and what it has done so far.

    `streams` are those that this run reads, in this order, and `reading` says from where.
    `source_is_down`: Outreach could not be read in this run, and nothing but the streams is asked for.
    `clock` says what time this machine has, for pauses and for the record, never for bounds.
    `look_again_seconds`: how long after a first look a record that may have been created is looked for once more.
    """

    id: str
    state: State
    source: Outreach
    target: Workbooks
    tally: Tally
    stop: StopSignal
    log: Log
    config: Config
    reading: Reading
    streams: tuple[Stream, ...]
    pilot: Pilot = field(default_factory=Pilot)
    look_again_seconds: float = 2.0
    clock: Callable[[], Instant] = field(default=instants.now)
    source_is_down: bool = False
    source_failure: OutreachSyncError | None = None
    on_progress: Callable[[str, int], None] = field(default=lambda _what, _count: None)

    @property
    def all_streams(self) -> tuple[Stream, ...]:
        """Every stream that the config names, whether this run reads it or not."""
        return tuple(Stream(name) for name in self.config.sync.streams)

    @property
    def dry(self) -> bool:
        """Whether nothing may be written anywhere."""
        return self.tally.dry_run
