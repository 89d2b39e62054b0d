"""Why each Person and Task says what it says, as `explain` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from outreach_sync.decide import decisions
from outreach_sync.errors import StateError
from outreach_sync.state import State
from outreach_sync.tasks import witness

if TYPE_CHECKING:
    from outreach_sync.config.model import Config


class Reasons:
    """Looks into the state after a cycle. Usable as a context manager."""

    def __init__(self, config: Config) -> None:
        """Open the state for reading.

        Raises:
            StateError: there is none.
        """
        state = State.open_to_read(config.state.path)
        if state is None:
            raise StateError("the demo's cycle left no state.")
        self._state = state
        self._config = config

    def of_person(self, person_id: int) -> str:
        """Say which rule decided, or that the Person stands for nobody."""
        person = self._state.people.by_id([person_id]).get(person_id)
        pool = self._state.people.prospects_of([person_id]).get(person_id)
        if person is None or not pool:
            return "no prospect, not touched"
        because = decisions(self._state, self._config, {person_id: pool})[person_id].wanted.because
        return because if len(pool) == 1 else f"{because}; prospects {', '.join(map(str, pool))} are one person"

    def of_task(self, task_id: int) -> str:
        """Say what tells that a task was skipped."""
        cached = self._state.cache.task(task_id)
        return "" if cached is None else witness(self._state, self._config, cached)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the state."""
        self._state.close()
