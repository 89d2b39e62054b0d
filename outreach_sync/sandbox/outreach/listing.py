"""Lists and single records: a query answered from the store, as JSON:API, and the faults that strike inside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote, urlencode

from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach import query as queries
from outreach_sync.sandbox.outreach.record import api_time
from outreach_sync.sandbox.outreach.refusals import JSON_API, InvalidFilter, InvalidParameter, NotFound
from outreach_sync.sandbox.outreach.rendering import Renderer, Skip, Variation, is_skipped
from outreach_sync.sandbox.outreach.schema import RESOURCES
from outreach_sync.sandbox.outreach.selection import Rows, Selection, related_ids
from outreach_sync.sandbox.outreach.trouble import number
from outreach_sync.sandbox.server import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.outreach.query import PageRequest, Parameters, Query
    from outreach_sync.sandbox.outreach.record import Record
    from outreach_sync.sandbox.outreach.schema import Resource
    from outreach_sync.sandbox.outreach.store import OutreachStore

_ELSEWHERE = "https://elsewhere.example"
_STRANGE = (("smsOptedOut", False), ("stageName", "Working"), ("futureFlags", [{"name": "beta", "on": True}]))


@dataclass(frozen=True, slots=True)
class Visibility:
    """Which records the user behind the token gets to see; the defaults hide only what is trashed."""

    every: int = 0
    type: str = ""
    trashed: bool = False
    not_after: str = ""
    skipped: bool = True

    def shows(self, record: Record) -> bool:
        """Tell whether the user may see the record at all."""
        if not self.skipped and is_skipped(record):
            return False
        concerned = self.every and self.type in {"", record.type}
        return not (concerned and record.id % self.every == 0)

    def lists(self, record: Record) -> bool:
        """Tell whether lists show the record."""
        if not self.trashed and record.values.get("trashedAt") is not None:
            return False
        if self.not_after and (record.values.get(RESOURCES[record.type].stamp) or "") > self.not_after:
            return False
        return self.shows(record)


class View(NamedTuple):
    """How one answer shows the records: which of them, how rendered, for what kind of request, with links to where."""

    seen: Visibility
    variation: Variation
    kind: str
    base_url: str


class Reader:
    """Answers GET requests for resources."""

    def __init__(self, store: OutreachStore, renderer: Renderer, *, clock: SandboxClock, faults: FaultBoard) -> None:
        """Take the parts of the service."""
        self._store = store
        self._renderer = renderer
        self._clock = clock
        self._faults = faults

    def parse(self, resource: Resource, parameters: Parameters, kind: str) -> Query:
        """Read the query string, with the faults that change what it means.

        Raises:
            Refusal: it is not right.
        """
        asks_neginf = any("neginf.." in value for name, value in parameters if name.startswith("filter["))
        refuse = asks_neginf and self._faults.take("neginf_refused", kind) is not None
        offset_rows = self._offset_rows(parameters, kind)
        query = queries.parse(resource, parameters, refuse_neginf=refuse, offset_rows=offset_rows)
        names = next((one.values for one in query.conditions if one.path == ("name",)), ())
        if resource.type == "event" and len(names) > 1 and self._faults.take("event_names_refused", kind) is not None:
            raise InvalidFilter("events can be filtered by one name at a time.", pointer="name")
        if query.page.after is not None and self._faults.take("cursor_refused", kind) is not None:
            raise InvalidParameter("The cursor is not valid any more.", pointer="page[after]")
        if self._faults.take("upper_bound_ignored", kind) is None:
            return query
        open_ended = (replace(c, high=None) if c.path == (resource.stamp,) else c for c in query.conditions)
        return replace(query, conditions=tuple(open_ended))

    def _offset_rows(self, parameters: Parameters, kind: str) -> int:
        by_cursor = any(name == "page[size]" for name, _ in parameters)
        cap = None if by_cursor else self._faults.take("offset_cap", kind)
        return queries.OFFSET_ROWS if cap is None else number(cap, "rows", 1000)

    def single(self, resource: Resource, id_: int, query: Query, kind: str, *, base_url: str | None = None) -> Response:
        """Answer a request for one record; links begin with `base_url`, by default where the service listens.

        Raises:
            NotFound: it does not exist, or is hidden.
        """
        seen = self._visibility(kind)
        with self._store.lock:
            record = self._store.visible(resource.type, id_)
            if record is None or not seen.shows(record):
                raise NotFound(f"Could not find '{resource.type}' with ID '{id_}'.")
            view = self._view(seen, query, kind, base_url)
            (text,) = self._rendered([record], query.fields.get(resource.type), view)
            return _json_api(f'{{"data":{text}{self._included(resource, [record], query, view)}}}')

    def list(
        self, resource: Resource, query: Query, parameters: Parameters, kind: str, *, base_url: str | None = None
    ) -> Response:
        """Answer a request for a list; links begin with `base_url`, by default where the service listens."""
        seen, now = self._visibility(kind), self._clock.now()

        def shows(record: Record) -> bool:
            return not record.hidden and record.visible_at <= now and seen.lists(record)

        with self._store.lock:
            selection = Selection(self._store, resource, query, shows=shows)
            rows = self._page(selection, query.page, kind)
            records = self._disturbed(selection, resource, query, rows, kind)
            view = self._view(seen, query, kind, base_url)
            texts = self._rendered(records, query.fields.get(resource.type), view)
            included = self._included(resource, records, query, view)
            counted = self._count(selection, query, kind)
            self._change_rows(resource, selection, rows, kind)
        links = self._links(resource, parameters, query.page, rows, view) if rows.records or rows.after else ""
        return _json_api(f'{{"data":[{",".join(texts)}]{included}{counted}{links}}}')

    def _view(self, seen: Visibility, query: Query, kind: str, base_url: str | None) -> View:
        variation = replace(self._variation(kind), data_connections=query.data_connections)
        return View(seen, variation, kind, self._renderer.base_url if base_url is None else base_url)

    def _rendered(self, records: Sequence[Record], names: tuple[str, ...] | None, view: View) -> Sequence[str]:
        return self._renderer.render(records, names, view.variation, view.base_url)

    def _page(self, selection: Selection, page: PageRequest, kind: str) -> Rows:
        made_for = None if page.after is None else selection.size_of(page.after)
        if made_for not in {None, page.size} and self._faults.take("cursor_bound_to_size", kind) is not None:
            raise InvalidParameter("The cursor was made for another page[size].", pointer="page[after]")
        short = self._faults.take("short_pages", kind)
        if short is not None:
            page = replace(page, size=min(page.size, number(short, "rows", 1)))
        if page.offset is None and self._faults.take("empty_page_with_next", kind) is not None:
            return Rows((), after=page.after or selection.BEGINNING, before=None)
        return selection.page(page)

    def _disturbed(
        self, selection: Selection, resource: Resource, query: Query, rows: Rows, kind: str
    ) -> Sequence[Record]:
        """Give the page's records the way a fault makes them arrive."""
        records = list(rows.records)
        if query.page.after and self._faults.take("duplicate_across_pages", kind) is not None:
            last = self._store.visible(resource.type, selection.id_of(query.page.after))
            records = records if last is None else [last, *records]
        if self._faults.take("out_of_order", kind) is not None:
            records.reverse()
        return records

    def _change_rows(self, resource: Resource, selection: Selection, rows: Rows, kind: str) -> None:
        changes = None
        if rows.records and resource.type != "event":  # what happened does not change
            changes = self._faults.take("changes_while_paged", kind)
        if changes is None:
            return
        following = selection.page(queries.PageRequest(size=1, after=rows.after)).records if rows.after else ()
        for record in (*rows.records[: number(changes, "count", 1)], *following):
            self._store.update(resource.type, record.id, updatedAt=Instant(self._clock.now() // 1000 * 1000))

    def _visibility(self, kind: str) -> Visibility:
        hides = self._faults.take("governance_hides", kind)
        late = self._faults.take("late_visibility", kind)
        return Visibility(
            every=0 if hides is None else number(hides, "every", 2),
            type="" if hides is None else str(hides.get("type", "")),
            trashed=self._faults.take("trashed_listed", kind) is not None,
            skipped=self._faults.take("skip_destroys_task", kind) is None,
            not_after="" if late is None else api_time(Instant(self._clock.now() - number(late, "ms", 60_000))),
        )

    def _variation(self, kind: str) -> Variation:
        state = self._faults.take("unknown_state", kind)
        renamed = self._faults.take("sequences_renamed", kind)
        shape, without = self._null_shape(kind)
        dead = self._faults.take("event_relations_die", kind)
        return Variation(
            ids_as_strings=self._faults.take("ids_as_strings", kind) is not None,
            null_shape=shape,
            without=without,
            state="" if state is None else str(state.get("state", "hibernating")),
            suffix="" if renamed is None else str(renamed.get("suffix", " (renamed)")),
            extra=_STRANGE if self._faults.take("unknown_attributes_added", kind) is not None else (),
            opt_status_text=self._faults.take("opt_status_null_text", kind) is not None,
            skip=self._skip(kind),
            dead="" if dead is None else str(dead.get("shape", "null")),
        )

    def _skip(self, kind: str) -> Skip | None:
        """Say what a skipped task looks like; None: its state says so."""
        if self._faults.take("skip_is_not_completed", kind) is not None:
            return Skip("complete", completed=False)
        like_done = self._faults.take("skip_is_like_done", kind)
        if like_done is not None:
            return Skip("complete", completed=True, completer=1 if like_done.get("exactly") else None)
        other = self._faults.take("skip_is_another_word", kind)
        return None if other is None else Skip(str(other.get("word", "bypassed")))

    def _null_shape(self, kind: str) -> tuple[str, str]:
        for fault, shape in (("to_one_links_only", "links"), ("to_one_empty", "empty"), ("to_one_null", "null")):
            options = self._faults.take(fault, kind)
            if options is not None:
                return shape, str(options.get("relationship", ""))
        return "null", ""

    def _included(self, resource: Resource, records: Sequence[Record], query: Query, view: View) -> str:
        """Write the included resources, each once; those that are gone or hidden are simply absent."""
        if not query.include:
            return ""
        missing = self._faults.take("included_missing", view.kind)
        asked = [name for name in query.include if name != view.variation.without]
        chosen: dict[tuple[str, int], Record] = {}
        for target in _targets(self._store, resource, records, asked):
            if target not in chosen and not (missing is not None and missing.get("type", target[0]) == target[0]):
                other = self._store.visible(*target)
                if other is not None and view.seen.shows(other):
                    chosen[target] = other
        by_type: dict[str, list[Record]] = {}
        for other in chosen.values():
            by_type.setdefault(other.type, []).append(other)
        texts = [
            text for type_, others in by_type.items() for text in self._rendered(others, query.fields.get(type_), view)
        ]
        return f',"included":[{",".join(texts)}]'

    def _count(self, selection: Selection, query: Query, kind: str) -> str:
        by_default = query.count is None and self._faults.take("count_by_default", kind) is not None
        if not query.count and not by_default:
            return ""
        if self._faults.take("count_truncated", kind) is not None:
            return ',"meta":{"count":0,"count_truncated":true}'
        return f',"meta":{{"count":{selection.count()},"count_truncated":false}}'

    def _links(self, resource: Resource, parameters: Parameters, page: PageRequest, rows: Rows, view: View) -> str:
        if rows.after and self._faults.take("next_link_missing_links", view.kind) is not None:
            return ""
        offsets = page.offset is not None
        onward = "page[offset]" if offsets else "page[after]"
        back = "page[offset]" if offsets else "page[before]"
        rest = [pair for pair in parameters if pair[0] not in {"page[after]", "page[before]", "page[offset]"}]
        own = f"{view.base_url}/api/v2/{resource.plural}"
        links: dict[str, str | None] = {"first": _url(own, rest)}
        if rows.after:
            loops = page.after is not None and self._faults.take("cursor_loops", view.kind) is not None
            other = self._faults.take("next_link_other_host", view.kind)
            base = own if other is None else f"{other.get('host', _ELSEWHERE)}/api/v2/{resource.plural}"
            links["next"] = _url(base, [*rest, (onward, str(page.after) if loops else rows.after)])
        elif self._faults.take("next_link_null", view.kind) is not None:
            links["next"] = None
        if rows.before:
            links["prev"] = _url(own, [*rest, (back, rows.before)])
        return f',"links":{json.dumps(links, separators=(",", ":"))}'


def _targets(
    store: OutreachStore, resource: Resource, records: Sequence[Record], include: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """Name what the records point to through the included relationships, in order."""
    for name in include:
        relation = resource.relationships[name]
        if relation.shape == "many":
            for record in records:
                yield from (
                    (relation.types[0], id_) for id_ in cast("list[int]", related_ids(store, record, name)) or ()
                )
            continue
        for target in dict.fromkeys(record.values.get(name) for record in records):
            if isinstance(target, tuple):
                yield target
            elif target is not None:
                yield relation.types[-1], target


def _url(address: str, parameters: Parameters) -> str:
    return f"{address}?{urlencode(sorted(parameters), quote_via=quote)}" if parameters else address


def _json_api(text: str) -> Response:
    return Response(200, {"Content-Type": f"{JSON_API}; charset=utf-8"}, text.encode())
