"""From where a stream is read, and how far its watermark may move.

The watermark is the server's clock when the walk began; what this machine's clock says does not matter. Should the
server have named a time that was ahead of its own, as a proxy with a wrong clock makes it do, a later answer shows it:
less time passed there than here. By how much, the marks are believed less (`lag`, `believed`).
"""

from __future__ import annotations

from typing import NamedTuple

from outreach_sync.instants import Instant

_CLOCKS_DIFFER = 60_000
"""Servers behind one name may differ by a little; the overlap makes up for it."""


class Walk(NamedTuple):
    """A walk that began and is not complete.

    Attributes:
        since: the lower bound that was asked for; None: no bound.
        moves_watermark: whether it covers everything from the watermark on, so that the watermark may follow it.
        counts_as_sweep: whether it reads far enough back to be a late sweep.
        next_url: where it goes on; None: at its first page.
        began_at: the server's clock when it began; None where no answer had a `Date`.
        local_at: this machine's clock at that moment, to tell how much time passes between two answers.
        newest: the newest `updatedAt` it has seen.
    """

    since: Instant | None
    moves_watermark: bool
    counts_as_sweep: bool
    next_url: str | None = None
    began_at: Instant | None = None
    local_at: Instant | None = None
    newest: Instant | None = None


class Progress(NamedTuple):
    """Where one stream stands. `watermark` None: no walk was ever completed."""

    watermark: Instant | None
    sweep_began_at: Instant | None
    walk: Walk | None


class Bound(NamedTuple):
    """A lower bound for a walk, and what the walk is good for (see `state.progress.Walk`)."""

    since: Instant | None
    moves_watermark: bool
    counts_as_sweep: bool


class Reading(NamedTuple):
    """How a run is to read.

    Attributes:
        start: how far back a first load reads, in ms; None: everything.
        start_at: the same as a point in time, which wins over `start`.
        overlap: how far behind the watermark each run reads, in ms.
        late_sweep: how far back, and how often, the sweep reads, in ms.
        full: ignore the watermark.
        since: read from here instead.
    """

    start: int | None
    start_at: Instant | None
    overlap: int
    late_sweep: int
    full: bool = False
    since: Instant | None = None


def first_bound(progress: Progress, reading: Reading, server_now: Instant | None) -> Bound | None:
    """Return from where a new walk reads; None: the server's clock is needed to say, and is not known yet."""
    if reading.since is not None:
        covers = progress.watermark is not None and reading.since <= progress.watermark
        return Bound(reading.since, covers, counts_as_sweep=False)
    if progress.watermark is None or reading.full:
        if reading.start_at is not None or reading.start is None:
            return Bound(reading.start_at, moves_watermark=True, counts_as_sweep=True)
        if server_now is None:
            return None
        return Bound(Instant(server_now - reading.start), moves_watermark=True, counts_as_sweep=True)
    if server_now is not None and sweep_is_due(progress, reading, server_now):
        return sweep_bound(progress, reading)
    return Bound(Instant(progress.watermark - reading.overlap), moves_watermark=True, counts_as_sweep=False)


def sweep_is_due(progress: Progress, reading: Reading, server_now: Instant) -> bool:
    """Say whether a sweep's time has passed since the last one began, by the server's clock."""
    return progress.sweep_began_at is not None and server_now - progress.sweep_began_at >= reading.late_sweep


def sweep_bound(progress: Progress, reading: Reading) -> Bound:
    """Return the bound of a late sweep: as far before the last sweep's beginning as rows may come late."""
    marks = [mark for mark in (progress.sweep_began_at, progress.watermark) if mark is not None]
    earliest = min(marks)
    since = min(earliest - reading.late_sweep, (progress.watermark or earliest) - reading.overlap)
    return Bound(Instant(since), moves_watermark=True, counts_as_sweep=True)


def lag(offset: int | None, server: Instant | None, local: Instant | None) -> int:
    """Return by how many ms less has passed by the server's clock than by this machine's, 0 where about as much has.

    Args:
        offset: how far the server's clock was ahead of this machine's when the marks were set; None: not known.
        server: the server's clock now.
        local: this machine's clock now.
    """
    if offset is None or server is None or local is None:
        return 0
    behind = offset - (server - local)
    return behind if behind > _CLOCKS_DIFFER else 0


def believed(progress: Progress, lag: int) -> Progress:
    """Return the marks as far as they can be believed: they may have been ahead of the server's clock by the lag."""
    if lag == 0:
        return progress
    marks = (progress.watermark, progress.sweep_began_at)
    watermark, swept = (None if mark is None else Instant(mark - lag) for mark in marks)
    return progress._replace(watermark=watermark, sweep_began_at=swept)


def trusted_time(walk: Walk) -> Instant | None:
    """Return how late it was in Outreach when the walk began; without a `Date`, its newest row says."""
    return walk.newest if walk.began_at is None else walk.began_at
