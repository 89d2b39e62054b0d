"""From where a stream is read, how far its watermark may move, and how much a cycle may change (the guard).

The watermark is the server's clock when the walk began, but never later than what this machine's clock or the data
itself bears out: `min(server, max(local, newest row))`, or `min(local, newest row)` of a server that tells no time.
Whichever one of the clocks is wrong, by a day either way, the watermark is at most too early, which costs reading a few
rows again and loses nothing. When a sweep is due the server's clock says alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Back, Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.config.model import Guard

CLOCKS_DIFFER = 60_000  # servers behind one name may differ by a little


class Walk(NamedTuple):
    """A walk that is to begin, or began and is not complete."""

    since: Instant | None  # the lower bound that is asked for; None: no bound
    moves_watermark: bool  # it covers everything from the watermark on, so that the watermark may follow it
    counts_as_sweep: bool  # it reads far enough back to be a late sweep
    next_url: str | None = None  # where it goes on; None: at its first page
    began_at: Instant | None = None  # the server's clock when it began; None where no answer had a `Date`
    local_at: Instant | None = None  # this machine's then
    newest: Instant | None = None  # the newest stamp it has seen
    as_is: bool = False  # it takes every row as it is, whatever is stored of it


class Progress(NamedTuple):
    """Where one stream stands. `watermark` None: no walk was ever completed."""

    watermark: Instant | None
    sweep_began_at: Instant | None
    walk: Walk | None


class Reading(NamedTuple):
    """How a run is to read; lengths of time are in ms, a `Back` counts from the service's clock."""

    start: Instant | Back | None  # from where a first load reads; None: everything
    overlap: int  # how far behind the watermark each run reads
    late_sweep: int  # how far back, and how often, the sweep reads
    full: bool = False  # ignore the watermark
    since: Instant | Back | None = None  # the run was told to read from here instead


def walk_to_make(progress: Progress, reading: Reading, heard: Instant | None, ask: Callable[[], Instant]) -> Walk:
    """Return the walk to go on with, or a new one; `heard` is the server's clock, None: `ask` tells where needed."""
    is_told, start = reading.since is not None, reading.start if reading.since is None else reading.since
    if progress.walk is not None and not is_told and (not reading.full or _reads_all(progress.walk, start)):
        return progress.walk._replace(as_is=progress.walk.as_is or reading.full)
    due = None if progress.watermark is None else Instant(progress.watermark - reading.overlap)
    if due is not None and not is_told and not reading.full:
        return late_sweep(progress, reading, heard) or Walk(due, moves_watermark=True, counts_as_sweep=False)
    if isinstance(start, Back):
        start = Instant((ask() if heard is None else heard) - start.ms)
    if start is not None and due is not None and not is_told:
        start = Instant(min(start, min(due, progress.sweep_began_at or due) - reading.late_sweep))
    covers = start is None or (due is not None and start <= due)
    return Walk(start, moves_watermark=covers or not is_told, counts_as_sweep=not is_told, as_is=reading.full)


def _reads_all(walk: Walk, start: Instant | Back | None) -> bool:
    """Say whether a walk reads all that a run with `full` is to read, so that such a run may go on with it."""
    if walk.since is None or walk.began_at is None or start is None:
        return walk.since is None
    return walk.since <= (walk.began_at - start.ms if isinstance(start, Back) else start) + CLOCKS_DIFFER


def late_sweep(progress: Progress, reading: Reading, server_now: Instant | None) -> Walk | None:
    """Return a late sweep if one is due by the server's clock, also if the last one began in its future."""
    began = progress.sweep_began_at
    if began is None or server_now is None or -CLOCKS_DIFFER <= server_now - began < reading.late_sweep:
        return None
    watermark = began if progress.watermark is None else progress.watermark
    since = min(min(began, watermark) - reading.late_sweep, watermark - reading.overlap)
    return Walk(Instant(since), moves_watermark=True, counts_as_sweep=True, as_is=reading.full)


def trusted_time(walk: Walk) -> Instant | None:
    """Return how late it certainly was in Outreach when the walk began: not before its bound; None: nothing says."""
    latest, told = (walk.newest, None) if walk.began_at is None else (walk.began_at, walk.newest)
    if latest is None:
        return walk.since
    proven = min(latest, max((one for one in (walk.local_at, told) if one is not None), default=latest))
    return proven if walk.since is None else max(proven, min(walk.since, latest))


class Watched(StrEnum):
    """What the guard counts."""

    UPDATES = "updates"  # linked people that would be changed, opt-outs left out, once the first load is done
    LOSSES = "losses"  # people who would become Not Active, and records that are gone or would be created again
    CREATIONS = "creations"  # people that would be created, in the first load too


def is_mass_change(changes: int, known: int, *, share: float, count: int) -> bool:
    """Say whether so many changes among `known` records are too many: more than the share, and more than the count."""
    return changes > count and changes > share * known


def guard_problems(numbers: Mapping[Watched, int], linked: int, limits: Guard, *, loaded: bool) -> dict[Watched, str]:
    """Return which limits are passed, and each problem in words; updates are watched once the first load is done."""
    updates, losses, creations = (numbers[one] for one in Watched)
    found: dict[Watched, str] = {}
    if loaded and is_mass_change(updates, linked, share=limits.share, count=limits.count):
        found[Watched.UPDATES] = (
            f"it would change {updates} of {linked} linked people (allowed: {limits.count}, or a share of "
            f"{limits.share:g})"
        )
    if is_mass_change(losses, linked, share=limits.lost_share, count=limits.lost_count):
        found[Watched.LOSSES] = (
            f"{losses} of {linked} linked people would become Not Active, are not to be seen any more or would be "
            f"created again (allowed: {limits.lost_count}, or a share of {limits.lost_share:g})"
        )
    if creations > limits.create:
        found[Watched.CREATIONS] = f"it would create {creations} people (allowed: {limits.create})"
    return found
