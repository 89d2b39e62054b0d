"""What is read of Outreach: walks through all pages of a stream, and of what belongs to given records.

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
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin

from outreach_sync.ahead import Ahead
from outreach_sync.errors import ServiceError, UntrustedAnswerError
from outreach_sync.http import BusyError, MaybeSentError
from outreach_sync.instants import to_iso
from outreach_sync.outreach.client import NotUnderstoodError, OutreachClient, has_cursor
from outreach_sync.outreach.rows import KINDS, Wanted, fields_of, read_document
from outreach_sync.records import Event, Page, Stream
from outreach_sync.rules.skipped import named_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.http import OnRetry, StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.outreach.client import Reply
    from outreach_sync.outreach.rows import Document

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
OnLink = Callable[[str | None], None]
Query = list[tuple[str, str]]


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


class Outreach(OutreachClient):
    """Outreach as a cycle reads it: streams, and records by id."""

    def __init__(
        self, config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None, want_steps: bool = False
    ) -> None:
        """Ask for nothing yet; `want_steps`: have states come with their step although the config needs none.

        Raises:
            ConfigError: a credential is missing.
        """
        super().__init__(config, stop, on_retry=on_retry)
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
        self._name_by_name = False

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        """Return the first page of what changed since then (inclusive); None: of everything, rows without a stamp too.

        There is no upper bound: rows that change during the walk are valid rows, and a bound would only hide them. Of
        events, only those of the names that are needed.
        """
        query = self._shape(stream)
        if since is not None or stream is Stream.EVENTS:
            query.append(("newFilterSyntax", "true"))
        if since is not None:
            query.append((f"filter[{KINDS[stream].stamp}][gte]", to_iso(since)))
        if stream is Stream.EVENTS:
            query += [(_NAMES, name) for name in dict.fromkeys((*self.config.sync.tasks.skip_events, *EVENT_NAMES))]
        return self._url(stream, query)

    def all_states_url(self) -> str:
        """Return the first page of all sequence states, nothing included: the leanest walk that makes whole rows."""
        return self._url(Stream.SEQUENCE_STATES, self._shape(Stream.SEQUENCE_STATES, ()))

    def pages(self, stream: Stream, url: str) -> Iterator[Page]:
        """Walk from this URL (a first page, or a stored `next_url`) to the end, fetching ahead.

        While the caller works on a page, the next one is read and the one after it on its way, never more. Each page's
        `next_url` is the progress to keep once its rows are safe. Raises as `fetch_page`, and PagingLoopError.
        """
        return self._walk(iter((url,)), stream)

    def states_of(self, prospect_ids: Iterable[int]) -> Iterator[Page]:
        """Walk through all sequence states of these prospects, whatever their age. Raises as `pages`."""
        query = self._shape(Stream.SEQUENCE_STATES, ("sequence",))
        urls = (
            self._url(Stream.SEQUENCE_STATES, [*query, ("filter[prospect][id]", ids)]) for ids in id_lists(prospect_ids)
        )
        return self._walk(urls, Stream.SEQUENCE_STATES)

    def by_id(self, stream: Stream, ids: Iterable[int]) -> Iterator[Page]:
        """Walk through the records with these ids; those deleted or hidden are absent. Raises as `pages`."""
        query = self._shape(stream)
        return self._walk((self._url(stream, [*query, ("filter[id]", listed)]) for listed in id_lists(ids)), stream)

    def prospects_by_id(self, prospect_ids: Iterable[int]) -> Iterator[Page]:
        """Walk through these prospects; those deleted or hidden are absent. Raises as `pages`."""
        return self.by_id(Stream.PROSPECTS, prospect_ids)

    def event_names(self, since: Instant, *, requests: int) -> EventNames:
        """Count the events of every name since then, the newest first, as far as so many requests reach.

        Without a filter on names the stream is by far the largest there is, so it is never read to its end for this.
        Raises as `pages`.
        """
        counts, examples = Counter[str](), dict[str, list[Event]]()
        newest_first = [("sort", "-createdAt"), *self._shape(Stream.EVENTS)[1:], ("newFilterSyntax", "true")]
        url: str | None = self._url(Stream.EVENTS, [*newest_first, ("filter[createdAt][gte]", to_iso(since))])
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
        by itself, one after the other; `next_url` then leads from the end of one to the next.

        Raises:
            CursorRefusedError: the page token in the URL is no longer accepted; start again.
            UntrustedAnswerError: the URL, or the next one, is on another host. Otherwise as `OutreachClient.get`.
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
                link = _then(link, rest)
                on_link(link)
                return reply.document.page(reply.server_time)._replace(next_url=link)
            except NotUnderstoodError:
                if self._name_by_name or first_name(url) is None:
                    raise
                self._name_by_name = True
            except PageTooLargeError:
                self._sizes[stream] = max((page_size(url) or 0) // 2, self._smallest)
                url = with_page_size(url, self._sizes[stream])

    def _walk(self, starts: Iterator[str], stream: Stream) -> Iterator[Page]:
        guard = _LoopGuard()
        ahead = _PagesAhead(self, (self._begun(url, stream) for url in starts), stream)
        while (page := ahead.take()) is not None:
            guard.check(page)
            if page.next_url is None:
                guard = _LoopGuard()
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
        shorter = self.reply(
            with_page_size(url, asked_for),
            parse=lambda body: read_document(body, stream, self._wanted),
        )
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
            raise _loop(stream)
        return absolute

    def _shape(self, stream: Stream, include: Sequence[str] = ("prospect", "sequence")) -> Query:
        kind = KINDS[stream]
        query = [("sort", kind.stamp), ("count", "false"), ("page[size]", str(self._page_size))]
        query.append((f"fields[{kind.type}]", ",".join(fields_of(stream, self._wanted))))
        if include and stream in {Stream.SEQUENCE_STATES, Stream.TASKS}:
            query.append(("include", ",".join(include)))
            if "prospect" in include:
                query.append(("fields[prospect]", ",".join(fields_of(Stream.PROSPECTS, self._wanted))))
            query.append(("fields[sequence]", "name"))
        return query

    def _url(self, stream: Stream, query: Query) -> str:
        return f"{self.config.outreach.base_url}/api/v2/{KINDS[stream].path}?{urlencode(query)}"


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


def _then(link: str | None, rest: str) -> str | None:
    """Return where to go on: the next page, and in its fragment, which is never sent, what comes after its walk."""
    if link is None:
        return rest or None
    return f"{link}#{quote(rest, safe='')}" if rest else link


class _PagesAhead:
    """The pages that follow, in order, each asked for as soon as its link is known and there is room for it."""

    def __init__(self, source: Outreach, starts: Iterator[str], stream: Stream) -> None:
        self._source = source
        self._starts = starts
        self._stream = stream
        self._pages: deque[Ahead[Page]] = deque()
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

    def _fetch(self, url: str) -> Page:
        told: list[str | None] = []

        def on_link(link: str | None) -> None:
            told.append(link)
            self._go_on(link)

        page = self._source.fetch_page(url, self._stream, on_link=on_link)
        if not told:
            on_link(page.next_url)
        return page

    def _go_on(self, link: str | None) -> None:
        with self._turn:
            self._begin(link or next(self._starts, None))

    def _begin(self, url: str | None) -> None:
        """Ask for a page, or let it wait where enough are ahead (under the lock)."""
        self._waiting = url
        if url is not None and len(self._pages) < _AHEAD_AT_MOST:
            self._waiting = None
            self._pages.append(Ahead(lambda: self._fetch(url), name="page-ahead"))


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


class _LoopGuard:
    """Notices a walk that goes in circles, by its links and by its rows.

    Rows alone prove little on a small page: one row may well come on two pages. Empty pages may be legitimate, endless
    ones are not.
    """

    def __init__(self) -> None:
        self._links: set[int] = set()
        self._contents: Counter[int] = Counter()

    def check(self, page: Page) -> None:
        """Take note of a page.

        Raises:
            PagingLoopError: its next link was given before, or its rows have come too often.
        """
        if page.next_url is None:
            return
        content = hash((tuple((row.id, row.updated_at) for row in page.rows), page.refused))
        self._contents[content] += 1
        link = hash(page.next_url)
        often = self._contents[content] >= (_SAME_PAGE_AT_MOST if page.received else _EMPTY_PAGES_AT_MOST)
        if often or link in self._links:
            raise _loop(None)
        self._links.add(link)


def _loop(stream: Stream | None) -> PagingLoopError:
    return PagingLoopError(
        f"Outreach's pages{f' of {stream}' if stream else ''} go in circles; the walk was stopped.",
        advice="The next run starts this walk again.",
    )
