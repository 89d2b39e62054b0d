"""What happens next in the example: believable changes on both sides, for the second act of a demo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from outreach_sync.sandbox.outreach import OutreachStore
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore

_PERSON = "Private::Crm::Person"


class _Outreach(Protocol):
    store: OutreachStore


class _Workbooks(Protocol):
    store: WorkbooksStore


class Both(Protocol):
    """What has both services: a `Sandbox`."""

    @property
    def outreach(self) -> _Outreach:
        """The simulated Outreach."""

    @property
    def workbooks(self) -> _Workbooks:
        """The simulated Workbooks."""

    def now(self) -> Instant:
        """Say what time it is for both."""


def evolve(sandbox: Both, step: int) -> list[str]:
    """Apply one step of changes to the loaded example and say in sentences what happened.

    Raises:
        ValueError: there is no such step; they count from 1 to `STEPS`.
    """
    if not 1 <= step <= STEPS:
        raise ValueError(f"there are the steps 1 to {STEPS}, not {step}")
    now = Instant(sandbox.now() // 1000 * 1000)
    return _ACTS[step - 1](sandbox.outreach.store, sandbox.workbooks.store, now)


def _a_working_day(outreach: OutreachStore, _workbooks: WorkbooksStore, now: Instant) -> list[str]:
    first, second = _states_of(outreach, 1)[0], _states_of(outreach, 3)[0]
    outreach.update("sequenceState", first, state="finished", stateChangedAt=now)
    outreach.update("sequenceState", second, state="active", stateChangedAt=now)
    outreach.update("prospect", 8, optedOut=True, optedOutAt=now, emailOptedOut=True)
    newcomer = outreach.add_prospect(firstName="Frédérique", lastName="Nouvelle", emails=["f.nouvelle@example.fr"])
    outreach.add_state(newcomer, 1, "active", stateChangedAt=now)
    task = next(record.id for record in outreach.all("task") if record.values.get("state") == "incomplete")
    outreach.update("task", task, state="skipped", stateChangedAt=now)
    return [
        f"Prospect 1 finished a sequence (sequence state {first}).",
        f"Prospect 3 was resumed (sequence state {second}).",
        "Prospect 8 opted out of everything.",
        f"Prospect {newcomer} is new and was put into a sequence.",
        f"Task {task} was skipped.",
    ]


def _hands_in_workbooks(outreach: OutreachStore, workbooks: WorkbooksStore, now: Instant) -> list[str]:
    alive = [person["id"] for person in workbooks.all(_PERSON)]
    edited, deleted = alive[0], alive[6]
    workbooks.update(_PERSON, edited, person_job_title="Board member")
    workbooks.delete(_PERSON, deleted)
    ended = _states_of(outreach, 7)[0]
    outreach.update("sequenceState", ended, state="finished", stateChangedAt=now)
    outreach.update("sequence", 1, name="Trial follow-up 2")
    gone = _states_of(outreach, 22)[0]
    outreach.delete("sequenceState", gone)
    outreach.update("prospect", 2, optedOut=False, optedOutAt=None, emailOptedOut=False)
    outreach.add("sequenceState", {"prospect": 19, "sequence": 2, "state": "pending", "stateChangedAt": now})
    return [
        f"Somebody edited Person {edited} by hand.",
        f"Somebody deleted Person {deleted}, and prospect 7, whom it stood for, finished a sequence.",
        "Sequence 1 was renamed.",
        f"Sequence state {gone} was deleted.",
        "Prospect 2 opted in again: No Email stays.",
        "Prospect 19, in no sequence so far, was put into one.",
    ]


_ACTS: tuple[Callable[[OutreachStore, WorkbooksStore, Instant], list[str]], ...] = (_a_working_day, _hands_in_workbooks)
STEPS = len(_ACTS)
"""How many steps there are."""


def _states_of(outreach: OutreachStore, prospect: int) -> list[int]:
    return sorted(outreach.pointing_to("sequenceState.prospect", prospect))
