"""Outreach as it is read: one request, the pages of a stream, and what belongs to given records.

Sparse fields name attributes and relationships alike; what is not named does not come. Ranges use the newer filter
syntax, lists of ids the older one (docs/decisions/0002-range-filters.md); the two are never mixed in one request.

There is no snapshot behind a walk: a row that changes meanwhile is seen twice or later, a page can arrive out of order.
The only end is an absent `links.next`. While the caller works on a page, the next one is on its way.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

from outreach_sync import __version__, errors
from outreach_sync.connections import Answer, Transport
from outreach_sync.http import BusyError, GarbledError, MaybeSentError, OnRetry, Patience, Quota, ahead, quota
from outreach_sync.instants import Instant, to_iso
from outreach_sync.outreach import rows
from outreach_sync.outreach.auth import Tokens, refusal_of
from outreach_sync.records import Page, Stream
from outreach_sync.rules.skipped import named_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal

T = TypeVar("T")

_MEDIA_TYPE = "application/vnd.api+json"
_BELOW = "/api/v2/"
_QUOTA_HOUR_SECONDS = 3600
_ANY_ROW = (("fields[prospect]", "updatedAt"), ("page[size]", "1"), ("count", "false"))
_DOUBTS = 2
_REFUSES_CURSORS = frozenset({400, 404, 410, 422})
IDS_IN_A_REQUEST, _FEWEST_IDS = 100, 25  # a hundred of the longest ids there are is 2 KB of URL
_NAMES = "filter[name][]"
_PAGE_SIZE = re.compile(r"(page(?:\[|%5B)size(?:\]|%5D)=)(\d+)", re.IGNORECASE)
_CURSOR = re.compile(r"[?&]page(?:\[|%5B)(?:after|before)(?:\]|%5D)=", re.IGNORECASE)
_SMALLEST_PART = 40  # of `page_size`: a page that fails even at 25 rows in place of 1,000 is not too large
_TOO_LARGE = frozenset({502, 504})
_FAILURES_BEFORE_HALVING = 2
_SAME_PAGE_AT_MOST = 3
_EMPTY_PAGES_AT_MOST = 100


class NotUnderstoodError(errors.ServiceError):
    """Outreach refuses the request as it is: a filter, an attribute or a parameter."""


class CursorRefusedError(errors.ServiceError):
    """Outreach no longer accepts the page token; the walk starts again."""


class PageTooLargeError(errors.ServiceError):
    """The page keeps failing as pages do that are too large for the service."""


class PagingLoopError(errors.UntrustedAnswerError):
    """The pages go in circles; a stored page token leads into the circle and should be dropped."""


class Outreach:
    """Reads from Outreach's REST API v2; safe to be used by several threads."""

    def __init__(
        self, config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None, want_steps: bool = False
    ) -> None:
        """Ask for nothing yet; `want_steps`: have states come with their step in any case. May raise ConfigError."""
        self.config = config
        self.transport = Transport(config.outreach.base_url, user_agent=f"outreach-sync/{__version__}", stop=stop)
        self.patience = Patience(config.sync.patience_ms / 1000, stop, on_retry=on_retry)
        self.tokens = Tokens(config, self.transport, self.patience)
        self.quota, self._quota_seen = Quota(), 0.0  # as last told
        self.requests = 0  # what was sent so far, but for tokens
        self._counting = threading.Lock()
        self._doubtful = 0  # how many answers in a row were a 401 that may be a gateway's
        usual = rows.fields_of(Stream.TASKS, rows.Wanted())
        in_rule = named_attributes(config.sync.tasks.skipped_when)
        self._wanted = rows.Wanted(
            tuple(sorted(set(config.sync.people.create_fields.values()))),
            tuple(sorted(name for name in in_rule if name == "note" or name not in usual)),
            config.sync.tasks.vanished_is_skipped or want_steps,
        )
        self._smallest = max(config.outreach.page_size // _SMALLEST_PART, 1)
        self._sizes = dict.fromkeys(Stream, config.outreach.page_size)
        needed = (*config.sync.tasks.skip_events, rows.STATE_REMOVED, *rows.REMOVED, *rows.SHOWN_BY)
        self._event_names = tuple(dict.fromkeys(needed))
        self._name_by_name, self._ids_at_most = False, IDS_IN_A_REQUEST
        self.refused_names: set[str] = set()  # of events that are not listed, though others are

    def get(self, path: str, params: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return the JSON:API document at a path below the base; what Outreach refuses is named by `_refusal`."""

        def document(answer: Answer) -> dict[str, Any] | None:
            content = rows.parsed_object(answer.body)
            return content if content is not None and isinstance(content.get("data"), (list, dict)) else None

        return self._ask(f"{self.config.outreach.base_url}{path}?{urlencode(list(params))}", document)

    def server_time(self) -> Instant:
        """Say what Outreach's clock reads, as heard or by one minimal request; UntrustedAnswerError: no `Date`."""
        if self.transport.server_now() is None:
            self.tokens.current()  # may itself ask, and learn the time
        if self.transport.server_now() is None:
            self.get("/api/v2/prospects", _ANY_ROW)
        now = self.transport.server_now()
        if now is None:
            raise errors.UntrustedAnswerError("Outreach's answers carry no Date header, so bounds cannot be computed.")
        return now

    def _ask(self, url: str, parse: Callable[[Answer], T | None], *, at_most: float | None = None) -> T:
        """Return what `parse` makes of the answer (None: to be had again), or find that a page may be too large."""
        shrinks, failures = (page_size(url) or 0) > self._smallest, 0

        def attempt(left: float) -> T:
            nonlocal failures
            try:
                content = parse(self._answer(url, left))
            except (BusyError, MaybeSentError) as failure:
                if isinstance(failure, BusyError):
                    failures += failure.status in _TOO_LARGE
                elif failure.timed_out:
                    failures += _FAILURES_BEFORE_HALVING
                if shrinks and failures >= _FAILURES_BEFORE_HALVING:
                    raise PageTooLargeError(failure.message) from None
                raise
            if content is None:
                raise GarbledError("the answer is no JSON:API document")
            return content

        return self.patience.ask(
            f"Outreach, reading {urlsplit(url).path.rpartition(_BELOW)[2]}", attempt, at_most=at_most
        )

    def _answer(self, url: str, left: float) -> Answer:
        """Send with a token, and once more with another where this one is refused; return an answer that is none.

        Nothing is sent that would use what is reserved for others, unless the quota has started anew. The form of
        Outreach's own 401 is not documented. One that may be a gateway's is worth another try, then a new token, and no
        more than that.
        """
        told, reserve, now = self.quota, self.config.outreach.reserve, self.transport.server_now()
        anew = time.monotonic() - self._quota_seen >= _QUOTA_HOUR_SECONDS
        if told.resets_at is not None and now is not None:
            anew = now >= told.resets_at
        if told.remaining is not None and told.remaining <= reserve and not anew:
            until = f" until {to_iso(told.resets_at)}" if told.resets_at is not None else ""
            raise errors.QuotaSpentError(
                f"{told.remaining} requests are left of Outreach's quota{until}, and {reserve} are reserved.",
                advice="What was read is kept and the next run goes on; to use more of the quota, lower "
                "outreach.reserve.",
            )
        token, renewed = self.tokens.current(), False
        while True:
            with self._counting:
                self.requests += 1
            headers = {"Authorization": f"Bearer {token}", "Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE}
            seconds = min(self.config.outreach.timeout_ms / 1000, left)
            answer = self.transport.send("GET", url, headers=headers, timeout_seconds=seconds)
            told = quota(answer.headers, answer.server_time)
            if told.remaining is not None and answer.status != 429:  # noqa: PLR2004 - there, Retry-After has the last word
                self.quota, self._quota_seen = told, time.monotonic()
            own = False
            if answer.status != 401:  # noqa: PLR2004
                self._doubtful = 0
            elif not renewed:
                with suppress(GarbledError):
                    own = bool(refusal_of(answer))
                self._doubtful = 0 if own else self._doubtful + 1
            if renewed or not (own or self._doubtful == _DOUBTS):
                break
            token, renewed = self.tokens.current(refused=token), True
        if refused := refusal_of(answer):
            raise _refusal(answer.status, refused, url)
        return answer

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        """Return the first page of what changed since then (None: of all); an upper bound would hide valid rows."""
        query = [] if since is None else [(f"filter[{rows.KINDS[stream].stamp}][gte]", to_iso(since))]
        if stream is Stream.EVENTS:
            query += [(_NAMES, name) for name in self._event_names]
        return self._url(stream, [("newFilterSyntax", "true"), *query] if query else [])

    def all_states_url(self) -> str:
        """Return the first page of all sequence states, nothing included: the leanest walk that makes whole rows."""
        return self._url(Stream.SEQUENCE_STATES, include="")

    def newest_events_url(self, since: Instant) -> str:
        """Return the first page of the events of every name since then, the newest first: too many to be all read."""
        since_then = [("newFilterSyntax", "true"), ("filter[createdAt][gte]", to_iso(since))]
        return self._url(Stream.EVENTS, since_then, sort="-createdAt")

    def states_of(self, prospect_ids: Iterable[int]) -> Iterator[Page]:
        """Walk through all sequence states of these prospects, whatever their age. Raises as `pages`."""
        return self.by_id(Stream.SEQUENCE_STATES, prospect_ids, by="filter[prospect][id]", include="sequence")

    def by_id(
        self,
        stream: Stream,
        ids: Iterable[int],
        *,
        by: str = "filter[id]",
        include: str = "prospect,sequence",
        certain: Collection[int] = (),
    ) -> Iterator[Page]:
        """Walk through the records with these ids; those deleted or hidden are absent. Raises as `pages`.

        How many ids a list may hold is not documented. Where one is refused, all are asked for again in lists of half
        the length; while an answer shows some, the others are, but for those that are `certain` to be gone.
        """
        absent = list(dict.fromkeys(ids))
        while absent:
            most, shown = self._ids_at_most, set[int | None]()
            lists = (",".join(map(str, absent[one : one + most])) for one in range(0, len(absent), most))
            try:
                for page in self.pages(stream, *(self._url(stream, [(by, some)], include) for some in lists)):
                    owners = {*(one.prospect_id for one in page.states), *(one.prospect_id for one in page.refused)}
                    shown.update(page.ids(stream) if by == "filter[id]" else owners)
                    yield page
            except NotUnderstoodError:
                if len(absent) <= most // 2 or most <= _FEWEST_IDS:
                    raise
                self._ids_at_most = most // 2
                continue
            if shown.isdisjoint(absent):
                return
            absent = [one for one in absent if one not in shown and one not in certain]

    def pages(self, stream: Stream, *starts: str) -> Iterator[Page]:
        """Walk from each URL (a first page, or a stored `next_url`) to its end, asking for the next page ahead.

        Each page's `next_url` is the progress to keep once its rows are safe. A walk that goes in circles is noticed by
        its links and by its rows. Rows alone prove little on a small page: one row may well come on two pages. Empty
        pages may be legitimate, endless ones are not. Raises as `get`, CursorRefusedError also for a page token of
        another host, PagingLoopError, and errors.UntrustedAnswerError where a page leads to another host.
        """
        following, seen = iter(starts), Counter[int]()
        url = next(following, None)
        coming = url and ahead(partial(self._fetch, url, stream), name="page-ahead")
        while coming:
            page = coming.result()
            url = page.next_url or next(following, None)
            coming = url and ahead(partial(self._fetch, url, stream), name="page-ahead")
            if page.next_url is None:
                seen.clear()
            else:
                content = hash((tuple(map(attrgetter("id", "updated_at"), page.rows)), page.refused))
                seen.update((content, hash(page.next_url)))
                at_most = _SAME_PAGE_AT_MOST if page.received else _EMPTY_PAGES_AT_MOST
                if seen[content] >= at_most or seen[hash(page.next_url)] > 1:
                    raise PagingLoopError(
                        "Outreach's pages go in circles; the walk was stopped.",
                        advice="The next run starts this walk again.",
                    )
            yield page

    def _fetch(self, url: str, stream: Stream) -> Page:
        """Return one page; one that keeps failing is asked for at half the size, within the same patience.

        The size that a page needed is the most that later walks of the stream begin with: the service may refuse the
        token of a page at another size, and a walk that begins again must not come to the same point. Where Outreach
        refuses to list events of several names, each name is walked by itself, one after the other; `next_url` then
        leads from the end of one to the next. A name that is refused by itself is left out, since names were observed,
        not promised; all of them are a refusal of the stream.
        """
        if not self.transport.trusts(url):
            raise CursorRefusedError("the page token is of another host than the one that is configured now.")
        ends = time.monotonic() + self.patience.left()
        url, _, rest = url.partition("#")
        name, rest = "", unquote(rest)
        read = partial(rows.read_page, stream=stream, wanted=self._wanted)
        while True:
            if self._name_by_name and (split := first_name(url)) is not None:
                url, name, rest = split
            if not _CURSOR.search(url) and (page_size(url) or 0) > self._sizes[stream]:
                url = with_page_size(url, self._sizes[stream])
            try:
                page = self._ask(url, read, at_most=max(ends - time.monotonic(), 0.0))
                return self._linked(page, url, stream, rest)
            except PageTooLargeError:
                self._sizes[stream] = max((page_size(url) or 0) // 2, self._smallest)
                url = with_page_size(url, self._sizes[stream])
            except NotUnderstoodError:
                if not self._name_by_name and first_name(url) is not None:
                    self._name_by_name = True
                    continue
                self.refused_names |= {name} - {""}
                if not name or len(self.refused_names) >= len(self._event_names):
                    raise
                if not rest:
                    return Page()
                url, name, rest = rest, "", ""

    def _linked(self, page: Page, url: str, stream: Stream, rest: str) -> Page:
        """Return a page of which it is certain what follows, with the absolute URL of that; `rest`: after the walk.

        No `links` means the last page; on a full page their lack proves nothing, and to take it for the last one by
        mistake would lose what follows. So a row less is asked for (of one row: one more): a page that is cut short on
        purpose must name the next one, and the walk goes on from there, or begins again at that size.
        """
        size = page_size(url)
        if size and page.received >= size and page.next_url == "":
            asked_for = self._sizes[stream] = size - 1 or size + 1
            url = with_page_size(url, asked_for)
            page = self._ask(url, partial(rows.read_page, stream=stream, wanted=self._wanted))
            if not page.next_url and page.received >= asked_for:
                why = f"Outreach's full page of {stream} does not say whether more follows."
                raise errors.UntrustedAnswerError(why)
        link = page.next_url or None
        if link and "://" not in link:
            link = urljoin(url, link)
        if link and not self.transport.trusts(link):
            raise errors.UntrustedAnswerError(
                f"Outreach's next page of {stream} is on another host than the configured one; it was not followed.",
                advice="Compare outreach.base_url with the address in your Outreach account.",
            )
        if rest:  # in the fragment, which is never sent
            link = f"{link}#{quote(rest, safe='')}" if link else rest
        return page._replace(next_url=link)

    def _url(
        self, stream: Stream, more: Iterable[tuple[str, str]] = (), include: str = "prospect,sequence", sort: str = ""
    ) -> str:
        kind = rows.KINDS[stream]
        query = [("sort", sort or kind.stamp), ("count", "false"), ("page[size]", str(self._sizes[stream]))]
        query.append((f"fields[{kind.type}]", ",".join(rows.fields_of(stream, self._wanted))))
        if include and stream in {Stream.SEQUENCE_STATES, Stream.TASKS}:
            query.append(("include", include))
            if "prospect" in include:
                query.append(("fields[prospect]", ",".join(rows.fields_of(Stream.PROSPECTS, self._wanted))))
            query.append(("fields[sequence]", "name"))
        return f"{self.config.outreach.base_url}{_BELOW}{kind.path}?{urlencode([*query, *more])}"


def _refusal(status: int, error: str, url: str) -> errors.OutreachSyncError:
    """Name what a 4xx of Outreach's own means; `error` is its word."""
    resource = urlsplit(url).path.rpartition(_BELOW)[2]
    if status in _REFUSES_CURSORS and _CURSOR.search(url):
        return CursorRefusedError(f"Outreach no longer accepts the page token of {resource} ({error}).")
    if status == 401:  # noqa: PLR2004
        return errors.NotAuthenticatedError(
            f"Outreach refuses a token that it has just given ({error}).",
            advice="Run `outreach-sync auth login`; if that does not help, the app may have been suspended.",
        )
    if status == 403 and error == "unauthorizedOauthScope":  # noqa: PLR2004
        included = dict(parse_qsl(urlsplit(url).query)).get("include", "").split(",")
        asked_for = [resource.partition("/")[0], *(f"{one}s" for one in included if one)]  # any of these may be meant
        scope = " or ".join(f"{one}.read" for one in asked_for)
        return errors.NotAllowedError(
            f"the token lacks the scope {scope}.",
            advice=f"Add {scope} to the app in Outreach, then run `outreach-sync auth login`.",
        )
    if status == 403:  # noqa: PLR2004
        return errors.NotAllowedError(
            f"the governance profile of the user does not allow reading {resource} ({error}).",
            advice="Let the integration run as a user whose profile may see all records.",
        )
    if status == 404:  # noqa: PLR2004
        return errors.ServiceError(f"Outreach has no such record among its {resource}, or may not show it ({error}).")
    return NotUnderstoodError(
        f"Outreach did not understand the request for {resource} ({status}, {error}).",
        advice="If the config names attributes, compare them with Outreach's reference; otherwise report this.",
    )


def page_size(url: str) -> int | None:
    """Read the page size that a URL asks for."""
    found = _PAGE_SIZE.search(url)
    return int(found[2]) if found else None


def with_page_size(url: str, size: int) -> str:
    """Change the page size and nothing else, so that a page token in the URL stays as it was given."""
    return _PAGE_SIZE.sub(lambda found: f"{found[1]}{size}", url)


def first_name(url: str) -> tuple[str, str, str] | None:
    """Split a page of events of several names: the first one's page, it, the others' page; None: there are none."""
    address, _, text = url.partition("?")
    query = parse_qsl(text, keep_blank_values=True)
    names = [value for key, value in query if key == _NAMES]
    if not names:
        return None
    others = [part for part in query if part[0] != _NAMES]
    one = f"{address}?{urlencode([*others, ('filter[name]', names[0])])}"
    rest = [*others, *((_NAMES, name) for name in names[1:])]
    return one, names[0], f"{address}?{urlencode(rest)}" if len(names) > 1 else ""
