"""Which Outreach and which Workbooks a state belongs to: the ids in it mean other people anywhere else.

Where the config names another address, app or key than the first run, Workbooks is asked who is behind the key (its
`logical_database_id`: guide, Authentication), and each for a sample of the records that the state knows. A renewed key
of the same account passes; another account is refused until `state rebind`.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.errors import NotAllowedError, ServiceError, StateError, UntrustedAnswerError, WrongAccountError
from outreach_sync.files import beside
from outreach_sync.outreach.auth import TOKENS, TokenFile, app_of
from outreach_sync.outreach.client import Outreach
from outreach_sync.records import Stream
from outreach_sync.rules.person import mailbox, questions
from outreach_sync.store import Store
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.wire import read_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal

OUTREACH, WORKBOOKS = "Outreach", "Workbooks"
FACTS = {OUTREACH: "identity_outreach", WORKBOOKS: "identity_workbooks"}
_KEY = "identity_key"
_SAMPLE = 50
_BRIEFLY_SECONDS = 5.0
_SEEN = 4  # of the sample, one in so many has to be there and the same, unless the account itself says that it is


class Side(NamedTuple):
    """One service as the config means it, or as the state remembers it."""

    address: str
    mark: str  # a keyed hash of app, key and consent, which only says whether they are the same
    database: int | None = None  # the `logical_database_id` of Workbooks, None where not known
    created_at: str = ""  # when that was made, in its words


class Look(NamedTuple):
    """What was found out."""

    key: str  # of the hashes
    sides: Mapping[str, Side]  # what each service is now
    wrong: Mapping[str, str]  # why it is another than the state's
    known: bool  # the state remembers all of it


def refuse_another_workbooks(config: Config, target: Workbooks) -> None:
    """Refuse to go on where there is a state that can be read and it belongs to another Workbooks."""
    try:
        store = Store.open_to_read(config.state.path)
    except StateError:
        return
    if store is not None:
        with store:
            look_at(config, store, None, target)


def refuse_another_account(config: Config, store: Store, stop: StopSignal) -> None:
    """Refuse to change a state that belongs to another account; without credentials there is nothing to compare."""
    logs_in = (config.outreach.s2s or config.outreach.client_secret) and store.facts.get(FACTS[OUTREACH])
    has_key = config.workbooks.api_key and store.facts.get(FACTS[WORKBOOKS])
    source, target = Outreach(config, stop) if logs_in else None, Workbooks(config, stop) if has_key else None
    look_at(config, store, source, target)


def look_at(
    config: Config, store: Store, source: Outreach | None, target: Workbooks | None, *, refuse: bool = True
) -> Look:
    """Find out, changing nothing, whether the state belongs to the given services; OutreachSyncError: unknown.

    WrongAccountError, unless not to `refuse`: it is another account's.
    """
    key, outreach, workbooks = store.facts.get(_KEY) or secrets.token_hex(32), config.outreach, config.workbooks
    sides, wrong, known = dict[str, Side](), dict[str, str](), True
    for name, client in ((OUTREACH, source), (WORKBOOKS, target)):
        if client is None:
            continue
        if name == OUTREACH:
            app, stored = app_of(config), TokenFile(beside(config.state.path, TOKENS)).read()
            held = outreach.client_secret if outreach.s2s is None else outreach.s2s.private_key
            parts = [app.name, app.seed, held and held.get_secret_value(), stored and stored.consent]
        else:
            parts = [workbooks.api_key and workbooks.api_key.get_secret_value()]
        mark = hmac.digest(key.encode(), "\0".join(part or "" for part in parts).encode(), "sha256").hex()
        now = Side(outreach.base_url if name == OUTREACH else workbooks.base_url, mark)
        remembered = store.facts.get(FACTS[name])
        before = None if remembered is None else Side(**json.loads(remembered))
        if before is not None and (before.address, before.mark) == (now.address, now.mark):
            sides[name] = before
            continue
        known = False
        if isinstance(client, Workbooks):
            sides[name], why = _workbooks(store, client, before, now)
        else:
            sides[name], why = now, _outreach(store, client)
        if why:
            wrong[name] = why
    for name, why in wrong.items() if refuse else ():
        raise WrongAccountError(
            f"the state {config.state.path} belongs to another {name}: {why}.",
            advice=f"Put the address and credentials of that {name} back, or give this config a state.path of its own. "
            "`outreach-sync state rebind` moves the state to this one and forgets the other.",
        )
    return Look(key, sides, wrong, known)


def remember(store: Store, look: Look) -> None:
    """Keep who the services are; call it inside a transaction."""
    store.facts.put(_KEY, look.key)
    for name, side in look.sides.items():
        store.facts.put(FACTS[name], json.dumps(side._asdict()))


def _outreach(store: Store, source: Outreach) -> str:
    """Say why this is another Outreach than the state's; '' where it is not."""
    ids = store.sample_ids("prospect", _SAMPLE)
    cached = store.cache.prospects(ids)
    seen = {row.id: row for page in source.by_id(Stream.PROSPECTS, ids) for row in page.prospects} if ids else {}
    same = 0
    for known, row in ((cached[one].prospect, row) for one, row in seen.items() if one in cached):
        before, now = _mailboxes(known.emails), _mailboxes(row.emails)
        names = (known.first_name, known.last_name) == (row.first_name, row.last_name)
        same_external_id = bool(known.external_id) and known.external_id == row.external_id
        same += same_external_id or (not before.isdisjoint(now) if before and now else names)  # names where no address
    return _judged("prospects", len(ids), len(seen), same)


def _workbooks(store: Store, target: Workbooks, before: Side | None, now: Side) -> tuple[Side, str]:
    """Ask Workbooks who it is; return that, and why it is another than the state's ('' where it is not)."""
    ids = store.sample_ids("person", _SAMPLE)
    try:
        now = now._replace(**target.who(at_most=None if ids else _BRIEFLY_SECONDS)._asdict())
    except (NotAllowedError, UntrustedAnswerError):
        pass  # it does not say
    except ServiceError:
        if ids:
            raise
    proven = False
    if ids and before is not None and before.database is not None and now.database is not None:
        made = {read_datetime(before.created_at), read_datetime(now.created_at)}  # None: it did not say
        if before.database != now.database or len(made - {None}) > 1:
            return now, f"it is database {before.database}, and the key is for database {now.database}"
        proven = before.address == now.address and len(made) == 1
    seen = target.people_by_ids(ids) if ids else {}
    if proven and not seen:
        return now, ""  # the same database; this key's user does not see them, which the guard watches
    pools = store.people.prospects_of(ids)
    cached = store.cache.prospects({one for pool in pools.values() for one in pool})
    outreach_id, same = target.fields.get("outreach_id"), 0
    for one, row in seen.items():
        own_id = None if outreach_id is None else row.fields.get(outreach_id)
        said = {"outreach_id": own_id, "reference": row.reference, "external_id": row.object_ref, "email": row.email}
        known = [cached[prospect].prospect for prospect in pools.get(one, ()) if prospect in cached]
        same += any(  # whatever would find it
            mailbox(str(value or "")) in map(mailbox, questions(rule, prospect))
            for prospect in known
            for rule, value in said.items()
        )
    return now, _judged("linked people", len(seen) if proven else len(ids), len(seen), same)


def _judged(what: str, asked: int, seen: int, same: int) -> str:
    """Say why a sample is of another account; '' where it is of the same: most who are there are the ones we know."""
    if not asked or (same and same * 2 >= seen and same * _SEEN >= asked):
        return ""
    return f"of {asked} {what} that it knows, {seen} are there by their ids, and {same} of those are the same"


def _mailboxes(addresses: Iterable[str]) -> set[str]:
    return {mailbox(one) for one in addresses if one.strip()}
