"""The few writes that matter to a reader of Outreach: what deletes records, and what moves sequence states and tasks.

Documented (published OpenAPI): DELETE on tasks, sequenceStates and prospects gives 204; the state of a sequence state
changes by the actions finish, pause and resume only; markComplete completes a task.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.refusals import NotFound
from outreach_sync.sandbox.outreach.schema import PLURALS
from outreach_sync.sandbox.server import Response

if TYPE_CHECKING:
    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.outreach.schema import Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore
    from outreach_sync.sandbox.server import Request

_DELETED = frozenset({"task", "sequenceState", "prospect"})
_RECORD_PATH = re.compile(r"/api/v2/(\w+)/(\d+)(?:/actions/(\w+))?", re.ASCII)
_STATES = {"finish": "finished", "pause": "paused", "resume": "active"}
_ACTIONS = {"sequenceState": frozenset(_STATES), "task": frozenset({"markComplete"})}


class Write(NamedTuple):
    """What a request would change: `action` of one record, ``delete`` or one of the actions above."""

    resource: Resource
    id: int
    action: str

    @property
    def scope(self) -> str:
        """What the token must be allowed to do with the resource."""
        return "delete" if self.action == "delete" else "write"

    @property
    def kind(self) -> str:
        """What kind of request it is, for journal and faults: ``delete tasks``, ``pause sequenceStates``, ..."""
        return f"{self.action} {self.resource.plural}"


def write_of(request: Request) -> Write | None:
    """Say what a request would change, None if it is none of the writes that are served."""
    match = _RECORD_PATH.fullmatch(request.path)
    resource = PLURALS.get(match[1]) if match else None
    if match is None or resource is None:
        return None
    action = match[3] if request.method == "POST" else "delete" if request.method == "DELETE" and not match[3] else None
    known = action in _ACTIONS.get(resource.type, ()) or (action == "delete" and resource.type in _DELETED)
    return Write(resource, int(match[2]), str(action)) if known else None


class Writer:
    """Carries writes out."""

    def __init__(self, store: OutreachStore, clock: SandboxClock) -> None:
        """Take the records, and the time they live in."""
        self._store = store
        self._clock = clock

    def carry_out(self, write: Write) -> Response | None:
        """Do it: 204 for what is deleted, None where the changed record is the answer.

        Raises:
            NotFound: there is no such record.
        """
        type_ = write.resource.type
        with self._store.lock:
            if self._store.visible(type_, write.id) is None:
                raise NotFound(f"Could not find '{type_}' with ID '{write.id}'.")
            if write.action == "delete":
                self._store.delete(type_, write.id)
                return Response(204, {}, b"")
            self._store.update(type_, write.id, **self._changes(write.action))
        return None

    def _changes(self, action: str) -> dict[str, Any]:
        at = Instant(self._clock.now() // 1000 * 1000)
        if action in _STATES:
            return {"state": _STATES[action], "stateChangedAt": at}
        completer = next((user.id for user in self._store.all("user")), None)
        return {"state": "complete", "completed": True, "completedAt": at, "stateChangedAt": at, "completer": completer}
