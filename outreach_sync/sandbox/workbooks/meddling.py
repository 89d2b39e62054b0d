"""What other people and processes do to records between a client's look and its write, as faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.workbooks.schema import PERSON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.form import Row
    from outreach_sync.sandbox.workbooks.planning import Plan
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Table

REFUSED_TEXT = "is not allowed by a rule of this database"


def meddle(store: WorkbooksStore, faults: FaultBoard, table: Table, rows: Sequence[Row], kind: str) -> None:
    """Change, delete, merge or lock the records of a write just before it is carried out, if a fault says so."""
    name = table.record_class.name
    existing = [row for row in rows if row.id in table.records]

    def each(fault: str, act: Callable[[int, Mapping[str, Any]], object], *, default: str) -> None:
        if not existing:
            return
        options = faults.take(fault, kind)
        for id_ in _concerned(existing, options or {}, default) if options is not None else ():
            act(id_, options or {})

    each("stale_some", lambda id_, _: store.touch(name, id_), default="first")
    each("stale_all", lambda id_, _: store.touch(name, id_), default="all")
    each("stale_again_and_again", lambda id_, _: store.touch(name, id_), default="all")
    each("delete_between_read_and_write", lambda id_, _: store.delete(name, id_), default="first")
    each("read_only_between_read_and_write", lambda id_, _: store.make_read_only(id_, name), default="first")
    if name == PERSON:
        each("merge_between_read_and_write", lambda id_, given: _merge(store, id_, given), default="first")


def refuse(faults: FaultBoard, plans: Sequence[Plan], kind: str) -> None:
    """Make objects fail as a validation rule of the customer's would, if a fault says so."""
    options = faults.take("refuse_one", kind)
    if options is not None:
        index = options.get("index", 0)
        for plan in plans[slice(index, None)][:1] if isinstance(index, int) else ():
            _blame(plan, options)
    options = faults.take("refuse_all", kind)
    for plan in plans if options is not None else ():
        _blame(plan, options or {})
    _refuse_value(faults, plans, kind)


def _refuse_value(faults: FaultBoard, plans: Sequence[Plan], kind: str) -> None:
    options = faults.peek("refuse_value") or {}
    name = str(options.get("field"))
    concerned = [plan for plan in plans if name in plan.row.fields and _is_value(plan.row.fields[name], options)]
    if concerned and faults.take("refuse_value", kind) is not None:
        for plan in concerned:
            plan.blame(name, str(options.get("text", REFUSED_TEXT)))


def _is_value(sent: str | None, options: Mapping[str, object]) -> bool:
    return "value" not in options or sent == options["value"]


def _blame(plan: Plan, options: Mapping[str, object]) -> None:
    plan.blame(str(options.get("field", "base")), str(options.get("text", REFUSED_TEXT)))


def _concerned(rows: Sequence[Row], options: Mapping[str, Any], default: str) -> list[int]:
    if "ids" in options:
        return [row.id for row in rows if row.id in options["ids"]]
    if "indexes" in options:
        return [row.id for position, row in enumerate(rows) if position in options["indexes"]]
    return [row.id for row in (rows if default == "all" else rows[:1])]


def _merge(store: WorkbooksStore, loser: int, options: Mapping[str, Any]) -> None:
    into = options.get("into")
    winner = store.add_person(name="Merged Example") if into is None else int(into)
    store.merge_people(winner, loser, alias=bool(options.get("alias")))
