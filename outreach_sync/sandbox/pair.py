"""Both simulated services together, on one clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from outreach_sync.instants import Instant
from outreach_sync.sandbox import example
from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.outreach import OutreachSandbox
from outreach_sync.sandbox.workbooks import WorkbooksSandbox

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_LANDING = "https://localhost:8484/callback"


class Sandbox:
    """A simulated Outreach and a simulated Workbooks, each on a port of its own. Usable as a context manager.

    Attributes:
        outreach, workbooks: the services.
        clock: the time both live in.
    """

    def __init__(
        self,
        *,
        outreach_port: int = 0,
        workbooks_port: int = 0,
        latency_ms: float = 0,
        clock: SandboxClock | None = None,
        bare: bool = False,
    ) -> None:
        """Bind to the ports (0: any free one); `latency_ms` is added to every answer.

        A `bare` Workbooks lacks the custom fields of the sync.
        """
        self.clock = clock or SandboxClock()
        self.outreach = OutreachSandbox(clock=self.clock, port=outreach_port, latency_ms=latency_ms)
        self.workbooks = WorkbooksSandbox(clock=self.clock, port=workbooks_port, latency_ms=latency_ms, bare=bare)

    def now(self) -> Instant:
        """Say what time it is for both services."""
        return self.clock.now()

    def load_example(self, seed: int = 1) -> None:
        """Fill both with the realistic data set of `example`; they must be empty."""
        example.load_example(self.outreach.store, self.workbooks.store, self.now(), seed)

    def evolve(self, step: int) -> list[example.Happening]:
        """Let something happen to the loaded example and say what: a working day (1), hands in Workbooks (2).

        Raises:
            KeyError: there is no such step.
        """
        to_the_second = Instant(self.now() // 1000 * 1000)
        return example.STEPS[step](self.outreach.store, self.workbooks.store, to_the_second)

    def config(
        self, state_path: str | Path, *, s2s_key: Path | None = None, redirect_uri: str = _LANDING
    ) -> dict[str, Any]:
        """Build the config, as the config file has it, of a tool that syncs these two and keeps its state there.

        With `s2s_key`, the file of the private key to the app's `s2s_public_key`, it reads Outreach server to server.
        """
        app = self.outreach.app
        access: dict[str, Any] = {
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "redirect_uri": redirect_uri,
            "refresh_token": self.outreach.refresh_token,
        }
        if s2s_key is not None:
            s2s = {"install_id": app.install_id, "app_guid": app.s2s_guid, "private_key_file": str(s2s_key)}
            access = {"s2s": s2s}
        return {
            "outreach": {"base_url": self.outreach.url, **access},
            "workbooks": {"base_url": self.workbooks.url, "api_key": self.workbooks.api_key},
            "state": {"path": str(state_path)},
        }

    def start(self) -> None:
        """Let both begin to answer."""
        self.outreach.start()
        self.workbooks.start()

    def stop(self) -> None:
        """Stop both."""
        self.outreach.stop()
        self.workbooks.stop()

    def __enter__(self) -> Self:
        """Start both."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both."""
        self.stop()
