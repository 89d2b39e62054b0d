"""The simulated Workbooks as something that runs: a server, its records, its faults, its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.server import HttpServer
from outreach_sync.sandbox.workbooks.service import WorkbooksService
from outreach_sync.sandbox.workbooks.store import WorkbooksStore

if TYPE_CHECKING:
    from types import TracebackType


class WorkbooksSandbox:
    """A running simulated Workbooks. Usable as a context manager.

    Attributes:
        url: where it answers, without a slash at the end.
        store: its records.
        faults: its faults, all off; see `faults.FAULTS`.
        journal: what was asked of it.
        clock: its time.
    """

    def __init__(
        self, *, port: int = 0, latency_ms: float = 0, clock: SandboxClock | None = None, bare: bool = False
    ) -> None:
        """Prepare it, on a free port unless one is given; a `bare` account lacks the custom fields of the sync."""
        self.clock = clock or SandboxClock()
        self.store = WorkbooksStore(self.clock, bare=bare)
        self.service = WorkbooksService(self.store, self.clock)
        self.faults = self.service.faults
        self.journal = self.service.journal
        self._server = HttpServer(self.service, port=port, latency_ms=latency_ms)
        self.url = self._server.url

    @property
    def api_key(self) -> str:
        """Give the key that is let in."""
        return self.store.account.api_key

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
