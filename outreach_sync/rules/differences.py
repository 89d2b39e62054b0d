"""What has to be written so that a Person says what it should: only what differs, compared as values, never as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from outreach_sync.instants import Instant
    from outreach_sync.rules.person import Wanted

RoleValue = str | int | bool | None
"""A value by role: text, an `Instant` for `state_updated_at`, a bool for `no_email`."""

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000


class Held(NamedTuple):
    """What a Person holds now, as last accepted or read; None: nothing, or the field is not configured."""

    sequence_state: str | None = None
    state_updated_at: Instant | None = None
    no_email: bool | None = None
    outreach_id: str | None = None
    sequences: str | None = None


def differences(wanted: Wanted, held: Held) -> dict[str, RoleValue]:
    """Return role -> value for what differs; empty: nothing to write.

    No Email is only ever set to true; the Outreach id is only written where there is none.
    """
    changes: dict[str, RoleValue] = {}
    if wanted.sequence_state is not None and wanted.sequence_state != held.sequence_state:
        changes["sequence_state"] = wanted.sequence_state
    if wanted.state_updated_at is not None and not _same_time(
        wanted.state_updated_at, held.state_updated_at, exactly="sequence_state" in changes
    ):
        changes["state_updated_at"] = wanted.state_updated_at
    if wanted.no_email and held.no_email is not True:
        changes["no_email"] = True
    if wanted.outreach_id is not None and not held.outreach_id:
        changes["outreach_id"] = wanted.outreach_id
    if wanted.sequences is not None and _lines(wanted.sequences) != _lines(held.sequences or ""):
        changes["sequences"] = wanted.sequences
    return changes


def as_known(read: Held, known: Held) -> Held:
    """Take what a Person was read to hold; its time, if it is the known one cut or rounded to the minute, is that.

    Whether Workbooks keeps the seconds of a custom field is not documented: if not, what was written would differ from
    what is read for ever.
    """
    at = known.state_updated_at
    if at is None or read.state_updated_at not in (_minute(at), _minute(at + _MINUTE_MS // 2)):
        return read
    return read._replace(state_updated_at=at)


def _minute(at: int) -> int:
    return at - at % _MINUTE_MS


def _same_time(wanted: Instant, held: Instant | None, *, exactly: bool) -> bool:
    """Compare to the second, which is what Workbooks keeps; a field that keeps days only holds the midnight.

    `exactly`: another state is shown than before, so that a midnight may well be a time of day.
    """
    if held is None:
        return False
    return wanted // 1000 == held // 1000 or (not exactly and wanted - wanted % _DAY_MS == held)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
