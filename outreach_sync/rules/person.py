"""What a Person should say, what differs from what it holds, what a new one says besides, and who it is."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import Instant, to_date

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.records import Prospect, Scalar

OPTED_OUT = "opted_out"
NOT_ACTIVE = "not_active"


class Datatype(StrEnum):
    """How a field is read and written; the value is for people."""

    TEXT = "text"
    BOOLEAN = "boolean"
    DATETIME = "date-time"


class Role(NamedTuple):
    """A field of a Person that the sync writes."""

    name: str  # its key below `workbooks.fields`, its column in the store, and its name in `Held` and `Wanted`
    datatype: Datatype
    title: str  # how people know it in Workbooks
    made_as: str | None  # the word with which `provision` makes it; None: Workbooks has it, "": the config says


ROLES = (
    Role("sequence_state", Datatype.TEXT, "Sequence State", "picklist"),
    Role("state_updated_at", Datatype.DATETIME, "State Updated at", ""),
    Role("no_email", Datatype.BOOLEAN, "No Email", None),
    Role("outreach_id", Datatype.TEXT, "Outreach ID", "string"),
    Role("sequences", Datatype.TEXT, "Sequences", "text"),
)
"""All of them; what reads, stores, compares, checks or makes these fields goes by this table."""

RoleValue = str | int | bool | None  # a value by role: text, an `Instant` for `state_updated_at`, a bool for `no_email`

_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
_TEXT_LENGTH = 255  # Workbooks' guide: a string has at most so many characters


class Held(NamedTuple):
    """What a Person holds now, as last accepted or read; None: nothing, or the field is not configured."""

    sequence_state: str | None = None
    state_updated_at: Instant | None = None
    no_email: bool | None = None
    outreach_id: str | None = None
    sequences: str | None = None


class PooledProspect(NamedTuple):
    """One of the prospects behind a Person, reduced to what is decided by."""

    id: int
    opted_out: bool
    opted_out_at: Instant | None
    email_opted_out: bool
    emails_opted_at: Instant | None
    opt_out_seen_at: Instant | None
    trashed: bool
    no_email_kept: bool = False  # its Person had No Email when it was last seen, and is gone or became another
    history_read: bool = True


class PooledState(NamedTuple):
    """One of the sequence states behind a Person; `at` is its `stateChangedAt`, else its `updatedAt`."""

    id: int
    prospect_id: int
    sequence_id: int | None
    state: str
    at: Instant | None
    sequence_name: str | None


class Wanted(NamedTuple):
    """What a Person should say. None (False for `no_email`) means: leave it as it is."""

    sequence_state: str | None
    state_updated_at: Instant | None
    no_email: bool
    outreach_id: str | None
    sequences: str | None
    opted_out: bool  # an opt-out holds
    problem: str | None  # why part of it could not be decided
    because: str  # the rule and its input, for `explain` and the history


def wanted_person(prospects: Sequence[PooledProspect], states: Iterable[PooledState], config: Config) -> Wanted:
    """Decide what the Person behind these prospects should say: at least one, with all their sequence states."""
    labels, fields = config.sync.labels, config.workbooks.fields
    trashed = {prospect.id for prospect in prospects if prospect.trashed}
    # what belongs to a deleted prospect is left out, but never its opt-out
    counted = [state for state in states if state.prospect_id not in trashed or state.state == OPTED_OUT]
    sequences, problem = _sequence_list(counted, labels) if fields.sequences is not None else (None, None)
    outreach_id = str(min(prospect.id for prospect in prospects)) if fields.outreach_id is not None else None
    kept = any(prospect.no_email_kept for prospect in prospects)
    opt_out = _opt_out(prospects, counted)
    if opt_out is not None:
        at, because = opt_out
        return Wanted(labels[OPTED_OUT], at, True, outreach_id, sequences, True, problem, because)
    if not counted:
        because = "no sequence state at all"
        return Wanted(labels[NOT_ACTIVE], None, kept, outreach_id, sequences, False, None, because)
    by_precedence = config.sync.multiple_sequences == "precedence"
    shown = shown_state(counted, config.sync.precedence if by_precedence else ())
    how = "the first by precedence" if by_precedence else "the latest"
    because = f"sequence state {shown.id} ({shown.state or 'no state'}), {how} of {len(counted)}"
    if shown.state not in labels:
        problem = _unknown(shown)
    if problem:
        return Wanted(None, None, kept, None, None, False, problem, because)
    return Wanted(labels[shown.state], shown.at, kept, outreach_id, sequences, False, None, because)


def shown_state(states: Sequence[PooledState], precedence: Sequence[str]) -> PooledState:
    """Pick the newest state of the first rank there is, by id in a tie; what is not in the precedence ranks last."""
    rank = {state: position for position, state in enumerate(precedence)}
    return max(states, key=lambda state: (-rank.get(state.state, len(rank)), state.at or 0, state.id))


def _newest(state: PooledState) -> tuple[int, int]:
    return (state.at or 0, state.id)


def _opt_out(prospects: Iterable[PooledProspect], states: Iterable[PooledState]) -> tuple[Instant | None, str] | None:
    """Return since when an opt-out holds, and what says so: an opted-out state first, else the prospect."""
    newest = max((state for state in states if state.state == OPTED_OUT), key=_newest, default=None)
    if newest is not None:
        return newest.at, f"opt-out: sequence state {newest.id} is {OPTED_OUT}"
    carriers = []
    for prospect in prospects:
        by_email = prospect.emails_opted_at if prospect.email_opted_out else None
        moments = (prospect.opted_out_at, by_email, prospect.opt_out_seen_at)
        if prospect.opted_out or prospect.email_opted_out:
            carriers.append((next((moment for moment in moments if moment is not None), None), prospect))
    if not carriers:
        return None
    at, prospect = max(carriers, key=lambda carrier: (carrier[0] or 0, carrier[1].id))
    attribute = "optedOut" if prospect.opted_out else "emailOptedOut"
    return at, f"opt-out: prospect {prospect.id} has {attribute}"


def _sequence_list(states: Iterable[PooledState], labels: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Write one line for each sequence, newest first; or say which state has no label."""
    newest = {state.sequence_id: state for state in sorted(states, key=_newest)}
    lines = []
    for state in sorted(newest.values(), key=_newest, reverse=True):
        if state.state not in labels:
            return None, _unknown(state)
        name = " ".join((state.sequence_name or f"Sequence {state.sequence_id}").split())
        day = f" ({to_date(state.at)})" if state.at is not None else ""
        lines.append(f"{name}: {labels[state.state]}{day}")
    return "\n".join(lines), None


def _unknown(state: PooledState) -> str:
    return (
        f"sequence state {state.id} has the state '{state.state}', which has no label: "
        f"add it to sync.labels, or correct the record in Outreach"
    )


def differences(wanted: Wanted, held: Held) -> dict[str, RoleValue]:
    """Return role -> value for what differs; empty: nothing to write.

    No Email is only ever set to true; the Outreach id is only written where there is none. Times are compared to the
    second, which is what Workbooks keeps. A field that keeps days only holds the midnight; where another state is shown
    than before, a midnight may well be a time of day.
    """
    changes: dict[str, RoleValue] = {}
    if wanted.sequence_state is not None and wanted.sequence_state != held.sequence_state:
        changes["sequence_state"] = wanted.sequence_state
    at, before = wanted.state_updated_at, held.state_updated_at
    if at is not None:
        same = before is not None and at // 1000 == before // 1000
        if not same and (changes or at - at % _DAY_MS != before):
            changes["state_updated_at"] = at
    if wanted.no_email and held.no_email is not True:
        changes["no_email"] = True
    if wanted.outreach_id is not None and not held.outreach_id:
        changes["outreach_id"] = wanted.outreach_id
    if wanted.sequences is not None:
        said, says = (
            [line.rstrip() for line in text.strip().splitlines()] for text in (held.sequences or "", wanted.sequences)
        )
        if said != says:
            changes["sequences"] = wanted.sequences
    return changes


def recognised(
    read: Held, known: Held, kept_as: Mapping[str, RoleValue], *, same_version: bool
) -> tuple[Held, dict[str, RoleValue]]:
    """Tell what Workbooks made of our values from what somebody wrote.

    Workbooks may keep text otherwise than it was sent (`?` for an emoji, `&amp;`, cut short), a time without its
    seconds or as a day: written again it would only be kept so again. Where nobody wrote the record since
    (`same_version`), each value that differs is what it made of ours; later it is known again by that (`kept_as`).
    It cannot have made nothing at all of ours, nor a finer time: a field that was removed and made anew is empty, and
    one that was shown as a day shows its time again, without another version of the record.

    Returns what the Person holds, in our form where it is ours, and role -> what Workbooks made of it otherwise.
    """
    ours: dict[str, RoleValue] = {}
    made: dict[str, RoleValue] = {}
    for role in Held._fields:
        now, before = getattr(read, role), getattr(known, role)
        seen_so = same_version or (role in kept_as and kept_as[role] == now)
        if role == "no_email" or not seen_so or None in (now, before) or now == before:
            continue  # an opt-out holds, or is written again
        is_time = isinstance(now, int) and isinstance(before, int)
        if not is_time or any(now % unit == 0 and abs(now - before) <= unit for unit in (_MINUTE_MS, _DAY_MS)):
            ours[role], made[role] = before, now
    return read._replace(**ours), made  # type: ignore[arg-type]  # the values of these roles


def base_fields(pool: Sequence[Prospect], create_fields: Mapping[str, str]) -> dict[str, str | int]:
    """Return Workbooks field -> value for a new Person from the lead; an address or id stands in for its name."""
    lead = pool[0]
    email = next((address for prospect in pool for address in prospect.emails), None)
    full = " ".join(part.strip() for part in (lead.first_name, lead.last_name) if part and part.strip())
    fields: dict[str, Scalar] = {
        "name": full or email or f"Outreach prospect {lead.id}",
        "person_first_name": lead.first_name,
        "person_last_name": lead.last_name,
        "main_location[email]": email,
        "created_through_reference": prospect_reference(lead.id),
    }
    for name in ("name", "person_first_name", "person_last_name"):
        text = fields[name]
        fields[name] = text[:_TEXT_LENGTH] if isinstance(text, str) else None  # who it is can still be told
    fields.update({field: lead.extra.get(attribute) for field, attribute in create_fields.items()})
    told = ((field, value) for field, value in fields.items() if value is not None)
    return {field: value if isinstance(value, (str, int)) else str(value) for field, value in told}


# Which Person a prospect is: the first rule that finds exactly one live Person wins, and nothing is ever guessed

_OBJECT_REF = re.compile(r"PERS-\d+", re.ASCII | re.IGNORECASE)


class Found(NamedTuple):
    """Exactly one Person, and the rule that found it."""

    person_id: int
    rule: str


class Ambiguous(NamedTuple):
    """Several Persons under one rule."""

    person_ids: tuple[int, ...]
    rule: str

    @property
    def reason(self) -> str:
        """Say it for people."""
        listed = ", ".join(str(person_id) for person_id in self.person_ids)
        return (
            f"ambiguous: the rule '{self.rule}' finds {len(self.person_ids)} people ({listed}): merge them in Workbooks"
        )


def verdict(person_ids: Collection[int], rule: str) -> Found | Ambiguous | None:
    """Judge what one rule found."""
    distinct = sorted(set(person_ids))
    if not distinct:
        return None
    return Found(distinct[0], rule) if len(distinct) == 1 else Ambiguous(tuple(distinct), rule)


def prospect_reference(prospect_id: int) -> str:
    """Return the `created_through_reference` of the Person that is created for a prospect."""
    return f"outreach-prospect-{prospect_id}"


def task_reference(task_id: int) -> str:
    """Return the `created_through_reference` of the Task that is created for a skipped task."""
    return f"outreach-task-{task_id}"


def mailbox(address: str) -> str:
    """Return an address as it is compared: bare, each character in lower case (`ß` is not `ss`: another mailbox)."""
    bare = address.strip()
    if bare.isascii():
        return bare.lower()
    single = {one: one.lower() for one in bare if len(one.lower()) == 1 and unicodedata.normalize("NFC", one) == one}
    return "".join(single.get(one, one) for one in bare)


def questions(rule: str, prospect: Prospect) -> tuple[str, ...]:
    """Return the values that a rule looks up for a prospect; none: the rule does not apply."""
    match rule:
        case "outreach_id":
            return (str(prospect.id),)
        case "reference":
            return (prospect_reference(prospect.id),)
        case "external_id":
            external = (prospect.external_id or "").strip()
            return (external.upper(),) if _OBJECT_REF.fullmatch(external) else ()
        case "email":
            return tuple(dict.fromkeys(address.strip() for address in prospect.emails if address.strip()))
    return ()
