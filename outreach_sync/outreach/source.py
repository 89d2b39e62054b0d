"""The whole source behind one face: what a cycle reads of Outreach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.outreach import queries
from outreach_sync.outreach.walk import Walker
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.outreach.client import OutreachClient
    from outreach_sync.records import Page


class OutreachSource:
    """Outreach as the steps of a cycle read it."""

    def __init__(self, client: OutreachClient) -> None:
        """Read through a client."""
        self.client = client
        self.walker = Walker(client)

    @property
    def requests(self) -> int:
        """Requests sent so far, those for tokens left out."""
        return self.client.requests

    def server_time(self) -> Instant:
        """Return the service's clock, asking for it if need be."""
        return self.client.server_time()

    def heard_time(self) -> Instant | None:
        """Return the service's clock as last heard."""
        return self.client.transport.server_now()

    def first_url(self, stream: Stream, since: Instant | None) -> str:
        """Return where a walk begins."""
        return self.walker.start_url(stream, since)

    def trusts(self, url: str) -> bool:
        """Say whether a stored URL is on the configured host."""
        return self.client.transport.trusts(url)

    def pages(self, stream: Stream, url: str) -> Iterator[Page]:
        """Walk from a URL to the end."""
        return self.walker.pages(url, stream)

    def states_of(self, prospect_ids: Sequence[int]) -> Iterator[Page]:
        """Read all sequence states of prospects."""
        return self.walker.states_of(prospect_ids)

    def prospects_by_id(self, prospect_ids: Sequence[int]) -> Iterator[Page]:
        """Read prospects by id."""
        return self.by_id(Stream.PROSPECTS, prospect_ids)

    def all_states_url(self) -> str:
        """Return where a walk through all sequence states begins."""
        return queries.all_states_url(self.client.settings)

    def by_id(self, stream: Stream, ids: Sequence[int]) -> Iterator[Page]:
        """Read records of a stream by id."""
        return self.walker.by_id(stream, ids)
