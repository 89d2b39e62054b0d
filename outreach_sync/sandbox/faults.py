"""Named faults, as data: each can be switched on for a number of times, with options, while the services run.

They ask `FaultBoard.take` where they strike; the occasion is the request that is being answered.
"""

from __future__ import annotations

import difflib
import math
import re
import textwrap
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST = 10**12
_ENTRY = re.compile(r"^(\w+)(?:\(([^)]*)\))?:\s+(.*(?:\n +.*)*)", re.MULTILINE)
_TAKES = re.compile(r"(\w+)=([^\s,]+)")


class Option(NamedTuple):
    """What one option takes: in words, and as a test; and whether the fault is nothing without it."""

    says: str
    accepts: Callable[[object], bool]
    needed: bool = False


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= _MOST / 1000


def one_of(*values: str | int) -> Option:
    """Allow these values."""
    return Option(", ".join(map(str, values)), lambda value: value in values)


_KINDS = {
    "text": Option("a text", lambda value: isinstance(value, str)),
    "flag": Option("true or false", lambda value: isinstance(value, bool)),
    "scalar": Option("a text or a number", lambda value: isinstance(value, str | int | float)),
    "whole": Option("a whole number", lambda value: _is_whole(value) and abs(value) <= _MOST),
    "numbers": Option(
        "a list of whole numbers", lambda value: isinstance(value, list | tuple) and all(map(_is_whole, value))
    ),
    "seconds": Option("a number from 0", _is_time),
    "share": Option("a number from 0 to 1", lambda value: _is_time(value) and value <= 1),
}
_KIND = {"kind": _KINDS["text"]}
"""What every fault takes: a part of the kind of request (see the journal) that it is limited to."""


class Fault(NamedTuple):
    """What a fault does, in one line that names its options and their defaults, and what those may be."""

    doc: str
    options: Mapping[str, Option] = {}

    def complaint(self, name: str, given: Mapping[str, object]) -> str | None:
        """Say in one line what is wrong with options given to the fault of this name, None if nothing is."""
        allowed = {**self.options, **_KIND}
        for option, value in given.items():
            if option not in allowed:
                near = difflib.get_close_matches(option, allowed, n=1)
                known = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(allowed)}"
                return f"the fault '{name}' has no option '{option}'; {known}"
            if not allowed[option].accepts(value):
                return f"the option '{option}' of the fault '{name}' takes {allowed[option].says}, not {value!r:.60}"
        missing = [option for option, one in allowed.items() if one.needed and option not in given]
        return f"the fault '{name}' needs the option '{missing[0]}': {allowed[missing[0]].says}" if missing else None


def table(text: str, **kinds: Option) -> dict[str, Fault]:
    """Read faults by name from lines such as ``slow(seconds=seconds): what it does``; an indented line continues.

    An option's kind is one of `kinds` or `_KINDS`, ``1..`` (a whole number from 1) or ``a/b/c`` (one of these); with
    ``!`` the fault is nothing without it.
    """
    known = {**_KINDS, **kinds}
    return {
        name: Fault(" ".join(doc.split()), {option: _option(kind, known) for option, kind in _TAKES.findall(options)})
        for name, options, doc in _ENTRY.findall(textwrap.dedent(text))
    }


def _option(kind: str, known: Mapping[str, Option]) -> Option:
    word = kind.removesuffix("!")
    if word in known:
        option = known[word]
    elif word.endswith(".."):
        least = int(word.removesuffix(".."))
        option = Option(f"a whole number from {least}", lambda value: _is_whole(value) and least <= value <= _MOST)
    else:
        option = one_of(*(int(value) if value.isdigit() else value for value in word.split("/")))
    return option._replace(needed=kind.endswith("!"))


@dataclass(slots=True)
class _Switch:
    """Whether a fault is on, and how often it is still to fire."""

    active: bool = False
    after: int = 0
    times: int | None = None
    options: dict[str, object] = field(default_factory=dict)

    def fires(self, kind: str) -> bool:
        """Use up an occasion, first `after`, then `times`, if the option `kind` is part of its kind, or not set."""
        wanted = self.options.get("kind")
        if not self.active or (isinstance(wanted, str) and wanted not in kind):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
            self.active = self.times > 0
        return True


class _Course(threading.local):
    """What happens in this thread: the request that is being answered, and the faults that fired."""

    def __init__(self) -> None:
        self.kind = ""
        self.fired: list[str] = []
        self.decided: dict[str, Mapping[str, object] | None] | None = None


class FaultBoard:
    """All the faults one service knows. Thread-safe."""

    def __init__(self, table: Mapping[str, Fault]) -> None:
        """Take the faults by name; all are off."""
        self._lock = threading.Lock()
        self._table = table
        self._switches = {name: _Switch() for name in table}
        self._course = _Course()

    def on(self, name: str, /, *, times: int | None = None, after: int = 0, **options: object) -> None:
        """Switch a fault on: let `after` occasions pass, then fire `times` times (None: until switched off).

        The option `kind` limits it to requests whose kind (see the journal) contains that text.
        """
        self._switch(name)
        if times is not None and not (_is_whole(times) and times >= 1):
            raise ValueError("times must be a whole number, at least 1")
        if not (_is_whole(after) and after >= 0):
            raise ValueError("after must be a whole number, at least 0")
        problem = self._table[name].complaint(name, options)
        if problem:
            raise ValueError(problem)
        with self._lock:
            self._switches[name] = _Switch(active=True, after=after, times=times, options=options)

    def off(self, name: str) -> None:
        """Switch a fault off."""
        self._switch(name)
        with self._lock:
            self._switches[name] = _Switch()

    def clear(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._switches = {name: _Switch() for name in self._table}

    def begin(self, kind: str = "") -> None:
        """Begin a request in this thread: what fired before is not this request's. `kind` is for `take` without one."""
        self._course.kind = kind
        self._course.fired = []
        self._course.decided = {}

    def take(self, name: str, kind: str | None = None, **about: object) -> Mapping[str, Any] | None:
        """Use up an occasion for the fault: its options if it fires now, else None.

        A request is one occasion: whoever asks again until its end gets the same answer. Outside of requests, and of
        something else than the request, whose `kind` is given, each question is one. `about`: what is asked about; a
        fault with an option of that name concerns nothing else.
        """
        course, switch = self._course, self._switch(name)
        decided = course.decided if course.decided is not None and kind is None else {}
        if name not in decided:
            if not switch.active or _elsewhere(switch.options, about):
                return None  # without the lock: this is asked dozens of times in each request
            with self._lock:
                fires = switch.fires(course.kind if kind is None else kind)
            decided[name] = switch.options if fires else None
            course.fired += [name] * fires
        options = decided[name]
        return None if options is None or _elsewhere(options, about) else options

    def fires(self, name: str, kind: str | None = None, **about: object) -> bool:
        """Use up an occasion and tell whether the fault fires, for one whose options do not matter."""
        return self.take(name, kind, **about) is not None

    def setting(self, name: str, option: str, default: Any) -> Any:
        """Use up an occasion and give one option, or its default; None where the fault does not fire."""
        options = self.take(name)
        return None if options is None else options.get(option, default)

    def peek(self, name: str) -> Mapping[str, Any] | None:
        """Give the options of a fault that is on, else None. Uses nothing up."""
        switch = self._switch(name)
        return switch.options if switch.active else None

    def state(self) -> dict[str, dict[str, object]]:
        """Describe every fault and its switch as JSON: doc, takes, active, after, times, options."""
        with self._lock:
            return {
                name: {
                    "doc": self._table[name].doc,
                    "takes": {option: one.says for option, one in self._table[name].options.items()},
                    "active": switch.active,
                    "after": switch.after,
                    "times": switch.times,
                    "options": dict(switch.options),
                }
                for name, switch in self._switches.items()
            }

    def collect_fired(self) -> tuple[str, ...]:
        """End the request: return the names of what fired in this thread since it began, in order, and forget them."""
        fired = tuple(self._course.fired)
        self._course.kind = ""
        self._course.fired = []
        self._course.decided = None
        return fired

    def _switch(self, name: str) -> _Switch:
        switch = self._switches.get(name)
        if switch is None:
            near = difflib.get_close_matches(name, self._switches, n=1, cutoff=0)
            raise ValueError(f"no fault is called '{name}'; the nearest is '{near[0] if near else 'none'}'")
        return switch


def _elsewhere(options: Mapping[str, object], about: Mapping[str, object]) -> bool:
    return any(options.get(option, value) != value for option, value in about.items())
