"""The screen of the demo: readable at 80 columns, and where there is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from outreach_sync.demo.expectation import NO_EMAIL, SINCE, STATE
from outreach_sync.instants import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from outreach_sync.demo.reasons import Reasons
    from outreach_sync.insight.failures import Kind
    from outreach_sync.state.outbox import Entry

    Row = Mapping[str, Any]


class Screen:
    """Shows one act after another."""

    def __init__(self, console: Console) -> None:
        """Show on a console."""
        self._console = console
        self._act = 0

    def act(self, title: str, *what_happened: str) -> None:
        """Open an act and say what happens in it."""
        self._act += 1
        self._say()
        self._console.rule(Text(f"{self._act}. {title}", style="bold"), align="left")
        for sentence in what_happened:
            self._say(f"- {sentence}")

    def document(self, document: Row) -> None:
        """Show what the cycle says it did."""
        people = ", ".join(f"{count} {name}" for name, count in document["people"].items() if count)
        requests = document["requests"]
        self._say()
        self._say(
            f"The cycle: people: {people or 'nothing to do'}; tasks: {document['tasks']['created']} created; "
            f"{requests['outreach']} requests to Outreach, {requests['workbooks']} to Workbooks."
        )

    def people(self, before: Mapping[int, Row], after: Mapping[int, Row], reasons: Reasons) -> None:
        """Show what every Person that changed, came or went said before and after, and why."""
        table = _table("Person", "who", "before", "after", "why")
        everyone = {**before, **after}
        for id_, one in sorted(everyone.items()):
            said, says = _both_said(before.get(id_), after.get(id_))
            if said != says:
                table.add_row(*map(Text, (str(id_), one["name"], said, says, reasons.of_person(id_))))
        self._show(table, len(everyone) - table.row_count, "people")

    def tasks(self, before: Mapping[str, Sequence[Row]], after: Mapping[str, Sequence[Row]], reasons: Reasons) -> None:
        """Show every Task that was made, and why."""
        table = _table("Task", "name", "before", "after", "skipped, because")
        for reference, rows in after.items():
            for row in rows if reference not in before else ():
                why = reasons.of_task(int(reference.rpartition("-")[2]))
                table.add_row(*map(Text, (str(row["id"]), row["name"], "-", row["activity_status"], why)))
        self._show(table, sum(map(len, before.values())), "tasks")

    def refusals(self, groups: Mapping[Kind, Sequence[Entry]]) -> None:
        """Show what was refused and what to do about it."""
        self._say()
        for kind, entries in groups.items():
            self._say(f"Refused: {kind.title}")
            for entry in entries:
                self._say(f"  {entry.id}: {entry.reason}")
            self._say(f"  What to do: {kind.advice}")

    def verdict(self, wrong: Sequence[str], people: int, tasks: int) -> None:
        """Say whether Workbooks says what it must."""
        what = f"all {people} people and {tasks} tasks in Workbooks say what they must"
        self.expectation(what, happened=not wrong)
        for sentence in wrong:
            self._say(f"  {sentence}", style="red")

    def expectation(self, what: str, *, happened: bool) -> None:
        """Say whether one thing came as it must."""
        self._say(f"[{'ok' if happened else 'NOT SO'}] {what}", style="green" if happened else "bold red")

    def ending(self, problems: Sequence[str]) -> None:
        """Say how the demo ended."""
        self._say()
        self._console.rule()
        if problems:
            self._say(f"{len(problems)} things are not as they must be.", style="bold red")
        else:
            self._say("Everything is as it must be.", style="bold green")
        self._say("Now with your own accounts: `outreach-sync init`.")

    def _show(self, table: Table, unchanged: int, what: str) -> None:
        if table.row_count:
            self._say()
            self._console.print(table)
        if unchanged:
            self._say(f"({unchanged} {what} stay as they were.)")

    def _say(self, text: str = "", *, style: str = "") -> None:
        self._console.print(Text(text, style=style))


def _table(*columns: str) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    widths = (6, 15, 13, 16, None)
    for name, width in zip(columns, widths, strict=True):
        table.add_column(name, width=width, overflow="fold", ratio=None if width else 1)
    return table


def _both_said(before: Row | None, after: Row | None) -> tuple[str, str]:
    """Say in short what a Person said and says; since when only where nothing else tells the two apart."""
    said, says = _said(before), _said(after)
    if before is not None and after is not None and said == says and before[SINCE] != after[SINCE]:
        return f"{said}, {_since(before)}", f"{says}, {_since(after)}"
    return said, says


def _since(person: Row) -> str:
    return "no date" if person[SINCE] is None else f"{to_datetime(person[SINCE]):%Y-%m-%d %H:%M}"


def _said(person: Row | None) -> str:
    """Say in short what a Person says."""
    if person is None:
        return "-"
    label = person[STATE] or "nothing"
    return f"{label}, No Email" if person[NO_EMAIL] else str(label)
