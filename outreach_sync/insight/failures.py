"""What was refused, as `failures` shows it, and what to do about each kind of refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import UsageError
from outreach_sync.instants import to_iso
from outreach_sync.store.outbox import HIDDEN, PERSON, SOURCE, TASK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from outreach_sync.store import Store
    from outreach_sync.store.outbox import Entry


class Kind(NamedTuple):
    """One kind of refusal: how it is called, what to do about it, and words of its reasons by which it is known."""

    title: str
    advice: str
    words: str = ""


_OF_SOURCE = Kind(
    "Records of Outreach that make no sense",
    "Correct the record in Outreach; it goes from this list when it is read whole, at the next try or by "
    "`failures retry`.",
)
_BY_WORKBOOKS = Kind(
    "Refused by Workbooks",
    "Correct what the reason names, in Workbooks or in the config (`check` compares fields and picklists), then "
    "`failures retry`.",
)
_KINDS = (
    Kind(
        "Ambiguous: several People match",
        "Merge them in Workbooks, or set the Outreach id or another match field on the right one, then "
        "`failures retry`.",
        "ambiguous:",
    ),
    Kind(
        "Sequence states without a label",
        "Add the state to sync.labels (and to the picklist), or correct the record in Outreach; opt-outs were written.",
        "which has no label",
    ),
    Kind(
        "Prospects that cannot be read",
        "If they were deleted in Outreach, `failures discard` them; else let the integration run as a user that may "
        "see them.",
        "cannot be read, and no Person",
    ),
    Kind(
        "People that Workbooks does not show",
        "If the API key's user may no longer see them, give it access in Workbooks, then `failures retry`. If they "
        "were removed for good, `failures retry ID --recreate` creates them again.",
        "does not come back from Workbooks",
    ),
    Kind(
        "People that somebody else keeps changing",
        "Nothing to do unless it lasts: each run tries again. Look which other integration writes these records.",
        "somebody else keeps changing",
    ),
    Kind(
        "Records that Workbooks fails at",
        "Open the record in Workbooks and save it there: a process of its own may fail. Each run tries again.",
        "Workbooks fails whenever",
    ),
)


def kind_of(entry: Entry) -> Kind:
    """Say of which kind a refusal is."""
    if entry.record == SOURCE:
        return _OF_SOURCE
    reason = entry.reason or ""
    return next((kind for kind in _KINDS if kind.words in reason), _BY_WORKBOOKS)


def by_kind(entries: Iterable[Entry]) -> dict[Kind, list[Entry]]:
    """Group refusals, each group in the order of its ids, the largest group first."""
    groups: dict[Kind, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(kind_of(entry), []).append(entry)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def failure_document(entry: Entry) -> dict[str, Any]:
    """Return a refusal as `failures list --json` has it."""
    return {
        "id": entry.id,
        "record": TASK if entry.task_id is not None else PERSON,
        "prospect_id": entry.prospect_id,
        "task_id": entry.task_id,
        "workbooks_id": entry.person_id,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "state": "parked" if entry.state == "parked" else "queued",
        "next_attempt_at": None if entry.next_attempt_at is None else to_iso(entry.next_attempt_at),
    }


def failures_with_ids(store: Store | None, ids: Collection[int]) -> list[Entry]:
    """Return the refusals with these ids, all of them where none is given.

    Raises:
        UsageError: there is no refusal of one of the ids.
    """
    listed = [] if store is None else store.outbox.failures()
    unknown = sorted(set(ids) - {entry.id for entry in listed})
    if unknown:
        named = ", ".join(map(str, unknown))
        raise UsageError(f"no failure has the id {named}.", advice="`outreach-sync failures list` shows the ids.")
    return [entry for entry in listed if not ids or entry.id in ids]


def retry(store: Store, entries: Collection[Entry]) -> None:
    """Make refusals due now, parked ones too, with their attempts reset; the next run decides them anew."""
    with store.transaction():
        store.outbox.retry([entry.id for entry in entries])


def discard(store: Store, entries: Collection[Entry]) -> None:
    """Give refusals up, until a record of theirs next changes in Outreach."""
    with store.transaction():
        store.outbox.discard(entry.id for entry in entries)


def recreate(store: Store, entries: Collection[Entry]) -> None:
    """Have People and Tasks that Workbooks does not show created again by the next run, unless they are found.

    What was last known of No Email holds for People that are created.

    Raises:
        UsageError: one of the refusals is of another kind; nothing is changed.
    """
    others = sorted(entry.id for entry in entries if entry.action != HIDDEN)
    if others:
        raise UsageError(
            f"--recreate is for records that Workbooks does not show, and failure {others[0]} is another kind.",
            advice="Retry it without --recreate.",
        )
    with store.transaction():
        for entry in entries:
            if entry.task_id is not None:
                store.cache.task_is_gone(entry.task_id)
                store.outbox.queue_task(entry.task_id, entry.prospect_id or 0, held=False, run_id="")
                continue
            pool = store.people.prospects_of([entry.person_id or 0]).get(entry.person_id or 0, [])
            store.people.unlink(entry.person_id or 0, pool)
            store.outbox.drop([entry.id])
            store.undecided.mark_again(pool)
