"""What has to be written so that a Person says what it should: only what differs, compared as values, never as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.instants import Instant
    from outreach_sync.rules.person import Wanted

RoleValue = str | int | bool | None
"""A value by role: text, an `Instant` for `state_updated_at`, a bool for `no_email`."""

_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
_KEPT_OTHERWISE = ("sequence_state", "state_updated_at", "outreach_id", "sequences")
"""Roles whose values may be kept in another form; No Email is not among them: an opt-out holds, or is written again."""


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


def recognised(
    read: Held, known: Held, kept_as: Mapping[str, RoleValue], *, same_version: bool
) -> tuple[Held, dict[str, RoleValue]]:
    """Tell what Workbooks made of our values from what somebody wrote.

    Workbooks may keep text otherwise than it was sent (`?` for an emoji, `&amp;`, cut short), a time without its
    seconds or as a day: written again it would only be kept so again. Where nobody wrote the record since, each value
    that differs is what it made of ours; later it is known again by that.

    Args:
        read: what the Person was read to hold.
        known: what it was last known to hold, in our form.
        kept_as: role -> what Workbooks was seen to make of that.
        same_version: whether the record has the version that it was known to have.

    Returns:
        What the Person holds, in our form where it is ours; and role -> what Workbooks made of it, where it differs.
    """
    ours: dict[str, RoleValue] = {}
    made: dict[str, RoleValue] = {}
    for role in _KEPT_OTHERWISE:
        now, before = getattr(read, role), getattr(known, role)
        seen_so = same_version or (role in kept_as and kept_as[role] == now)
        if seen_so and now != before and _may_be_made_of(now, before):
            ours[role], made[role] = before, now
    return read._replace(**ours), made  # type: ignore[arg-type]  # the values of these roles


def _may_be_made_of(now: RoleValue, ours: RoleValue) -> bool:
    """Say whether Workbooks can have made this of what we sent: never nothing at all, and no finer time than ours.

    A field that was removed and made anew is empty, and one that was shown as a day shows its time again, without
    another version of the record; neither is what Workbooks made of ours.
    """
    if now is None or ours is None:
        return False
    if not isinstance(now, int) or not isinstance(ours, int):
        return True
    return any(now % unit == 0 and abs(now - ours) <= unit for unit in (_MINUTE_MS, _DAY_MS))


def _same_time(wanted: Instant, held: Instant | None, *, exactly: bool) -> bool:
    """Compare to the second, which is what Workbooks keeps; a field that keeps days only holds the midnight.

    `exactly`: another state is shown than before, so that a midnight may well be a time of day.
    """
    if held is None:
        return False
    return wanted // 1000 == held // 1000 or (not exactly and wanted - wanted % _DAY_MS == held)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
