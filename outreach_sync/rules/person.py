"""What a Person should say, from all that Outreach says of the prospects behind it.

The labels are those of the CRM vendor's own page on this integration; the opt-out rule is a legal matter and beats
everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.instants import to_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.instants import Instant

OPTED_OUT = "opted_out"
NOT_ACTIVE = "not_active"


class PooledProspect(NamedTuple):
    """One of the prospects behind a Person, reduced to what is decided by."""

    id: int
    opted_out: bool
    opted_out_at: Instant | None
    email_opted_out: bool
    emails_opted_at: Instant | None
    opt_out_seen_at: Instant | None
    trashed: bool
    no_email_kept: bool = False
    """Its Person had No Email when it was last seen, and is gone or became another."""
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
    """What a Person should say. None (False for `no_email`) means: leave it as it is.

    `opted_out`: an opt-out holds. `problem` says why part of it could not be decided; `because` names the rule and its
    input, for `explain` and the history.
    """

    sequence_state: str | None
    state_updated_at: Instant | None
    no_email: bool
    outreach_id: str | None
    sequences: str | None
    opted_out: bool
    problem: str | None
    because: str


def wanted_person(prospects: Sequence[PooledProspect], states: Iterable[PooledState], config: Config) -> Wanted:
    """Decide what the Person behind these prospects should say.

    Args:
        prospects: all prospects that are this Person; at least one.
        states: all their sequence states.
        config: the config; its labels, its rule for several sequences and its fields decide.
    """
    labels, fields = config.sync.labels, config.workbooks.fields
    counted = _counted(prospects, states)
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
    shown = shown_state(counted, config.sync.precedence if by_precedence else None)
    known = labels.get(shown.state)
    problem = problem if known else _unknown(shown)
    how = "the first by precedence" if by_precedence else "the latest"
    because = f"sequence state {shown.id} ({shown.state or 'no state'}), {how} of {len(counted)}"
    if problem:
        return Wanted(None, None, kept, None, None, False, problem, because)
    return Wanted(known, shown.at, kept, outreach_id, sequences, False, None, because)


def shown_state(states: Sequence[PooledState], precedence: tuple[str, ...] | None) -> PooledState:
    """Pick the state to show: the newest, or with a precedence the newest of the first rank; ties: the higher id.

    States that are not in the precedence rank after it.
    """
    if precedence is None:
        return max(states, key=_newest)
    rank = {state: position for position, state in enumerate(precedence)}
    return min(states, key=lambda state: (rank.get(state.state, len(rank)), -(state.at or 0), -state.id))


def is_opted_out(prospects: Iterable[PooledProspect], states: Iterable[PooledState]) -> bool:
    """Say whether an opt-out holds: on any of the prospects, or in any of the states."""
    return any(prospect.opted_out or prospect.email_opted_out for prospect in prospects) or any(
        state.state == OPTED_OUT for state in states
    )


def _counted(prospects: Sequence[PooledProspect], states: Iterable[PooledState]) -> list[PooledState]:
    """Leave out what belongs to a deleted prospect, but never its opt-out."""
    trashed = {prospect.id for prospect in prospects if prospect.trashed}
    return [state for state in states if state.prospect_id not in trashed or state.state == OPTED_OUT]


def _newest(state: PooledState) -> tuple[int, int]:
    return (state.at or 0, state.id)


def _opt_out(prospects: Iterable[PooledProspect], states: Iterable[PooledState]) -> tuple[Instant | None, str] | None:
    """Return since when an opt-out holds, and what says so: an opted-out state first, else the prospect."""
    opted = [state for state in states if state.state == OPTED_OUT]
    if opted:
        newest = max(opted, key=_newest)
        return newest.at, f"opt-out: sequence state {newest.id} is {OPTED_OUT}"
    carriers = [(_opted_out_at(prospect), prospect) for prospect in prospects if is_opted_out((prospect,), ())]
    if not carriers:
        return None
    at, prospect = max(carriers, key=lambda carrier: (carrier[0] or 0, carrier[1].id))
    attribute = "optedOut" if prospect.opted_out else "emailOptedOut"
    return at, f"opt-out: prospect {prospect.id} has {attribute}"


def _opted_out_at(prospect: PooledProspect) -> Instant | None:
    if prospect.opted_out_at is not None:
        return prospect.opted_out_at
    if prospect.email_opted_out and prospect.emails_opted_at is not None:
        return prospect.emails_opted_at
    return prospect.opt_out_seen_at


def _sequence_list(states: Iterable[PooledState], labels: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Write one line for each sequence, newest first; or say which state has no label."""
    newest: dict[int | None, PooledState] = {}
    for state in states:
        other = newest.get(state.sequence_id)
        if other is None or _newest(state) > _newest(other):
            newest[state.sequence_id] = state
    lines = []
    for state in sorted(newest.values(), key=_newest, reverse=True):
        if state.state not in labels:
            return None, _unknown(state)
        lines.append(_sequence_line(state, labels[state.state]))
    return "\n".join(lines), None


def _sequence_line(state: PooledState, label: str) -> str:
    name = " ".join((state.sequence_name or f"Sequence {state.sequence_id}").split())
    return f"{name}: {label} ({to_date(state.at)})" if state.at is not None else f"{name}: {label}"


def _unknown(state: PooledState) -> str:
    return (
        f"sequence state {state.id} has the state '{state.state}', which has no label: "
        f"add it to sync.labels, or correct the record in Outreach"
    )
