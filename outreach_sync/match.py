"""Match: which Person each prospect is, and what that Person holds now.

Prospects to decide are taken a few hundred at a time. What Outreach does not tell by itself is asked first: all the
states of those whose history was never read, since someone with an old state must not be called Not Active, and an old
opt-out must not be missed. Then linked People of whom something is uncertain are read, and those without one are looked
for by the configured rules. While some are decided, the next are on their way.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from outreach_sync.errors import NotAllowedError, NotAuthenticatedError, ServiceError
from outreach_sync.http import ahead, check, early, pause
from outreach_sync.pull import ALL_STATES_READ, keep_page
from outreach_sync.records import Page, PersonRow, Prospect, Scalar, Stream
from outreach_sync.rules.person import Ambiguous, Found, Held, RoleValue, mailbox, questions, recognised, verdict
from outreach_sync.store.erasure import Persona, erase_rows, forgotten_ids
from outreach_sync.workbooks.wire import PADDED_EMAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from outreach_sync.instants import Instant
    from outreach_sync.run import Run
    from outreach_sync.store.cache import CachedProspect
    from outreach_sync.store.people import LinkedPerson

Row = TypeVar("Row")

CHUNK = 380  # prospects decided together: four look-ups by e-mail, of at most 96 addresses each
REFERENCE = "reference"
_CREATED = "created"
_LOOKS = 15  # times to look again for a record made a moment ago, after `look_again_seconds` each: half a minute


class Matches(NamedTuple):
    """What the match rules found, by prospect; of one without a `verdict`, no rule found a live Person."""

    verdicts: dict[int, Found | Ambiguous]
    rows: dict[int, PersonRow]  # what the People hold that were found, by their ids
    buried: dict[int, PersonRow]  # the deleted Person that bears a prospect's reference


class LookedUp(NamedTuple):
    """A few prospects to decide, with the answers about them on their way."""

    prospects: Collection[int]  # whom to decide
    absent: Mapping[int, bool]  # linked People that are not there (see `refresh`)
    pools: Mapping[int, Sequence[int]]  # all the prospects of each of those
    unlinked: Collection[int]  # those without a Person, the prospects of absent ones included
    matches: Callable[[], Matches]  # waits for what the match rules find for the unlinked


class _Asked(NamedTuple):
    """A few prospects of whom Outreach is asked what it does not tell by itself; `history`: states of the `unread`."""

    prospects: Mapping[int, CachedProspect]
    absent: Mapping[int, bool]
    pools: Mapping[int, Sequence[int]]
    unread: Sequence[int]
    history: Future[list[Page]] | None


def look_up_all(run: Run, *, only_opt_outs: bool) -> Iterator[LookedUp]:
    """Look up all who are ready (`only_opt_outs`: of those held back, who opted out), some ahead of the decisions."""
    asked = early((_ask_outreach(run, ids) for ids in _chunks(run, only_opt_outs=only_opt_outs)), 1)
    return early((_ask_workbooks(run, one) for one in asked), 2)


def _chunks(run: Run, *, only_opt_outs: bool) -> Iterator[list[int]]:
    """Yield a few hundred at a time, first those a pilot has sent; whoever was to be created together is decided so."""
    after, most, named, ready = 0, run.pilot.limit, run.pilot.prospects, run.store.undecided.ready
    again = ready(among=run.pilot.taken.values(), only_opt_outs=only_opt_outs) if run.pilot.taken else []
    while again or most is None or run.pilot.expected < most:
        ids = again or ready(after, min(CHUNK, most or CHUNK), only_opt_outs=only_opt_outs)
        if not ids:
            return
        check(run.stop)
        after, again = after if again else ids[-1], []
        if chosen := ids if named is None else [one for one in ids if one in named]:
            pooled = {one for entry in run.store.outbox.of_person(chosen) for one in entry.pool}
            yield [*chosen, *sorted(pooled.difference(chosen))]


def _ask_outreach(run: Run, ids: Collection[int]) -> _Asked:
    """Read linked People that are not certain, and begin to read sequence states that never were, linked or not."""
    prospects = run.store.cache.prospects(ids)
    people = run.store.people.by_id({one.person_id for one in prospects.values() if one.person_id is not None})
    pools = run.store.people.prospects_of(people)
    alive = {one: person for one, person in people.items() if not person.deleted}
    doubtful = {one: person for one, person in alive.items() if person.lock_version is None or person.untouched}
    absent = refresh(run, doubtful) if doubtful else {}
    unread, history = list[int](), None
    if run.store.facts.get(ALL_STATES_READ) is None:
        everyone = run.store.cache.prospects({*prospects, *(one for pool in pools.values() for one in pool)})
        unread = [one for one, cached in everyone.items() if not cached.history_read]
    if unread and not run.source_is_down:
        history = ahead(lambda: list(run.source.states_of(unread)), name="history-ahead")
    return _Asked(prospects, absent, {one: pools[one] for one in absent}, unread, history)


def _ask_workbooks(run: Run, asked: _Asked) -> LookedUp:
    """Store what Outreach was asked for, and begin to look up those without a Person.

    These are read where they were never seen themselves, or not all that they are created from (`create_fields` may
    have changed). While Outreach does not answer, nobody waits for it that it is not needed for.
    """
    attributes = set(run.config.sync.people.create_fields.values())
    unseen = [
        prospect_id
        for prospect_id, one in asked.prospects.items()
        if one.person_id is None and not (one.known and attributes <= one.prospect.extra.keys())
    ]
    try:
        if asked.history is not None:
            pages = asked.history.result()
            with run.store.transaction():
                for page in pages:
                    keep_page(run, page)
                run.store.cache.history_was_read(asked.unread)
        for page in run.source.by_id(Stream.PROSPECTS, unseen) if unseen and not run.source_is_down else ():
            with run.store.transaction():
                keep_page(run, page)
    except (ServiceError, NotAllowedError, NotAuthenticatedError) as failure:
        run.log.warning("history_unread", prospects=len(asked.unread), why=str(failure))
        run.source_is_down = True
        run.source_failure = run.source_failure or failure
    prospects = run.store.cache.prospects(asked.prospects)  # as they are now
    if run.source_is_down:
        # An opt-out needs no asking: it holds whatever else there is. Of linked ones the rest waits (`decide`).
        all_read = run.store.facts.get(ALL_STATES_READ) is not None
        waiting = {
            prospect_id
            for prospect_id, one in prospects.items()
            if one.person_id is None and not (one.known and (one.history_read or all_read))
        }
        waiting -= run.store.cache.opted_out_among(waiting)
        prospects = {one: cached for one, cached in prospects.items() if one not in waiting}
    unlinked = [one for one, cached in prospects.items() if cached.person_id is None]
    wanted = run.store.cache.prospects([*unlinked, *(one for pool in asked.pools.values() for one in pool)])
    matches: Callable[[], Matches] = partial(Matches, {}, {}, {})
    if wanted:
        asked_for, reason = [cached.prospect for cached in wanted.values()], run.store.cache.with_reason(wanted.keys())
        matches = ahead(partial(find, run, asked_for, reason), name="match-ahead").result
    return LookedUp(prospects.keys(), asked.absent, asked.pools, wanted.keys(), matches)


def find(run: Run, prospects: Sequence[Prospect], reason: Collection[int] = (), rules: Sequence[str] = ()) -> Matches:
    """Look prospects up in Workbooks by these rules, else by the configured ones; nothing is stored.

    A rule asks for all that are still open in one look-up for each hundred values. Whatever the config says, the
    reference is looked for after them, since a Person may have been created from a state that was lost. Last, those of
    whom there is a `reason` to create them are looked for behind blanks around an address, which `eq` may heed.
    """
    configured = (rule for rule in (*run.config.sync.people.match, REFERENCE) if rule != "link")
    matches = Matches({}, {}, {})
    padded = [PADDED_EMAIL] if "email" in run.config.sync.people.match else []
    for rule in dict.fromkeys(rules or (*configured, *padded)):
        is_padded, name = rule == PADDED_EMAIL, "email" if rule == PADDED_EMAIL else rule
        still_open = [
            one for one in prospects if one.id not in matches.verdicts and (not is_padded or one.id in reason)
        ]
        asked = {prospect.id: questions(name, prospect) for prospect in still_open}
        values = tuple(dict.fromkeys(value for some in asked.values() for value in some))
        found, form = run.target.people(rule, values) if values else {}, mailbox if name == "email" else str
        for prospect_id, some in asked.items():
            rows = {row.id: row for value in some for row in found.get(form(value), ())}
            alive = {one: row for one, row in rows.items() if not row.is_deleted}
            judged = verdict(alive, name)
            if judged is not None:
                matches.verdicts[prospect_id] = judged
                matches.rows.update(alive)
                matches.buried.pop(prospect_id, None)
            elif rows:
                matches.buried[prospect_id] = rows[max(rows)]
    return matches


def refresh(run: Run, doubtful: Mapping[int, LinkedPerson]) -> dict[int, bool]:
    """Read the People again of which it is not certain what they hold; return those that are not there, and if hidden.

    Hidden is one that does not come back at all: it was deleted for good, or the key's user may no longer see it;
    nobody can tell which.
    """
    rows = read_people(run, doubtful.values())
    absent: dict[int, bool] = {}
    with run.store.transaction():
        for person in doubtful.values():
            row = rows.get(person.id)
            if row is None or row.is_deleted:
                absent[person.id] = row is None
                no_email = None if row is None else row.fields.get(run.config.workbooks.fields.no_email)
                if isinstance(no_email, bool):
                    run.store.people.doubt([person.id], no_email=no_email)
            else:
                keep_read(run, row, person, person.rule)
    return absent


def read_people(
    run: Run, people: Iterable[LinkedPerson], rows: Mapping[int, PersonRow] | None = None
) -> dict[int, PersonRow]:
    """Read linked People, deleted ones too; `rows`: what was read already. Raises as `until_shown`."""
    made = {one.id: one.linked_at if one.rule == _CREATED else None for one in people}
    return until_shown(run, made, run.target.people_by_ids, rows)


def until_shown(
    run: Run,
    made: Mapping[int, Instant | None],
    read: Callable[[list[int]], Mapping[int, Row]],
    rows: Mapping[int, Row] | None = None,
) -> dict[int, Row]:
    """Look records up by id (`rows`: what was read already), again those that were made a moment ago and do not appear.

    How late a created record appears in look-ups is not documented. One that is absent although it was created within
    the last half minute is asked for again until that is over. `made` says when, by this machine's clock; None: long
    ago. Raises as `Workbooks.read`.
    """
    found, lately = dict(read(list(made)) if rows is None else rows), _LOOKS * run.look_again_seconds * 1000
    for _ in range(_LOOKS):
        now = run.clock()
        late = [one for one, at in made.items() if one not in found and at is not None and abs(now - at) < lately]
        if not late:
            break
        pause(run.look_again_seconds, run.stop)
        found.update(read(late))
    return found


def link(run: Run, matches: Matches) -> dict[int, Found | Ambiguous]:
    """Link the prospects that were found, and return all verdicts; a linked Person may be known better than its row."""
    if not matches.verdicts:
        return {}
    forgotten = forgotten_ids(run.store.connection, "person")
    found = {one: judged for one, judged in matches.verdicts.items() if isinstance(judged, Found)}
    known = run.store.people.by_id({judged.person_id for judged in found.values()})
    doubtful = {one: person for one, person in known.items() if person.lock_version is None and not person.deleted}
    with run.store.transaction():
        for prospect_id, judged in found.items():
            person_id = judged.person_id
            if person_id in forgotten:  # whoever was forgotten stays so under another prospect's id
                erase_rows(run.store.connection, Persona(frozenset({prospect_id}), frozenset()))
                continue
            row, before = matches.rows[person_id], known.get(person_id)
            newest = before is None or before.lock_version is None or row.lock_version >= before.lock_version
            if person_id not in doubtful and newest:
                keep_read(run, row, before, judged.rule)
            run.store.people.link([prospect_id], person_id)
    if doubtful:
        refresh(run, doubtful)
    return matches.verdicts


def keep_read(run: Run, row: PersonRow, known: LinkedPerson | None, rule: str) -> Held:
    """Store and return what a live Person was read to hold, in our form; the tasks that waited for it are due again."""
    fields, kept_as = run.config.workbooks.fields, dict[str, RoleValue]()
    values = {role: row.fields.get(name) for role in Held._fields if (name := getattr(fields, role)) is not None}
    held = Held(**values)  # type: ignore[arg-type]  # the client parsed each by its datatype
    if known is not None:
        same = known.lock_version == row.lock_version
        held, kept_as = recognised(held, known.held, known.kept_as, same_version=same)
    untouched = not has_values(row.fields, run.config.sync.people.only_where)
    run.store.people.read(
        row.id, row.lock_version, held, rule=rule, now=run.clock(), kept_as=kept_as, untouched=untouched
    )
    if known is not None and (known.deleted or known.hidden or known.untouched) and not untouched:
        run.store.people.link(run.store.people.prospects_of([row.id]).get(row.id, ()), row.id)
    return held


def has_values(fields: Mapping[str, Scalar], wanted: Mapping[str, Scalar]) -> bool:
    """Say whether a Person has the values that `sync.people.only_where` names; an empty box is one not ticked."""
    return fields.keys() >= wanted.keys() and all(
        bool(fields[name]) is expected
        if isinstance(expected, bool)
        else (expected is None) is (fields[name] is None) and str(fields[name]) == str(expected)
        for name, expected in wanted.items()
    )
