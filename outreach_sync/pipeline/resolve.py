"""Resolve: which Person each prospect is, in bulk, and what that Person holds now.

Before a prospect is decided for the first time all its sequence states are read, whatever their age (unless the first
load read everything): someone with an old state must not be called Not Active, and an old opt-out must not be missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.ahead import Ahead
from outreach_sync.http import pause
from outreach_sync.pipeline.appearing import read_people
from outreach_sync.pipeline.pull import ALL_STATES_READ, keep_page
from outreach_sync.rules.differences import Held, as_known
from outreach_sync.rules.matching import Ambiguous, Found, questions, verdict
from outreach_sync.state.erasure import Persona, erase_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Page, PersonRow, Prospect
    from outreach_sync.state.cache import CachedProspect
    from outreach_sync.state.people import LinkedPerson

_LINK = "link"
_REFERENCE = "reference"


class History(NamedTuple):
    """All sequence states of prospects that were never decided, on their way from Outreach."""

    prospect_ids: Sequence[int]
    pages: Ahead[list[Page]]


class Matches(NamedTuple):
    """What the match rules found for each prospect (absent: nothing), and what those Persons hold."""

    verdicts: dict[int, Found | Ambiguous]
    rows: Mapping[int, PersonRow]


def ask_history(run: Run, prospects: Mapping[int, CachedProspect]) -> History | None:
    """Ask for all sequence states of those prospects that were never decided; None: of nobody, or not now."""
    if run.source_is_down or run.state.facts.get(ALL_STATES_READ) is not None:
        return None
    unread = [prospect_id for prospect_id, one in prospects.items() if not one.history_read]
    if not unread:
        return None
    return History(unread, Ahead(lambda: list(run.source.states_of(unread)), name="history-ahead"))


def keep_history(run: Run, history: History) -> None:
    """Store what Outreach answered, all of it together."""
    pages = history.pages.result()
    with run.state.transaction():
        for page in pages:
            keep_page(run, page)
        run.state.cache.history_was_read(history.prospect_ids)


def read_unseen(run: Run, prospects: Mapping[int, CachedProspect]) -> bool:
    """Read those prospects that were never seen themselves, or not all that they are created from; say whether any.

    The latter where `sync.people.create_fields` has changed since they were read.
    """
    attributes = set(run.plan.create_fields.values())
    unseen = [
        prospect_id
        for prospect_id, one in prospects.items()
        if not (one.known and attributes <= one.prospect.extra.keys()) and not run.source_is_down
    ]
    if unseen:
        for page in run.source.prospects_by_id(unseen):
            with run.state.transaction():
                keep_page(run, page)
    return bool(unseen)


def refresh_doubtful(run: Run, people: Mapping[int, LinkedPerson]) -> set[int]:
    """Read the Persons again of which it is not certain what they hold; return those that are gone."""
    doubtful = [person_id for person_id, person in people.items() if person.lock_version is None]
    if not doubtful:
        return set()
    rows = read_people(run, (people[one] for one in doubtful))
    gone = {one for one in doubtful if one not in rows or rows[one].is_deleted}
    with run.state.transaction():
        for person_id in doubtful:
            if person_id not in gone:
                _keep_read(run, rows[person_id], people[person_id], people[person_id].rule)
    return gone


def ask_matches(run: Run, prospects: Sequence[Prospect]) -> Ahead[Matches]:
    """Look prospects up in Workbooks by the configured rules.

    A rule asks for all that are still open in one look-up for each hundred values. Whatever the config says, the
    reference is looked for last, since a Person may have been created from a state that was lost.
    """
    return Ahead(lambda: _look(run, _rules(run), prospects), name="match-ahead")


def look_twice(run: Run, prospects: Sequence[Prospect]) -> dict[int, Found | Ambiguous]:
    """Look once more for Persons that may have been created although no answer came: they may appear late."""
    pause(run.plan.look_again_ms / 1000, run.stop)
    return link(run, _look(run, [_REFERENCE], prospects))


def _look(run: Run, rules: Sequence[str], prospects: Sequence[Prospect]) -> Matches:
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
    return Matches(verdicts, found_rows)


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


def link(run: Run, matches: Matches) -> dict[int, Found | Ambiguous]:
    """Link the prospects that were found (in one transaction), and return all verdicts.

    A Person that is linked already may have been written since it was looked up: what is known of it is then newer than
    the row, and where it is not certain it is read once more.
    """
    forgotten = run.state.forgotten.people()
    found = {one: judged for one, judged in matches.verdicts.items() if isinstance(judged, Found)}
    known = run.state.people.by_id({judged.person_id for judged in found.values()})
    doubtful = {one: person for one, person in known.items() if person.lock_version is None and not person.deleted}
    with run.state.transaction():
        for prospect_id, judged in found.items():
            person_id = judged.person_id
            if person_id in forgotten:  # whoever was forgotten stays so under another prospect's id
                erase_rows(run.state.connection, Persona(frozenset({prospect_id}), frozenset()))
                continue
            if person_id not in doubtful and not _is_older(matches.rows[person_id], known.get(person_id)):
                _keep_read(run, matches.rows[person_id], known.get(person_id), judged.rule)
            run.state.people.link([prospect_id], person_id)
            run.state.outbox.person_exists([prospect_id])
    refresh_doubtful(run, doubtful)
    return matches.verdicts


def _is_older(row: PersonRow, known: LinkedPerson | None) -> bool:
    return known is not None and known.lock_version is not None and row.lock_version < known.lock_version


def _keep_read(run: Run, row: PersonRow, known: LinkedPerson | None, rule: str) -> None:
    run.state.people.read(row.id, row.lock_version, held_by(run, row, known), rule=rule, now=run.clock())


def held_by(run: Run, row: PersonRow, known: LinkedPerson | None) -> Held:
    """Return what a Person holds, by role; `known` is what was known of it before.

    Where nobody wrote it since, the same time in another form is still that time.
    """
    fields = run.plan.fields
    values = {role: row.fields.get(fields.of(role)) for role in Held._fields if getattr(fields, role) is not None}
    read = Held(**values)  # type: ignore[arg-type]  # the client parsed each by its datatype
    return as_known(read, known.held) if known is not None and known.lock_version == row.lock_version else read
