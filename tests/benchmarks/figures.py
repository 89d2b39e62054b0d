"""Figures of several runs: medians with their spread, and the table they end up in."""

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Figure(NamedTuple):
    """The median of several runs, with the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Write the median, and the spread where there is any."""
        if self.least == self.most:
            return f"{self.median:.4g}"
        return f"{self.median:.3g} ({self.least:.3g} to {self.most:.3g})"


class Row(NamedTuple):
    """One measure: what was reached, what must be, and what was compared."""

    measure: str
    figure: Figure
    limit: float
    note: str = ""
    at_least: bool = False
    unit: str = "x"

    @property
    def reached(self) -> bool:
        """Say whether the limit is kept."""
        return self.figure.median >= self.limit if self.at_least else self.figure.median <= self.limit


def figure(values: Iterable[float]) -> Figure:
    """Sum several runs up."""
    listed = sorted(values)
    return Figure(statistics.median(listed), listed[0], listed[-1])


def ratios(mine: Sequence[float], other: Sequence[float]) -> Figure:
    """Compare runs that took turns, pair by pair: what else the machine does strikes both of a pair."""
    return figure(one / two for one, two in zip(mine, other, strict=True))


def in_turns(count: int, *calls: Callable[[], T]) -> list[list[T]]:
    """Run several things in turns; return the results of each."""
    results: list[list[T]] = [[] for _ in calls]
    for _ in range(count):
        for call, gathered in zip(calls, results, strict=True):
            gathered.append(call())
    return results


def say(text: str) -> None:
    """Tell how far the benchmark is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(rows: Iterable[Row]) -> str:
    """Write the rows as a Markdown table."""
    lines = ["| measure | reached | must be | | how |", "|---|---|---|---|---|"]
    for row in rows:
        bound = f"{'>=' if row.at_least else '<='} {row.limit:g} {row.unit}".rstrip()
        mark = "ok" if row.reached else "**missed**"
        lines.append(f"| {row.measure} | {row.figure} | {bound} | {mark} | {row.note} |")
    return "\n".join(lines)
