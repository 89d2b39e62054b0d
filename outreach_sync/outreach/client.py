"""Outreach as it is read: one request, the pages of a stream, and what belongs to given records.

Sparse fields name attributes and relationships alike; what is not named does not come. Ranges use the newer filter
syntax, lists of ids the older one (docs/decisions/0002-range-filters.md); the two are never mixed in one request.

There is no snapshot behind a walk: a row that changes meanwhile is seen twice or later, a page can arrive out of order.
The only end is an absent `links.next`. Two pages are asked for ahead of the caller: one is read, one on its way.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

from outreach_sync import __version__
from outreach_sync.connections import Transport
from outreach_sync.errors import (
    NotAllowedError,
    NotAuthenticatedError,
    OutreachSyncError,
    QuotaSpentError,
    ServiceError,
    UntrustedAnswerError,
)
from outreach_sync.http import BusyError, GarbledError, MaybeSentError, OnRetry, Patience, Quota, ahead, quota
from outreach_sync.instants import Instant, to_iso
from outreach_sync.outreach.auth import Tokens, raise_if_not_now, refusal_of
from outreach_sync.outreach.rows import KINDS, Wanted, fields_of, parsed_object, read_document
from outreach_sync.records import Event, Page, Stream
from outreach_sync.rules.skipped import named_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from outreach_sync.config.model import Config
    from outreach_sync.connections import Answer
    from outreach_sync.http import StopSignal
    from outreach_sync.outreach.rows import Document

T = TypeVar("T")
OnLink = Callable[[str | None], None]
Query = list[tuple[str, str]]

_MEDIA_TYPE = "application/vnd.api+json"
_QUOTA_HOUR_SECONDS = 3600
_ANY_ROW = (("fields[prospect]", "updatedAt"), ("page[size]", "1"), ("count", "false"))
_DOUBTS = 2
_REFUSES_CURSORS = frozenset({400, 404, 410, 422})
EVENT_NAMES = (
    *("sequence_state_destroyed", "prospect_destroyed", "prospect_merged"),
    *("opt_out", "opt_out_revert", "emails_opt_out", "emails_opt_out_revert"),
)
"""The events that are asked for besides those that say that a task was skipped."""

IDS_IN_A_REQUEST = 100
_NAMES = "filter[name][]"
_PAGE_SIZE = re.compile(r"(page(?:\[|%5B)size(?:\]|%5D)=)(\d+)", re.IGNORECASE)
_SMALLEST_PART = 40
"""A page that fails even at this part of `page_size` is not too large (25 rows where 1,000 were asked for)."""
_TOO_LARGE = frozenset({502, 504})
_FAILURES_BEFORE_HALVING = 2
_SAME_PAGE_AT_MOST = 3
_EMPTY_PAGES_AT_MOST = 100
_AHEAD_AT_MOST = 2
_EXAMPLES = 5
_CIRCLES, _AGAIN = "Outreach's pages go in circles; the walk was stopped.", "The next run starts this walk again."


class NotFoundError(ServiceError):
    """There is no such record, or our user may not see it."""


class NotUnderstoodError(ServiceError):
    """Outreach refuses the request as it is: a filter, an attribute or a parameter."""


class CursorRefusedError(ServiceError):
    """Outreach no longer accepts the page token; the walk starts again."""


class Reply(NamedTuple, Generic[T]):
    """What an answer holds, and the `Date` it came with."""

    document: T
    server_time: Instant | None


class PageTooLargeError(ServiceError):
    """The page keeps failing as pages do that are too large for the service."""


class PagingLoopError(UntrustedAnswerError):
    """The pages go in circles; a stored page token leads into the circle and should be dropped."""


class EventNames(NamedTuple):
    """The events of a time by their names: how many were read and, of each name, how many and some of the newest.

    `complete` says that there are no more in that time.
    """

    read: int
    counts: Mapping[str, int]
    examples: Mapping[str, Sequence[Event]]
    complete: bool


class Outreach:
    """Reads from Outreach's REST API v2; safe to be used by several threads.

    Attributes:
        config: what it was made with.
        transport: what it sends with.
        tokens: who it is.
        quota: the request quota as last told.
        requests: how many were sent so far, those for tokens left out.
    """

    def __init__(
        self, config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None, want_steps: bool = False
    ) -> None:
        """Ask for nothing yet; `want_steps`: have states come with their step although the config needs none.

        Raises:
            ConfigError: a credential is missing.
        """
        self.config = config
        self.transport = Transport(config.outreach.base_url, user_agent=f"outreach-sync/{__version__}", stop=stop)
        self.patience = Patience(config.sync.patience_ms / 1000, stop, on_retry=on_retry)
        self.tokens = Tokens(config, self.transport, self.patience)
        self.quota, self._quota_seen = Quota(), 0.0
        self.requests = 0
        self._counting = threading.Lock()
        self._doubtful = 0
        """How many answers in a row were a 401 that may be a gateway's."""
        usual = fields_of(Stream.TASKS, Wanted())
        in_rule = named_attributes(config.sync.tasks.skipped_when)
        self._wanted = Wanted(
            tuple(sorted(set(config.sync.people.create_fields.values()))),
            tuple(sorted(name for name in in_rule if name == "note" or name not in usual)),
            config.sync.tasks.vanished_is_skipped or want_steps,
        )
        self._page_size = config.outreach.page_size
        self._smallest = max(self._page_size // _SMALLEST_PART, 1)
        self._sizes: dict[Stream, int] = {}
        self._event_names = tuple(dict.fromkeys((*config.sync.tasks.skip_events, *EVENT_NAMES)))
        self._name_by_name = False
        self.refused_names: set[str] = set()
        """Names of events that Outreach refuses to list, though it lists others."""

    # One request

    def get(self, url_or_path: str, params: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return the JSON:API document at a path below the base, or at a URL on the configured host.

        Raises:
            NotAuthenticatedError, NotAllowedError: our token, or a missing scope or right.
            NotFoundError: no such record.
            NotUnderstoodError: Outreach refuses the request as it is.
            QuotaSpentError: the reserve is reached, or Outreach says to wait longer than patience.
            UnavailableError, UntrustedAnswerError: it kept failing, or cannot be right.
            InterruptedByError: asked to stop.
        """
        return self.reply(url_or_path, params, parse=json_api_document).document

    def reply(
        self,
        url_or_path: str,
        params: Iterable[tuple[str, str]] = (),
        *,
        parse: Callable[[bytes], T | None],
        at_most: float | None = None,
        on_failure: Callable[[ServiceError], None] = lambda _failure: None,
    ) -> Reply[T]:
        """Return document and server time. Raises as `get`, and CursorRefusedError where the URL holds a page token.

        `parse` makes the document of a body, None of one that is none, which is an answer to be had again. `at_most`
        are the seconds for it, where patience has more. `on_failure` sees each failed attempt, and may raise to end
        them.
        """
        url = self.config.outreach.base_url + url_or_path if url_or_path.startswith("/") else url_or_path
        query = tuple(params)

        def attempt(left: float) -> Reply[T]:
            try:
                answer = self._attempt(url, query, left)
                raise_if_not_now(answer)
                if 300 <= answer.status < 400:  # noqa: PLR2004
                    raise GarbledError("the answer is a redirect, which is not followed")
                if not 200 <= answer.status < 300:  # noqa: PLR2004
                    raise _refusal(answer.status, refusal_of(answer), url)
                if (document := parse(answer.body)) is None:
                    raise GarbledError("the answer is no JSON:API document")
            except ServiceError as failure:
                on_failure(failure)
                raise
            return Reply(document, answer.server_time)

        return self.patience.ask(f"Outreach, reading {_resource(url)}", attempt, at_most=at_most)

    def heard_time(self) -> Instant | None:
        """Say what Outreach's clock reads, as last heard; None where it never answered."""
        return self.transport.server_now()

    def server_time(self) -> Instant:
        """Say what Outreach's clock reads: by its last answer and the time since, else by one minimal request.

        Raises:
            UntrustedAnswerError: its answers carry no `Date`. Otherwise as `get`.
        """
        if self.transport.server_time is None:
            self.tokens.current()  # may itself ask, and learn the time
        if self.transport.server_time is None:
            self.get("/api/v2/prospects", _ANY_ROW)
        now = self.transport.server_now()
        if now is None:
            raise UntrustedAnswerError("Outreach's answers carry no Date header, so bounds cannot be computed.")
        return now

    def trusts(self, url: str) -> bool:
        """Say whether a stored URL is on the host that is configured now."""
        return self.transport.trusts(url)

    def _attempt(self, url: str, query: tuple[tuple[str, str], ...], left: float) -> Answer:
        """Send with a token, and once more with another where this one is refused.

        The form of Outreach's own 401 is not documented. One that may be a gateway's is worth another try, then a new
        token, and no more than that.
        """
        self._keep_the_reserve()
        token = self.tokens.current()
        answer = self._send(url, query, token, left)
        if answer.status != 401:  # noqa: PLR2004
            self._doubtful = 0
            return answer
        own = False
        with suppress(GarbledError):
            own = bool(refusal_of(answer))
        self._doubtful = 0 if own else self._doubtful + 1
        if own or self._doubtful == _DOUBTS:
            answer = self._send(url, query, self.tokens.refused(token), left)
            self._doubtful *= answer.status == 401  # noqa: PLR2004
        return answer

    def _send(self, url: str, query: tuple[tuple[str, str], ...], token: str, left: float) -> Answer:
        with self._counting:
            self.requests += 1
        answer = self.transport.send(
            "GET",
            url,
            params=query,
            headers={"Authorization": f"Bearer {token}", "Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE},
            timeout_seconds=min(self.config.outreach.timeout_ms / 1000, left),
        )
        told = quota(answer.headers, answer.server_time)
        if told.remaining is not None and answer.status != 429:  # noqa: PLR2004 - there, Retry-After has the last word
            with self._counting:
                self.quota, self._quota_seen = told, time.monotonic()
        return answer

    def _keep_the_reserve(self) -> None:
        """Stop before a request that would use what is left for others.

        Raises:
            QuotaSpentError: no more than the reserve is left, and the quota has not started anew.
        """
        reserve = self.config.outreach.reserve
        with self._counting:
            told, seen = self.quota, self._quota_seen
        now = self.transport.server_now()
        if told.resets_at is not None and now is not None:
            starts_anew = now >= told.resets_at
        else:
            starts_anew = time.monotonic() - seen >= _QUOTA_HOUR_SECONDS
        if told.remaining is None or told.remaining > reserve or starts_anew:
            return
        until = f" until {to_iso(told.resets_at)}" if told.resets_at is not None else ""
        raise QuotaSpentError(
            f"{told.remaining} requests are left of Outreach's quota{until}, and {reserve} are reserved.",
            advice="What was read is kept and the next run goes on; to use more of the quota, lower outreach.reserve.",
        )

    # Pages

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        """Return the first page of what changed since then (inclusive); None: of everything, rows without a stamp too.

        There is no upper bound: rows that change during the walk are valid rows, and a bound would only hide them. Of
        events, only those of the names that are needed.
        """
        query: Query = []
        if since is not None or stream is Stream.EVENTS:
            query.append(("newFilterSyntax", "true"))
        if since is not None:
            query.append((f"filter[{KINDS[stream].stamp}][gte]", to_iso(since)))
        if stream is Stream.EVENTS:
            query += [(_NAMES, name) for name in self._event_names]
        return self._url(stream, query)

    def all_states_url(self) -> str:
        """Return the first page of all sequence states, nothing included: the leanest walk that makes whole rows."""
        return self._url(Stream.SEQUENCE_STATES, include=())

    def pages(self, stream: Stream, url: str) -> Iterator[Page]:
        """Walk from this URL (a first page, or a stored `next_url`) to the end, fetching ahead.

        While the caller works on a page, the next one is read and the one after it on its way, never more. Each page's
        `next_url` is the progress to keep once its rows are safe. Raises as `fetch_page`, and PagingLoopError.
        """
        return self._walk(iter((url,)), stream)

    def states_of(self, prospect_ids: Iterable[int]) -> Iterator[Page]:
        """Walk through all sequence states of these prospects, whatever their age. Raises as `pages`."""
        states, lists = Stream.SEQUENCE_STATES, id_lists(prospect_ids)
        return self._walk((self._url(states, [("filter[prospect][id]", ids)], ("sequence",)) for ids in lists), states)

    def by_id(self, stream: Stream, ids: Iterable[int]) -> Iterator[Page]:
        """Walk through the records with these ids; those deleted or hidden are absent. Raises as `pages`."""
        return self._walk((self._url(stream, [("filter[id]", listed)]) for listed in id_lists(ids)), stream)

    def event_names(self, since: Instant, *, requests: int) -> EventNames:
        """Count the events of every name since then, the newest first, as far as so many requests reach.

        Without a filter on names the stream is by far the largest there is, so it is never read to its end for this.
        Raises as `pages`.
        """
        counts, examples = Counter[str](), dict[str, list[Event]]()
        since_then = [("newFilterSyntax", "true"), ("filter[createdAt][gte]", to_iso(since))]
        url: str | None = self._url(Stream.EVENTS, since_then, sort="-createdAt")
        for _ in range(requests):
            if url is None:
                break
            page = self.fetch_page(url, Stream.EVENTS)
            for event in page.events:
                counts[event.name] += 1
                if counts[event.name] <= _EXAMPLES:
                    examples.setdefault(event.name, []).append(event)
            url = page.next_url
        return EventNames(counts.total(), counts, examples, url is None)

    def fetch_page(self, url: str, stream: Stream, *, on_link: OnLink = lambda _next: None) -> Page:
        """Return one page; one that keeps failing is asked for at half the size, within the same patience.

        The size that a page needed is the most that later walks of the stream begin with: the service may refuse the
        token of a page at another size, and a walk that begins again must not come to the same point. `on_link` is told
        `next_url` before the rows are read. Where Outreach refuses to list events of several names, each name is walked
        by itself, one after the other; `next_url` then leads from the end of one to the next. A name that is refused by
        itself is left out, since names were observed, not promised; all of them are a refusal of the stream.

        Raises:
            CursorRefusedError: the page token in the URL is no longer accepted; start again.
            UntrustedAnswerError: the URL, or the next one, is on another host. Otherwise as `Outreach.get`.
        """
        ends = time.monotonic() + self.patience.left()
        url, _, rest = url.partition("#")
        rest = unquote(rest)
        while True:
            if self._name_by_name and (split := first_name(url)) is not None:
                url, rest = split
            try:
                reply = self.reply(
                    url,
                    parse=lambda body: read_document(body, stream, self._wanted),
                    at_most=max(ends - time.monotonic(), 0.0),
                    on_failure=_Halving(page_size(url), self._smallest).saw,
                )
                reply = self._settled(reply, url, stream)
                link = self._next(reply.document.next_url, url, stream)
                if rest:  # in the fragment, which is never sent: what comes after the walk
                    link = f"{link}#{quote(rest, safe='')}" if link else rest
                on_link(link)
                return reply.document.page(reply.server_time)._replace(next_url=link)
            except NotUnderstoodError:
                if not self._name_by_name and first_name(url) is not None:
                    self._name_by_name = True
                    continue
                self.refused_names |= _single_name(url)
                if not _single_name(url) or len(self.refused_names) >= len(self._event_names):
                    raise
                if not rest:
                    return Page((), (), (), (), (), (), None, self.heard_time(), 0, 0)
                url, rest = rest, ""
            except PageTooLargeError:
                self._sizes[stream] = max((page_size(url) or 0) // 2, self._smallest)
                url = with_page_size(url, self._sizes[stream])

    def _walk(self, starts: Iterator[str], stream: Stream) -> Iterator[Page]:
        """Walk from each start to its end, and notice one that goes in circles by its links and by its rows.

        Rows alone prove little on a small page: one row may well come on two pages. Empty pages may be legitimate,
        endless ones are not.
        """
        links, contents = set[int](), Counter[int]()
        pages = _PagesAhead(self, (self._begun(url, stream) for url in starts), stream)
        while (page := pages.take()) is not None:
            if page.next_url is None:
                links, contents = set(), Counter()
            else:
                content = hash((tuple((row.id, row.updated_at) for row in page.rows), page.refused))
                contents[content] += 1
                often = contents[content] >= (_SAME_PAGE_AT_MOST if page.received else _EMPTY_PAGES_AT_MOST)
                if often or hash(page.next_url) in links:
                    raise PagingLoopError(_CIRCLES, advice=_AGAIN)
                links.add(hash(page.next_url))
            yield page

    def _begun(self, url: str, stream: Stream) -> str:
        """Return where a walk begins, at the size that its pages are known to need; a page token stays as it is."""
        size = self._sizes.get(stream, self._page_size)
        return url if has_cursor(url) or (page_size(url) or 0) <= size else with_page_size(url, size)

    def _settled(self, reply: Reply[Document], url: str, stream: Stream) -> Reply[Document]:
        """Return a page of which it is certain whether more follows: in place of a full one that does not say, another.

        No `links` means the last page; on a full page their lack proves nothing, and to take it for the last one by
        mistake would lose what follows. So a row less is asked for (of one row: one more): a page that is cut short on
        purpose must name the next one, and the walk goes on from there.

        Raises:
            UntrustedAnswerError: it does not.
        """
        size = page_size(url)
        if not size or reply.document.received < size or reply.document.says_what_follows:
            return reply
        asked_for = size - 1 or size + 1
        url = with_page_size(url, asked_for)
        shorter = self.reply(url, parse=lambda body: read_document(body, stream, self._wanted))
        if shorter.document.next_url is None and shorter.document.received >= asked_for:
            raise UntrustedAnswerError(f"Outreach's full page of {stream} does not say whether more follows.")
        return shorter

    def _next(self, link: str | None, url: str, stream: Stream) -> str | None:
        """Return the next page's URL, made absolute.

        Raises:
            UntrustedAnswerError: it leads to another host or nowhere.
        """
        if link is None:
            return None
        absolute = link if "://" in link else urljoin(url, link)
        if not self.trusts(absolute):
            raise UntrustedAnswerError(
                f"Outreach's next page of {stream} is on another host than the configured one; it was not followed.",
                advice="Compare outreach.base_url with the address in your Outreach account.",
            )
        if absolute == url:
            raise PagingLoopError(_CIRCLES, advice=_AGAIN)
        return absolute

    def _url(
        self,
        stream: Stream,
        more: Iterable[tuple[str, str]] = (),
        include: Sequence[str] = ("prospect", "sequence"),
        sort: str = "",
    ) -> str:
        kind = KINDS[stream]
        query = [("sort", sort or kind.stamp), ("count", "false"), ("page[size]", str(self._page_size))]
        query.append((f"fields[{kind.type}]", ",".join(fields_of(stream, self._wanted))))
        if include and stream in {Stream.SEQUENCE_STATES, Stream.TASKS}:
            query.append(("include", ",".join(include)))
            if "prospect" in include:
                query.append(("fields[prospect]", ",".join(fields_of(Stream.PROSPECTS, self._wanted))))
            query.append(("fields[sequence]", "name"))
        return f"{self.config.outreach.base_url}/api/v2/{kind.path}?{urlencode([*query, *more])}"


def json_api_document(body: bytes) -> dict[str, Any] | None:
    """Parse a JSON:API document; None where the body is none."""
    document = parsed_object(body)
    return document if document is not None and isinstance(document.get("data"), (list, dict)) else None


def has_cursor(url: str) -> bool:
    """Say whether a URL holds a page token."""
    query = urlsplit(url).query.lower().replace("%5b", "[").replace("%5d", "]")
    return "page[after]" in query or "page[before]" in query


def _refusal(status: int, error: str, url: str) -> OutreachSyncError:
    """Name what a 4xx of Outreach's own means; `error` is its word."""
    resource = _resource(url)
    if status in _REFUSES_CURSORS and has_cursor(url):
        return CursorRefusedError(f"Outreach no longer accepts the page token of {resource} ({error}).")
    if status == 401:  # noqa: PLR2004
        return NotAuthenticatedError(
            f"Outreach refuses a token that it has just given ({error}).",
            advice="Run `outreach-sync auth login`; if that does not help, the app may have been suspended.",
        )
    if status == 403 and error == "unauthorizedOauthScope":  # noqa: PLR2004
        scope = f"{resource.partition('/')[0]}.read"
        return NotAllowedError(
            f"the token lacks the scope {scope}.",
            advice=f"Add {scope} to the app in Outreach, then run `outreach-sync auth login`.",
        )
    if status == 403:  # noqa: PLR2004
        return NotAllowedError(
            f"the governance profile of the user does not allow reading {resource} ({error}).",
            advice="Let the integration run as a user whose profile may see all records.",
        )
    if status == 404:  # noqa: PLR2004
        return NotFoundError(f"Outreach has no such record among its {resource}, or may not show it ({error}).")
    return NotUnderstoodError(
        f"Outreach did not understand the request for {resource} ({status}, {error}).",
        advice="If the config names attributes, compare them with Outreach's reference; otherwise report this.",
    )


def _resource(url: str) -> str:
    """Return what a URL asks for, such as `sequenceStates`, without the query."""
    return urlsplit(url).path.rpartition("/api/v2/")[2] or "the API"


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


def _single_name(url: str) -> set[str]:
    """Return the one name of events that a first page filters on; none where it is another page, or a list."""
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return set() if has_cursor(url) else {value for key, value in query if key == "filter[name]"}


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


class _PagesAhead:
    """The pages that follow, in order, each asked for as soon as its link is known and there is room for it."""

    def __init__(self, source: Outreach, starts: Iterator[str], stream: Stream) -> None:
        self._source, self._starts, self._stream = source, starts, stream
        self._pages: deque[Future[Page]] = deque()
        self._waiting: str | None = None
        self._turn = threading.Lock()
        self._go_on(None)

    def take(self) -> Page | None:
        """Wait for the next page; None: there is none."""
        with self._turn:
            first = self._pages[0] if self._pages else None
        if first is None:
            return None
        page = first.result()
        with self._turn:
            self._pages.popleft()
            self._begin(self._waiting)
        return page

    def _go_on(self, link: str | None) -> None:
        with self._turn:
            self._begin(link or next(self._starts, None))

    def _begin(self, url: str | None) -> None:
        """Ask for a page, or let it wait where enough are ahead (under the lock)."""
        self._waiting = url
        if url is not None and len(self._pages) < _AHEAD_AT_MOST:
            self._waiting, fetch = None, self._source.fetch_page
            self._pages.append(ahead(lambda: fetch(url, self._stream, on_link=self._go_on), name="page-ahead"))


class _Halving:
    """Counts the failures of one page that a smaller page may mend."""

    def __init__(self, size: int | None, smallest: int) -> None:
        self._may_shrink = (size or 0) > smallest
        self._failures = 0

    def saw(self, failure: ServiceError) -> None:
        """Take note of a failed attempt; a time-out alone suffices, since patience holds few of them.

        Raises:
            PageTooLargeError: this size has failed often enough.
        """
        if not self._may_shrink:
            return
        if isinstance(failure, BusyError) and failure.status in _TOO_LARGE:
            self._failures += 1
        elif isinstance(failure, MaybeSentError) and failure.timed_out:
            self._failures += _FAILURES_BEFORE_HALVING
        if self._failures >= _FAILURES_BEFORE_HALVING:
            raise PageTooLargeError(failure.message) from None
