"""The demo: both services simulated, some cycles, and whether every Person and Task then says what it must."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import yaml
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from outreach_sync import files
from outreach_sync.config import load_config
from outreach_sync.insight.explain import by_kind, explain_person, explain_task
from outreach_sync.instants import Instant, parse_iso, to_datetime
from outreach_sync.run import Options, perform
from outreach_sync.sandbox import Sandbox
from outreach_sync.store import Store, run_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal

PERSON, TASK = "Private::Crm::Person", "Private::Activity::Task"
STATE, SINCE, NO_EMAIL = "cf_person_sequence_state", "cf_person_state_updated_at", "no_email_soliciting"
_LABELS = {word: word.title() for word in ("finished", "pending", "disabled", "failed", "bounced")}
_LABELS |= {"active": "Active – Running", "paused": "Active – Paused"}  # noqa: RUF001 - the en dash is Workbooks' own
_RULE, _ROWS = 100, 10
_REQUESTS_OF_A_QUIET_CYCLE = 4  # one for each stream
_REFUSED_TWICE = 16  # the prospect whose address two People have
_SILENCE = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
Row = dict[str, Any]


class Expectation:
    """What Workbooks must say. It remembers what no record shows later: No Email, when an opt-out was first seen."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Look at both services as they are now."""
        self._sandbox = sandbox
        self._first_seen: dict[int, int] = {}
        self._no_email: set[int] = set()
        self.look()

    def look(self) -> None:
        """Take in what the next cycle can read, and whom Workbooks says to send no e-mail."""
        for id_, prospect in self._rows("prospect").items():
            self._first_seen.setdefault(id_, parse_iso(prospect["updatedAt"]))
            if not _opted_out(prospect):
                del self._first_seen[id_]
        self._no_email |= {one["id"] for one in self.people().values() if one[NO_EMAIL]}

    def people(self) -> dict[int, Row]:
        """Return those alive, by id."""
        return {one["id"]: one for one in self._sandbox.workbooks.store.all(PERSON)}

    def tasks(self) -> dict[int, Row]:
        """Return the live Tasks that the program made, by id."""
        made = self._sandbox.workbooks.store.all(TASK)
        return {one["id"]: one for one in made if "outreach-task-" in (one["created_through_reference"] or "")}

    def mismatches(self) -> list[str]:
        """Say in a sentence each what is not as it must be."""
        pools: dict[int, set[int]] = {}
        said = []
        for id_, prospect in self._rows("prospect").items():
            matches = self._matches(prospect)
            has_reason = (self._states_of({id_}) or _opted_out(prospect)) and not prospect.get("trashedAt")
            if len(matches) == 1:
                pools.setdefault(matches.pop(), set()).add(id_)
            elif has_reason and not matches:
                said.append(f"prospect {id_} has no Person")
        return [*self._wrong_people(pools), *said, *self._wrong_tasks(pools)]

    def _wrong_people(self, pools: dict[int, set[int]]) -> Iterator[str]:
        for person_id, says in self.people().items():
            if person_id in pools:
                label, since, no_email = self._wanted(pools[person_id], keeps=person_id in self._no_email)
                if (says[STATE], says[NO_EMAIL]) != (label, no_email):
                    yield f"Person {person_id} says {(says[STATE], says[NO_EMAIL])}, not {(label, no_email)}"
                elif since is not None and says[SINCE] != since:
                    yield f"Person {person_id} says {says[SINCE]}, not {since}, as State Updated at"
            elif (says["created_through_reference"] or "").startswith("outreach-prospect-"):
                yield f"Person {person_id} was created and stands for nobody"

    def _wanted(self, pool: set[int], *, keeps: bool) -> tuple[str, int | None, bool]:
        states = self._states_of(pool)
        opted = [_since(one) for one in states if one["state"] == "opted_out"]
        for id_, one in self._rows("prospect").items() if not opted else ():
            if id_ in pool and _opted_out(one):
                given = one.get("optedOutAt") or (one.get("emailOptedOut") and one.get("emailsOptedAt"))
                opted.append(parse_iso(given) if given else self._first_seen[id_])
        if opted:
            return "Opted Out", max(opted), True
        if not states:
            return "Not Active", None, keeps
        newest = max(states, key=lambda one: (_since(one), one["id"]))
        return _LABELS[newest["state"]], _since(newest), keeps

    def _states_of(self, pool: set[int]) -> list[Row]:
        prospects = self._rows("prospect")
        gone = {id_ for id_ in pool if prospects.get(id_, {}).get("trashedAt")}
        states = [one for one in self._rows("sequenceState").values() if one.get("prospect") in pool]
        return [one for one in states if one["prospect"] not in gone or one["state"] == "opted_out"]

    def _matches(self, prospect: Row) -> set[int]:
        known, reference = self.people().values(), f"outreach-prospect-{prospect['id']}"
        addresses = {address.strip().lower() for address in prospect.get("emails") or ()}
        rules = (
            {one["id"] for one in known if one["created_through_reference"] == reference},
            {one["id"] for one in known if one["object_ref"] == prospect.get("externalId")},
            {one["id"] for one in known if (one["main_location[email]"] or "").strip().lower() in addresses},
        )
        return next((found for found in rules if found), set())

    def _wrong_tasks(self, pools: dict[int, set[int]]) -> Iterator[str]:
        homes = {one: person_id for person_id, pool in pools.items() for one in pool}
        told = {one["task"] for one in self._rows("event").values() if one["name"] == "skip_task" and one.get("task")}
        made: dict[str, list[Row]] = {}
        for one in self.tasks().values():
            made.setdefault(one["created_through_reference"], []).append(one)
        for id_, task in self._rows("task").items():
            person_id = homes.get(task.get("prospect") or 0)
            expected = int(_skipped(task, told) and person_id is not None)
            rows = made.pop(f"outreach-task-{id_}", [])
            if len(rows) != expected:
                yield f"there are {len(rows)} Workbooks Tasks for task {id_}, not {expected}"
            for row in rows:
                if (row["activity_status"], row["primary_contact_id"]) != ("Cancelled", person_id):
                    yield f"the Workbooks Task of task {id_} is not Cancelled, or not that of Person {person_id}"
        yield from (f"nobody knows the Workbooks Task {reference}" for reference in made)

    def _rows(self, kind: str) -> dict[int, Row]:
        return {one.id: {**one.values, "id": one.id} for one in self._sandbox.outreach.store.all(kind)}


def _skipped(task: Row, told: set[int]) -> bool:
    related = any(task.get(name) for name in ("sequence", "sequenceState", "sequenceStep"))
    never_done = task.get("completed") is False or task.get("completedAt") is None
    says_so = task.get("state") == "skipped" or (task.get("state") == "complete" and never_done)
    return (related or str(task.get("taskType")).startswith("sequence_")) and (says_so or task["id"] in told)


def _opted_out(prospect: Row) -> bool:
    return bool(prospect.get("optedOut") or prospect.get("emailOptedOut"))


def _since(state: Row) -> int:
    return parse_iso(state.get("stateChangedAt") or state["updatedAt"])


class Demo:
    """The story, on a console: each act is a change in the world, a cycle, and a look whether all is as it must be."""

    def __init__(self, console: Console, sandbox: Sandbox, config: Config, stop: StopSignal, rows: int | None) -> None:
        """Look at the world before anything happens; `rows` None shows every line of a table."""
        self.problems: list[str] = []  # what did not come as it must, a sentence each
        self._console, self._sandbox, self._config, self._stop, self._rows = console, sandbox, config, stop, rows
        self._acts, self._expectation = 0, Expectation(sandbox)

    def tell(self) -> None:
        """Tell it all."""
        workbooks = self._sandbox.workbooks
        self._act("The first cycle", "60 prospects in 8 sequences in Outreach. Workbooks knows most of them as People.")
        self._show_refusals()
        self._act("Another cycle at once", quiet=True)
        self._act("A working day in Outreach", step=1)
        workbooks.faults.on("stale_some", times=1)
        saved = "And somebody saves a Person in the moment before it is written: its lock_version is stale."
        self._act("Hands in Workbooks, and removals in Outreach", saved, step=2)
        was_stale = workbooks.faults.peek("stale_some") is None
        self._expect("the write with a stale lock_version happened", happened=was_stale)
        emails = self._sandbox.outreach.store.get("prospect", _REFUSED_TWICE).values["emails"]
        people = self._expectation.people().values()
        winner, loser = (one["id"] for one in people if one["main_location[email]"] in emails)
        workbooks.store.merge_people(winner, loser)
        path = self._config.state.path
        with run_lock(path, "failures retry"), Store.open(path) as state, state.transaction():
            state.outbox.retry([entry.id for entry in state.outbox.failures()])
        self._act("What was refused is mended", f"People {winner} and {loser}, with one address, are merged.")
        self._show_refusals()
        self._act("A last cycle", quiet=True)
        self._say("", Rule())
        wrong = f"{len(self.problems)} things are not as they must be." if self.problems else ""
        self._say(wrong or "Everything is as it must be.", style="bold red" if wrong else "bold green")
        started_as = sys.argv[0] if Path(sys.argv[0]).name == "outreach-sync" else "python -m outreach_sync"
        program = "outreach-sync" if shutil.which("outreach-sync") else started_as
        self._say(f"To try the commands yourself: `{program} sandbox`; with your own accounts: `{program} init`.")

    def _act(self, title: str, sentence: str = "", *, step: int | None = None, quiet: bool = False) -> None:
        self._acts += 1
        self._say("", Rule(Text(f"{self._acts}. {title}", style="bold"), align="left"))
        if step is not None:
            rows = [(one.event or "(in Workbooks)", one.what, one.effect) for one in self._sandbox.evolve(step)]
            self._say(_table(("event in Outreach", "what happens", "what must come of it"), rows))
        said = "Nothing changed, so nothing may be written." if quiet else sentence
        self._say(*([said] if said else []))
        writes = list(self._sandbox.workbooks.store.writes)
        self._expectation.look()
        people, tasks = self._expectation.people(), self._expectation.tasks()
        ended = perform(self._config, Options(), self._stop, _SILENCE)
        if ended.error is not None:
            raise ended.error
        self._show_cycle(ended.document, people, tasks)
        if quiet:
            few = ended.outreach_requests <= _REQUESTS_OF_A_QUIET_CYCLE
            self._expect("nothing was written", happened=self._sandbox.workbooks.store.writes == writes)
            self._expect("Workbooks was not asked", happened=ended.workbooks_requests == 0)
            self._expect("Outreach was asked once for each stream at most", happened=few)

    def _show_cycle(self, document: Row, people: dict[int, Row], tasks: dict[int, Row]) -> None:
        done = ", ".join(f"{count} {name}" for name, count in document["people"].items() if count)
        requests, tasks_created = document["requests"], document["tasks"]["created"]
        asked = f"{requests['outreach']} requests to Outreach, {requests['workbooks']} to Workbooks"
        self._say(f"\nThe cycle: people: {done or 'nothing to do'}; tasks: {tasks_created} created; {asked}.")
        with Store.open(self._config.state.path) as state:
            changed = list(self._changes(people, tasks, state))
        shown = changed[: self._rows]
        if changed:
            self._say("", _table(("record", "who or what", "before", "after", "why"), shown))
        if len(changed) > len(shown):
            self._say(f"... and {len(changed) - len(shown)} more (`demo --all` shows them).", style="dim")
        wrong = self._expectation.mismatches()
        counts = f"all {len(self._expectation.people())} people and {len(self._expectation.tasks())} tasks"
        self._expect(f"{counts} in Workbooks say what they must", happened=not wrong)
        self._say(*(f"  {sentence}" for sentence in wrong), style="red")

    def _changes(self, people: dict[int, Row], tasks: dict[int, Row], store: Store) -> Iterator[tuple[str, ...]]:
        now = self._expectation.people()
        for id_, one in sorted({**people, **now}.items()):
            said, says = _said(people.get(id_)), _said(now.get(id_))
            if said != says:
                because = explain_person(store, self._config, id_)["because"] if id_ in now else ""
                yield f"Person {id_}", one["name"], said, says, because
        for id_, one in self._expectation.tasks().items():
            if id_ not in tasks:
                source = int(one["created_through_reference"].rpartition("-")[2])
                because = explain_task(store, self._config, source)["because"]
                yield f"Task {id_}", one["name"], "", one["activity_status"], because

    def _expect(self, what: str, *, happened: bool) -> None:
        self._say(f"[{'ok' if happened else 'NOT SO'}] {what}", style="green" if happened else "bold red")
        if not happened:
            self.problems.append(f"it is not so that {what}")

    def _show_refusals(self) -> None:
        with Store.open(self._config.state.path) as state:
            refused = by_kind(state.outbox.failures())
        for kind, entries in refused.items():
            reasons = (f"  {entry.id}: {entry.reason}" for entry in entries)
            self._say(f"\nRefused: {kind.title}", *reasons, f"  What to do: {kind.advice}")

    def _say(self, *lines: str | Table | Rule, style: str = "") -> None:
        for line in lines:
            width = min(self._console.width, _RULE) if isinstance(line, Rule) else None
            self._console.print(Text(line, style=style) if isinstance(line, str) else line, width=width)


def tell(console: Console, directory: Path, stop: StopSignal, *, everything: bool = False) -> bool:
    """Tell the story in an empty directory, `everything` with all lines of a table; say whether all came as it must."""
    with Sandbox() as sandbox:
        sandbox.load_example()
        demo = Demo(console, sandbox, config_of(sandbox, directory), stop, None if everything else _ROWS)
        demo.tell()
    return not demo.problems


def config_of(sandbox: Sandbox, directory: Path) -> Config:
    """Write the config of the demo into a directory and read it."""
    path = directory / "demo.yaml"
    files.write_whole(path, yaml.safe_dump(sandbox.config(directory / "state.db"), allow_unicode=True))
    return load_config(path)


def _table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for cells in rows:
        table.add_row(*map(Text, cells))
    return table


def _said(person: Row | None) -> str:
    if person is None:
        return "-"
    since = "" if person[SINCE] is None else f", {to_datetime(Instant(person[SINCE])):%Y-%m-%d %H:%M}"
    return f"{person[STATE] or 'nothing'}{', No Email' if person[NO_EMAIL] else ''}{since}"
