"""Reread: ask again, by id, for records of Outreach's that made no sense, once their pause is over or by `retry`.

A record that was put right without its `updatedAt` moving would otherwise stay refused for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.ledger import refuse
from outreach_sync.pipeline.pull import keep_page

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Run
    from outreach_sync.records import Page, Stream


def reread_refused(run: Run, stream: Stream) -> None:
    """Read the refused records of a stream that are due; those that are gone from Outreach are refused no more.

    Raises:
        ServiceError: Outreach was unavailable or out of quota; what was not read stays refused.
    """
    due = run.state.outbox.due_sources(stream, run.clock())
    if not due:
        return
    still_refused: dict[int, str] = {}
    for page in run.source.by_id(stream, list(due)):
        _keep(run, page)
        still_refused.update((one.id, one.reason) for one in page.refused if one.stream is stream and one.id in due)
    with run.state.transaction():
        run.state.outbox.drop(entry.id for source_id, entry in due.items() if source_id not in still_refused)
        for source_id, reason in still_refused.items():
            refuse(run, due[source_id], reason)


def _keep(run: Run, page: Page) -> None:
    """Store what makes sense now; as in a walk, nothing is decided from it until every walk is complete."""
    with run.state.transaction():
        concerned, _ = keep_page(run, page)
        run.state.undecided.mark_changed(concerned, held=True)
