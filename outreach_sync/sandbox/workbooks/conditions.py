"""The ``_fm`` expression that joins filters: ``1 AND (2 OR NOT 3)`` (API developers guide: Boolean expressions)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from outreach_sync.sandbox.workbooks.table import Record

_TOKEN = re.compile(r"\s*(\d+|[()!]|AND\b|XOR\b|OR\b|NOT\b)", re.IGNORECASE | re.ASCII)


class MalformedError(ValueError):
    """The request makes no sense as it is; the text goes into the answer's ``failures``."""


class Condition(Protocol):
    """Something that holds of a record or not."""

    def holds(self, record: Record) -> bool:
        """Tell whether it holds."""

    def candidates(self) -> Collection[int] | None:
        """Give ids among which are all records it holds of; None where that is not known cheaply."""


class Everything(NamedTuple):
    """Holds of every record."""

    def holds(self, record: Record) -> bool:  # noqa: ARG002 - it holds of each
        """Tell that it holds."""
        return True

    def candidates(self) -> Collection[int] | None:
        """Narrow nothing down."""
        return None


class All(NamedTuple):
    """Holds where all parts hold."""

    parts: tuple[Condition, ...]

    def holds(self, record: Record) -> bool:
        """Ask every part."""
        return all(part.holds(record) for part in self.parts)

    def candidates(self) -> Collection[int] | None:
        """Give the shortest list any part has."""
        known = [found for part in self.parts if (found := part.candidates()) is not None]
        return min(known, key=len, default=None)


class Some(NamedTuple):
    """Holds where any part holds."""

    parts: tuple[Condition, ...]

    def holds(self, record: Record) -> bool:
        """Ask until a part says yes."""
        return any(part.holds(record) for part in self.parts)

    def candidates(self) -> Collection[int] | None:
        """Join the lists, if every part has one."""
        lists = [part.candidates() for part in self.parts]
        known = [found for found in lists if found is not None]
        return set().union(*known) if len(known) == len(lists) else None


class OddlyMany(NamedTuple):
    """Holds where an odd number of parts hold: exclusive or."""

    parts: tuple[Condition, ...]

    def holds(self, record: Record) -> bool:
        """Count the parts that hold."""
        return sum(part.holds(record) for part in self.parts) % 2 == 1

    def candidates(self) -> Collection[int] | None:
        """Narrow down as for any part."""
        return Some(self.parts).candidates()


class Not(NamedTuple):
    """Holds where the part does not."""

    part: Condition

    def holds(self, record: Record) -> bool:
        """Ask the part and say the opposite."""
        return not self.part.holds(record)

    def candidates(self) -> Collection[int] | None:
        """Narrow nothing down."""
        return None


def join(filters: Sequence[Condition], logic: str) -> Condition:
    """Join filters by ``_fm``: empty or ``and``, ``or``, or an expression over their 1-based numbers.

    Raises:
        MalformedError: the expression cannot be read or names a filter that is not there.
    """
    if not filters:
        return Everything()
    if logic.lower() in ("", "and"):
        return All(tuple(filters))
    if logic.lower() == "or":
        return Some(tuple(filters))
    return _Parser(filters, logic).parse()


class _Parser:
    """Reads an expression; NOT binds closest, then AND, XOR, OR."""

    def __init__(self, filters: Sequence[Condition], logic: str) -> None:
        self._filters = filters
        self._tokens = _tokens(logic)

    def parse(self) -> Condition:
        condition = self._or()
        if self._tokens:
            raise MalformedError(f"the filter expression is not valid near '{self._tokens[0]}'")
        return condition

    def _or(self) -> Condition:
        return self._chain("OR", self._xor, Some)

    def _xor(self) -> Condition:
        return self._chain("XOR", self._and, OddlyMany)

    def _and(self) -> Condition:
        return self._chain("AND", self._not, All)

    def _chain(
        self, word: str, part: Callable[[], Condition], joined: Callable[[tuple[Condition, ...]], Condition]
    ) -> Condition:
        parts = [part()]
        while self._tokens and self._tokens[0] == word:
            self._tokens.pop(0)
            parts.append(part())
        return parts[0] if len(parts) == 1 else joined(tuple(parts))

    def _not(self) -> Condition:
        if self._next_is("NOT") or self._next_is("!"):
            return Not(self._not())
        if self._next_is("("):
            inner = self._or()
            if not self._next_is(")"):
                raise MalformedError("a parenthesis in the filter expression is not closed")
            return inner
        return self._filter()

    def _filter(self) -> Condition:
        token = self._tokens.pop(0) if self._tokens else "its end"
        if not token.isdigit() or not 1 <= int(token) <= len(self._filters):
            raise MalformedError(f"the filter expression is not valid at '{token}'")
        return self._filters[int(token) - 1]

    def _next_is(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.pop(0)
            return True
        return False


def _tokens(logic: str) -> list[str]:
    tokens = []
    rest = logic.strip()
    while rest:
        match = _TOKEN.match(rest)
        if match is None:
            raise MalformedError(f"the filter expression is not valid near '{rest[:20]}'")
        tokens.append(match[1].upper())
        rest = rest[match.end() :].strip()
    return tokens
