"""Which Outreach and which Workbooks a state belongs to: the ids in it mean other people anywhere else.

Who they are is remembered by the first run. As long as the config names the same address, app and key, nobody is asked.
Where one differs, both are asked before anything else happens: Workbooks who is behind the key (its
`logical_database_id`: workbooks guide, Authentication), and each for a sample of the records that the state knows. A
renewed key or secret of the same account passes; another account is refused until `state rebind`.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.errors import NotAllowedError, ServiceError, StateError, UntrustedAnswerError, WrongAccountError
from outreach_sync.outreach.auth import TokenFile, app_of
from outreach_sync.outreach.client import Outreach
from outreach_sync.records import Stream
from outreach_sync.rules.person import mailbox
from outreach_sync.store import Store
from outreach_sync.workbooks.client import Workbooks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.records import PersonRow, Prospect
    from outreach_sync.workbooks.client import Account

OUTREACH, WORKBOOKS = "Outreach", "Workbooks"
FACTS = {OUTREACH: "identity_outreach", WORKBOOKS: "identity_workbooks"}
_KEY = "identity_key"
_SAMPLE = 50
_BRIEFLY_SECONDS = 5.0
_SEEN = 4  # of the sample, one in so many has to be there and the same, unless the account itself says that it is


class Side(NamedTuple):
    """One service as the config means it, or as the state remembers it.

    Attributes:
        address: where it is.
        mark: a keyed hash of app, key and consent; it only says whether they are the same.
        database: of Workbooks, its `logical_database_id`; None: not known.
        created_at: of Workbooks, when that database was made, in its own words.
    """

    address: str
    mark: str
    database: int | None = None
    created_at: str = ""


class Found(NamedTuple):
    """What was found out of one service.

    Attributes:
        side: what it is now.
        wrong: why it is not the one that the state belongs to; '' where it is.
        known: whether the state remembers it as it is.
    """

    side: Side
    wrong: str = ""
    known: bool = False


class Look(NamedTuple):
    """What was found out of both, by name, and the key of the hashes."""

    key: str
    sides: Mapping[str, Found]

    @property
    def wrong(self) -> dict[str, str]:
        """Why either is another than the state's, by name."""
        return {name: found.wrong for name, found in self.sides.items() if found.wrong}


def prove(config: Config, store: Store, source: Outreach, target: Workbooks) -> None:
    """Make sure that the state belongs to both services, and remember who they are.

    Raises:
        WrongAccountError: it belongs to another; nothing was touched.
        OutreachSyncError: a service that has to be asked cannot be, so that nobody knows.
    """
    look = look_at(config, store, source, target)
    refuse(config, look)
    if not all(found.known for found in look.sides.values()):
        with store.transaction():
            remember(store, look)


def refuse_another_workbooks(config: Config, target: Workbooks) -> None:
    """Refuse to go on where there is a state and it belongs to another Workbooks; one that cannot be read says nothing.

    Raises:
        WrongAccountError: it does.
        OutreachSyncError: Workbooks has to be asked and cannot be.
    """
    try:
        store = Store.open_to_read(config.state.path)
    except StateError:
        return
    if store is not None:
        with store:
            refuse(config, look_at(config, store, None, target))


def refuse_another_account(config: Config, store: Store, stop: StopSignal) -> None:
    """Refuse to change a state that belongs to another account, for a command that needs neither service.

    Only a service that the config names otherwise than the state remembers it is asked; without its credentials there
    is nothing to compare.

    Raises:
        WrongAccountError: it does.
        OutreachSyncError: a service has to be asked and cannot be.
    """
    key = store.facts.get(_KEY)
    if key is None:
        return
    outreach, workbooks = config.outreach, config.workbooks
    known = _remembered(store, OUTREACH)
    if (
        known is not None
        and (outreach.s2s or outreach.client_secret)
        and not _is_same(known, _outreach_side(config, key))
    ):
        refuse(config, look_at(config, store, Outreach(config, stop), None))
    known = _remembered(store, WORKBOOKS)
    if known is not None and workbooks.api_key and not _is_same(known, _workbooks_side(config, key)):
        refuse(config, look_at(config, store, None, Workbooks(config, stop)))


def look_at(config: Config, store: Store, source: Outreach | None, target: Workbooks | None) -> Look:
    """Find out whether the state belongs to both services, or to the one that is given, without changing it.

    Raises:
        OutreachSyncError: a service that has to be asked cannot be.
    """
    key = store.facts.get(_KEY) or secrets.token_hex(32)
    sides = {}
    if source is not None:
        sides[OUTREACH] = _outreach(store, source, _outreach_side(config, key))
    if target is not None:
        sides[WORKBOOKS] = _workbooks(store, target, _workbooks_side(config, key))
    return Look(key, sides)


def refuse(config: Config, look: Look) -> None:
    """Refuse to go on where the state belongs to another account.

    Raises:
        WrongAccountError: it does.
    """
    for name, why in look.wrong.items():
        raise WrongAccountError(
            f"the state {config.state.path} belongs to another {name}: {why}.",
            advice=f"Put the address and credentials of that {name} back, or give this config a state.path of its own. "
            "`outreach-sync state rebind` moves the state to this one and forgets the other.",
        )


def remember(store: Store, look: Look) -> None:
    """Keep who the services are; call it inside a transaction."""
    store.facts.put(_KEY, look.key)
    for name, found in look.sides.items():
        store.facts.put(FACTS[name], json.dumps(found.side._asdict()))


def _outreach_side(config: Config, key: str) -> Side:
    outreach = config.outreach
    held = outreach.client_secret if outreach.s2s is None else outreach.s2s.private_key
    secret = "" if held is None else held.get_secret_value()
    stored = TokenFile.beside(config.state.path).read()
    consent = stored.consent if stored is not None else ""
    return Side(outreach.base_url, _mark(key, *app_of(config), secret, consent))


def _workbooks_side(config: Config, key: str) -> Side:
    api_key = config.workbooks.api_key
    return Side(config.workbooks.base_url, _mark(key, "" if api_key is None else api_key.get_secret_value()))


def _mark(key: str, *parts: str) -> str:
    return hmac.digest(key.encode(), "\0".join(parts).encode(), "sha256").hex()


def _remembered(store: Store, name: str) -> Side | None:
    text = store.facts.get(FACTS[name])
    return None if text is None else Side(**json.loads(text))


def _is_same(known: Side | None, now: Side) -> bool:
    return known is not None and (known.address, known.mark) == (now.address, now.mark)


def _outreach(store: Store, source: Outreach, now: Side) -> Found:
    known = _remembered(store, OUTREACH)
    if known is not None and _is_same(known, now):
        return Found(known, known=True)
    ids = store.cache.sample_ids(_SAMPLE)
    if not ids:
        return Found(now)
    cached = store.cache.prospects(ids)
    seen = {row.id: row for page in source.by_id(Stream.PROSPECTS, ids) for row in page.prospects}
    same = sum(_same_prospect(cached[one].prospect, row) for one, row in seen.items() if one in cached)
    return Found(now, _judged("prospects", len(ids), len(seen), same))


def _workbooks(store: Store, target: Workbooks, now: Side) -> Found:
    known = _remembered(store, WORKBOOKS)
    if known is not None and _is_same(known, now):
        return Found(known, known=True)
    ids = store.people.sample_ids(_SAMPLE)
    account = _account(target, needed=bool(ids))
    now = _with_account(now, account)
    if not ids:
        return Found(now)
    if known is not None and known.database is not None and now.database is not None:
        if (known.database, known.created_at) != (now.database, now.created_at):
            return Found(now, f"it is database {known.database}, and the key is for database {now.database}")
        proven = known.address == now.address
    else:
        proven = False
    seen = target.people_by_ids(ids)
    if proven and not seen:
        return Found(now)  # the same database; this key's user does not see them, which the guard watches
    pools = store.people.prospects_of(ids)
    cached = store.cache.prospects({one for pool in pools.values() for one in pool})
    same = 0
    for one, row in seen.items():
        prospects = [cached[prospect].prospect for prospect in pools.get(one, ()) if prospect in cached]
        same += _same_person(prospects, row, target.fields.get("outreach_id"))
    return Found(now, _judged("linked people", len(seen) if proven else len(ids), len(seen), same))


def _with_account(side: Side, account: Account | None) -> Side:
    if account is None:
        return side
    return side._replace(database=account.logical_database_id, created_at=account.database_created_at)


def _account(target: Workbooks, *, needed: bool) -> Account | None:
    """Ask who is behind the key; None where Workbooks does not say, or where it is down and nothing depends on it."""
    try:
        return target.who(at_most=None if needed else _BRIEFLY_SECONDS)
    except (NotAllowedError, UntrustedAnswerError):
        return None
    except ServiceError:
        if needed:
            raise
        return None


def _judged(what: str, asked: int, seen: int, same: int) -> str:
    """Say why a sample is of another account; '' where it is of the same: most who are there are the ones we know."""
    if same and same * 2 >= seen and same * _SEEN >= asked:
        return ""
    return f"of {asked} {what} that it knows, {seen} are there by their ids, and {same} of those are the same"


def _same_prospect(known: Prospect, row: Prospect) -> bool:
    """Say whether a prospect is the one that was read: by an address; by the name only where there is no address."""
    if known.external_id and known.external_id == row.external_id:
        return True
    before, now = _mailboxes(known.emails), _mailboxes(row.emails)
    if before and now:
        return bool(before & now)
    return (known.first_name, known.last_name) == (row.first_name, row.last_name)


def _same_person(prospects: Collection[Prospect], row: PersonRow, outreach_id: str | None) -> bool:
    """Say whether a Person is the one that was linked: by what we gave it, or by an address of its prospects."""
    ids = {str(one.id) for one in prospects}
    if row.reference and row.reference.removeprefix("outreach-prospect-") in ids:
        return True
    if row.object_ref and row.object_ref in {one.external_id for one in prospects}:
        return True
    if outreach_id is not None and str(row.fields.get(outreach_id)) in ids:
        return True
    return bool(row.email) and mailbox(row.email or "") in _mailboxes(one for each in prospects for one in each.emails)


def _mailboxes(addresses: Iterable[str]) -> set[str]:
    return {mailbox(one) for one in addresses if one.strip()}
