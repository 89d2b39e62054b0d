"""What the options of a fault may be: checked when it is switched on, not when it is to fire."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MOST = 10**12


class Allowed(NamedTuple):
    """What one option takes: in words, and as a test; and whether the fault is nothing without it."""

    says: str
    accepts: Callable[[object], bool]
    needed: bool = False


TEXT = Allowed("a text", lambda value: isinstance(value, str))
FLAG = Allowed("true or false", lambda value: isinstance(value, bool))


def whole(least: int = -_MOST) -> Allowed:
    """Allow a whole number from `least`."""
    says = "a whole number" if least == -_MOST else f"a whole number from {least}"
    return Allowed(says, lambda value: _is_whole(value) and least <= value <= _MOST)  # type: ignore[operator]


def seconds() -> Allowed:
    """Allow a time in seconds, with or without a fraction."""
    return Allowed("a number from 0", _is_time)


def share() -> Allowed:
    """Allow a share, which a probability is too."""
    return Allowed("a number from 0 to 1", lambda value: _is_time(value) and value <= 1)  # type: ignore[operator]


def one_of(*values: str | int) -> Allowed:
    """Allow these values."""
    return Allowed(", ".join(map(str, values)), lambda value: value in values)


def numbers() -> Allowed:
    """Allow a list of whole numbers."""
    return Allowed(
        "a list of whole numbers", lambda value: isinstance(value, list | tuple) and all(map(_is_whole, value))
    )


def needed(allowed: Allowed) -> Allowed:
    """Insist on an option."""
    return allowed._replace(needed=True)


KIND = {"kind": TEXT}
"""What every fault takes: a part of the kind of request (see the journal) that it is limited to."""


def complaint(name: str, options: Mapping[str, object], allowed: Mapping[str, Allowed]) -> str | None:
    """Say in one line what is wrong with the options of the fault `name`, None if nothing is."""
    for option, value in options.items():
        if option not in allowed:
            return f"the fault '{name}' has no option '{option}'; {_known(option, allowed)}"
        if not allowed[option].accepts(value):
            return f"the option '{option}' of the fault '{name}' takes {allowed[option].says}, not {value!r:.60}"
    missing = [option for option, one in allowed.items() if one.needed and option not in options]
    return f"the fault '{name}' needs the option '{missing[0]}': {allowed[missing[0]].says}" if missing else None


def _known(option: str, allowed: Iterable[str]) -> str:
    names = list(allowed)
    near = difflib.get_close_matches(option, names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(names) or 'none'}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= _MOST / 1000  # type: ignore[arg-type, operator]
