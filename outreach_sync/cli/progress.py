"""Progress on a terminal: one line that says what was done so far. Elsewhere nothing; the log says it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bars, TaskID

_TITLES = {
    "sequence_states": "sequence states read",
    "tasks": "tasks read",
    "prospects": "prospects read",
    "planned": "people decided",
    "written": "records written",
}


class Progress:
    """A context manager whose value is told (what, how many)."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._bars: Bars | None = None
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> Callable[[str, int], None]:
        """Begin, if stderr is a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only on a terminal
            from rich.progress import Progress as Bars, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

            columns = (SpinnerColumn(), TextColumn("{task.completed:>9,}"), TextColumn("{task.description}"))
            self._bars = Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._bars.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        if self._bars is not None:
            self._bars.stop()

    def _advance(self, what: str, count: int) -> None:
        if self._bars is None:
            return
        if what not in self._rows:
            self._rows[what] = self._bars.add_task(_TITLES.get(what, what), total=None)
        self._bars.advance(self._rows[what], count)
