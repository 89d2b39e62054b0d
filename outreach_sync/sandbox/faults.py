"""Named faults: each can be switched on for a number of times, with options, while the services run."""

from __future__ import annotations

import difflib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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


class FaultBoard:
    """All the faults one service knows. Thread-safe."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """Take the faults as name to one line of documentation; all are off."""
        self._lock = threading.Lock()
        self._switches = {name: FaultSwitch(name, doc) for name, doc in names.items()}
        self._fired = threading.local()

    def on(self, name: str, *, times: int | None = None, after: int = 0, **options: object) -> None:
        """Switch a fault on: let `after` occasions pass, then fire `times` times (None: until switched off).

        The option `kind` limits it to requests whose kind (see the journal) contains that text.

        Raises:
            ValueError: no fault has this name; the nearest one is named. Or `times` is not positive.
        """
        if times is not None and times < 1:
            raise ValueError("times must be at least 1")
        with self._lock:
            docs = self._named(name).doc
            self._switches[name] = FaultSwitch(name, docs, active=True, after=after, times=times, options=options)

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

    def take(self, name: str, kind: str = "") -> Mapping[str, object] | None:
        """Use up an occasion for the fault: its options if it fires now, else None."""
        switch = self._named(name)
        if not switch.active:
            return None  # without the lock: this is asked dozens of times in each request
        with self._lock:
            if not switch.concerns(kind) or not switch.count_down():
                return None
        self._log().append(name)
        return switch.options

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
        """Return the names of what fired in this thread since the last call, in order, and forget them."""
        log = self._log()
        fired = tuple(log)
        log.clear()
        return fired

    def _log(self) -> list[str]:
        if not hasattr(self._fired, "names"):
            self._fired.names = []
        names: list[str] = self._fired.names
        return names

    def _named(self, name: str) -> FaultSwitch:
        switch = self._switches.get(name)
        if switch is None:
            near = difflib.get_close_matches(name, self._switches, n=1, cutoff=0)
            raise ValueError(f"no fault is called '{name}'; the nearest is '{near[0] if near else 'none'}'")
        return switch
