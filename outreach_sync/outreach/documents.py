"""Answers of walks: parsed at once, read into records when the next page has been asked for.

A large answer is first read as nearly all can be (`usual`), in a fraction of the time; whatever departs from that form
is read with doubt (`parse`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.outreach.grants import parsed_object
from outreach_sync.outreach.parse import TASK_LOOKS, Wanted, next_url, read_page, says_what_follows

if TYPE_CHECKING:
    from collections.abc import Callable

    from outreach_sync.instants import Instant
    from outreach_sync.outreach import usual
    from outreach_sync.records import Page, Stream

_LARGE = 65_536
"""Bytes of an answer from which on loading `usual` takes less time than it saves."""


class Document(NamedTuple):
    """One answer of a walk, of which the rows are still to be read.

    Attributes:
        received: how many rows arrived, whether they make sense or not.
        next_url: `links.next`, None on the last page.
        says_what_follows: whether it tells that there is a next page, or none; if not, only a page that is not full is
            the last one for certain.
        page: reads the rows; takes the answer's `Date`.
    """

    received: int
    next_url: str | None
    says_what_follows: bool
    page: Callable[[Instant | None], Page]


def parse_document(body: bytes, stream: Stream, wanted: Wanted) -> Document | None:
    """Parse one answer of a walk; None where it is no JSON:API document with a list of rows."""
    if len(body) < _LARGE or wanted.prospect or not set(wanted.task).issubset(TASK_LOOKS):
        return _doubted(body, stream, wanted)
    from outreach_sync.outreach import usual  # noqa: PLC0415 - costs 20 ms, and most cycles read a few rows

    try:
        answer = usual.decode(body, stream)
    except usual.UNUSUAL:
        return _doubted(body, stream, wanted)
    return Document(
        answer.received, answer.next_url, answer.says_what_follows, partial(_page, answer, body, stream, wanted)
    )


def _page(answer: usual.Answer, body: bytes, stream: Stream, wanted: Wanted, server_time: Instant | None) -> Page:
    """Read the rows of a decoded answer, with doubt where one of them turns out to be unusual."""
    from outreach_sync.outreach import usual  # noqa: PLC0415 - see above

    try:
        return usual.page(answer, stream, server_time)
    except usual.UNUSUAL:
        doubted = _doubted(body, stream, wanted)
        if doubted is None:
            raise
        return doubted.page(server_time)


def _doubted(body: bytes, stream: Stream, wanted: Wanted) -> Document | None:
    document = parsed_object(body)
    rows = document.get("data") if document is not None else None
    if document is None or not isinstance(rows, list):
        return None
    return Document(
        len(rows), next_url(document), says_what_follows(document), partial(read_page, document, stream, wanted)
    )
