"""Resolve: which Person each prospect is, in bulk, and what that Person holds now.

Before a prospect is decided for the first time all its sequence states are read, whatever their age (unless the first
load read everything): someone with an old state must not be called Not Active, and an old opt-out must not be missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.pipeline.pull import ALL_STATES_READ, keep_page
from outreach_sync.rules.differences import Held
from outreach_sync.rules.matching import Ambiguous, Found, questions, verdict
from outreach_sync.transport.stopping import pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import PersonRow, Prospect
    from outreach_sync.state.cache import CachedProspect
    from outreach_sync.state.people import LinkedPerson

_LINK = "link"
_REFERENCE = "reference"


def read_history(run: Run, prospects: Mapping[int, CachedProspect]) -> None:
    """Read all sequence states of prospects that were never decided, and those prospects that were never seen."""
    if run.state.facts.get(ALL_STATES_READ) is None:
        unread = [prospect_id for prospect_id, one in prospects.items() if not one.history_read]
        if unread:
            for page in run.source.states_of(unread):
                with run.state.transaction():
                    keep_page(run, page)
            with run.state.transaction():
                run.state.cache.history_was_read(unread)
    unseen = [prospect_id for prospect_id, one in prospects.items() if not one.known]
    if unseen:
        for page in run.source.prospects_by_id(unseen):
            with run.state.transaction():
                keep_page(run, page)


def refresh_doubtful(run: Run, people: Mapping[int, LinkedPerson]) -> set[int]:
    """Read the Persons again of which it is not certain what they hold; return those that are gone."""
    doubtful = [person_id for person_id, person in people.items() if person.lock_version is None]
    if not doubtful:
        return set()
    rows = run.target.people_by_ids(doubtful)
    gone = {one for one in doubtful if one not in rows or rows[one].is_deleted}
    with run.state.transaction():
        for person_id in doubtful:
            if person_id not in gone:
                _keep_read(run, rows[person_id], people[person_id].rule)
    return gone


def find_people(run: Run, prospects: Sequence[Prospect]) -> dict[int, Found | Ambiguous]:
    """Look prospects up in Workbooks by the configured rules; link those that are found (in one transaction).

    A rule asks for all that are still open in one look-up for each hundred values. Whatever the config says, the
    reference is looked for last, since a Person may have been created from a state that was lost.

    Returns:
        Prospect id -> what was found; absent: nothing.
    """
    return _look(run, _rules(run), prospects)


def look_twice(run: Run, prospects: Sequence[Prospect]) -> dict[int, Found | Ambiguous]:
    """Look once more for Persons that may have been created although no answer came: they may appear late."""
    pause(run.plan.look_again_ms / 1000, run.stop)
    return _look(run, [_REFERENCE], prospects)


def _look(run: Run, rules: Sequence[str], prospects: Sequence[Prospect]) -> dict[int, Found | Ambiguous]:
    verdicts: dict[int, Found | Ambiguous] = {}
    found_rows: dict[int, PersonRow] = {}
    for rule in rules:
        still_open = [prospect for prospect in prospects if prospect.id not in verdicts]
        if not still_open:
            break
        for prospect_id, rows in ask(run, rule, still_open).items():
            judged = verdict([row.id for row in rows], rule)
            if judged is not None:
                verdicts[prospect_id] = judged
                found_rows.update((row.id, row) for row in rows)
    _link(run, verdicts, found_rows)
    return verdicts


def ask(run: Run, rule: str, prospects: Iterable[Prospect]) -> dict[int, list[PersonRow]]:
    """Look prospects up by one rule; return prospect id -> the live Persons it finds."""
    asked = {prospect.id: questions(rule, prospect) for prospect in prospects}
    values = tuple(dict.fromkeys(value for some in asked.values() for value in some))
    if not values:
        return {}
    if rule == "email":
        rows = run.target.people_by_email(values)
        return {one: _distinct(rows, (value.casefold() for value in some)) for one, some in asked.items()}
    look_up = {
        "outreach_id": run.target.people_by_outreach_id,
        "reference": run.target.people_by_reference,
        "external_id": run.target.people_by_object_ref,
    }[rule]
    rows = look_up(values)
    return {one: _distinct(rows, some) for one, some in asked.items()}


def _distinct(rows: Mapping[str, Sequence[PersonRow]], values: Iterable[str]) -> list[PersonRow]:
    return list({row.id: row for value in values for row in rows.get(value, ())}.values())


def _rules(run: Run) -> list[str]:
    unusable = {_LINK} if run.plan.fields.outreach_id else {_LINK, "outreach_id"}
    rules = [rule for rule in run.plan.match if rule not in unusable]
    return rules if _REFERENCE in rules else [*rules, _REFERENCE]


def _link(run: Run, verdicts: Mapping[int, Found | Ambiguous], rows: Mapping[int, PersonRow]) -> None:
    forgotten = run.state.forgotten.people()
    with run.state.transaction():
        for prospect_id, judged in verdicts.items():
            if isinstance(judged, Found) and judged.person_id not in forgotten:
                _keep_read(run, rows[judged.person_id], judged.rule)
                run.state.people.link([prospect_id], judged.person_id)
                run.state.outbox.person_exists([prospect_id])


def _keep_read(run: Run, row: PersonRow, rule: str) -> None:
    run.state.people.read(row.id, row.lock_version, held_by(run, row), rule=rule, now=run.clock())


def held_by(run: Run, row: PersonRow) -> Held:
    """Return what a Person holds, by role."""
    fields = run.plan.fields
    values = {role: row.fields.get(fields.of(role)) for role in Held._fields if getattr(fields, role) is not None}
    return Held(**values)  # type: ignore[arg-type]  # the client parsed each by its datatype
