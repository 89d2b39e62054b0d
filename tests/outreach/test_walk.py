import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from outreach_sync.connections import Answer
from outreach_sync.errors import UnavailableError, UntrustedAnswerError
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.outreach.client import CursorRefusedError, NotUnderstoodError, PagingLoopError
from outreach_sync.records import Page, Stream

START = parse_iso("2026-09-01T10:00:00Z")


def fill(sandbox: Any, count: int) -> None:
    sequence = sandbox.store.add_sequence("Trial follow-up")
    for number in range(count):
        stamp = Instant(START + number * 1000)
        prospect = sandbox.store.add_prospect(firstName=f"Ada {number}", updatedAt=stamp)
        sandbox.store.add_state(prospect, sequence, "active", updatedAt=stamp, stateChangedAt=stamp)


def begin(side: Any, stream: Stream = Stream.SEQUENCE_STATES) -> Iterator[Page]:
    return side.source.pages(stream, side.source.first_url(stream, START))


def walk(side: Any, stream: Stream = Stream.SEQUENCE_STATES) -> list[Page]:
    return list(begin(side, stream))


def ids(pages: list[Page]) -> list[int]:
    return [row.id for page in pages for row in page.rows]


def lists(sandbox: Any) -> list[Any]:
    return [entry for entry in sandbox.journal.entries() if entry.path.startswith("/api/v2")]


def sizes(sandbox: Any) -> list[int]:
    return [int(dict(entry.query)["page[size]"]) for entry in lists(sandbox)]


def test_every_row_of_every_page_is_read(sandbox: Any, connect: Any) -> None:
    fill(sandbox, 25)
    pages = walk(connect(page_size=10))
    assert ids(pages) == list(range(1, 26))
    assert [page.received for page in pages] == [10, 10, 5]
    assert pages[-1].next_url is None
    assert {row.name for page in pages for row in page.sequences} == {"Trial follow-up"}
    assert [row.id for page in pages for row in page.included] == list(range(1, 26))
    assert all(page.server_time is not None for page in pages)


def test_a_link_is_followed_as_it_stands(sandbox: Any, connect: Any) -> None:
    fill(sandbox, 15)
    page = walk(connect(page_size=10))[0]
    list(connect(page_size=3).source.pages(Stream.SEQUENCE_STATES, page.next_url))  # the config changed meanwhile
    first, *others = lists(sandbox)
    assert len(others) == 2
    for one in others:
        assert dict(one.query) == {**dict(first.query), "page[after]": dict(one.query)["page[after]"]}
        assert len(one.query) == len(dict(one.query))


def test_the_walk_runs_a_page_ahead_of_its_caller_and_a_failure_comes_after_the_page_before_it(
    sandbox: Any, connect: Any
) -> None:
    fill(sandbox, 50)
    side = connect(page_size=10)
    side.tokens.current()
    sandbox.faults.on("server_error_500", after=4)
    pages = begin(side)
    for done in range(1, 5):
        next(pages)
        for thread in threading.enumerate():
            if thread.name == "page-ahead":
                thread.join()
        assert len({entry.query for entry in lists(sandbox)}) == done + 1
    with pytest.raises(UnavailableError):
        next(pages)


@pytest.mark.parametrize(
    "fault", ["out_of_order", "duplicate_across_pages", "changes_while_paged", "short_pages", "empty_page_with_next"]
)
def test_an_odd_page_loses_no_rows(sandbox: Any, connect: Any, fault: str) -> None:
    fill(sandbox, 25)
    sandbox.faults.on(fault, times=1 if fault in {"changes_while_paged", "empty_page_with_next"} else None)
    assert set(ids(walk(connect(page_size=10)))) == set(range(1, 26))


@pytest.mark.parametrize(("fault", "ids"), [("id_list_cut", 7), ("id_list_refused", 30)])
def test_few_ids_in_a_list_lose_no_records(sandbox: Any, side: Any, fault: str, ids: int) -> None:
    fill(sandbox, 120)
    sandbox.faults.on(fault, ids=ids)
    for pages in (side.source.states_of(range(1, 121)), side.source.by_id(Stream.PROSPECTS, range(1, 122))):
        assert {row.id for page in pages for row in page.rows} == set(range(1, 121))
    sandbox.faults.on("id_list_refused", ids=1)
    with pytest.raises(NotUnderstoodError, match="filterParameter"):
        list(side.source.by_id(Stream.PROSPECTS, range(1, 121)))


def happened(sandbox: Any, *names: str, day: int = 1) -> None:
    for name in names:
        sandbox.store.add("event", {"name": name, "createdAt": f"2026-09-{day:02}T10:00:00.000Z"})


NAMES = ("skip_task", "opt_out", "complete_task", "prospect_merged", "skip_task", "message_opened", "emails_opt_out")
SKIPS = {"tasks": {"skip_events": ["skip_task", "skip_touch"]}}
NEEDED = ["skip_task", "opt_out", "prospect_merged", "skip_task", "emails_opt_out"]


def names(pages: list[Page]) -> list[str]:
    return [event.name for page in pages for event in page.events]


def test_events_are_asked_for_by_the_names_that_are_needed(sandbox: Any, connect: Any) -> None:
    happened(sandbox, *NAMES, "skip_touch")
    happened(sandbox, "skip_task", day=30)
    pages = walk(connect(sync=SKIPS), Stream.EVENTS)
    assert names(pages) == [*NEEDED, "skip_touch", "skip_task"]
    (request,) = lists(sandbox)
    keys = "count fields[event] filter[createdAt][gte] filter[name][] newFilterSyntax page[size] sort"
    assert sorted({name for name, _ in request.query}) == keys.split()


def test_where_several_names_are_refused_each_is_walked_by_itself_from_any_page_on(sandbox: Any, connect: Any) -> None:
    sandbox.faults.on("event_names_refused")
    happened(sandbox, *(name for name in NAMES for _ in range(3)))
    side = connect(page_size=2)
    pages = walk(side, Stream.EVENTS)
    assert sorted(names(pages)) == sorted(name for name in NEEDED for _ in range(3))
    refused, asked = 1, len(lists(sandbox))
    assert asked == refused + 3 + 2 + 2 + 2 + 4  # skip_task, opt_out, prospect_merged, emails_opt_out, four others
    assert names(walk(side, Stream.EVENTS)) == names(pages)
    assert len(lists(sandbox)) == 2 * asked - refused, "the refusal is remembered"
    for done in range(1, len(pages)):
        rest = connect(page_size=2).source.pages(Stream.EVENTS, pages[done - 1].next_url)
        assert names(pages[:done]) + names(list(rest)) == names(pages)
    assert all(side.transport.trusts(page.next_url) for page in pages[:-1])


@pytest.mark.parametrize("refused", [0, 3, -1, None])
def test_a_name_that_is_refused_by_itself_is_left_out_and_all_of_them_end_the_walk(
    sandbox: Any, connect: Any, refused: int | None
) -> None:
    sandbox.faults.on("event_names_refused")
    happened(sandbox, *NAMES)
    side, name = connect(page_size=2), None if refused is None else sorted(NEEDED)[refused]
    answer = Answer(422, {}, b'{"errors": [{"id": "validationError"}]}', None)
    side.first_answers(answer, math.inf, "filter" if name is None else f"name%5D={name}&")
    if name is None:
        with pytest.raises(NotUnderstoodError):
            walk(side, Stream.EVENTS)
    else:
        assert sorted(names(walk(side, Stream.EVENTS))) == sorted(one for one in NEEDED if one != name)
        assert side.source.refused_names == {name}


def test_a_full_page_without_links_is_not_taken_for_the_last(sandbox: Any, connect: Any) -> None:
    fill(sandbox, 25)
    sandbox.faults.on("next_link_missing_links", after=1)
    with pytest.raises(UntrustedAnswerError, match="more follows"):
        walk(connect(page_size=10))


@pytest.mark.parametrize(("size", "pages", "after"), [(1, 2, 1), (1, 5, 0), (10, 2, 1), (10, 5, 0), (10, 5, 2)])
def test_what_follows_a_page_that_lost_its_links_is_read_and_a_last_page_may_be_full(
    sandbox: Any, connect: Any, size: int, pages: int, after: int
) -> None:
    fill(sandbox, pages * size)
    sandbox.faults.on("next_link_missing_links", after=after, times=1)
    assert ids(walk(connect(page_size=size))) == list(range(1, pages * size + 1))


def test_a_walk_begun_again_gets_past_a_full_last_page_without_links(sandbox: Any, connect: Any) -> None:
    def bare(send: Any, *asked: Any, **named: Any) -> Any:
        answer = send(*asked, **named)
        return answer if b'"next"' in answer.body else answer._replace(body=answer.body.replace(b"links", b"lost"))

    fill(sandbox, 20)
    sandbox.faults.on("cursor_bound_to_size")
    side = connect(page_size=10)
    side.intercept(bare)
    with pytest.raises(CursorRefusedError):
        walk(side)
    assert ids(walk(side)) == list(range(1, 21))


def test_a_link_to_another_host_is_not_followed_nor_a_stored_one_asked_for(sandbox: Any, connect: Any) -> None:
    fill(sandbox, 25)
    sandbox.faults.on("next_link_other_host")
    side = connect(page_size=10)
    with pytest.raises(UntrustedAnswerError, match="another host"):
        next(begin(side))  # not even handed out, so that nobody stores the link
    with pytest.raises(CursorRefusedError, match="another host"):
        list(side.source.pages(Stream.SEQUENCE_STATES, "https://elsewhere.example/api/v2/sequenceStates?page[after]=x"))
    assert len(lists(sandbox)) == 1


@pytest.mark.parametrize(
    ("rows", "fault", "options", "asked"),
    [
        (320, "bad_gateway_large_pages", {"threshold": 60}, [200, 200, 100, 100, *[50] * 7]),
        (5, "bad_gateway_large_pages", {"threshold": 60, "times": 1}, [200, 200]),
        (5, "hang", {"times": 1, "seconds": 10}, [200, 100]),
    ],
)
def test_a_page_that_is_too_large_or_times_out_is_asked_for_smaller(
    sandbox: Any, connect: Any, *, rows: int, fault: str, options: dict[str, int], asked: list[int]
) -> None:
    fill(sandbox, rows)
    side = connect(page_size=200, **({"timeout": "1s"} if fault == "hang" else {}))
    side.tokens.current()
    sandbox.faults.on(fault, **options)
    assert ids(walk(side)) == list(range(1, rows + 1))
    assert sizes(sandbox) == asked


def too_large(sandbox: Any, connect: Any, rows: int, **options: int) -> Any:
    """Have pages of more than 60 rows fail."""
    fill(sandbox, rows)
    side = connect(page_size=100)
    side.tokens.current()
    sandbox.faults.on("bad_gateway_large_pages", threshold=60, **options)
    return side


def test_a_walk_begun_again_gets_past_a_page_that_is_too_large(sandbox: Any, connect: Any) -> None:
    side = too_large(sandbox, connect, 150, after=1)
    sandbox.faults.on("cursor_bound_to_size")
    with pytest.raises(CursorRefusedError):
        walk(side)
    assert ids(walk(side)) == list(range(1, 151))
    assert sizes(sandbox) == [100, 100, 100, 50, 50, 50, 50]


def test_a_full_page_without_links_that_then_fails_is_asked_for_smaller(sandbox: Any, connect: Any) -> None:
    side = too_large(sandbox, connect, 150, after=1)
    sandbox.faults.on("next_link_missing_links", times=1)
    assert ids(walk(side)) == list(range(1, 151))


def test_lists_of_ids_are_asked_for_at_the_size_that_the_first_needed(sandbox: Any, connect: Any) -> None:
    side = too_large(sandbox, connect, 250)
    assert ids(side.source.by_id(Stream.PROSPECTS, range(1, 251))) == list(range(1, 251))
    assert sizes(sandbox) == [100, 100, *[50] * 5]


def test_a_relative_link_is_followed(sandbox: Any, connect: Any) -> None:
    def relative(send: Any, *asked: Any, **named: Any) -> Any:
        answer = send(*asked, **named)
        return answer._replace(body=answer.body.replace(sandbox.url.encode(), b""))

    fill(sandbox, 25)
    side = connect(page_size=10)
    side.intercept(relative)
    pages = walk(side)
    assert ids(pages) == list(range(1, 26))
    assert str(pages[0].next_url).startswith(sandbox.url)


@pytest.mark.parametrize(("loop", "at_most"), [("the same rows", 9), ("no rows", 109), ("the same link", 5)])
def test_a_loop_of_pages_ends(sandbox: Any, side: Any, loop: str, at_most: int) -> None:
    def circling(send: Any, method: str, url: str, **named: Any) -> Any:
        answer = send(method, url.partition("&page[after]")[0], **named)
        number = len(lists(sandbox))
        data = [] if loop == "no rows" else json.loads(answer.body)["data"]
        if loop == "the same link":
            data, number = [{**one, "id": one["id"] + number * 10} for one in data], 1
        document = {"data": data, "links": {"next": f"{url.partition('&page[after]')[0]}&page[after]={number}"}}
        return answer._replace(body=json.dumps(document).encode())

    fill(sandbox, 2)
    side.tokens.current()
    side.intercept(circling)
    with pytest.raises(PagingLoopError, match="circles"):
        walk(side)
    assert len(lists(sandbox)) <= at_most
