"""What is asked for: the URLs of the walks, with everything that the later steps need and nothing else.

Sparse fields name attributes and relationships alike; what is not named does not come, and an attribute that the skip
rule tests but that was not asked for would look null. Ranges use the newer filter syntax, lists of ids the older one
(docs/decisions/0002-range-filters.md); the two are never mixed in one request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from outreach_sync.instants import Instant, to_iso
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outreach_sync.outreach.settings import OutreachSettings

RESOURCES = {
    Stream.SEQUENCE_STATES: ("sequenceStates", "sequenceState"),
    Stream.TASKS: ("tasks", "task"),
    Stream.PROSPECTS: ("prospects", "prospect"),
    Stream.EVENTS: ("events", "event"),
}
"""Each stream's path and resource type."""

_WITH_INCLUDED = frozenset({Stream.SEQUENCE_STATES, Stream.TASKS})

STATE_FIELDS = ("state", "stateChangedAt", "updatedAt", "prospect", "sequence")
STEP_FIELDS = ("repliedAt", "sequenceStep")
PROSPECT_FIELDS = (
    "firstName",
    "lastName",
    "emails",
    "externalId",
    "optedOut",
    "optedOutAt",
    "emailOptedOut",
    "emailsOptedAt",
    "trashedAt",
    "updatedAt",
)
TASK_FIELDS = (
    "action",
    "taskType",
    "state",
    "stateChangedAt",
    "completed",
    "completedAt",
    "autoskipAt",
    "dueAt",
    "note",
    "createdAt",
    "updatedAt",
    "prospect",
    "sequence",
    "sequenceState",
    "sequenceStep",
    "completer",
)
EVENT_FIELDS = ("name", "eventAt", "createdAt", "task", "prospect", "sequence", "sequenceStep")
EVENT_NAMES = (
    "sequence_state_destroyed",
    "prospect_destroyed",
    "prospect_merged",
    "opt_out",
    "opt_out_revert",
    "emails_opt_out",
    "emails_opt_out_revert",
)
"""The events that are asked for besides those that say that a task was skipped."""

IDS_IN_A_REQUEST = 100
_NAMES = "filter[name][]"
_PAGE_SIZE = re.compile(r"(page(?:\[|%5B)size(?:\]|%5D)=)(\d+)", re.IGNORECASE)

Query = list[tuple[str, str]]


def start_url(settings: OutreachSettings, stream: Stream, since: Instant | None) -> str:
    """Return the first page of what changed since then (inclusive); None: of everything, rows without a stamp too.

    There is no upper bound: rows that change during the walk are valid rows, and a bound would only hide them.
    """
    query = _shape(settings, stream, include=stream in _WITH_INCLUDED)
    if since is not None or stream is Stream.EVENTS:
        query.append(("newFilterSyntax", "true"))
    if since is not None:
        query.append((f"filter[{_stamp(stream)}][gte]", to_iso(since)))
    if stream is Stream.EVENTS:
        query += [(_NAMES, name) for name in dict.fromkeys((*settings.skip_events, *EVENT_NAMES))]
    return _url(settings, stream, query)


def newest_events_url(settings: OutreachSettings, since: Instant) -> str:
    """Return the first page of all events since then, whatever their name, the newest first: to be read in part."""
    query = [part for part in _shape(settings, Stream.EVENTS, include=False) if part[0] != "sort"]
    bound = ("filter[createdAt][gte]", to_iso(since))
    return _url(settings, Stream.EVENTS, [("sort", "-createdAt"), *query, ("newFilterSyntax", "true"), bound])


def first_name(url: str) -> tuple[str, str] | None:
    """Split a first page of events that filters on several names: the page of the first name, and that of the others.

    None where there is nothing to split.
    """
    address, _, text = url.partition("?")
    query = parse_qsl(text, keep_blank_values=True)
    names = [value for key, value in query if key == _NAMES]
    if not names:
        return None
    others = [part for part in query if part[0] != _NAMES]
    one = f"{address}?{urlencode([*others, ('filter[name]', names[0])])}"
    rest = [*others, *((_NAMES, name) for name in names[1:])]
    return one, f"{address}?{urlencode(rest)}" if len(names) > 1 else ""


def all_states_url(settings: OutreachSettings) -> str:
    """Return the first page of all sequence states, nothing included: the leanest walk that still makes whole rows."""
    return _url(settings, Stream.SEQUENCE_STATES, _shape(settings, Stream.SEQUENCE_STATES, include=False))


def states_of_urls(settings: OutreachSettings, prospect_ids: Iterable[int]) -> Iterator[str]:
    """Return the first pages of all sequence states of these prospects, whatever their age."""
    for ids in id_lists(prospect_ids):
        query = _shape(settings, Stream.SEQUENCE_STATES, include=False)
        if settings.want_sequences:
            query += [("include", "sequence"), ("fields[sequence]", "name")]
        yield _url(settings, Stream.SEQUENCE_STATES, [*query, ("filter[prospect][id]", ids)])


def by_id_urls(settings: OutreachSettings, stream: Stream, ids: Iterable[int]) -> Iterator[str]:
    """Return the first pages of the records with these ids; those deleted or hidden are simply absent."""
    for listed in id_lists(ids):
        query = _shape(settings, stream, include=stream in _WITH_INCLUDED)
        yield _url(settings, stream, [*query, ("filter[id]", listed)])


def id_lists(ids: Iterable[int]) -> Iterator[str]:
    """Return comma-separated lists of at most 100 distinct ids; of the longest ids there are, that is 2 KB of URL."""
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), IDS_IN_A_REQUEST):
        yield ",".join(map(str, distinct[start : start + IDS_IN_A_REQUEST]))


def page_size(url: str) -> int | None:
    """Read the page size that a URL asks for."""
    found = _PAGE_SIZE.search(url)
    return int(found[2]) if found else None


def with_page_size(url: str, size: int) -> str:
    """Change the page size and nothing else, so that a page token in the URL stays as it was given."""
    return _PAGE_SIZE.sub(lambda found: f"{found[1]}{size}", url)


def at_most(url: str, size: int | None) -> str:
    """Ask for no more rows in a page than `size`, where that is known and less than what the URL asks for."""
    return with_page_size(url, size) if size is not None and (page_size(url) or 0) > size else url


def _shape(settings: OutreachSettings, stream: Stream, *, include: bool) -> Query:
    kind = RESOURCES[stream][1]
    query = [("sort", _stamp(stream)), ("count", "false"), ("page[size]", str(settings.page_size))]
    query.append((f"fields[{kind}]", ",".join(_fields(settings, stream))))
    if include:
        query += _included(settings)
    return query


def _stamp(stream: Stream) -> str:
    """Name the time by which a stream is read; events are never changed and have no `updatedAt`."""
    return "createdAt" if stream is Stream.EVENTS else "updatedAt"


def _included(settings: OutreachSettings) -> Query:
    prospect = ("fields[prospect]", ",".join(_fields(settings, Stream.PROSPECTS)))
    if not settings.want_sequences:
        return [("include", "prospect"), prospect]
    return [("include", "prospect,sequence"), prospect, ("fields[sequence]", "name")]


def _fields(settings: OutreachSettings, stream: Stream) -> Iterable[str]:
    if stream is Stream.SEQUENCE_STATES:
        return STATE_FIELDS + STEP_FIELDS if settings.want_steps else STATE_FIELDS
    if stream is Stream.TASKS:
        return dict.fromkeys(TASK_FIELDS + settings.task_attributes)
    if stream is Stream.EVENTS:
        return EVENT_FIELDS
    return dict.fromkeys(PROSPECT_FIELDS + settings.prospect_attributes)


def _url(settings: OutreachSettings, stream: Stream, query: Query) -> str:
    return settings.url(f"/api/v2/{RESOURCES[stream][0]}?{urlencode(query)}")
