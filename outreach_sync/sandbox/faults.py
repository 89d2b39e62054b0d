"""Named faults: each can be switched on for a number of times, with options, while the services run.

Most faults ask `FaultBoard.take` where they strike, an occasion each time. One that is to hold for a whole request, and
is asked about many times in it, asks `FaultBoard.throughout`: there, the request is the occasion.
"""

from __future__ import annotations

import difflib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outreach_sync.sandbox.fault_options import KIND, complaint

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from outreach_sync.sandbox.fault_options import Allowed


@dataclass(slots=True)
class FaultSwitch:
    """One named fault: what it does, and, while it is on, how often it is still to fire."""

    name: str
    doc: str
    active: bool = False
    after: int = 0
    times: int | None = None
    options: dict[str, object] = field(default_factory=dict)

    def concerns(self, kind: str) -> bool:
        """Tell whether the fault is on for a request of this kind: its option `kind` is part of it, or not set."""
        wanted = self.options.get("kind")
        return self.active and (not isinstance(wanted, str) or wanted in kind)

    def count_down(self) -> bool:
        """Use up one occasion: first `after`, then `times`. Returns whether the fault fires on it."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
            self.active = self.times > 0
        return True

    def state(self) -> dict[str, object]:
        """Describe the switch as JSON: doc, active, after, times, options."""
        return {
            "doc": self.doc,
            "active": self.active,
            "after": self.after,
            "times": self.times,
            "options": dict(self.options),
        }


class _Course(threading.local):
    """What happens in this thread: the request that is being answered, and the faults that fired."""

    def __init__(self) -> None:
        self.kind = ""
        self.fired: list[str] = []
        self.decided: dict[str, Mapping[str, object] | None] | None = None


class FaultBoard:
    """All the faults one service knows. Thread-safe."""

    def __init__(
        self,
        names: Mapping[str, str],
        options: Mapping[str, Mapping[str, Allowed]] | None = None,
        *,
        kindless: Container[str] = (),
    ) -> None:
        """Take the faults as name to one line of documentation; all are off.

        `options` says what the options of each may be (None: anything goes). The `kindless` decide before the kind of a
        request is known, and cannot be limited to one.
        """
        self._lock = threading.Lock()
        self._switches = {name: FaultSwitch(name, doc) for name, doc in names.items()}
        self._options = options
        self._kindless = kindless
        self._course = _Course()

    def on(self, name: str, /, *, times: int | None = None, after: int = 0, **options: object) -> None:
        """Switch a fault on: let `after` occasions pass, then fire `times` times (None: until switched off).

        The option `kind` limits it to requests whose kind (see the journal) contains that text.

        Raises:
            ValueError: no fault has this name; the nearest one is named. Or it takes no such options.
        """
        docs = self._named(name).doc
        if not _is_count(times, 1) and times is not None:
            raise ValueError("times must be a whole number, at least 1")
        if not _is_count(after, 0):
            raise ValueError("after must be a whole number, at least 0")
        problem = self._complaint(name, options)
        if problem:
            raise ValueError(problem)
        with self._lock:
            self._switches[name] = FaultSwitch(name, docs, active=True, after=after, times=times, options=options)

    def _complaint(self, name: str, options: Mapping[str, object]) -> str | None:
        if "kind" in options and name in self._kindless:
            return f"the fault '{name}' cannot be limited to a kind: it acts before the kind of a request is known"
        return None if self._options is None else complaint(name, options, {**self._options.get(name, {}), **KIND})

    def off(self, name: str) -> None:
        """Switch a fault off.

        Raises:
            ValueError: no fault has this name.
        """
        with self._lock:
            self._switches[name] = FaultSwitch(name, self._named(name).doc)

    def clear(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._switches = {name: FaultSwitch(name, switch.doc) for name, switch in self._switches.items()}

    def begin(self, kind: str = "") -> None:
        """Begin a request in this thread: what fired before is not this request's. `kind` is for `take` without one."""
        self._course.kind = kind
        self._course.fired = []
        self._course.decided = {}

    def understood(self, kind: str) -> None:
        """Say of what kind the request is that has begun, where that was not known at once."""
        self._course.kind = kind

    def take(self, name: str, kind: str | None = None) -> Mapping[str, object] | None:
        """Use up an occasion for the fault: its options if it fires now, else None. `kind`: else the request's."""
        switch = self._named(name)
        if not switch.active:
            return None  # without the lock: this is asked dozens of times in each request
        with self._lock:
            if not switch.concerns(self._course.kind if kind is None else kind) or not switch.count_down():
                return None
        self._course.fired.append(name)
        return switch.options

    def throughout(self, name: str) -> Mapping[str, object] | None:
        """Like `take`, but once in a request: whoever asks again until its end gets the same answer."""
        decided = self._course.decided
        if decided is None:
            return self.take(name)
        if name not in decided:
            if not self._named(name).active:
                return None
            decided[name] = self.take(name)
        return decided[name]

    def peek(self, name: str) -> Mapping[str, object] | None:
        """Give the options if the fault would fire at the next occasion, else None. Uses nothing up."""
        switch = self._named(name)
        with self._lock:
            return switch.options if switch.active and switch.after == 0 else None

    def option(self, name: str, option: str) -> object:
        """Look up one option of a fault that is on; None if the fault is off or has no such option."""
        switch = self._named(name)
        return switch.options.get(option) if switch.active else None

    def names(self) -> dict[str, str]:
        """List every fault with its documentation."""
        return {name: switch.doc for name, switch in self._switches.items()}

    def state(self) -> dict[str, dict[str, object]]:
        """Describe every switch as JSON."""
        with self._lock:
            return {name: switch.state() for name, switch in self._switches.items()}

    def collect_fired(self) -> tuple[str, ...]:
        """End the request: return the names of what fired in this thread since it began, in order, and forget them."""
        fired = tuple(self._course.fired)
        self._course.kind = ""
        self._course.fired = []
        self._course.decided = None
        return fired

    def _named(self, name: str) -> FaultSwitch:
        switch = self._switches.get(name)
        if switch is None:
            near = difflib.get_close_matches(name, self._switches, n=1, cutoff=0)
            raise ValueError(f"no fault is called '{name}'; the nearest is '{near[0] if near else 'none'}'")
        return switch


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
